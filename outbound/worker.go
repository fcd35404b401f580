package outbound

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

// Bounds of the work.
const (
	look        = time.Second
	targetsMost = 4               // that a node works on at the same time
	turn        = 5 * time.Minute // that a target has before others have theirs; a run may take longer
	batch       = 100             // items that are looked at together
	people      = 4               // that are pushed at the same time
	rescanRoles = time.Minute     // how often it is looked who holds a role
	finishIn    = 20 * time.Second

	// MaxAttempts is how often a resource is tried before it is set aside.
	MaxAttempts = 10
	// manyInARow is how many resources fail, one after the other and in a way that
	// may be the target's fault, before the target as a whole backs off.
	manyInARow = 5
	maxReason  = 500

	wentWrong = "something went wrong here; it is in the log"
)

// Backoff is how long to wait after so many failures: 2 s, 4 s, … at most an hour.
func Backoff(failures int) time.Duration {
	return min(time.Duration(1<<min(failures, 12))*time.Second, time.Hour)
}

// Run brings targets up to date until ctx ends. Any number of nodes may.
func (o *Outbound) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, targetsMost)
	for {
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		}
		now := o.now()
		// A claim that nobody hears of would keep the target for a whole lease.
		t, err := o.Store.ClaimTarget(context.WithoutCancel(ctx), now, now.Add(lease))
		if err == nil {
			running.Go(func() {
				defer func() { <-slots }()
				o.work(ctx, t)
			})
			continue
		}
		<-slots
		if !errors.Is(err, fault.NotFound) && ctx.Err() == nil {
			o.Logger.ErrorContext(ctx, "provisioning targets can't be read", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.Look):
		}
	}
}

// work does what is to be done for a claimed target, until nothing is left, its
// turn is over, or it fails as a whole.
func (o *Outbound) work(ctx context.Context, t *Target) {
	var s *session
	err := fault.Caught(func() (err error) {
		if s, err = o.begin(ctx, t); err != nil {
			return err
		}
		return s.all(ctx)
	})
	// What has been learnt is written down although the server ends.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishIn)
	defer cancel()
	if ctx.Err() != nil || errors.Is(err, errLost) {
		err = nil // the target is not to blame
	}
	err = o.ended(after, t, s, err)
	// Where a request may still come about, no other node comes in its way before
	// the lease is over.
	if s == nil || !s.cut.Load() {
		err = errors.Join(err, o.Store.ReleaseTarget(after, t.Tenant, t.ID, t.Claimed))
	}
	if err != nil {
		o.Logger.ErrorContext(ctx, "provisioning can't go on", "target", t.ID, "err", err)
	}
}

// ended stores what came of a turn. It returns an error that is not the target's.
func (o *Outbound) ended(ctx context.Context, t *Target, s *session, err error) error {
	var failure *Failure
	if err != nil && !errors.As(err, &failure) {
		failure = &Failure{Trouble: Broken, Detail: wentWrong}
	} else {
		err = nil
	}
	good := s != nil && s.good
	if failure == nil && !good {
		return err
	}
	now := o.now()
	_, stored := o.Store.UpdateProvisioningTarget(ctx, t.Tenant, t.ID, func(t *Target) error {
		if good {
			t.Succeeded, t.Failures, t.LastError = now, 0, ""
		}
		if failure != nil {
			t.Failures++
			t.LastError, t.Due = plain(failure.Error()), now.Add(max(Backoff(t.Failures), failure.Retry))
		}
		return nil
	})
	if failure != nil && err == nil {
		o.Logger.WarnContext(ctx, "provisioning target backs off", "target", t.ID, "err", failure)
	}
	if errors.Is(stored, fault.NotFound) {
		return err // deleted meanwhile
	}
	return errors.Join(err, stored)
}

// plain is text from outside as it can be stored.
func plain(text string) string {
	quoted := strconv.QuoteToGraphic(text)
	runes := []rune(quoted[1 : len(quoted)-1])
	return string(runes[:min(len(runes), maxReason)])
}

// all does what is to be done. Its error is about the target as a whole.
func (s *session) all(ctx context.Context) error {
	until := s.o.now().Add(turn)
	if err := s.alive(ctx); err != nil {
		return err
	}
	runs, err := s.o.Store.OpenRuns(ctx, s.t.Tenant, s.t.ID)
	if err != nil {
		return err
	}
	if s.t.Status == Active {
		if runs, err = s.scheduled(ctx, runs); err != nil {
			return err
		}
	}
	for i := range runs {
		if s.t.Status != Active && !runs[i].Dry {
			continue
		}
		if err := s.run(ctx, &runs[i]); err != nil {
			return err
		}
	}
	if s.t.Status != Active {
		return nil
	}
	for ctx.Err() == nil && s.o.now().Before(until) {
		done, err := s.drain(ctx)
		if err != nil || done == 0 {
			return err
		}
	}
	return nil
}

