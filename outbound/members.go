package outbound

import (
	"context"
	"fmt"
	"strconv"
)

// memberChunk is how many members a request adds or removes. Some servers take
// no more.
const memberChunk = 100

// members gives a group that is linked the members there that it should have, by
// differences. One that is not live should have none.
func (s *session) members(ctx context.Context, link *Link, item *RunItem) error {
	if link.Kind != Group {
		return nil
	}
	if s.dry {
		return s.countMembers(ctx, link, item)
	}
	if link.Live {
		// Who is missing altogether is provisioned, and the group noted again then.
		if _, err := s.o.Store.NoteMissingMembers(ctx, s.t, s.maxRoles, link.Resource, s.o.now()); err != nil {
			return err
		}
	}
	if _, open := link.Sent[attrMembers]; open {
		// It was never heard what became of the last change.
		if err := s.readMembers(ctx, link); err != nil {
			return err
		}
	}
	if err := s.moveMembers(ctx, link, item); err != nil {
		return err
	}
	if item.Added+item.Removed > 0 && item.Action == Unchanged {
		item.Action = Updated
	}
	if _, open := link.Sent[attrMembers]; !open {
		return nil
	}
	delete(link.Sent, attrMembers)
	return s.o.Store.PutProvisioningLink(ctx, link)
}

func (s *session) moveMembers(ctx context.Context, link *Link, item *RunItem) error {
	for {
		var lacking []string
		var err error
		if link.Live {
			if lacking, err = s.o.Store.LackingMembers(ctx, s.t.Tenant, s.t.ID, link.Resource, memberChunk); err != nil {
				return err
			}
		}
		surplus, err := s.o.Store.SurplusMembers(ctx, s.t.Tenant, s.t.ID, link.Resource, link.Live, memberChunk)
		if err != nil || len(lacking)+len(surplus) == 0 {
			return err
		}
		if _, open := link.Sent[attrMembers]; !open {
			if err := s.announce(ctx, link, attrMembers); err != nil {
				return err
			}
		}
		if !s.t.Capabilities.Patch {
			item.Added, item.Removed = item.Added+len(lacking), item.Removed+len(surplus)
			return s.replaceMembers(ctx, link)
		}
		if err := s.patchMembers(ctx, link, lacking, surplus, item); err != nil {
			return err
		}
	}
}

func (s *session) patchMembers(ctx context.Context, link *Link, lacking, surplus []string, item *RunItem) error {
	var operations []Operation
	if len(lacking) > 0 {
		operations = append(operations, Operation{Op: "add", Path: attrMembers, Value: membersOf(lacking)})
	}
	for _, member := range surplus {
		operations = append(operations, Operation{Op: "remove", Path: attrMembers + "[value eq " + strconv.Quote(member) + "]"})
	}
	// Without a version: to add and to remove commute with what others do.
	version, err := s.remote.Patch(ctx, Group, link.Remote, "", operations)
	switch {
	case is(err, Unsupported):
		return s.withoutPatch(ctx)
	case is(err, Refused), is(err, Missing):
		return s.verify(ctx, link, lacking, surplus, err)
	case err != nil:
		return err
	}
	link.Version = version
	item.Added, item.Removed = item.Added+len(lacking), item.Removed+len(surplus)
	if err := s.o.Store.AddKnownMembers(ctx, s.t.Tenant, s.t.ID, link.Resource, lacking); err != nil {
		return err
	}
	return s.o.Store.RemoveKnownMembers(ctx, s.t.Tenant, s.t.ID, link.Resource, surplus)
}

func membersOf(remotes []string) []any {
	all := make([]any, len(remotes))
	for i, remote := range remotes {
		all[i] = map[string]any{attrValue: remote}
	}
	return all
}

// verify looks why a change of members was refused: who is not there any more is
// made anew, and the group is asked what members it has. It fails with refusal
// where neither explains it.
func (s *session) verify(ctx context.Context, link *Link, lacking, surplus []string, refusal error) error {
	if gone, err := s.findGone(ctx, lacking); gone || err != nil {
		return err
	}
	if len(surplus) == 0 {
		if !is(refusal, Missing) {
			return refusal
		}
		surplus = lacking
	}
	changed, err := s.rereadMembers(ctx, link, surplus)
	if err != nil {
		return err
	}
	if !changed {
		return refusal
	}
	return nil
}

