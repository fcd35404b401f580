package events

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// The permissions that streams need are those of connections: who reads events
// sees what a directory sees.
const (
	permissionRead   = "connections.read"
	permissionCreate = "connections.create"
	permissionUpdate = "connections.update"
	permissionDelete = "connections.delete"
)

// PollAddress is where the events of a tenant's streams are polled.
func (e *Events) PollAddress(slug string) string { return e.issuer + "/t/" + slug + "/events/poll" }

// manage runs change in a transaction that has locked the tenant, if the caller
// has the permission, and makes this node read streams anew.
func (e *Events) manage(ctx context.Context, tenant id.Tenant, permission string, change func(ctx context.Context) error) error {
	// Whatever comes of it: what was read while it went on is not kept.
	defer e.streams.Changed()
	return e.store.InTx(ctx, func(ctx context.Context) error {
		if err := e.store.LockTenant(ctx, tenant); err != nil {
			return err
		}
		if err := e.rights.Permitted(ctx, tenant, permission); err != nil {
			return err
		}
		return change(ctx)
	})
}

func (e *Events) record(ctx context.Context, s *Stream, action string) error {
	data := map[string]any{"name": s.Name, "method": s.Method, "format": s.Format, "status": s.Status}
	if s.ClientID != "" {
		data["client_id"] = s.ClientID
	}
	if s.Endpoint != "" {
		data["endpoint"] = s.Endpoint
	}
	if s.Reason != "" {
		data["reason"] = s.Reason
	}
	return e.store.AppendEvent(ctx, audit.New(ctx, e.now(), s.Tenant, action, "event_stream", string(s.ID), data))
}

func noStream(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "there is no such event stream")
	}
	return err
}

// Streams returns the streams of a tenant by name.
func (e *Events) Streams(ctx context.Context, tenant id.Tenant) ([]Stream, error) {
	if err := e.rights.Permitted(ctx, tenant, permissionRead); err != nil {
		return nil, err
	}
	return e.store.EventStreams(ctx, tenant)
}

// Stream returns a stream. It fails with fault.NotFound.
func (e *Events) Stream(ctx context.Context, tenant id.Tenant, stream id.EventStream) (*Stream, error) {
	if err := e.rights.Permitted(ctx, tenant, permissionRead); err != nil {
		return nil, err
	}
	s, err := e.store.EventStream(ctx, tenant, stream)
	return s, noStream(err)
}

// Create makes a stream, and the token of one of method Poll, which is returned
// this once. A format that is not set is Notice. It fails with fault.Invalid, and
// with fault.Conflict on name and where there are too many.
func (e *Events) Create(ctx context.Context, tenant id.Tenant, method Method, settings Settings) (s *Stream, token secret.Text, err error) {
	err = e.manage(ctx, tenant, permissionCreate, func(ctx context.Context) error {
		s, token, err = e.create(ctx, tenant, method, settings)
		return err
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return s, token, nil
}

func (e *Events) create(ctx context.Context, tenant id.Tenant, method Method, settings Settings) (*Stream, secret.Text, error) {
	all, err := e.store.EventStreams(ctx, tenant)
	if err != nil {
		return nil, secret.Text{}, err
	}
	all = slices.DeleteFunc(all, func(s Stream) bool { return s.ClientID != "" })
	if len(all) >= maxStreams {
		return nil, secret.Text{}, fault.New(fault.Conflict, "the tenant has %d event streams: delete some first", len(all)).WithCode("too_many")
	}
	now := e.now()
	s := &Stream{
		Tenant: tenant, ID: id.New[id.EventStream](), Method: method, Format: Notice, Status: Enabled, Due: now, Claimed: now, Created: now, Modified: now,
	}
	if err := e.set(s, settings); err != nil {
		return nil, secret.Text{}, err
	}
	if err := e.store.CreateEventStream(ctx, s); err != nil {
		return nil, secret.Text{}, err
	}
	var token secret.Text
	if method == Poll {
		token = secret.Random(tokenPrefix)
		if err := e.store.SetEventStreamToken(ctx, tenant, s.ID, token.Hash()); err != nil {
			return nil, secret.Text{}, err
		}
	}
	return s, token, e.record(ctx, s, "event_stream.create")
}

// set applies settings and seals the authorization.
func (e *Events) set(s *Stream, settings Settings) error {
	if err := s.apply(settings); err != nil || settings.Authorization == nil {
		return err
	}
	header := settings.Authorization.Reveal()
	switch {
	case header == "":
		s.Authorization = nil
		return nil
	case s.Method == Poll:
		return fault.Field(fault.Invalid, "authorization", "nothing is pushed to the receiver of a stream of method poll")
	case len(header) > 4*maxText || strings.ContainsFunc(header, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) }):
		return fault.Field(fault.Invalid, "authorization", "must be the value of a header, at most %d characters", 4*maxText)
	}
	var err error
	s.Authorization, err = e.keyring.Seal([]byte(header), s.place())
	return err
}

