package directory

import (
	"context"

	"github.com/rolecall/rolecall/internal/id"
)

// Standing returns what a user is in a tenant right now, whatever the status;
// SignIn says whether it may be used. It fails with fault.NotFound for those
// who are no member.
func (d *Directory) Standing(ctx context.Context, tenant id.Tenant, user id.User) (*Standing, error) {
	st, err := d.store.Standing(ctx, tenant, user)
	if err != nil {
		return nil, err
	}
	if err := d.judge(ctx, st); err != nil {
		return nil, err
	}
	return st, nil
}

// Standings returns what a user is in every tenant that knows them, by the
// tenants' names.
func (d *Directory) Standings(ctx context.Context, user id.User) ([]Standing, error) {
	all, err := d.store.Standings(ctx, user)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if err := d.judge(ctx, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// judge sets SignIn by the tenant's role system.
func (d *Directory) judge(ctx context.Context, st *Standing) error {
	usable, err := d.rights.Usable(ctx, st.Blueprint, st.BlueprintVersion, st.TenantStatus, st.Status)
	st.SignIn = usable && !st.User.Disabled
	return err
}

// Tenant finds a tenant by its slug or its id.
func (d *Directory) Tenant(ctx context.Context, slugOrID string) (*Tenant, error) {
	return d.store.TenantByName(ctx, slugOrID)
}
