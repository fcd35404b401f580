package authn

import (
	"context"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
)

// postFor has a letter of a tenant's sent, in the transaction in ctx. It looks as
// the tenant's pages do, with its logo and by the colors that they have in daylight:
// most programs for mail know no other.
func (a *Authn) postFor(ctx context.Context, tenant id.Tenant, letter mail.Letter) error {
	b, err := a.store.Branding(ctx, tenant)
	if err != nil {
		return err
	}
	for _, variable := range b.Light.Variables() {
		switch variable[0] {
		case "accent":
			letter.Look.Accent = variable[1]
		case "on-accent":
			letter.Look.OnAccent = variable[1]
		case "ground":
			letter.Look.Ground = variable[1]
		}
	}
	letter.Tenant = tenant
	return a.letters.Post(ctx, letter)
}