// findGone unlinks and notes those of the resources that are not there any more,
// and reports whether there were any.
func (s *session) findGone(ctx context.Context, remotes []string) (found bool, err error) {
	for _, kind := range []Kind{User, Group} {
		links, err := s.o.Store.LinksOfRemotes(ctx, s.t.Tenant, s.t.ID, kind, remotes)
		if err != nil {
			return found, err
		}
		for remote, link := range links {
			_, err := s.remote.Get(ctx, kind, remote, false)
			if err == nil {
				continue
			}
			if !is(err, Missing) {
				return found, err
			}
			found = true
			if err := s.unlinked(ctx, &link, true); err != nil {
				return found, err
			}
			if err := s.o.Store.Note(ctx, s.t.Tenant, s.t.ID, kind, []string{link.Resource}, s.o.now()); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// rereadMembers asks for the members that a group has there, and reports whether
// any of some that were known as its are not.
func (s *session) rereadMembers(ctx context.Context, link *Link, known []string) (bool, error) {
	there, err := s.askMembers(ctx, link)
	if is(err, Missing) { // the group itself: it is made anew
		if err := s.unlinked(ctx, link, true); err != nil {
			return false, err
		}
		if err := s.o.Store.Note(ctx, s.t.Tenant, s.t.ID, Group, []string{link.Resource}, s.o.now()); err != nil {
			return false, err
		}
		return false, &Failure{Trouble: Missing, Detail: "the group is not there any more and is made anew"}
	}
	if err != nil {
		return false, err
	}
	has := make(map[string]bool, len(there))
	for _, member := range there {
		has[member] = true
	}
	changed := false
	for _, member := range known {
		changed = changed || !has[member]
	}
	return changed, s.o.Store.ReplaceKnownMembers(ctx, s.t.Tenant, s.t.ID, link.Resource, there)
}

// readMembers takes over what members a group has there.
func (s *session) readMembers(ctx context.Context, link *Link) error {
	if s.dry {
		return nil
	}
	there, err := s.askMembers(ctx, link)
	if err != nil {
		return err
	}
	return s.o.Store.ReplaceKnownMembers(ctx, s.t.Tenant, s.t.ID, link.Resource, there)
}

func (s *session) askMembers(ctx context.Context, link *Link) ([]string, error) {
	r, err := s.remote.Get(ctx, Group, link.Remote, true)
	if err != nil {
		return nil, err
	}
	var there []string
	list, _ := r.Doc[attrMembers].([]any)
	for _, entry := range list {
		member, _ := entry.(map[string]any)
		if value, _ := member[attrValue].(string); value != "" {
			there = append(there, value)
		}
	}
	return there, nil
}

// replaceMembers sends all members, to a target that knows no PATCH.
func (s *session) replaceMembers(ctx context.Context, link *Link) error {
	right := []string{}
	if link.Live {
		var err error
		if right, err = s.o.Store.RightMembers(ctx, s.t.Tenant, s.t.ID, link.Resource); err != nil {
			return err
		}
	}
	version, err := s.replace(ctx, Group, link.Remote, func(doc map[string]any) { doc[attrMembers] = membersOf(right) })
	if err != nil {
		return fmt.Errorf("replace the members: %w", err)
	}
	link.Version = version
	return s.o.Store.ReplaceKnownMembers(ctx, s.t.Tenant, s.t.ID, link.Resource, right)
}

// countMembers says how many members a dry run would add and remove, of those
// who are there already.
func (s *session) countMembers(ctx context.Context, link *Link, item *RunItem) error {
	right, err := s.o.Store.RightMembers(ctx, s.t.Tenant, s.t.ID, link.Resource)
	if err != nil {
		return err
	}
	there, err := s.askMembers(ctx, link)
	if err != nil {
		return err
	}
	has := make(map[string]bool, len(there))
	for _, member := range there {
		has[member] = true
	}
	for _, member := range right {
		if !has[member] {
			item.Added++
		}
		delete(has, member)
	}
	item.Removed = len(has)
	if item.Added+item.Removed > 0 && item.Action == Unchanged {
		item.Action = Updated
	}
	return nil
}
