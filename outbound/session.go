package outbound

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/schema"
)

// A session is a node's work on a target that it has claimed.
type session struct {
	o        *Outbound
	t        *Target // Claimed apart only read
	remote   Remote
	types    map[Kind]*schema.ResourceType
	maxRoles int
	dry      bool // nothing is changed, neither there nor here
	walked   bool // all people there have just been met, so that nobody has to be looked for

	claim sync.Mutex // guards t.Claimed
	cut   atomic.Bool

	mu     sync.Mutex // guards what follows
	inARow int        // failures of resources, one after the other
	good   bool       // something has succeeded
}

// errLost says that the claim is over, because the node was too slow; another
// one may have the target.
var errLost = errors.New("outbound: the claim of the target is over")

// errLater says that a resource needs others to be looked at first.
var errLater = errors.New("outbound: other resources are in the way")

// begin returns a session for a claimed target.
func (o *Outbound) begin(ctx context.Context, t *Target) (*session, error) {
	s := &session{o: o, t: t, types: map[Kind]*schema.ResourceType{}}
	remote, err := o.dial(t)
	if err != nil {
		return nil, err
	}
	s.remote = fenced{remote, s.alive, &s.cut}
	if s.maxRoles, err = o.maxRoles(ctx, t); err != nil {
		return nil, err
	}
	for _, kind := range []Kind{User, Group} {
		if s.types[kind], err = o.Definition(ctx, t.Tenant, kind); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Times of a claim. Whoever asks something of a target has it for another margin
// at least, which no request outlasts; so two nodes never work on one.
const (
	lease  = 2 * time.Minute
	margin = 45 * time.Second
)

// alive makes the claim last for another request. It fails with errLost.
func (s *session) alive(ctx context.Context) error {
	s.claim.Lock()
	defer s.claim.Unlock()
	now := s.o.now()
	if s.t.Claimed.Sub(now) > margin {
		return nil
	}
	longer := now.Add(lease)
	ok, err := s.o.Store.ExtendClaim(context.WithoutCancel(ctx), s.t.Tenant, s.t.ID, s.t.Claimed, longer)
	if err != nil {
		return err
	}
	if !ok {
		return errLost
	}
	s.t.Claimed = longer
	return nil
}

// fenced is a Remote that is asked only while the target is claimed.
type fenced struct {
	remote Remote
	alive  func(context.Context) error
	cut    *atomic.Bool // a request was cut off
}

// guarded runs do if the target is claimed. A request that is on its way when
// ctx ends has another finishIn: of one that is cut off it is not known whether
// it still comes about.
func guarded[T any](ctx context.Context, f fenced, do func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if err := f.alive(ctx); err != nil {
		return none, err
	}
	patient, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-patient.Done():
		case <-time.After(finishIn):
			f.cut.Store(true)
			cancel()
		}
	})()
	return do(patient)
}

// Capabilities implements Remote.
func (f fenced) Capabilities(ctx context.Context) (*Capabilities, error) {
	return guarded(ctx, f, func(ctx context.Context) (*Capabilities, error) { return f.remote.Capabilities(ctx) })
}

// Find implements Remote.
func (f fenced) Find(ctx context.Context, kind Kind, attribute, value string) ([]Resource, error) {
	return guarded(ctx, f, func(ctx context.Context) ([]Resource, error) { return f.remote.Find(ctx, kind, attribute, value) })
}

// Get implements Remote.
func (f fenced) Get(ctx context.Context, kind Kind, remote string, members bool) (*Resource, error) {
	return guarded(ctx, f, func(ctx context.Context) (*Resource, error) { return f.remote.Get(ctx, kind, remote, members) })
}

// Create implements Remote.
func (f fenced) Create(ctx context.Context, kind Kind, doc map[string]any) (*Resource, error) {
	return guarded(ctx, f, func(ctx context.Context) (*Resource, error) { return f.remote.Create(ctx, kind, doc) })
}

// Patch implements Remote.
func (f fenced) Patch(ctx context.Context, kind Kind, remote, version string, operations []Operation) (string, error) {
	return guarded(ctx, f, func(ctx context.Context) (string, error) {
		return f.remote.Patch(ctx, kind, remote, version, operations)
	})
}

