package outbound

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// maxStale is how often a resource is read anew because somebody else changed it
// there at the same time.
const maxStale = 3

// bring makes a resource at the target be what it should be, and says what that
// took. seen is how it is there, if that is known. above are the resources for
// whose sake it is done.
func (s *session) bring(ctx context.Context, kind Kind, resource string, seen *Resource, above ...string) (RunItem, error) {
	item := RunItem{Kind: kind, Resource: resource, Action: Unchanged}
	err := fault.Caught(func() error { return s.reach(ctx, &item, seen, above) })
	if p, panicked := errors.AsType[*fault.Panic](err); panicked {
		s.o.Logger.ErrorContext(ctx, "provisioning panicked", "target", s.t.ID, "kind", kind, "resource", resource, "err", p)
		err = &Failure{Trouble: Refused, Detail: wentWrong} // the other resources go on
	}
	return item, err
}

// reach is bring, of the item's resource.
func (s *session) reach(ctx context.Context, item *RunItem, seen *Resource, above []string) error {
	kind, resource := item.Kind, item.Resource
	want, err := s.want(ctx, kind, resource)
	if err != nil {
		return err
	}
	link, err := s.link(ctx, kind, resource)
	if err != nil {
		return err
	}
	if want != nil {
		item.Name = want.name()
	}
	switch {
	case want == nil && link == nil:
		return s.nothing(ctx, kind, resource)
	case want == nil && link.pending():
		return s.abandon(ctx, link, item)
	case want == nil:
		return s.drop(ctx, link, item)
	case link == nil || link.pending():
		if link != nil {
			item.Remote = link.Remote
		}
		return s.make(ctx, want, seen, item, above)
	default:
		return s.update(ctx, want, link, seen, item, above)
	}
}

// nothing is there and should be. What was noted as a person may be a group that
// has come to another one, or left it: then those in it may have as well.
func (s *session) nothing(ctx context.Context, kind Kind, resource string) error {
	if kind != User || s.t.People.Scope == AllPeople || s.dry {
		return nil
	}
	_, err := s.o.Store.Group(ctx, s.t.Tenant, id.Group(resource))
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.o.Store.Note(ctx, s.t.Tenant, s.t.ID, Scan, []string{""}, s.o.now())
}

// make brings about a resource that is not linked: one that is there already is
// adopted.
func (s *session) make(ctx context.Context, want *wanted, seen *Resource, item *RunItem, above []string) error {
	var err error
	if seen == nil && (!s.walked || want.kind == Group || item.Remote != "") {
		if seen, err = s.find(ctx, want); err != nil {
			return err
		}
	}
	if seen == nil && s.dry {
		item.Action = Created
		return nil
	}
	made := false
	if seen == nil {
		if seen, made, err = s.create(ctx, want, above); err != nil {
			return err
		}
	}
	link := &Link{
		Tenant: s.t.Tenant, Target: s.t.ID, Kind: want.kind, Resource: want.resource, Remote: seen.ID, Version: seen.Version,
		Sent: map[string]string{}, RefersTo: want.refersTo, Live: true,
	}
	if made {
		item.Action, item.Remote = Created, seen.ID
		link.Sent, link.Local = want.values.hashes(), want.version
		if err := s.linked(ctx, link, true); err != nil {
			return err
		}
		return s.members(ctx, link, item)
	}
	item.Remote = seen.ID // no longer that of what is pending
	s.takeOver(want, link, seen)
	if !s.dry {
		if err := s.linked(ctx, link, true); err != nil {
			return err
		}
	}
	if want.kind == Group {
		if err := s.readMembers(ctx, link); err != nil {
			return err
		}
	}
	err = s.update(ctx, want, link, seen, item, above)
	item.Action = Adopted
	return err
}

// create makes a resource there. made is false where the one that is returned was
// there already.
func (s *session) create(ctx context.Context, want *wanted, above []string) (seen *Resource, made bool, err error) {
	// Should it never be heard that it was made, it is known where to look.
	if err := s.o.Store.PutProvisioningLink(ctx, s.intent(want)); err != nil {
		return nil, false, err
	}
	for tries := 0; ; tries++ {
		seen, err := s.remote.Create(ctx, want.kind, want.values.document(want.kind))
		if err == nil {
			return seen, true, nil
		}
		if !is(err, Taken) || tries >= 2 {
			return nil, false, err
		}
		if seen, err = s.clear(ctx, want, err, above); seen != nil || err != nil {
			return seen, false, err
		}
	}
}

