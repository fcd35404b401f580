package oidc

import (
	"context"

	"github.com/rolecall/rolecall/internal/id"
)

// EndReach implements directory.Holdings.
func (o *OIDC) EndReach(ctx context.Context, tenant id.Tenant, homes []id.Tenant) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		grants, err := o.store.RevokeGrantsFromElsewhere(ctx, tenant, homes, o.now())
		if err != nil {
			return err
		}
		if err := o.authn.EndReach(ctx, tenant, homes); err != nil {
			return err
		}
		return o.notify(ctx, grants, tenant)
	})
}
