package portal

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// mePage shows a person what there is about them.
type mePage struct {
	Name        string
	Email       string
	Operator    bool
	SecondStep  bool   // signs in with two factors
	Issuer      string // the public URL
	Tenants     []standingView
	AllTenants  int // where Tenants are some of them only; else 0
	Invitations []standingView
	Sessions    []sessionView
	Checks      []checkView
	Done        int // of the checks
	Recent      []activityView
}

// checkView is something that protects an account.
type checkView struct {
	Text string // key
	Done bool
	Link string
}

// someTenants is how many tenants are on the overview of somebody who has more.
const someTenants = 8

// recentLength is how many entries of the activity are on the overview.
const recentLength = 5

// sessionView is one signed-in browser.
type sessionView struct {
	ID       id.Session
	Device   device
	Address  string
	LastSeen time.Time
	Started  time.Time
	Current  bool
	// Applications are the names of those that are signed in by it.
	Applications []string
}

// logoutPage asks whether to sign out.
type logoutPage struct{ Email string }

// signedOutPage says that nobody is signed in any more.
type signedOutPage struct{}

func (p *Portal) showMe(c *gin.Context, session *authn.Session) error {
	ctx := c.Request.Context()
	person := whose(c)
	factors, err := p.authn.SecondFactors(ctx, session.User)
	if err != nil {
		return err
	}
	view := mePage{Name: person.Name.String(), Email: person.Email, Operator: person.Operator, SecondStep: factors.Any(), Issuer: p.oidc.Issuer()}
	if view.Name == "" {
		view.Name = person.Email
	}
	if view.Tenants, view.Invitations, err = p.ownStandings(ctx, session); err != nil {
		return err
	}
	if len(view.Tenants) > someTenants {
		view.AllTenants = len(view.Tenants)
		if i := slices.IndexFunc(view.Tenants, func(s standingView) bool { return s.Default }); i >= someTenants { // the one that they work in stays
			view.Tenants[someTenants-1] = view.Tenants[i]
		}
		view.Tenants = view.Tenants[:someTenants]
	}
	sessions, err := p.authn.Sessions(ctx, session.User)
	if err != nil {
		return err
	}
	participants, err := p.oidc.Participants(ctx, session.User)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		view.Sessions = append(view.Sessions, sessionView{
			ID: s.ID, Device: deviceOf(s.UserAgent), Address: s.Address, LastSeen: speechOf(ctx).at(s.LastSeen), Started: s.Created, Current: s.ID == session.ID,
			Applications: participants[s.ID],
		})
	}
	view.check("passkey", factors.Passkeys > 0, securityPage+"#passkeys", p.authn.HasPasskeys() || factors.Passkeys > 0)
	view.check("factor", factors.Any(), securityPage+"#second", true)
	view.check("codes", factors.RecoveryCodes > 0, securityPage+"#codes", true)
	view.check("sessions", len(sessions) <= 1, "#sessions", true)
	recent, _, err := p.authn.Activity(ctx, session.User, "", recentLength)
	if err != nil {
		return err
	}
	for i := range recent {
		recent[i].At = speechOf(ctx).at(recent[i].At)
		view.Recent = append(view.Recent, activityViewOf(&recent[i]))
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.me, view)
}

// check adds to what protects the account, where it can be had.
func (v *mePage) check(key string, done bool, link string, available bool) {
	if !available {
		return
	}
	text := "me.check." + key
	if done {
		v.Done++
		text += ".done"
	}
	v.Checks = append(v.Checks, checkView{text, done, link})
}

// endSessions signs out one browser (field session) or all of them (field all).
func (p *Portal) endSessions(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	if field("all") != "" {
		if err := p.oidc.EndLogin(ctx, session.User); err != nil {
			return err
		}
		p.cookies.Clear(c.Writer, cookie.Session)
		seeOther(c, "/logout")
		return nil
	}
	ended, err := p.authn.SessionByID(ctx, id.Session(field("session")))
	if errors.Is(err, fault.Unauthenticated) || err == nil && ended.User != session.User {
		seeOther(c, "/me") // it is over, or was never theirs to know about
		return nil
	}
	if err != nil {
		return err
	}
	if err := p.oidc.SignOut(ctx, ended.ID); err != nil {
		return err
	}
	seeOther(c, "/me")
	return nil
}

func (p *Portal) showLogout(c *gin.Context) error {
	session, err := p.session(c)
	if err != nil {
		return err
	}
	if session == nil {
		return write(c.Writer, c.Request, http.StatusOK, p.pages.signedOut, signedOutPage{})
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.logout, logoutPage{Email: whose(c).Email})
}

// logout ends the session of this browser, and goes on to the page of the field
// continue, if it is one of this site: to sign in as somebody else.
func (p *Portal) logout(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	session, err := p.session(c)
	if err != nil {
		return err
	}
	if session != nil {
		if err := p.oidc.SignOut(session.As(c.Request.Context()), session.ID); err != nil {
			return err
		}
	}
	p.cookies.Clear(c.Writer, cookie.Session)
	if next := field("continue"); authn.LocalPath(next) {
		seeOther(c, next)
	} else {
		seeOther(c, "/logout")
	}
	return nil
}