// intent is the link of what is about to be made.
func (s *session) intent(want *wanted) *Link {
	return &Link{
		Tenant: s.t.Tenant, Target: s.t.ID, Kind: want.kind, Resource: want.resource, Remote: pendingMark + want.resource,
		Sent: map[string]string{attrExternalID: want.externalID()},
	}
}

// abandon deals with what was to be made and should not be there any more: it may
// have been made all the same.
func (s *session) abandon(ctx context.Context, link *Link, item *RunItem) error {
	external := link.Sent[attrExternalID]
	if s.dry {
		return nil
	}
	if external != "" && s.t.Capabilities.Filter {
		found, err := s.called(ctx, link.Kind, attrExternalID, external)
		if err != nil {
			return err
		}
		links, err := s.linksOf(ctx, link.Kind, found)
		if err != nil {
			return err
		}
		for _, r := range found {
			if other, is := links[r.ID]; !is || other.Resource == link.Resource {
				link.Remote, link.Version, link.Live, link.Sent = r.ID, r.Version, true, s.ours(link.Kind, r.Doc)
				return s.drop(ctx, link, item)
			}
		}
	}
	return s.o.Store.DeleteProvisioningLink(ctx, link)
}

// takeOver says of a resource that is adopted what was sent. One that has the
// externalId is what was made here, and its values were sent, as were those of
// one whose place is taken; of another one it is not known.
func (s *session) takeOver(want *wanted, link *Link, seen *Resource) {
	external, _ := flatten(seen.Doc).at(attrExternalID).(string)
	switch before := seen.Before; {
	case before != nil && !before.pending():
		for path := range before.Sent {
			if path != attrMembers {
				link.Sent[path] = ""
			}
		}
	case before != nil || external != "" && external == want.externalID():
		link.Sent = s.ours(want.kind, seen.Doc)
	}
}

// ours returns as sent what is there of attributes that are pushed.
func (s *session) ours(kind Kind, doc map[string]any) map[string]string {
	sent := map[string]string{}
	for path := range flatten(doc) {
		extension, name, _ := split(path)
		if extension != "" && !s.knowsExtension(extension) || !s.t.Attributes.wants(extension, name) || !writable(s.types[kind], extension, name) {
			continue
		}
		sent[path] = ""
	}
	return sent
}

// find looks for a resource that is there already: by externalId, then by name.
// One that is linked to another resource is none.
func (s *session) find(ctx context.Context, want *wanted) (*Resource, error) {
	if caps := s.t.Capabilities; !caps.Filter {
		return nil, nil
	}
	for _, by := range []struct{ attribute, value string }{{attrExternalID, want.externalID()}, {nameAttribute(want.kind), want.name()}} {
		if by.value == "" {
			continue
		}
		found, err := s.called(ctx, want.kind, by.attribute, by.value)
		if err != nil {
			return nil, err
		}
		links, err := s.linksOf(ctx, want.kind, found)
		if err != nil {
			return nil, err
		}
		for i := range found {
			if link, taken := links[found[i].ID]; !taken || link.Resource == want.resource {
				return &found[i], nil
			}
		}
	}
	return nil, nil
}

// called returns the resources there whose attribute is the value. Some servers
// pass over filters that they don't know.
func (s *session) called(ctx context.Context, kind Kind, attribute, value string) ([]Resource, error) {
	found, err := s.remote.Find(ctx, kind, attribute, value)
	if is(err, Missing) {
		return nil, nil // some servers say so of an empty list
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(r Resource) bool {
		has, _ := flatten(r.Doc).at(attribute).(string)
		return attribute == attrExternalID && has != value || !strings.EqualFold(has, value)
	}), nil
}

// linksOf returns the links to resources there, by their ids there. One whose
// making was never heard of is known by the externalId that it was given: it is
// no stranger, whose values were its own.
func (s *session) linksOf(ctx context.Context, kind Kind, found []Resource) (map[string]Link, error) {
	remotes := idsOf(found)
	pending := map[string]*Resource{}
	for i := range found {
		if external, _ := flatten(found[i].Doc).at(attrExternalID).(string); external != "" {
			remotes = append(remotes, pendingMark+external)
			pending[pendingMark+external] = &found[i]
		}
	}
	links, err := s.o.Store.LinksOfRemotes(ctx, s.t.Tenant, s.t.ID, kind, remotes)
	if err != nil {
		return nil, err
	}
	for mark, resource := range pending {
		link, made := links[mark]
		if _, known := links[resource.ID]; made && !known {
			links[resource.ID] = link
		}
	}
	return links, nil
}

func idsOf(resources []Resource) []string {
	ids := make([]string, len(resources))
	for i := range resources {
		ids[i] = resources[i].ID
	}
	return ids
}

