package authn

import (
	"context"

	"github.com/rolecall/rolecall/internal/id"
)

// EndReach revokes the application tokens of a tenant whose creators are no
// longer a member of it or of any tenant above it, which are the homes, in the
// transaction in ctx.
func (a *Authn) EndReach(ctx context.Context, tenant id.Tenant, homes []id.Tenant) error {
	return a.store.InTx(ctx, func(ctx context.Context) error {
		revoked, err := a.store.RevokeStrandedTokens(ctx, tenant, homes, a.now())
		if err != nil {
			return err
		}
		for _, t := range revoked {
			if err := a.applicationTokenEvent(ctx, "application_token.revoke", t); err != nil {
				return err
			}
		}
		return nil
	})
}
