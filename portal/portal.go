package portal

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/upstream"
)

// Deps is what New needs. All fields but Language are required.
type Deps struct {
	Authn      *authn.Authn
	OIDC       *oidc.OIDC
	Directory  *directory.Directory
	Blueprints *directory.Blueprints // for the names of roles and statuses
	Upstream   *upstream.Upstream
	Mail       *mail.Office
	Cookies    cookie.Jar
	Now        func() time.Time
	Logger     *slog.Logger
	Language   string // tag of the one for people of whom none is known; empty: English
}

// Portal serves the pages. It is safe for concurrent use.
type Portal struct {
	authn      *authn.Authn
	oidc       *oidc.OIDC
	directory  *directory.Directory
	blueprints *directory.Blueprints
	upstream   *upstream.Upstream
	mail       *mail.Office
	cookies    cookie.Jar
	now        func() time.Time
	logger     *slog.Logger
	language   string
	shown      map[string]bool // the paths that show a page

	pages  *pages
	assets assets
	origin *http.CrossOriginProtection
}

// New reads the texts and what the pages share. An error is a mistake in them.
func New(d Deps) (*Portal, error) {
	assets, err := loadAssets()
	if err != nil {
		return nil, err
	}
	pages, err := newPages(assets)
	if err != nil {
		return nil, err
	}
	return &Portal{
		authn: d.Authn, oidc: d.OIDC, directory: d.Directory, blueprints: d.Blueprints, upstream: d.Upstream, mail: d.Mail,
		cookies: d.Cookies, now: d.Now, logger: d.Logger, language: cmp.Or(d.Language, language.Default), shown: map[string]bool{},
		pages: pages, assets: assets, origin: http.NewCrossOriginProtection(),
	}, nil
}