// clear is called when the target refuses a name because another resource has
// it. It returns that resource if it may be adopted, or nil when it is out of
// the way; otherwise it fails, with refusal if nothing is known of the other.
func (s *session) clear(ctx context.Context, want *wanted, refusal error, above []string) (*Resource, error) {
	found, err := s.called(ctx, want.kind, nameAttribute(want.kind), want.name())
	if err != nil {
		return nil, err
	}
	links, err := s.linksOf(ctx, want.kind, found)
	if err != nil {
		return nil, err
	}
	for i := range found {
		link, ours := links[found[i].ID]
		own := link.Resource == want.resource
		if !ours || own && link.pending() {
			return &found[i], nil
		}
		if own {
			continue
		}
		if slices.Contains(above, alone) {
			return nil, errLater
		}
		return s.moveAway(ctx, want, &link, &found[i], refusal, above)
	}
	return nil, refusal
}

// alone in above says that other resources are looked at at the same time, so
// that none may be touched for the sake of another.
const alone = "alone"

// moveAway deals with the resource that has the name which want should have: it
// is gone here, or has another name by now.
func (s *session) moveAway(ctx context.Context, want *wanted, holder *Link, seen *Resource, refusal error, above []string) (*Resource, error) {
	before := *holder
	holder.Remote = seen.ID
	other, err := s.want(ctx, want.kind, holder.Resource)
	if err != nil {
		return nil, err
	}
	switch {
	case other == nil && s.t.OnRemoval == Delete:
		return nil, s.drop(ctx, holder, &RunItem{})
	case other == nil:
		// It stays there and keeps the name: the new one takes its place.
		if err := s.unlinked(ctx, holder, false); err != nil {
			return nil, err
		}
		seen.Before = &before
		return seen, nil
	case strings.EqualFold(other.name(), want.name()):
		return nil, refusal
	case slices.Contains(above, holder.Resource):
		// They take one another's names in a circle: one steps aside.
		name := nameAttribute(want.kind)
		holder.Sent[name], holder.Local, holder.Version = "", 0, ""
		if err := s.o.Store.PutProvisioningLink(ctx, holder); err != nil {
			return nil, err
		}
		if _, err := s.write(ctx, want.kind, holder.Remote, "", values{name: "moving-" + holder.Resource}, []string{name}, nil); err != nil {
			return nil, err
		}
		return nil, s.o.Store.Note(ctx, s.t.Tenant, s.t.ID, want.kind, []string{holder.Resource}, s.o.now())
	default:
		_, err := s.bring(ctx, want.kind, holder.Resource, nil, append(slices.Clone(above), want.resource)...)
		return nil, err
	}
}

// update brings a linked resource up to date. seen is how it is there, if that is
// known; otherwise what was sent last tells what differs.
func (s *session) update(ctx context.Context, want *wanted, link *Link, seen *Resource, item *RunItem, above []string) error {
	item.Remote = link.Remote
	changed, gone := want.values.since(link.Sent)
	if seen != nil && (len(changed)+len(gone) > 0 || seen.Version == "" || seen.Version != link.Version) {
		changed, gone = want.values.against(seen.Doc, link.Sent)
		link.Version = seen.Version
	}
	if item.Attributes = slices.Concat(changed, gone); len(item.Attributes) > 0 {
		item.Action = Updated
	}
	if s.dry {
		return s.members(ctx, link, item)
	}
	again, err := s.send(ctx, want, link, changed, gone, above)
	if err != nil {
		return err
	}
	if again {
		if err := s.unlinked(ctx, link, true); err != nil {
			return err
		}
		return s.make(ctx, want, nil, item, above)
	}
	came, stale := !link.Live, link.Local != want.version || link.RefersTo != want.refersTo || seen != nil
	if came || stale || len(item.Attributes) > 0 {
		members, open := link.Sent[attrMembers]
		link.Live, link.Sent, link.Local, link.RefersTo = true, want.values.hashes(), want.version, want.refersTo
		if open {
			link.Sent[attrMembers] = members
		}
		if err := s.linked(ctx, link, came); err != nil {
			return err
		}
	}
	return s.members(ctx, link, item)
}

