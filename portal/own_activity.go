package portal

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

const (
	activityAddress = "/me/activity"
	notMeAddress    = "/me/activity/not-me" // what to do where somebody else was it
)

// activityLength is how many entries a page of the activity has.
const activityLength = 25

// activityPage is what has happened to a person's account.
type activityPage struct {
	Entries []activityView
	Next    string // the cursor of the next page; empty: this is the last
	First   bool   // this is the first page
}

// activityView is one entry.
type activityView struct {
	What    message
	Warn    bool // somebody else may have been it
	Others  bool // it was not the person who did it
	Device  device
	Known   bool // the device is known
	Address string
	At      time.Time
}

// notMePage leads through what to do where somebody else has been at the account.
type notMePage struct {
	Others       int // other browsers that are signed in
	Devices      int // that are trusted
	HasPassword  bool
	Applications int
	Done         bool // the other browsers were signed out just now
}

func activityViewOf(a *authn.Activity) activityView {
	view := activityView{
		What: message{Key: "activity." + a.Action}, Others: !a.Own && a.Action != "login.fail" && a.Action != "account.close",
		Device: deviceOf(a.UserAgent), Known: a.UserAgent != "", Address: a.Address, At: a.At,
	}
	switch a.Action { // whose text holds the name of something
	case "passkey.add", "passkey.remove", "passkey.clone_warning", "application.allow", "application.disconnect",
		"application_token.create", "application_token.rotate", "application_token.change", "application_token.revoke":
		view.What.Args = []any{a.Name}
	}
	switch a.Action {
	case "login.fail", "account.close", "passkey.clone_warning":
		view.Warn = true
	}
	return view
}

func (p *Portal) showActivity(c *gin.Context, session *authn.Session) error {
	before := id.Event(c.Query("before"))
	if before != "" {
		if _, err := id.Parse[id.Event](string(before)); err != nil {
			return fault.New(fault.NotFound, "there is no such page")
		}
	}
	entries, next, err := p.authn.Activity(c.Request.Context(), session.User, before, activityLength)
	if err != nil {
		return err
	}
	view := activityPage{Next: string(next), First: before == ""}
	for i := range entries {
		entries[i].At = speechOf(c.Request.Context()).at(entries[i].At)
		view.Entries = append(view.Entries, activityViewOf(&entries[i]))
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.activity, view)
}

func (p *Portal) showNotMe(c *gin.Context, session *authn.Session) error {
	ctx := c.Request.Context()
	view := notMePage{Done: c.Query("done") != ""}
	sessions, err := p.authn.Sessions(ctx, session.User)
	if err != nil {
		return err
	}
	view.Others = max(len(sessions)-1, 0)
	devices, err := p.authn.TrustedDevices(ctx, session.User)
	if err != nil {
		return err
	}
	view.Devices = len(devices)
	if view.HasPassword, err = p.authn.HasPassword(ctx, session.User); err != nil {
		return err
	}
	applications, err := p.oidc.Connected(ctx, session.User)
	if err != nil {
		return err
	}
	view.Applications = len(applications)
	return write(c.Writer, c.Request, http.StatusOK, p.pages.notMe, view)
}

// endOthers signs out every other browser, and trusts none any more.
func (p *Portal) endOthers(c *gin.Context, session *authn.Session) error {
	if err := p.oidc.EndOtherSessions(c.Request.Context(), session); err != nil {
		return err
	}
	seeOther(c, notMeAddress+"?done=1")
	return nil
}
