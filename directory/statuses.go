package directory

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// withStatus is a change of status and nothing else.
func withStatus(status Status) func(*authz.MembershipFacts) *authz.MembershipFacts {
	return func(before *authz.MembershipFacts) *authz.MembershipFacts {
		if before == nil {
			return nil
		}
		after := *before
		after.Status = string(status)
		return &after
	}
}

// admitNew asks for leave to add a membership without roles.
func (d *Directory) admitNew(ctx context.Context, m *Membership, roles ...string) error {
	if len(roles) == 0 && fromDirectory(ctx, m.Tenant) {
		return nil
	}
	return d.admit(ctx, memberChange{
		tenant: m.Tenant, user: m.User, operation: authz.OpCreate,
		after: func(*authz.MembershipFacts) *authz.MembershipFacts {
			return &authz.MembershipFacts{Status: string(m.Status), Roles: roles}
		},
	})
}

// Suspend switches a membership off, as active:false over SCIM does.
func (d *Directory) Suspend(ctx context.Context, tenant id.Tenant, membership id.Membership) (*Membership, error) {
	return d.setActive(ctx, tenant, membership, false)
}

// Reactivate is the inverse of Suspend. A membership that was never accepted
// waits for its acceptance again.
func (d *Directory) Reactivate(ctx context.Context, tenant id.Tenant, membership id.Membership) (*Membership, error) {
	return d.setActive(ctx, tenant, membership, true)
}

func (d *Directory) setActive(ctx context.Context, tenant id.Tenant, membership id.Membership, active bool) (*Membership, error) {
	whichever := func(*Membership) error { return nil }
	return d.changeMembership(ctx, tenant, membership, whichever, func(doc map[string]any) (map[string]any, error) {
		doc[attrActive] = active
		return doc, nil
	})
}

// SetStatus brings a membership to another status of the role system. People
// are bound to the transitions that it allows; the operator is not. It fails
// with fault.Invalid on status for one that is unknown, that ends the
// membership, or that may not follow.
func (d *Directory) SetStatus(ctx context.Context, tenant id.Tenant, membership id.Membership, status Status) (*Membership, error) {
	var changed *Membership
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		blueprint, err := d.blueprint(ctx, tenant)
		if err != nil {
			return err
		}
		if err := checkStatus(blueprint, status); err != nil {
			return err
		}
		t, err := d.heldType(ctx, tenant, typeUser)
		if err != nil {
			return err
		}
		var before Membership
		m, err := d.store.UpdateMembership(ctx, tenant, membership, func(m *Membership) error {
			before = *m
			if m.Status == status {
				return ErrUnchanged
			}
			if authz.FromContext(ctx).Kind != authz.OperatorPrincipal {
				if err := blueprint.CheckTransition(string(m.Status), string(status)); err != nil {
					return err
				}
			}
			m.Status, m.Accepted, m.Modified = status, m.Accepted || accepted(blueprint, status), d.now()
			m.unretire(t)
			m.Search = t.SearchDocument(m.Profile)
			return d.admit(ctx, memberChange{tenant: tenant, user: m.User, after: withStatus(status)})
		})
		if err != nil {
			return err
		}
		changed = m
		if before.Status == m.Status {
			return nil
		}
		if err := errors.Join(d.inviteIfWaiting(ctx, m), d.tellApproved(ctx, blueprint, before.Status, m)); err != nil {
			return err
		}
		return d.afterChange(ctx, &before, m, []string{attrActive})
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// checkStatus fails unless a membership can be in the status: the role system
// has it, or it is one of the three that every tenant knows, and it is not over.
func checkStatus(blueprint *authz.Blueprint, status Status) error {
	if slices.Contains([]Status{StatusActive, StatusInvited, StatusSuspended}, status) {
		return nil
	}
	s, err := blueprint.Status(string(status))
	if err != nil {
		return err
	}
	if s.Final() {
		return fault.Field(fault.Invalid, "status", "%q ends a membership: delete it instead", status)
	}
	return nil
}

// accepted reports whether somebody who is in the status has agreed to it, or
// the operator has.
func accepted(blueprint *authz.Blueprint, status Status) bool {
	s, err := blueprint.Status(string(status))
	return status == StatusSuspended || err == nil && s.SignIn
}

// profileFields names what differs between two documents as the role system
// calls it in the fields that an administrator, or the member, may change.
func profileFields(b *authz.Blueprint, self bool, before, after map[string]any) []string {
	known := b.Document().AdminEditFields
	if self {
		known = b.Document().Self.Fields.Keys()
	}
	var fields []string
	add := func(names ...string) {
		name := names[0]
		if i := slices.IndexFunc(names, func(n string) bool { return slices.Contains(known, n) }); i >= 0 {
			name = names[i]
		}
		if !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	for _, attribute := range differences(before, after) {
		switch attribute {
		case attrActive: // its operation is asked for
		case "id", "meta", "schemas": // they follow from the rest
		case attrUserName, "emails":
			add("email", "username")
		case attrDisplayName:
			add("name", "contact_name", "display_name", "first_name")
		case "phoneNumbers":
			add("phone")
		case "locale", "preferredLanguage":
			add("locale", "language")
		case "name":
			was, _ := before[attribute].(map[string]any)
			is, _ := after[attribute].(map[string]any)
			for part, names := range map[string][]string{"givenName": {"first_name", "name", "contact_name"}, "familyName": {"last_name", "name", "contact_name"}, "formatted": {"name", "contact_name"}} {
				if !reflect.DeepEqual(was[part], is[part]) {
					add(names...)
				}
			}
		default:
			add(attribute)
		}
	}
	slices.Sort(fields)
	return fields
}