// send writes what differs. again says that the resource is not there any more
// and has to be made anew.
func (s *session) send(ctx context.Context, want *wanted, link *Link, changed, gone, above []string) (again bool, err error) {
	for tries := 0; len(changed)+len(gone) > 0; tries++ {
		if err := s.announce(ctx, link, changed...); err != nil {
			return false, err
		}
		version, err := s.write(ctx, want.kind, link.Remote, link.Version, want.values, changed, gone)
		switch {
		case err == nil:
			link.Version = version
			return false, nil
		case is(err, Missing):
			return true, nil
		case is(err, Stale) && tries < maxStale:
			seen, err := s.remote.Get(ctx, want.kind, link.Remote, false)
			if is(err, Missing) {
				return true, nil
			}
			if err != nil {
				return false, err
			}
			changed, gone = want.values.against(seen.Doc, link.Sent)
			link.Version = seen.Version
		case is(err, Taken) && tries < maxStale:
			other, err := s.clear(ctx, want, err, above)
			if err != nil {
				return false, err
			}
			if other != nil {
				return false, &Failure{Trouble: Taken, Detail: fmt.Sprintf("another resource there, %s, has the %s %s", other.ID, nameAttribute(want.kind), want.name())}
			}
		default:
			return false, err
		}
	}
	return false, nil
}

// announce says before they are sent that it is not known what is at the paths:
// should the answer be lost, they are sent again, and removed when they have no
// value any more.
func (s *session) announce(ctx context.Context, link *Link, paths ...string) error {
	for _, path := range paths {
		link.Sent[path] = ""
	}
	return s.o.Store.PutProvisioningLink(ctx, link)
}

// write sends values by PATCH, or in a whole document if the target knows no
// PATCH; what else the resource has there stays.
func (s *session) write(ctx context.Context, kind Kind, remote, version string, v values, changed, gone []string) (string, error) {
	if !s.t.Capabilities.ETag {
		version = ""
	}
	if s.t.Capabilities.Patch {
		after, err := s.remote.Patch(ctx, kind, remote, version, v.operations(changed, gone))
		if !is(err, Unsupported) {
			return after, err
		}
		if err := s.withoutPatch(ctx); err != nil {
			return "", err
		}
	}
	return s.replace(ctx, kind, remote, func(doc map[string]any) {
		part := values{}
		for _, path := range changed {
			part[path] = v[path]
		}
		part.overlay(doc)
		for _, path := range gone {
			remove(doc, path)
		}
	})
}

func (s *session) withoutPatch(ctx context.Context) error {
	caps := *s.t.Capabilities
	caps.Patch = false
	return s.keep(ctx, &caps)
}

// replace changes the document that the target has, and sends all of it back.
func (s *session) replace(ctx context.Context, kind Kind, remote string, change func(doc map[string]any)) (string, error) {
	now, err := s.remote.Get(ctx, kind, remote, true)
	if err != nil {
		return "", err
	}
	doc := now.Doc
	change(doc)
	delete(doc, attrMeta)
	delete(doc, "groups")
	doc[attrSchemas] = flatten(doc).schemas(kind)
	version := now.Version
	if !s.t.Capabilities.ETag {
		version = ""
	}
	return s.remote.Replace(ctx, kind, remote, version, doc)
}

// drop does with a resource that should not be there what the target asks for.
func (s *session) drop(ctx context.Context, link *Link, item *RunItem) error {
	item.Remote = link.Remote
	switch s.t.OnRemoval {
	case Leave:
		if item.Action = Released; s.dry {
			return nil
		}
		return s.unlinked(ctx, link, false)
	case Deactivate:
		return s.deactivate(ctx, link, item)
	case Delete:
	}
	if item.Action = Deleted; s.dry {
		return nil
	}
	if err := s.remote.Delete(ctx, link.Kind, link.Remote); err != nil && !is(err, Missing) {
		return err
	}
	return s.unlinked(ctx, link, true)
}

func (s *session) deactivate(ctx context.Context, link *Link, item *RunItem) error {
	if !link.Live {
		return nil
	}
	if item.Action = Deactivated; s.dry {
		return nil
	}
	off := values{attrActive: false}
	if link.Kind == Group {
		link.Live = false
		if err := s.members(ctx, link, item); err != nil {
			return err
		}
		item.Action = Deactivated
	} else if link.Sent[attrActive] != hash(false) {
		if err := s.announce(ctx, link, attrActive); err != nil {
			return err
		}
		version, err := s.write(ctx, link.Kind, link.Remote, "", off, []string{attrActive}, nil)
		if is(err, Missing) {
			return s.unlinked(ctx, link, true)
		}
		if err != nil {
			return err
		}
		link.Version, link.Sent[attrActive] = version, hash(false)
	}
	link.Local, link.Live = 0, false
	return s.o.Store.InTx(ctx, func(ctx context.Context) error {
		if err := s.o.Store.PutProvisioningLink(ctx, link); err != nil {
			return err
		}
		return s.o.Store.NoteGroups(ctx, s.t, "", []string{link.Remote}, s.o.now())
	})
}