// Replace implements Remote.
func (f fenced) Replace(ctx context.Context, kind Kind, remote, version string, doc map[string]any) (string, error) {
	return guarded(ctx, f, func(ctx context.Context) (string, error) { return f.remote.Replace(ctx, kind, remote, version, doc) })
}

// Delete implements Remote.
func (f fenced) Delete(ctx context.Context, kind Kind, remote string) error {
	_, err := guarded(ctx, f, func(ctx context.Context) (struct{}, error) { return struct{}{}, f.remote.Delete(ctx, kind, remote) })
	return err
}

// List implements Remote.
func (f fenced) List(ctx context.Context, kind Kind, position Position) (*Listing, error) {
	return guarded(ctx, f, func(ctx context.Context) (*Listing, error) { return f.remote.List(ctx, kind, position) })
}

// is reports whether a failure is of that kind.
func is(err error, trouble Trouble) bool {
	var failure *Failure
	return errors.As(err, &failure) && failure.Trouble == trouble
}

// link returns the link of a resource, nil if there is none.
func (s *session) link(ctx context.Context, kind Kind, resource string) (*Link, error) {
	link, err := s.o.Store.ProvisioningLink(ctx, s.t.Tenant, s.t.ID, kind, resource)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return link, err
}

// capable asks the target what it can do, if that is not known, and keeps it.
func (s *session) capable(ctx context.Context, anew bool) error {
	if s.t.Capabilities != nil && !anew {
		return nil
	}
	caps, err := s.remote.Capabilities(ctx)
	if err != nil {
		return err
	}
	return s.keep(ctx, caps)
}

func (s *session) keep(ctx context.Context, caps *Capabilities) error {
	s.t.Capabilities = caps
	_, err := s.o.Store.UpdateProvisioningTarget(ctx, s.t.Tenant, s.t.ID, func(t *Target) error {
		t.Capabilities = caps
		return nil
	})
	return err
}

// linked stores a link of a resource that is there. If it came just now, those
// that have to do with it are looked at.
func (s *session) linked(ctx context.Context, l *Link, came bool) error {
	return s.o.Store.InTx(ctx, func(ctx context.Context) error {
		if err := s.o.Store.LockReference(ctx, s.t.Tenant, s.t.ID, l.Resource, l.RefersTo); err != nil {
			return err
		}
		if err := s.o.Store.PutProvisioningLink(ctx, l); err != nil {
			return err
		}
		now := s.o.now()
		if came {
			if err := s.o.Store.NoteGroups(ctx, s.t, l.Resource, nil, now); err != nil {
				return err
			}
			if err := s.o.Store.NoteReferring(ctx, s.t.Tenant, s.t.ID, l.Resource, now); err != nil {
				return err
			}
		}
		right, err := s.refersRight(ctx, l)
		if err != nil || right {
			return err
		}
		return s.o.Store.Note(ctx, s.t.Tenant, s.t.ID, l.Kind, []string{l.Resource}, now)
	})
}

// refersRight reports whether what was sent refers to the one whom it should.
// He may have come, gone, or been made anew since it was made up, and has met
// nobody who refers to him.
func (s *session) refersRight(ctx context.Context, l *Link) (bool, error) {
	if l.RefersTo == "" {
		return true, nil
	}
	other, err := s.link(ctx, User, l.RefersTo)
	if err != nil {
		return false, err
	}
	sent, referred := l.Sent[managerPath]
	if other == nil || other.pending() {
		return !referred, nil
	}
	return referred && (sent == "" || sent == hash(reference(other))), nil
}

// unlinked removes a link. gone says that the resource is not there any more, so
// that it is in no group there either.
func (s *session) unlinked(ctx context.Context, l *Link, gone bool) error {
	return s.o.Store.InTx(ctx, func(ctx context.Context) error {
		if err := s.o.Store.LockReference(ctx, s.t.Tenant, s.t.ID, l.Resource, ""); err != nil {
			return err
		}
		if err := s.o.Store.DeleteProvisioningLink(ctx, l); err != nil {
			return err
		}
		now := s.o.now()
		if err := s.o.Store.NoteReferring(ctx, s.t.Tenant, s.t.ID, l.Resource, now); err != nil {
			return err
		}
		if gone {
			return s.o.Store.ForgetMember(ctx, s.t.Tenant, s.t.ID, l.Remote)
		}
		return s.o.Store.NoteGroups(ctx, s.t, "", []string{l.Remote}, now)
	})
}
