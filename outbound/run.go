package outbound

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/id"
)

// runFailures is after how many failures of the target a run gives up; a dry
// one, which somebody waits for, gives up at once.
const runFailures = 20

func newRun(t *Target, now time.Time) *Run {
	return &Run{Tenant: t.Tenant, ID: id.At[id.ProvisioningRun](now), Target: t.ID, State: RunWaiting, Requested: now}
}

// A walk is a run under way.
type walk struct {
	*session
	r *Run

	adopted map[string]bool // resources that a dry run would adopt

	mu sync.Mutex // guards r
}

// run compares everything with the target. One that was interrupted goes on; a
// dry one, which keeps nothing, begins anew. Its error is about the target as a
// whole.
func (s *session) run(ctx context.Context, r *Run) error {
	if r.Dry || r.Started.IsZero() {
		r.Started, r.Counts, r.Items, r.Progress = s.o.now(), RunCounts{}, nil, Progress{}
	}
	r.State, r.Error = RunRunning, ""
	if err := s.o.Store.UpdateRun(ctx, r); err != nil {
		return err
	}
	part := &session{o: s.o, t: s.t, remote: s.remote, types: s.types, maxRoles: s.maxRoles, dry: r.Dry}
	w := &walk{session: part, r: r, adopted: map[string]bool{}}
	err := w.all(ctx)
	s.mu.Lock()
	s.good = s.good || !r.Dry && (err == nil || part.good)
	s.mu.Unlock()
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return err // another node goes on
	}
	if err == nil {
		r.State, r.Ended = RunDone, s.o.now()
		return s.o.Store.UpdateRun(ctx, r)
	}
	r.Error = wentWrong
	var failure *Failure
	if errors.As(err, &failure) {
		r.Error = plain(failure.Error())
	}
	if r.State = RunWaiting; r.Dry || s.t.Failures >= runFailures || failure == nil {
		r.State, r.Ended = RunFailed, s.o.now()
	}
	return errors.Join(err, s.o.Store.UpdateRun(ctx, r))
}

func (w *walk) all(ctx context.Context) error {
	if err := w.capable(ctx, true); err != nil {
		return err
	}
	for _, kind := range []Kind{User, Group} {
		if kind == Group && (w.t.Groups.Scope == NoGroups || !w.t.Capabilities.Groups) {
			continue
		}
		for i, part := range []func(context.Context, Kind) error{w.there, w.unseen, w.lacking} {
			step := i + 1
			if kind == Group {
				step += 3
			}
			if w.r.Progress.Step < step {
				if err := part(ctx, kind); err != nil {
					return err
				}
				w.r.Progress = Progress{Step: step}
			}
			w.walked = kind == User
		}
	}
	return nil
}

// capable of a dry run asks as well, but keeps nothing.
func (w *walk) capable(ctx context.Context, anew bool) error {
	if !w.dry {
		return w.session.capable(ctx, anew)
	}
	caps, err := w.remote.Capabilities(ctx)
	if err == nil {
		w.t.Capabilities = caps
	}
	return err
}

// there walks through what the target has.
func (w *walk) there(ctx context.Context, kind Kind) error {
	at := &w.r.Progress
	for {
		page, err := w.remote.List(ctx, kind, at.Position)
		if is(err, Refused) && at.Position.Cursor != "" {
			// Cursors don't last for ever (RFC 9865 §2.1).
			at.Position, at.Done = Position{}, 0
			page, err = w.remote.List(ctx, kind, at.Position)
		}
		if err != nil {
			return err
		}
		links, err := w.linksOf(ctx, kind, page.Resources)
		if err != nil {
			return err
		}
		if err := w.o.Store.MarkSeen(ctx, w.t.Tenant, w.t.ID, kind, w.r.ID, idsOf(page.Resources)); err != nil {
			return err
		}
		for at.Done < len(page.Resources) {
			if err := w.found(ctx, kind, &page.Resources[at.Done], links); err != nil {
				return err
			}
			at.Done++
		}
		if !page.More {
			return nil
		}
		at.Position, at.Done = page.Next, 0
		if err := w.pause(ctx); err != nil {
			return err
		}
	}
}

// found deals with a resource there: ours, or one that is to be adopted, or a
// stranger.
func (w *walk) found(ctx context.Context, kind Kind, seen *Resource, links map[string]Link) error {
	link, ours := links[seen.ID]
	if ours && !link.pending() {
		return w.compare(ctx, kind, link.Resource, seen)
	}
	resource := link.Resource
	if !ours {
		var err error
		if resource, err = w.candidate(ctx, kind, seen); err != nil {
			return err
		}
	}
	if resource == "" {
		w.r.Counts.Strangers++
		return nil
	}
	if w.dry {
		w.adopted[resource] = true
		return w.compare(ctx, kind, resource, seen)
	}
	if err := w.compare(ctx, kind, resource, seen); err != nil {
		return err
	}
	return w.o.Store.MarkSeen(ctx, w.t.Tenant, w.t.ID, kind, w.r.ID, []string{seen.ID})
}

