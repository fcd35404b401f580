package authn

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
)

// ActivityStore reads the audit trail for the people whom it is about.
type ActivityStore interface {
	// EventsOfPerson returns events of these actions that the user caused or that
	// have the user as their target, the newest first: at most limit, older than
	// before if that is not empty.
	EventsOfPerson(ctx context.Context, user id.User, actions []string, before id.Event, limit int) ([]audit.Event, error)
}

// An Activity is something that has happened to a person's account.
type Activity struct {
	ID        id.Event
	At        time.Time
	Action    string // as the audit trail has it, one of those that Activities says
	Own       bool   // the person did it themselves
	Address   string // from where; may be empty
	UserAgent string // may be empty
	Name      string // of the passkey, application token or application; may be empty
}

// activities returns the actions of which people are shown those that are about
// them, with the field of the event's data that names them. Empty: the target of
// the event is the person.
func activities() map[string]string {
	return map[string]string{
		"session.start": "user", "session.renew": "user", "session.end": "user",
		"login.fail": "", "account.close": "",
		"password.change": "", "password_reset.send": "",
		"totp.activate": "", "totp.remove": "", "recovery_codes.create": "", "recovery_code.use": "", "second_factor.remove": "",
		"passkey.add": "user", "passkey.remove": "user", "passkey.clone_warning": "user",
		"trusted_device.add": "user", "trusted_device.remove": "user", "trusted_device.remove_all": "",
		"application_token.create": "creator", "application_token.rotate": "creator", "application_token.change": "creator", "application_token.revoke": "creator",
		"user.profile": "", "user.email": "", "user.email_request": "", "user.email_cancel": "", "user.email_refuse": "", "user.download": "",
		"application.allow": "", "application.disconnect": "",
	}
}

// Activities returns the actions that Activity tells of, sorted.
func Activities() []string { return slices.Sorted(maps.Keys(activities())) }

// Activity returns what has happened to a person's account, the newest first: at
// most limit, older than before if that is not empty. next is where to go on,
// empty at the end.
func (a *Authn) Activity(ctx context.Context, user id.User, before id.Event, limit int) (page []Activity, next id.Event, err error) {
	actions := Activities()
	for {
		events, err := a.store.EventsOfPerson(ctx, user, actions, before, limit)
		if err != nil {
			return nil, "", err
		}
		for i := range events {
			if before = events[i].ID; !concerns(&events[i], user) {
				continue // such as what an administrator did to somebody else
			}
			page = append(page, activityOf(&events[i], user))
			if len(page) == limit {
				return page, before, nil
			}
		}
		if len(events) < limit {
			return page, "", nil
		}
	}
}

// concerns reports whether the event is about the person.
func concerns(e *audit.Event, user id.User) bool {
	field := activities()[e.Action]
	if field == "" {
		return e.TargetKind == "user" && e.TargetID == string(user)
	}
	named, _ := e.Data[field].(string)
	return named == string(user)
}

func activityOf(e *audit.Event, user id.User) Activity {
	text := func(key string) string { s, _ := e.Data[key].(string); return s }
	return Activity{
		ID: e.ID, At: e.At, Action: e.Action, Own: e.Actor.Kind == audit.ActorUser && e.Actor.ID == string(user),
		Address: text("address"), UserAgent: text("user_agent"), Name: text("name"),
	}
}
