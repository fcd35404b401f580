package directory

import (
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Roles that live by a star come and go with it: on_link gives one when the hub
// gains a spoke, on_unlink says what its holders are when the star ends. The
// tenants are locked by whoever calls.

// enterHubRoles gives the roles that a hub has to have to the member who has
// been there for longest among the holders of another role, where nobody holds
// them yet (EM-R39). A hub without such a member gets them by the operator.
func (d *Directory) enterHubRoles(ctx context.Context, blueprint *authz.Blueprint, hub id.Tenant) error {
	_, most := blueprint.RoleBounds()
	for _, role := range blueprint.Document().Roles {
		if role.Value.OnLink == nil {
			continue
		}
		holding, err := d.store.RoleHolders(ctx, hub, []string{role.Key}, most)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(holding, func(h RoleHolder) bool { return !isFinal(blueprint, h.Status) }) {
			continue
		}
		candidates, err := d.store.RoleHolders(ctx, hub, []string{role.Value.OnLink.Of}, most)
		if err != nil {
			return err
		}
		first := slices.IndexFunc(candidates, func(h RoleHolder) bool {
			return !h.Disabled && slices.Contains(blueprint.AbleStatuses(), string(h.Status))
		})
		if first < 0 {
			continue
		}
		chosen := candidates[first]
		after := append(slices.Clone(chosen.Roles), role.Key)
		if most == 1 {
			after = []string{role.Key}
		}
		if err := d.replaceRoles(ctx, hub, chosen.Membership, chosen.Roles, after); err != nil {
			return err
		}
	}
	return nil
}

// isFinal reports whether a membership of that status is over.
func isFinal(blueprint *authz.Blueprint, status Status) bool {
	return slices.Contains(blueprint.FinalStatuses(), string(status))
}

// leaveHubRoles takes from a tenant that becomes a spoke the roles that only a
// hub has, and gives what replaces them.
func (d *Directory) leaveHubRoles(ctx context.Context, blueprint *authz.Blueprint, spoke id.Tenant) error {
	var hubOnly []string
	for _, role := range blueprint.Roles() {
		if role.HubOnly {
			hubOnly = append(hubOnly, role.Key)
		}
	}
	if len(hubOnly) == 0 {
		return nil
	}
	_, most := blueprint.RoleBounds()
	holding, err := d.store.RoleHolders(ctx, spoke, hubOnly, most)
	if err != nil {
		return err
	}
	for _, h := range holding {
		lost := without(h.Roles, without(h.Roles, hubOnly))
		after := blueprint.RolesAfterUnlink(lost, h.Roles)
		if err := d.replaceRoles(ctx, spoke, h.Membership, h.Roles, without(after, hubOnly)); err != nil {
			return err
		}
	}
	return nil
}

// leaveStar does to the members of a tenant that was a spoke what on_unlink says
// (EM-R24): who held such a role in the hub and is a member here gets its
// replacement here. Without its last spoke the hub is none any more, and the
// role ends there too.
func (d *Directory) leaveStar(ctx context.Context, blueprint *authz.Blueprint, spoke id.Tenant, relation string, hub id.Tenant) error {
	var ending []string
	for _, role := range blueprint.Document().Roles {
		if role.Value.OnUnlink != nil {
			ending = append(ending, role.Key)
		}
	}
	if len(ending) == 0 {
		return nil
	}
	_, most := blueprint.RoleBounds()
	holding, err := d.store.RoleHolders(ctx, hub, ending, most)
	if err != nil {
		return err
	}
	left, err := d.spokes(ctx, hub, relation)
	if err != nil {
		return err
	}
	for _, h := range holding {
		m, err := d.store.MembershipOfUser(ctx, spoke, h.User)
		switch {
		case errors.Is(err, fault.NotFound): // was there by the star alone
		case err != nil:
			return err
		default:
			own, _, err := d.rolesBySource(ctx, spoke, m.ID)
			if err != nil {
				return err
			}
			if err := d.replaceRoles(ctx, spoke, m.ID, own, blueprint.RolesAfterUnlink(h.Roles, own)); err != nil {
				return err
			}
		}
		if left > 0 {
			continue
		}
		if err := d.replaceRoles(ctx, hub, h.Membership, h.Roles, blueprint.RolesAfterUnlink(h.Roles, h.Roles)); err != nil {
			return err
		}
	}
	return nil
}

// replaceRoles makes a member hold directly what a rule of the role system says,
// and writes the event of it.
func (d *Directory) replaceRoles(ctx context.Context, tenant id.Tenant, membership id.Membership, before, after []string) error {
	added, removed := without(after, before), without(before, after)
	if len(added)+len(removed) == 0 {
		return nil
	}
	if err := d.changeRoles(ctx, tenant, membership, added, removed); err != nil {
		return err
	}
	return d.record(ctx, tenant, "membership.roles", "membership", string(membership), map[string]any{"added": added, "removed": removed})
}