// scheduled notes a scan and begins a run where their time has come.
func (s *session) scheduled(ctx context.Context, open []Run) ([]Run, error) {
	now := s.o.now()
	if due := s.t.ScanAt; !due.IsZero() && !due.After(now) {
		if err := s.o.Store.Note(ctx, s.t.Tenant, s.t.ID, Scan, []string{""}, now); err != nil {
			return nil, err
		}
		if err := s.tell(ctx, func(t *Target) {
			if t.ScanAt = (time.Time{}); t.People.Scope == WithRoles {
				t.ScanAt = now.Add(rescanRoles)
			}
		}); err != nil {
			return nil, err
		}
	}
	if due := s.t.RunAt; due.IsZero() || due.After(now) {
		return open, nil
	}
	if len(open) == 0 {
		r := newRun(s.t, now)
		if err := s.o.Store.CreateRun(ctx, r); err != nil {
			return nil, err
		}
		if err := s.o.Store.TrimRuns(ctx, s.t.Tenant, s.t.ID, keptRuns); err != nil {
			return nil, err
		}
		open = []Run{*r}
	}
	return open, s.tell(ctx, func(t *Target) {
		if t.RunAt = (time.Time{}); t.RunEvery > 0 {
			t.RunAt = now.Add(t.RunEvery)
		}
	})
}

func (s *session) tell(ctx context.Context, change func(*Target)) error {
	t, err := s.o.Store.UpdateProvisioningTarget(ctx, s.t.Tenant, s.t.ID, func(t *Target) error {
		change(t)
		return nil
	})
	if err == nil {
		s.t.ScanAt, s.t.RunAt = t.ScanAt, t.RunAt
	}
	return err
}

// drain looks at the next items that are due, and returns how many it were:
// people before groups, so that a group finds its members.
func (s *session) drain(ctx context.Context) (int, error) {
	for _, kind := range []Kind{Scan, User, Group} {
		items, err := s.o.Store.DueItems(ctx, s.t.Tenant, s.t.ID, kind, s.o.now(), batch)
		if err != nil {
			return 0, err
		}
		if len(items) == 0 {
			continue
		}
		if kind == Scan {
			return len(items), s.scan(ctx, items)
		}
		if err := s.capable(ctx, false); err != nil {
			return 0, err
		}
		return len(items), s.push(ctx, kind, items)
	}
	return 0, nil
}

func (s *session) scan(ctx context.Context, items []Item) error {
	if err := s.o.Store.NoteDifferences(ctx, s.t, s.maxRoles, s.o.now()); err != nil {
		return err
	}
	for i := range items {
		if err := s.o.Store.SettleItem(ctx, &items[i]); err != nil {
			return err
		}
	}
	return nil
}

// push looks at items of one kind: people several at the same time, and after
// them those that others are in the way of; groups one after the other.
func (s *session) push(ctx context.Context, kind Kind, items []Item) error {
	var later []Item
	if kind == Group {
		later = items
	} else {
		var mu sync.Mutex // guards later
		err := together(ctx, items, func(ctx context.Context, item *Item) error {
			_, err := s.bring(ctx, kind, item.Resource, nil, alone)
			if errors.Is(err, errLater) {
				mu.Lock()
				defer mu.Unlock()
				later = append(later, *item)
				return nil
			}
			return s.settle(ctx, item, err)
		})
		if err != nil {
			return err
		}
	}
	for i := range later {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the server ends: another one goes on
		}
		_, err := s.bring(ctx, kind, later[i].Resource, nil)
		if err := s.settle(ctx, &later[i], err); err != nil {
			return err
		}
	}
	return nil
}

// together does all, some at the same time, until one fails.
func together[T any](ctx context.Context, all []T, do func(ctx context.Context, one *T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	slots := make(chan struct{}, people)
	for i := range all {
		slots <- struct{}{}
		if ctx.Err() != nil {
			<-slots
			break
		}
		running.Go(func() {
			defer func() { <-slots }()
			if err := fault.Caught(func() error { return do(ctx, &all[i]) }); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// settle stores what came of an item. Its error is about the target as a whole:
// the item then waits with the others.
func (s *session) settle(ctx context.Context, item *Item, err error) error {
	// What has happened there is written down although the server ends.
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishIn)
	defer cancel()
	if err == nil {
		s.calm()
		return s.o.Store.SettleItem(record, item)
	}
	var failure *Failure
	if !errors.As(err, &failure) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err() // it was we who hung up
	}
	now := s.o.now()
	if failure.whole() {
		if failure.Trouble == Unreachable {
			// It may be this resource that the server fails on: others first.
			item.Due, item.Reason = now.Add(time.Minute), plain(failure.Error())
			if err := s.o.Store.PostponeItem(record, item); err != nil {
				return err
			}
		}
		return failure
	}
	item.Attempts++
	item.Reason = plain(failure.Error())
	if item.Due = now.Add(max(Backoff(item.Attempts), failure.Retry)); item.Attempts >= MaxAttempts {
		item.Dead = now
	}
	s.o.Logger.WarnContext(ctx, "resource not provisioned", "target", s.t.ID, "kind", item.Kind, "resource", item.Resource, "attempts", item.Attempts, "set_aside", !item.Dead.IsZero(), "err", failure)
	if err := s.o.Store.PostponeItem(record, item); err != nil {
		return err
	}
	return s.suspect(failure)
}

// calm says that a resource is as it should be.
func (s *session) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inARow, s.good = 0, true
}

// suspect counts failures that may be the target's. It returns the failure when
// they are too many.
func (s *session) suspect(failure *Failure) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	const forbidden = 403
	if failure.Trouble != Broken && failure.Status != forbidden {
		s.inARow = 0
		return nil
	}
	if s.inARow++; s.inARow >= manyInARow {
		return failure
	}
	return nil
}
