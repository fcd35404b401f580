package portal

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/language"
)

const (
	profileAddress = "/me/profile"
	deleteAddress  = "/me/profile/delete"
)

// profilePage is what a person is called.
type profilePage struct {
	Given, Family string
	Email         string
	Languages     []languageView
	Zone          string // IANA name; empty: UTC
	Zones         []string
	ZoneLock      *lockView // nil: the person may change it
	NameLock      *lockView // nil: the person may change it
	EmailLock     *lockView // nil: the person may change it
	Pending       *pendingEmail
	Done          bool
	Note          string // key of what became of the address; may be empty
	Problem       *problem
}

// languageView is a language to choose; an empty tag is the browser's.
type languageView struct {
	language.Language
	Chosen bool
}

// lockView says by whom something is fixed.
type lockView struct{ Why message }

// deletePage asks whether to delete the account.
type deletePage struct {
	Email    string
	Operator bool
	Ties     []tieView // what keeps the account; none: it can be deleted
	Problem  *problem
}

// tieView is a tenant that keeps the account.
type tieView struct {
	Slug, Name string
	Why        message
}

// zones are offered of the hundreds that there are; any other can be typed.
func zones() []string {
	return []string{
		"Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi", "America/Argentina/Buenos_Aires", "America/Bogota", "America/Chicago",
		"America/Denver", "America/Halifax", "America/Los_Angeles", "America/Mexico_City", "America/New_York", "America/Phoenix", "America/Santiago",
		"America/Sao_Paulo", "America/St_Johns", "America/Toronto", "Asia/Bangkok", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jakarta", "Asia/Jerusalem",
		"Asia/Karachi", "Asia/Kolkata", "Asia/Manila", "Asia/Riyadh", "Asia/Seoul", "Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo", "Atlantic/Reykjavik",
		"Australia/Adelaide", "Australia/Brisbane", "Australia/Perth", "Australia/Sydney", "Europe/Athens", "Europe/Berlin", "Europe/Helsinki",
		"Europe/Istanbul", "Europe/Kyiv", "Europe/Lisbon", "Europe/London", "Europe/Madrid", "Europe/Paris", "Europe/Warsaw", "Europe/Zurich",
		"Pacific/Auckland", "Pacific/Honolulu",
	}
}

func lockViewOf(l *directory.Lock) *lockView {
	switch {
	case l == nil:
		return nil
	case l.Reason == directory.LockDirectory && len(l.By) > 0:
		return &lockView{message{Key: "profile.lock.connection", Args: []any{l.By[0], l.Tenant}}}
	}
	return &lockView{message{Key: "profile.lock." + string(l.Reason), Args: []any{l.Tenant}}}
}

func (p *Portal) showProfile(c *gin.Context, _ *authn.Session) error {
	profile, err := p.directory.OwnProfile(c.Request.Context())
	if err != nil {
		return err
	}
	return p.writeProfile(c, http.StatusOK, profile, nil)
}

func (p *Portal) writeProfile(c *gin.Context, status int, profile *directory.OwnProfile, why *problem) error {
	view := profilePage{
		Given: profile.Name.Given, Family: profile.Name.Family, Email: profile.Email, Problem: why, Done: why == nil && c.Query("done") != "", Note: emailNote(c.Query("email")),
		NameLock: lockViewOf(profile.NameLock), EmailLock: lockViewOf(profile.EmailLock),
		Zone: profile.TimeZone, Zones: zones(), ZoneLock: lockViewOf(profile.ZoneLock),
	}
	change, err := p.directory.PendingEmailChange(c.Request.Context())
	if err != nil {
		return err
	}
	if change != nil {
		view.Pending = &pendingEmail{change.New, change.OldConfirmed, change.NewConfirmed, speechOf(c.Request.Context()).at(change.Expires)}
	}
	spoken, _ := language.Choose(profile.Locale) // de-AT is German
	view.Languages = []languageView{{Chosen: spoken == ""}}
	for _, l := range language.All() {
		view.Languages = append(view.Languages, languageView{l, l.Tag == spoken})
	}
	return write(c.Writer, c.Request, status, p.pages.profile, view)
}

// changeProfile changes the name, where it is not locked, and the language.
func (p *Portal) changeProfile(c *gin.Context, _ *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	profile, err := p.directory.OwnProfile(ctx)
	if err != nil {
		return err
	}
	var change directory.ProfileChange
	spoken, _ := language.Choose(profile.Locale)
	if tag := field("language"); tag != spoken && (tag == "" || language.Known(tag)) && c.Request.PostForm.Has("language") {
		change.Locale, profile.Locale = &tag, tag
	}
	if c.Request.PostForm.Has("given") {
		given, family := field("given"), field("family")
		change.Given, change.Family, profile.Name.Given, profile.Name.Family = &given, &family, given, family
	}
	if c.Request.PostForm.Has("time_zone") {
		zone := field("time_zone")
		change.TimeZone, profile.TimeZone = &zone, zone
	}
	err = p.directory.ChangeProfile(ctx, change)
	switch f := fault.As(err); {
	case err == nil:
		seeOther(c, profileAddress+"?done=1")
		return nil
	case f.Kind == fault.Invalid && (f.Field == "given" || f.Field == "family" || f.Field == "time_zone"):
		return p.writeProfile(c, http.StatusUnprocessableEntity, profile, &problem{message{Key: "profile.problem." + f.Field}, f.Field})
	case f.Kind == fault.Denied:
		return p.writeProfile(c, http.StatusForbidden, profile, &problem{message{Key: "profile.problem.locked"}, ""})
	}
	return err
}

func (p *Portal) showDelete(c *gin.Context, _ *authn.Session) error {
	return p.writeDelete(c, http.StatusOK, nil)
}

func (p *Portal) writeDelete(c *gin.Context, status int, why *problem) error {
	ctx, person := c.Request.Context(), whose(c)
	view := deletePage{Email: person.Email, Operator: person.Operator, Problem: why}
	if !person.Operator {
		ties, err := p.directory.Ties(ctx)
		if err != nil {
			return err
		}
		for _, tie := range ties {
			view.Ties = append(view.Ties, tieView{tie.Slug, tie.TenantName, stay(tie.Err)})
		}
	}
	return write(c.Writer, c.Request, status, p.pages.delete, view)
}

// deleteAccount deletes the person whose address is typed once more.
func (p *Portal) deleteAccount(c *gin.Context, _ *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx, person := c.Request.Context(), whose(c)
	if person.Email == "" || directory.Fold(field("email")) != directory.Fold(person.Email) {
		return p.writeDelete(c, http.StatusUnprocessableEntity, &problem{message{Key: "delete.problem.email"}, "email"})
	}
	err = p.directory.DeleteOwn(ctx)
	if fault.As(err).Kind == fault.Denied {
		return p.writeDelete(c, http.StatusForbidden, &problem{message{Key: "delete.problem.tied"}, ""})
	}
	if err != nil {
		return err
	}
	p.clearOwnCookies(c)
	seeOther(c, "/logout")
	return nil
}