// Change brings a stream to the settings. Enabled lets one that was paused
// because of failures go on at once. It fails as Create does, and with
// fault.NotFound.
func (e *Events) Change(ctx context.Context, tenant id.Tenant, stream id.EventStream, settings Settings) (*Stream, error) {
	var s *Stream
	err := e.manage(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		var before Status
		var err error
		s, err = e.store.UpdateEventStream(ctx, tenant, stream, func(s *Stream) error {
			before, s.Modified = s.Status, e.now()
			return e.set(s, settings)
		})
		if err != nil {
			return noStream(err)
		}
		if s.Status != before {
			if err := e.announce(ctx, s); err != nil {
				return err
			}
		}
		return e.record(ctx, s, "event_stream.update")
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Rotate gives a stream of method Poll another token, in place of the one that
// it has. It fails with fault.NotFound and fault.Conflict.
func (e *Events) Rotate(ctx context.Context, tenant id.Tenant, stream id.EventStream) (*Stream, secret.Text, error) {
	token := secret.Random(tokenPrefix)
	var s *Stream
	err := e.manage(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		var err error
		if s, err = e.store.EventStream(ctx, tenant, stream); err != nil {
			return noStream(err)
		}
		if s.Method != Poll || s.ClientID != "" {
			return fault.New(fault.Conflict, "only a stream of method poll that is the tenant's own has a token")
		}
		if err := e.store.SetEventStreamToken(ctx, tenant, stream, token.Hash()); err != nil {
			return err
		}
		return e.record(ctx, s, "event_stream.rotate")
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return s, token, nil
}

// Delete removes a stream with the events that wait. It fails with
// fault.NotFound.
func (e *Events) Delete(ctx context.Context, tenant id.Tenant, stream id.EventStream) error {
	return e.manage(ctx, tenant, permissionDelete, func(ctx context.Context) error {
		s, err := e.store.EventStream(ctx, tenant, stream)
		if err != nil {
			return noStream(err)
		}
		if err := e.store.DeleteEventStream(ctx, tenant, stream); err != nil {
			return err
		}
		return e.record(ctx, s, "event_stream.delete")
	})
}

// DeadLetters returns events that a receiver did not accept, the oldest first:
// at most limit, after the event if it is not empty.
func (e *Events) DeadLetters(ctx context.Context, tenant id.Tenant, stream id.EventStream, after id.SecurityEvent, limit int) ([]Event, error) {
	if _, err := e.Stream(ctx, tenant, stream); err != nil {
		return nil, err
	}
	return e.store.DeadEvents(ctx, tenant, stream, after, limit)
}

// RetryDeadLetters has the events delivered again that the receiver did not
// accept, and returns how many it are.
func (e *Events) RetryDeadLetters(ctx context.Context, tenant id.Tenant, stream id.EventStream) (int, error) {
	count := 0
	err := e.manage(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		s, err := e.store.EventStream(ctx, tenant, stream)
		if err != nil {
			return noStream(err)
		}
		if count, err = e.store.RetryEvents(ctx, tenant, stream); err != nil || count == 0 {
			return err
		}
		return e.record(ctx, s, "event_stream.retry")
	})
	return count, err
}

// Save makes the tenant have a stream of the name, for the operator. It returns
// the token if it had to make one, or takes over the given one.
func (e *Events) Save(ctx context.Context, tenant id.Tenant, method Method, settings Settings, token secret.Text) (made secret.Text, err error) {
	if authz.FromContext(ctx).Kind != authz.OperatorPrincipal {
		return secret.Text{}, fault.New(fault.Denied, "only the operator does this").WithCode("operator")
	}
	if !token.Empty() && (method != Poll || strings.ContainsFunc(token.Reveal(), unicode.IsSpace)) {
		return secret.Text{}, fault.Field(fault.Invalid, "token", "only a stream of method poll has a token, and that has no spaces")
	}
	err = e.manage(ctx, tenant, permissionCreate, func(ctx context.Context) error {
		all, err := e.store.EventStreams(ctx, tenant)
		if err != nil {
			return err
		}
		var s *Stream
		for i := range all {
			if settings.Name != nil && all[i].Name == strings.TrimSpace(*settings.Name) {
				s = &all[i]
			}
		}
		if s == nil {
			if s, made, err = e.create(ctx, tenant, method, settings); err != nil {
				return err
			}
		} else if err = e.bring(ctx, s, method, settings); err != nil {
			return err
		}
		if token.Empty() {
			return nil
		}
		made = secret.Text{}
		return e.store.SetEventStreamToken(ctx, tenant, s.ID, token.Hash())
	})
	return made, err
}

// bring makes a stream that is there be as a file says, and leaves no event in
// the audit trail where it is so already.
func (e *Events) bring(ctx context.Context, s *Stream, method Method, settings Settings) error {
	if s.Method != method {
		return fault.Field(fault.Invalid, "method", "the stream is of method %s, which can't be changed", s.Method)
	}
	same, err := e.same(s, settings)
	if err != nil || same {
		return err
	}
	_, err = e.Change(ctx, s.Tenant, s.ID, settings)
	return err
}

// same reports whether the settings would change nothing.
func (e *Events) same(s *Stream, settings Settings) (bool, error) {
	after := *s
	if err := after.apply(settings); err != nil {
		return false, err
	}
	if settings.Authorization != nil {
		header, err := e.authorization(s)
		if err != nil || !header.Equal(*settings.Authorization) {
			return false, err
		}
	}
	return after.Endpoint == s.Endpoint && after.Format == s.Format && after.Status == s.Status && after.Reason == s.Reason &&
		equal(after.Audience, s.Audience) && equal(after.Requested, s.Requested), nil
}

func equal(a, b []string) bool { return strings.Join(a, "\x00") == strings.Join(b, "\x00") }

// authorization returns the header of that name that a push carries.
func (e *Events) authorization(s *Stream) (secret.Text, error) {
	if s.Authorization == nil {
		return secret.Text{}, nil
	}
	header, err := e.keyring.Open(s.Authorization, s.place())
	return secret.NewText(string(header)), err
}
