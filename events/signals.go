package events

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
)

// The events of the Shared Signals Framework 1.0 that applications are told of:
// those of CAEP 1.0 §3 and of RISC 1.0 §2, and the framework's own (§8.1.4, §8.1.5).
const (
	eventSessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	eventCredentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change" //nolint:gosec // a name, no credential
	eventAccountDisabled  = "https://schemas.openid.net/secevent/risc/event-type/account-disabled"
	eventAccountEnabled   = "https://schemas.openid.net/secevent/risc/event-type/account-enabled"
	eventAccountPurged    = "https://schemas.openid.net/secevent/risc/event-type/account-purged"
	eventVerification     = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	eventStreamUpdated    = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// SignalURIs returns the URIs of the events that applications can ask for.
func SignalURIs() []string {
	return []string{eventSessionRevoked, eventCredentialChange, eventAccountDisabled, eventAccountEnabled, eventAccountPurged}
}

var _ audit.Follower = (*Events)(nil)

// signal is what applications are told of one entry of the audit trail: events,
// each in a token of its own, about a person.
type signal struct {
	about Concerned
	kinds []string
	body  map[string]any // of each
}

// Concerned says whom something is about, and so which applications may be told:
// those that hold something of the person, and those of tenants that know them.
type Concerned struct {
	User id.User
	// Tenant is where it counts, and only what is held and known there; empty: it is
	// about the person wherever they are.
	Tenant id.Tenant
	// Session is the one that it is about, and only where it was used; empty: all.
	Session id.Session
}

// credentialChanges says what a change of a credential is by the action of the
// audit trail: credential_type and change_type (CAEP 1.0 §3.3).
func credentialChanges() map[string][2]string {
	return map[string][2]string{
		"password.change":       {"password", "update"},
		"totp.set":              {"app", "create"},
		"totp.activate":         {"app", "create"},
		"totp.remove":           {"app", "delete"},
		"second_factor.remove":  {"app", "revoke"},
		"passkey.add":           {"fido2-roaming", "create"},
		"passkey.remove":        {"fido2-roaming", "delete"},
		"recovery_codes.create": {"recovery-code", "create"},
	}
}

// memberSignals says what becomes of an account by the action of the audit trail.
func memberSignals() map[string][]string {
	return map[string][]string{
		"membership.suspend":  {eventSessionRevoked, eventAccountDisabled},
		"membership.retire":   {eventSessionRevoked, eventAccountDisabled},
		"membership.delete":   {eventSessionRevoked, eventAccountPurged},
		"membership.activate": {eventAccountEnabled},
		"membership.return":   {eventAccountEnabled},
	}
}

// Concerns implements audit.Follower.
func (e *Events) Concerns(action string) bool {
	return action == "session.end" || len(memberSignals()[action]) > 0 || credentialChanges()[action][0] != ""
}

// Appended implements audit.Follower: it tells applications of what was written
// to the audit trail, in the same transaction.
func (e *Events) Appended(ctx context.Context, entry *audit.Event) error {
	if there, err := e.hasReceivers(ctx); err != nil || !there {
		return err
	}
	signal := signalOf(entry)
	if signal == nil {
		return nil
	}
	streams, err := e.store.SignalStreams(ctx, signal.about)
	if err != nil || len(streams) == 0 {
		return err
	}
	signal.body["event_timestamp"] = entry.At.Unix()
	signal.body["initiating_entity"] = initiator(entry.Actor, signal.about.User)
	body, err := json.Marshal(signal.body)
	if err != nil {
		return fmt.Errorf("events: encode a signal: %w", err)
	}
	txn := cmp.Or(directory.TxnFrom(ctx), entry.Request, string(entry.ID))
	for i := range streams {
		s := &streams[i]
		for _, uri := range signal.kinds {
			if !slices.Contains(s.Delivered(), uri) {
				continue
			}
			if err := e.add(ctx, s, entry.At, txn, e.personOf(signal.about, s), map[string]json.RawMessage{uri: body}); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasReceivers reports whether there is any application to tell.
func (e *Events) hasReceivers(ctx context.Context) (bool, error) {
	return e.receivers.Get(struct{}{}, func() (bool, error) { return e.store.HasSignalStreams(ctx) })
}

// signalOf returns what an entry of the audit trail is told as; nil for nothing.
func signalOf(entry *audit.Event) *signal {
	text := func(name string) string { return fmt.Sprint(entry.Data[name]) }
	if change := credentialChanges()[entry.Action]; change[0] != "" {
		user := entry.TargetID
		if entry.TargetKind != "user" {
			user = text("user")
		}
		return &signal{
			about: Concerned{User: id.User(user)}, kinds: []string{eventCredentialChange},
			body: map[string]any{"credential_type": change[0], "change_type": change[1]},
		}
	}
	if entry.Data["user"] == nil {
		return nil
	}
	if entry.Action == "session.end" {
		return &signal{
			about: Concerned{User: id.User(text("user")), Session: id.Session(entry.TargetID)},
			kinds: []string{eventSessionRevoked}, body: map[string]any{},
		}
	}
	if before := entry.Data["before"]; entry.Action == "membership.activate" && fmt.Sprint(before) != string(directory.StatusSuspended) {
		return nil // an invitation was accepted: nothing was disabled
	}
	return &signal{
		about: Concerned{User: id.User(text("user")), Tenant: entry.Tenant}, kinds: memberSignals()[entry.Action], body: map[string]any{},
	}
}

// initiator is who was behind a change (CAEP 1.0 §2).
func initiator(actor audit.Actor, about id.User) string {
	switch {
	case actor.Kind == audit.ActorSystem:
		return "system"
	case actor.Kind == audit.ActorUser && actor.ID == string(about):
		return "user"
	default:
		return "admin"
	}
}

// Known returns the subject with the person as the receiver knows them.
func (s Subject) Known(as func(id.User) (string, error)) (Subject, error) {
	var err error
	if s.User != nil {
		person, failed := s.User.Known(as)
		s.User, err = &person, failed
	} else if s.Sub != "" {
		s.Sub, err = as(id.User(s.Sub))
	}
	return s, err
}

// personOf names whom a signal is about to a stream (RFC 9493 §3.2.3, SSF 1.0 §3):
// the person alone where that says it all, and else with the session, or with the
// tenant, if the application is of another one.
func (e *Events) personOf(about Concerned, s *Stream) Subject {
	person := Subject{Format: "iss_sub", Issuer: e.issuer, Sub: string(about.User)}
	whole := Subject{Format: "complex", User: &person}
	switch {
	case about.Session != "":
		whole.Session = &Subject{Format: "opaque", ID: string(about.Session)}
	case about.Tenant != "" && about.Tenant != s.Tenant:
		whole.Tenant = &Subject{Format: "opaque", ID: string(about.Tenant)}
	default:
		return person
	}
	return whole
}
