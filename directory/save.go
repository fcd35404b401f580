package directory

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Saving is the operator's way of making things be as described: what is there
// is changed, what is missing is made, and nothing that the description leaves
// out is removed. Describing the same twice changes nothing the second time.

// TenantSpec describes a tenant. Empty fields leave an existing tenant as it is.
type TenantSpec struct {
	Slug          string
	Name          string // default: the slug
	Blueprint     string // default: "default"; fixed once the tenant exists
	Type          string
	Tier          string
	Status        string
	Policy        *Policy // but for SupportAccess, which the tenant may have switched itself
	SupportAccess *bool
	Domains       []string // verified by the operator's word; added to those there are
	Entitlements  []string // added to those there are
	// GrantableEntitlements are added with the option to pass them on to children.
	GrantableEntitlements []string
}

// SaveTenant makes the tenant exist as described and returns it.
func (d *Directory) SaveTenant(ctx context.Context, spec TenantSpec) (*Tenant, error) {
	if err := operatorOnly(ctx); err != nil {
		return nil, err
	}
	var saved *Tenant
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		t, err := d.store.TenantByName(ctx, spec.Slug)
		switch {
		case errors.Is(err, fault.NotFound):
			saved, err = d.createTenant(ctx, spec)
			return err
		case err != nil:
			return err
		}
		if spec.Blueprint != "" && spec.Blueprint != t.Blueprint {
			return fault.Field(fault.Invalid, "blueprint", "the tenant %s has the blueprint %s; another one would need replacements for its roles", t.Slug, t.Blueprint)
		}
		before := *t
		saved, err = d.store.UpdateTenant(ctx, t.ID, func(t *Tenant) error {
			if err := d.describeTenant(ctx, t, spec); err != nil {
				return err
			}
			if reflect.DeepEqual(before, *t) {
				return ErrUnchanged
			}
			t.Modified = d.now()
			return nil
		})
		if isUnchanged(err) {
			saved = t
			return nil
		}
		if err != nil {
			return err
		}
		if err := d.followTenant(ctx, &before, saved); err != nil {
			return err
		}
		return d.record(ctx, saved.ID, "tenant.update", "tenant", string(saved.ID), nil)
	})
	if err != nil {
		return nil, err
	}
	return saved, nil
}

// followTenant does to people what a change of their tenant asks for: domains
// that are new make it manage members, a consent that is gone ends sessions, and
// who can't sign in to it any more, or now can, may have another default.
func (d *Directory) followTenant(ctx context.Context, before, saved *Tenant) error {
	for _, domain := range saved.Domains {
		if slices.Contains(before.Domains, domain) {
			continue
		}
		if err := d.store.ManageDomain(ctx, saved.ID, domain, saved.Modified); err != nil {
			return err
		}
	}
	if before.Status != saved.Status || !slices.Equal(before.Domains, saved.Domains) {
		if err := d.settleDefaults(ctx, saved.ID); err != nil {
			return err
		}
	}
	return d.supportWithdrawn(ctx, before.Policy, saved)
}

func (d *Directory) createTenant(ctx context.Context, spec TenantSpec) (*Tenant, error) {
	now := d.now()
	name := cmp.Or(spec.Blueprint, "default")
	blueprint, err := d.blueprints.begin(ctx, name)
	if err != nil {
		return nil, err
	}
	t := &Tenant{
		ID: id.New[id.Tenant](), Slug: spec.Slug, Name: spec.Slug, Blueprint: name, BlueprintVersion: blueprint.Version(), Status: cmp.Or(blueprint.Unfounded(), "enabled"),
		Relations: map[string]id.Tenant{}, Created: now, Modified: now,
	}
	if err := d.describeTenant(ctx, t, spec); err != nil {
		return nil, err
	}
	if err := d.store.CreateTenant(ctx, t); err != nil {
		return nil, err
	}
	return t, d.record(ctx, t.ID, "tenant.create", "tenant", string(t.ID), map[string]any{"slug": t.Slug, "blueprint": t.Blueprint})
}

// describeTenant takes spec over into t and checks the result against the
// blueprint.
func (d *Directory) describeTenant(ctx context.Context, t *Tenant, spec TenantSpec) error {
	for field, value := range map[*string]string{&t.Name: spec.Name, &t.Type: spec.Type, &t.Tier: spec.Tier, &t.Status: spec.Status} {
		if value != "" {
			*field = value
		}
	}
	if spec.Policy != nil {
		consent := t.Policy.SupportAccess
		t.Policy = *spec.Policy
		t.Policy.SupportAccess = consent
	}
	if spec.SupportAccess != nil {
		t.Policy.SupportAccess = *spec.SupportAccess
	}
	t.Domains = union(t.Domains, spec.Domains)
	t.entitle(spec.Entitlements, spec.GrantableEntitlements)
	if err := t.Validate(); err != nil {
		return err
	}
	blueprint, err := d.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return err
	}
	if err := t.Policy.fits(blueprint); err != nil {
		return err
	}
	if t.Tier != "" {
		if _, err := blueprint.Tier(t.Tier); err != nil {
			return err
		}
	}
	for _, key := range slices.Concat(spec.Entitlements, spec.GrantableEntitlements) {
		if err := blueprint.CheckEntitlement(key); err != nil {
			return err
		}
	}
	if _, known := blueprint.TenantStatus(t.Status); !known {
		return fault.Field(fault.Invalid, "status", "%q is no tenant status of %s", t.Status, t.Blueprint)
	}
	return nil
}

// union returns the sorted union without duplicates.
func union(a, b []string) []string {
	if len(a)+len(b) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

// UserSpec describes a user. Empty fields leave an existing user as it is.
type UserSpec struct {
	Email    string
	Name     Name
	Locale   string
	Operator *bool
}

// SaveUser makes the user of that address exist as described. The operator
// vouches for the address.
func (d *Directory) SaveUser(ctx context.Context, spec UserSpec) (*User, error) {
	if err := operatorOnly(ctx); err != nil {
		return nil, err
	}
	address, ok := ParseEmail(spec.Email)
	if !ok {
		return nil, fault.Field(fault.Invalid, "email", "%q is not an e-mail address", spec.Email)
	}
	var saved *User
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		u, err := d.store.UserByEmail(ctx, address)
		if errors.Is(err, fault.NotFound) {
			now := d.now()
			saved = &User{ID: id.New[id.User](), Email: address, EmailVerified: true, Created: now, Modified: now}
			spec.describe(saved)
			if err := d.store.CreateUser(ctx, saved); err != nil {
				return err
			}
			return d.record(ctx, "", "user.create", "user", string(saved.ID), nil)
		} else if err != nil {
			return err
		}
		saved, err = d.store.UpdateUser(ctx, u.ID, func(u *User) error {
			before := *u
			u.EmailVerified = true
			spec.describe(u)
			if *u == before {
				return ErrUnchanged
			}
			u.Modified = d.now()
			return nil
		})
		if isUnchanged(err) {
			saved = u
			return nil
		}
		if err != nil {
			return err
		}
		return d.record(ctx, "", "user.update", "user", string(u.ID), nil)
	})
	if err != nil {
		return nil, err
	}
	return saved, nil
}

func (spec UserSpec) describe(u *User) {
	if spec.Name != (Name{}) {
		u.Name = spec.Name
	}
	if spec.Locale != "" {
		u.Locale = spec.Locale
	}
	if spec.Operator != nil {
		u.Operator = *spec.Operator
	}
}
