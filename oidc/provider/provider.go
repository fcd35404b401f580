// Package provider is the OAuth 2.0 and OpenID Connect edge: it translates HTTP
// and the protocols' wire formats into calls of package oidc, and its faults
// into the protocols' errors.
//
// zitadel/oidc's op.Server dispatches the token and revocation endpoints,
// discovery and the key set. Everything that decides is ours: the
// authorization, introspection, userinfo and end-session endpoints, client authentication,
// minting, and a gate before the library that lets through only what RFC 6749
// allows. The pages on which people sign in, choose a tenant and consent are the
// portal's; the two meet at the id of the authorization request.
package provider

import (
	"cmp"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/egress"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/oidc"
)

// Addresses, below the issuer.
const (
	pathAuthorize     = "/oauth2/authorize"
	pathContinue      = "/oauth2/authorize/continue"
	pathCancel        = "/oauth2/authorize/cancel"
	pathToken         = "/oauth2/token" //nolint:gosec // an address, no credential
	pathPush          = "/oauth2/par"
	pathIntrospect    = "/oauth2/introspect"
	pathRevoke        = "/oauth2/revoke"
	pathDevice        = "/oauth2/device_authorization"
	pathRegister      = "/oauth2/register"
	pathKeys          = "/oauth2/keys"
	pathUserInfo      = "/oauth2/userinfo"
	pathEndSession    = "/oauth2/end_session"
	pathDiscovery     = "/.well-known/openid-configuration"       // OpenID Connect Discovery 1.0 §4
	pathMetadata      = "/.well-known/oauth-authorization-server" // RFC 8414 §3
	pathLogin         = "/login"                                  // the portal's
	pathChooseTenant  = "/login/tenant"                           // the portal's
	pathUserCode      = "/device"                                 // the portal's
	pathAllowDevice   = "/device/confirm"                         // the portal's
	pathDeviceDone    = "/device/done"                            // the portal's
	pathSecondFactor  = "/login/second-factor"                    // the portal's
	pathConsent       = "/login/consent"                          // the portal's
	parameterRequest  = "request"
	publicMaxAge      = "public, max-age=300"
	maxBody           = 64 << 10
	backchannelExpiry = 5 * time.Second
)

// Deps is what New needs. All fields but Stylesheet, Language and Private are
// required.
type Deps struct {
	OIDC    *oidc.OIDC
	Authn   *authn.Authn
	Cookies cookie.Jar
	Logger  *slog.Logger
	// Stylesheet is the address of the portal's stylesheet, so that all pages of
	// the server look like one. Without it the pages are plain.
	Stylesheet string
	Language   string // tag of the one for people of whom none is known; empty: English
	Private    bool   // applications are told of a logout at private addresses as well
}

// Provider is the edge. Mount it, and give Deliver the deliveries of kind
// outbox.BackchannelLogout.
type Provider struct {
	oidc    *oidc.OIDC
	authn   *authn.Authn
	cookies cookie.Jar
	logger  *slog.Logger

	base          string                        // the issuer without a slash at its end
	library       http.Handler                  // op.Server behind its router
	pages         map[string]*template.Template // by the tags of the languages
	language      string                        // of people of whom none is known
	backchannel   *http.Client
	madeKeys      atomic.Pointer[made[*jose.JSONWebKeySet]]
	madeDiscovery atomic.Pointer[made[described]]
}

// New returns a Provider. An error is a mistake in the pages.
func New(d Deps) (*Provider, error) {
	pages, err := parsePages(d.Stylesheet)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		oidc: d.OIDC, authn: d.Authn, cookies: d.Cookies, logger: d.Logger,
		base:  strings.TrimSuffix(d.OIDC.Issuer(), "/"),
		pages: pages, language: cmp.Or(d.Language, language.Default),
	}
	p.backchannel = egress.Client(backchannelExpiry, d.Private || developing(p.base))
	// Endpoints is a fresh value because the library's default is shared and
	// mutable. Without CORS options it would reflect every origin, with
	// credentials.
	p.library = op.RegisterServer(&server{provider: p}, op.Endpoints{
		Token:      op.NewEndpoint(pathToken),
		Revocation: op.NewEndpoint(pathRevoke),
		JwksURI:    op.NewEndpoint(pathKeys),

		DeviceAuthorization: op.NewEndpoint(pathDevice),
	}, op.WithServerCORSOptions(nil))
	return p, nil
}

// Mount registers the endpoints.
func (p *Provider) Mount(r gin.IRouter) {
	for path, serve := range map[string]gin.HandlerFunc{pathDiscovery: p.metadata, pathMetadata: p.metadata, pathKeys: p.keys} {
		r.Match([]string{http.MethodGet, http.MethodHead}, path, p.public, serve)
	}
	r.Any(pathToken, p.private, p.cors, p.postOnly, p.tokenGate, p.clientGate, p.senderGate, p.dispatch)
	r.Any(pathPush, p.private, p.cors, p.postOnly, p.clientGate, p.senderGate, p.push)
	r.Any(pathDevice, p.private, p.postOnly, p.fromPeer, p.clientGate, p.dispatch)
	r.Any(pathRevoke, p.private, p.cors, p.postOnly, p.clientGate, p.dispatch)
	r.Any(pathIntrospect, p.private, p.postOnly, p.clientGate, p.introspect)
	r.Any(pathUserInfo, p.private, p.cors, p.userInfo)

	r.Any(pathRegister, p.private, p.register)
	r.Any(pathRegister+"/:client_id", p.private, p.registration)

	r.GET(pathAuthorize, p.private, p.authorize)
	r.POST(pathAuthorize, p.private, p.authorize)
	r.GET(pathContinue, p.private, p.resume)
	r.POST(pathCancel, p.private, p.cancel)
	r.GET(pathEndSession, p.private, p.endSession)
	r.POST(pathEndSession, p.private, p.endSession)
}

// developing reports whether the instance runs on a developer's machine.
func developing(issuer string) bool {
	u, err := url.Parse(issuer)
	return err == nil && u.Scheme == "http" && isLoopback(u.Hostname())
}