// Mount adds the portal's routes.
func (p *Portal) Mount(r gin.IRouter) {
	r.GET("/static/:name", p.static)
	r.GET("/t/:tenant/theme.css", p.handle(p.theme))

	login := r.Group("/", p.harden(signInPolicy), p.speak, p.sameOrigin, limitBody)
	login.POST("/language", p.handle(p.chooseLanguage))
	login.GET("/", p.handle(p.home))
	login.GET("/login", p.handle(p.showLogin))
	login.POST("/login", p.handle(p.submitLogin))
	login.POST("/login/passkey", p.handle(p.passkeyForSignIn))
	login.GET("/login/code", p.handle(p.showCode))
	login.POST("/login/code", p.handle(p.submitCode))
	login.POST("/login/code/mail", p.handle(p.sendMailCode))
	login.POST("/login/code/passkey", p.handle(p.passkeyForStep))
	login.GET("/login/change", p.handle(p.showChange))
	login.POST("/login/change", p.handle(p.submitChange))
	login.GET("/login/forgot", p.handle(p.showForgot))
	login.POST("/login/forgot", p.handle(p.submitForgot))
	login.GET("/login/reset", p.handle(p.showReset))
	login.POST("/login/reset", p.handle(p.submitReset))
	p.mountRegistration(login)
	login.GET("/login/invitation", p.handle(p.showInvitation))
	login.POST("/login/invitation", p.handle(p.submitInvitation))
	login.GET("/login/second-factor", p.handle(p.stepping(p.showEnrollment)))
	login.POST("/login/second-factor", p.handle(p.stepping(p.submitEnrollment)))
	login.POST("/login/second-factor/skip", p.handle(p.stepping(p.skipEnrollment)))
	login.POST("/login/second-factor/passkey", p.handle(p.stepping(p.passkeyForEnrollment)))
	p.mountSteps(login)
	p.mountDevice(login)
	p.mountUpstream(login)
	login.GET("/logout", p.handle(p.showLogout))
	login.POST("/logout", p.handle(p.logout))

	own := r.Group("/", p.harden(ownPolicy), p.speak, p.sameOrigin, limitBody)
	own.GET("/setup", p.handle(p.showSetup))
	own.POST("/setup", p.handle(p.submitSetup))
	own.GET("/me", p.handle(p.signedIn(p.showMe)))
	own.GET(tenantsAddress, p.handle(p.signedIn(p.showOwnTenants)))
	own.POST(tenantsAddress, p.handle(p.signedIn(p.changeOwnTenants)))
	own.GET(activityAddress, p.handle(p.signedIn(p.showActivity)))
	own.GET(notMeAddress, p.handle(p.signedIn(p.showNotMe)))
	own.POST(notMeAddress, p.handle(p.signedIn(p.endOthers)))
	own.GET(applicationsAddress, p.handle(p.signedIn(p.showApplications)))
	own.POST(applicationsAddress, p.handle(p.signedIn(p.disconnect)))
	own.GET(tokensAddress, p.handle(p.signedIn(p.showTokens)))
	own.GET(tokensAddress+"/:tenant/new", p.handle(p.confirmedAt(newTokenAddress, p.showNewToken)))
	own.POST(tokensAddress+"/:tenant/new", p.handle(p.confirmedAt(newTokenAddress, p.makeToken)))
	own.GET(tokensAddress+"/:tenant/:token", p.handle(p.signedIn(p.showToken)))
	own.POST(tokensAddress+"/:tenant/:token/change", p.handle(p.confirmedAt(tokenAddress, p.changeToken)))
	own.POST(tokensAddress+"/:tenant/:token/rotate", p.handle(p.confirmedAt(tokenAddress, p.rotateToken)))
	own.POST(tokensAddress+"/:tenant/:token/revoke", p.handle(p.signedIn(p.revokeToken)))
	atProfile, atDeletion := func(*gin.Context) string { return profileAddress }, func(*gin.Context) string { return deleteAddress }
	own.GET(profileAddress, p.handle(p.signedIn(p.showProfile)))
	own.POST(profileAddress, p.handle(p.signedIn(p.changeProfile)))
	own.POST(profileAddress+"/download", p.handle(p.confirmedAt(atProfile, p.download)))
	own.GET(deleteAddress, p.handle(p.confirmedAt(atDeletion, p.showDelete)))
	own.POST(deleteAddress, p.handle(p.confirmedAt(atDeletion, p.deleteAccount)))
	p.mountEmail(own)
	p.mountProviders(own)
	own.GET(tenantsAddress+"/:tenant", p.handle(p.signedIn(p.showOwnRoles)))
	own.GET("/platform/outbox", p.handle(p.signedIn(p.showOutbox)))
	own.GET(securityPage, p.handle(p.signedIn(p.showSecurity)))
	own.POST("/me/password", p.handle(p.signedIn(p.changePassword)))
	own.POST("/me/totp", p.handle(p.confirmed(p.beginTOTP)))
	own.GET("/me/totp", p.handle(p.confirmed(p.showTOTP)))
	own.POST("/me/totp/activate", p.handle(p.confirmed(p.activateTOTP)))
	own.POST("/me/totp/remove", p.handle(p.confirmed(p.removeTOTP)))
	p.mountPasskeys(own)
	own.POST("/me/recovery-codes", p.handle(p.confirmed(p.newRecoveryCodes)))
	own.POST("/me/links", p.handle(p.confirmed(p.unlink)))
	own.POST("/me/trusted-devices", p.handle(p.signedIn(p.removeTrustedDevice)))
	own.POST("/me/sessions", p.handle(p.signedIn(p.endSessions)))

	if engine, ok := r.(interface{ Routes() gin.RoutesInfo }); ok {
		for _, route := range engine.Routes() {
			if route.Method == http.MethodGet {
				p.shown[route.Path] = true
			}
		}
	}
}

// mountSteps adds the pages between a sign-in and the application's answer.
func (p *Portal) mountSteps(login gin.IRouter) {
	login.GET("/login/tenant", p.handle(p.showTenants))
	login.POST("/login/tenant", p.handle(p.chooseTenant))
	login.GET("/login/consent", p.handle(p.showConsent))
	login.POST("/login/consent", p.handle(p.submitConsent))
}

// Stylesheet returns the address of the stylesheet, for pages of other edges.
func (p *Portal) Stylesheet() string { return p.assets.named["portal.css"] }

// NotFound answers for addresses that nobody serves.
func (p *Portal) NotFound() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header(), ownPolicy)
		p.writeError(w, p.listen(r), http.StatusNotFound, "not_found")
	})
}

func (p *Portal) home(c *gin.Context) error {
	session, err := p.session(c)
	if err != nil {
		return err
	}
	if session == nil {
		seeOther(c, "/login")
	} else {
		seeOther(c, afterLogin)
	}
	return nil
}
