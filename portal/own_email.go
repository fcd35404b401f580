package portal

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

const (
	emailAddress     = "/me/profile/email" // where another address is asked for
	emailLinkAddress = "/me/email"         // where the links of the letters lead
)

// emailPage asks for another e-mail address.
type emailPage struct {
	Email   string // the address until now
	New     string // what was typed
	Hours   int    // for which the links work
	Domains []domainsView
	Problem *problem
}

// domainsView is a tenant that takes addresses of some domains only.
type domainsView struct{ Tenant, Domains string }

// emailLinkPage is what a link to one of the two addresses leads to.
type emailLinkPage struct {
	Old, New string // Old is empty for who may not know it
	Mine     bool   // who is signed in asked for the change, and can confirm it
	SignIn   string // where to sign in first; empty: somebody else is signed in
	Here     string // the address of this page
	Token    string
	Gone     bool // it was canceled
}

// pendingEmail is a change that waits for confirmations.
type pendingEmail struct {
	New          string
	OldConfirmed bool
	NewConfirmed bool
	Expires      time.Time
}

// emailNotes are what the profile page says of the address after an answer, by
// the word in the page's address.
func emailNote(word string) string {
	switch directory.EmailOutcome(word) {
	case "sent", "canceled", directory.EmailWaits, directory.EmailChanged, directory.EmailRefused:
		return "email.note." + word
	}
	return ""
}

// mountEmail adds the routes by which an address is changed.
func (p *Portal) mountEmail(own gin.IRouter) {
	atEmail := func(*gin.Context) string { return emailAddress }
	own.GET(emailAddress, p.handle(p.confirmedAt(atEmail, p.showEmail)))
	own.POST(emailAddress, p.handle(p.confirmedAt(atEmail, p.askEmail)))
	own.POST(emailAddress+"/cancel", p.handle(p.signedIn(p.cancelOwnEmail)))
	own.GET(emailLinkAddress, p.handle(p.showEmailLink))
	own.POST(emailLinkAddress, p.handle(p.answerEmailLink))
}

func (p *Portal) showEmail(c *gin.Context, _ *authn.Session) error {
	return p.writeEmail(c, http.StatusOK, "", nil)
}

func (p *Portal) writeEmail(c *gin.Context, status int, typed string, why *problem) error {
	profile, err := p.directory.OwnProfile(c.Request.Context())
	if err != nil {
		return err
	}
	if profile.EmailLock != nil {
		return fault.Field(fault.Denied, "email", "%s decides about the address", profile.EmailLock.Tenant)
	}
	view := emailPage{Email: profile.Email, New: typed, Hours: int(directory.EmailChangeTTL / time.Hour), Problem: why}
	for _, only := range profile.EmailDomains {
		view.Domains = append(view.Domains, domainsView{only.Tenant, strings.Join(only.Domains, ", ")})
	}
	return write(c.Writer, c.Request, status, p.pages.email, view)
}

// askEmail has both addresses asked.
func (p *Portal) askEmail(c *gin.Context, _ *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	typed := field("email")
	err = p.directory.RequestEmailChange(c.Request.Context(), typed)
	switch f := fault.As(err); {
	case err == nil:
		seeOther(c, profileAddress+"?email=sent")
		return nil
	case f.Kind == fault.Invalid && f.Field == "email":
		key := "email.problem.form"
		if f.Code == "same_email" || f.Code == "invite_domain" {
			key = "email.problem." + f.Code
		}
		return p.writeEmail(c, http.StatusUnprocessableEntity, typed, &problem{message{Key: key}, "email"})
	case f.Kind == fault.Throttled:
		setRetryAfter(c.Writer.Header(), f.RetryAfter)
		return p.writeEmail(c, http.StatusTooManyRequests, typed, &problem{waitMessage(f.RetryAfter), ""})
	}
	return err
}

// cancelOwnEmail drops the change that the person has asked for.
func (p *Portal) cancelOwnEmail(c *gin.Context, _ *authn.Session) error {
	if err := p.directory.CancelOwnEmailChange(c.Request.Context()); err != nil {
		return err
	}
	seeOther(c, profileAddress+"?email=canceled")
	return nil
}

// showEmailLink asks what to do about a change. Following a link does nothing by
// itself: programs that look for malware in mail follow them too.
func (p *Portal) showEmailLink(c *gin.Context) error {
	if c.Query("canceled") != "" {
		return write(c.Writer, c.Request, http.StatusOK, p.pages.emailLink, emailLinkPage{Gone: true})
	}
	session, err := p.ownSession(c)
	if err != nil {
		return err
	}
	token := c.Query("token")
	change, side, err := p.directory.EmailChangeOf(c.Request.Context(), secret.NewText(token))
	if err != nil {
		return err
	}
	view := emailLinkPage{New: change.New, Token: token, Here: emailLinkAddress + "?token=" + url.QueryEscape(token), Mine: session != nil && session.User == change.User}
	if view.Mine || side == directory.OldAddress {
		view.Old = change.Old
	}
	if session == nil {
		view.SignIn = "/login?continue=" + url.QueryEscape(view.Here)
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.emailLink, view)
}

// answerEmailLink confirms a change, for who asked for it, or drops it, for
// whoever has the link.
func (p *Portal) answerEmailLink(c *gin.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	session, err := p.ownSession(c)
	if err != nil {
		return err
	}
	ctx, token := c.Request.Context(), secret.NewText(field("token"))
	if session != nil {
		ctx = asPerson(ctx, session, "")
	}
	if field("answer") != "confirm" {
		if err := p.directory.CancelEmailChange(ctx, token); err != nil {
			return err
		}
		seeOther(c, emailLinkAddress+"?canceled=1")
		return nil
	}
	if session == nil {
		seeOther(c, "/login?continue="+url.QueryEscape(emailLinkAddress+"?token="+url.QueryEscape(token.Reveal())))
		return nil
	}
	outcome, err := p.directory.ConfirmEmailChange(ctx, token)
	if err != nil {
		return err
	}
	seeOther(c, profileAddress+"?email="+string(outcome))
	return nil
}
