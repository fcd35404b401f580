package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Content security policies. Pages that lead on to an application name no
// form-action: Chromium holds the whole chain of redirects that a POST starts
// against it, and the chain ends at the application's callback, or beyond.
const (
	signInPolicy = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
	ownPolicy    = signInPolicy + "; form-action 'self'"
)

// maxForm bounds a form, in bytes. The longest holds four short fields.
const maxForm = 64 << 10

func setHeaders(header http.Header, policy string) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
}

func (p *Portal) harden(policy string) gin.HandlerFunc {
	return func(c *gin.Context) {
		setHeaders(c.Writer.Header(), policy)
		c.Next()
	}
}

// sameOrigin turns away forms that another site sends (CSRF, and login CSRF).
func (p *Portal) sameOrigin(c *gin.Context) {
	if err := p.origin.Check(c.Request); err != nil {
		p.writeError(c.Writer, c.Request, http.StatusForbidden, "cross_origin")
		c.Abort()
		return
	}
	c.Next()
}

func limitBody(c *gin.Context) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxForm)
	c.Next()
}

// form reads a POST's own fields; those of the address don't count.
func form(c *gin.Context) (func(name string) string, error) {
	if err := c.Request.ParseForm(); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, fault.New(fault.TooLarge, "the form exceeds %d bytes", maxForm)
		}
		return nil, &fault.Error{Kind: fault.Invalid, Detail: "the form can't be read", Err: err}
	}
	return c.Request.PostForm.Get, nil
}

// personKey is the context key of whose session a request comes in.
type personKey struct{}

// whose returns the person of the session that a request comes in, which session
// has found: they are read once a request.
func whose(c *gin.Context) *directory.User {
	person, _ := c.Request.Context().Value(personKey{}).(*directory.User)
	return person
}

// session returns who is signed in, or nil. After it whose tells of the person.
func (p *Portal) session(c *gin.Context) (*authn.Session, error) {
	session, person, err := p.authn.SignedIn(c.Request.Context(), p.cookies.Get(c.Request, cookie.Session))
	if errors.Is(err, fault.Unauthenticated) {
		return nil, nil // nobody is signed in, which is no failure
	}
	if err != nil {
		return nil, err
	}
	s := speechOf(c.Request.Context())
	s.prefer(byPerson, person.Locale)
	s.zone = person.Zone()
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), personKey{}, person))
	return session, nil
}

// ownSession is session for a person's own pages, which belong to no tenant: those
// of all their tenants limit for how long it counts.
func (p *Portal) ownSession(c *gin.Context) (*authn.Session, error) {
	session, err := p.session(c)
	if err != nil || session == nil {
		return nil, err
	}
	if within, err := p.authn.WithinAll(c.Request.Context(), session); err != nil || !within {
		return nil, err
	}
	return session, nil
}

// signedIn leads to the sign-in who is not signed in. What handler changes is
// attributed to the person.
func (p *Portal) signedIn(handler func(*gin.Context, *authn.Session) error) func(*gin.Context) error {
	return p.inSession(p.ownSession, handler)
}

// stepping is signedIn for the steps of a sign-in, where the tenant in use says for
// how long a session counts, as soon as it is known which one that is.
func (p *Portal) stepping(handler func(*gin.Context, *authn.Session) error) func(*gin.Context) error {
	return p.inSession(p.session, handler)
}

func (p *Portal) inSession(find func(*gin.Context) (*authn.Session, error), handler func(*gin.Context, *authn.Session) error) func(*gin.Context) error {
	return func(c *gin.Context) error {
		session, err := find(c)
		if err != nil {
			return err
		}
		if session == nil {
			seeOther(c, "/login")
			return nil
		}
		whole, err := p.authn.Whole(c.Request.Context(), session)
		if err != nil {
			return err
		}
		if !whole {
			seeOther(c, ownWay(c))
			return nil
		}
		c.Request = c.Request.WithContext(asPerson(c.Request.Context(), session, ""))
		return handler(c, session)
	}
}

// asPerson returns ctx for what the session's person does in a tenant, or for
// themselves if there is none: as they, and nobody else.
func asPerson(ctx context.Context, session *authn.Session, tenant id.Tenant) context.Context {
	return authz.NewContext(session.As(ctx), authz.Principal{
		Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, Tenant: tenant, User: session.User, Session: session.ID,
	})
}

// confirmed leads a person to show who they are once more, unless they have just
// done so: what handler changes, somebody at an unlocked screen must not. Then
// they come back to the page of what they sign in with.
func (p *Portal) confirmed(handler func(*gin.Context, *authn.Session) error) func(*gin.Context) error {
	return p.confirmedAt(func(*gin.Context) string { return securityPage }, handler)
}

// confirmedAt is confirmed for what belongs to another page of this site.
func (p *Portal) confirmedAt(page func(*gin.Context) string, handler func(*gin.Context, *authn.Session) error) func(*gin.Context) error {
	return p.signedIn(func(c *gin.Context, session *authn.Session) error {
		just, err := p.authn.Sudo(c.Request.Context(), session)
		if err != nil {
			return err
		}
		if !just {
			seeOther(c, "/login?confirm=1&continue="+url.QueryEscape(page(c)))
			return nil
		}
		return handler(c, session)
	})
}

// client describes the browser that asks.
func (p *Portal) client(c *gin.Context) authn.Client {
	name := ""
	if d := deviceOf(c.Request.UserAgent()); d.Browser != "" && d.System != "" {
		name = d.Browser + ", " + d.System
	}
	return authn.Client{
		UserAgent: c.Request.UserAgent(), Address: c.ClientIP(), Name: name, Language: speechOf(c.Request.Context()).Tag,
		Session: p.cookies.Get(c.Request, cookie.Session), Device: p.cookies.Get(c.Request, cookie.Device), Known: p.cookies.Get(c.Request, cookie.Known),
	}
}

// seeOther redirects by 303, never 307: what was posted here stays here
// (RFC 9700 §4.12).
func seeOther(c *gin.Context, address string) {
	c.Redirect(http.StatusSeeOther, address)
}