// candidate returns the resource here that is to be pushed, is not linked, and is
// the one there by externalId or name; "" if there is none, or several.
func (w *walk) candidate(ctx context.Context, kind Kind, seen *Resource) (string, error) {
	there := flatten(seen.Doc)
	external, _ := there.at(attrExternalID).(string)
	name, _ := there.at(nameAttribute(kind)).(string)
	if external != "" {
		found, err := w.byExternalID(ctx, kind, external)
		if err != nil || len(found) == 1 {
			return first(found), err
		}
	}
	if name == "" {
		return "", nil
	}
	found, err := w.o.Store.UnlinkedNamed(ctx, w.t, w.maxRoles, kind, name)
	if err != nil || len(found) != 1 {
		return "", err
	}
	return found[0], nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func (w *walk) byExternalID(ctx context.Context, kind Kind, external string) ([]string, error) {
	if w.t.Attributes.ExternalID == SameAsHere {
		return w.o.Store.UnlinkedExternal(ctx, w.t, w.maxRoles, kind, external)
	}
	if _, err := id.Parse[id.Resource](external); err != nil {
		return nil, nil //nolint:nilerr // it is none of ours
	}
	link, err := w.link(ctx, kind, external)
	if err != nil || link != nil && !link.pending() {
		return nil, err
	}
	wanted, err := w.o.Store.Wanted(ctx, w.t, w.maxRoles, kind, external)
	if err != nil || !wanted {
		return nil, err
	}
	return []string{external}, nil
}

// compare brings a resource up to date and counts what that took. A resource
// that fails is noted, and tried again like every other.
func (w *walk) compare(ctx context.Context, kind Kind, resource string, seen *Resource) error {
	item, err := w.bring(ctx, kind, resource, seen)
	if err == nil && kind == Group && seen != nil && !w.dry && item.Action != Created && item.Action != Adopted {
		err = w.compareMembers(ctx, resource, &item)
	}
	return w.count(ctx, item, err)
}

// compareMembers asks a group for its members and repairs what differs.
func (w *walk) compareMembers(ctx context.Context, resource string, item *RunItem) error {
	link, err := w.link(ctx, Group, resource)
	if err != nil || link == nil || !link.Live {
		return err
	}
	if err := w.readMembers(ctx, link); err != nil {
		return err
	}
	return w.members(ctx, link, item)
}

func (w *walk) count(ctx context.Context, item RunItem, err error) error {
	var failure *Failure
	if err != nil && (!errors.As(err, &failure) || failure.whole()) {
		return err
	}
	if failure != nil {
		item.Action, item.Reason = Failed, plain(failure.Error())
		if !w.dry {
			if err := w.o.Store.Note(ctx, w.t.Tenant, w.t.ID, item.Kind, []string{item.Resource}, w.o.now().Add(Backoff(1))); err != nil {
				return err
			}
		}
		if err := w.suspect(failure); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if failure == nil {
		w.calm()
	}
	w.r.Counts.count(item.Action)
	if item.Action != Unchanged && len(w.r.Items) < MaxRunItems {
		w.r.Items = append(w.r.Items, item)
	}
	return nil
}

// unseen deals with links of what the walk did not meet: it is gone there, or
// the pages have moved under it.
func (w *walk) unseen(ctx context.Context, kind Kind) error {
	for {
		links, err := w.o.Store.UnseenLinks(ctx, w.t.Tenant, w.t.ID, kind, w.r.ID, w.r.Progress.After, batch)
		if err != nil || len(links) == 0 {
			return err
		}
		for i := range links {
			if err := w.missed(ctx, &links[i]); err != nil {
				return err
			}
			w.r.Progress.After = links[i].Resource
		}
		if err := w.pause(ctx); err != nil {
			return err
		}
	}
}

func (w *walk) missed(ctx context.Context, link *Link) error {
	if link.pending() {
		if w.adopted[link.Resource] {
			return nil
		}
		return w.compare(ctx, link.Kind, link.Resource, nil)
	}
	seen, err := w.remote.Get(ctx, link.Kind, link.Remote, false)
	switch {
	case is(err, Missing) && w.dry:
		want, err := w.want(ctx, link.Kind, link.Resource)
		if err != nil || want == nil {
			return err
		}
		return w.count(ctx, RunItem{Action: Created, Kind: link.Kind, Resource: link.Resource, Name: want.name()}, nil)
	case is(err, Missing):
		if err := w.unlinked(ctx, link, true); err != nil {
			return err
		}
		if want, err := w.want(ctx, link.Kind, link.Resource); err != nil || want == nil {
			return err
		}
		return w.compare(ctx, link.Kind, link.Resource, nil)
	case err != nil:
		return w.count(ctx, RunItem{Kind: link.Kind, Resource: link.Resource, Remote: link.Remote}, err)
	}
	return w.compare(ctx, link.Kind, link.Resource, seen)
}

// lacking makes what should be there and is not linked.
func (w *walk) lacking(ctx context.Context, kind Kind) error {
	for {
		resources, err := w.o.Store.Unlinked(ctx, w.t, w.maxRoles, kind, w.r.Progress.After, batch)
		if err != nil || len(resources) == 0 {
			return err
		}
		var later []string
		if kind == Group || w.dry {
			later = slices.DeleteFunc(slices.Clone(resources), func(resource string) bool { return w.adopted[resource] })
		} else {
			var mu sync.Mutex // guards later
			err := together(ctx, resources, func(ctx context.Context, resource *string) error {
				item, err := w.bring(ctx, kind, *resource, nil, alone)
				if errors.Is(err, errLater) {
					mu.Lock()
					defer mu.Unlock()
					later = append(later, *resource)
					return nil
				}
				return w.count(ctx, item, err)
			})
			if err != nil {
				return err
			}
		}
		for _, resource := range later {
			if err := w.compare(ctx, kind, resource, nil); err != nil {
				return err
			}
		}
		w.r.Progress.After = resources[len(resources)-1]
		if err := w.pause(ctx); err != nil {
			return err
		}
	}
}

// pause shows how far the run is, and lets what has changed meanwhile pass.
func (w *walk) pause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.alive(ctx); err != nil {
		return err
	}
	if err := w.o.Store.UpdateRun(ctx, w.r); err != nil || w.dry {
		return err
	}
	_, err := w.drain(ctx)
	return err
}
