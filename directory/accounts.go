package directory

import (
	"context"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// opSetSecret is the operation under which an account gets another secret,
// where the role system has it; else it is an update.
const opSetSecret = "set_secret"

// MaxSecretOverlap bounds how long a secret works on after it was replaced.
const MaxSecretOverlap = 7 * 24 * time.Hour

// Accounts keeps service accounts, which are applications of type machine. It
// is oidc's part of them, and joins the transaction in ctx. Accounts of other
// tenants are fault.NotFound.
type Accounts interface {
	Account(ctx context.Context, tenant id.Tenant, clientID string) (*ServiceAccount, error)
	// CreateAccount returns the secret that it made.
	CreateAccount(ctx context.Context, account ServiceAccount) (secret.Text, error)
	SetAccountRoles(ctx context.Context, tenant id.Tenant, clientID string, roles []string) error
	// ReplaceAccountSecret makes another secret; those before end after overlap.
	ReplaceAccountSecret(ctx context.Context, tenant id.Tenant, clientID string, overlap time.Duration) (secret.Text, error)
	// DeleteAccount removes the account and ends what was issued to it.
	DeleteAccount(ctx context.Context, tenant id.Tenant, clientID string) error
}

// ServiceAccountsOf returns the tenant's service accounts to those who may list
// its members.
func (d *Directory) ServiceAccountsOf(ctx context.Context, tenant id.Tenant) ([]ServiceAccount, error) {
	if err := d.MayList(ctx, tenant); err != nil {
		return nil, err
	}
	return d.store.ServiceAccounts(ctx, tenant)
}

// AddServiceAccount makes a service account with roles, and a secret that is
// shown this once. Its client_id begins with the tenant's slug. It fails with
// fault.Invalid on name, and with fault.Denied where the caller may not add such
// an account.
func (d *Directory) AddServiceAccount(ctx context.Context, tenant id.Tenant, name string, roles []string) (*ServiceAccount, secret.Text, error) {
	if strings.TrimSpace(name) == "" {
		return nil, secret.Text{}, fault.Field(fault.Invalid, "name", "a service account needs a name")
	}
	var account ServiceAccount
	var made secret.Text
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, tenant)
		if err != nil {
			return err
		}
		const random = 24 // where the random part of the identifier begins
		account = ServiceAccount{Tenant: tenant, Application: at.tenant.Slug + "-" + string(id.New[id.Membership]())[random:], Name: name, Roles: roles}
		after := account.facts(at.blueprint)
		if err := d.admitAccount(ctx, at, authz.OpCreate, nil, &after); err != nil {
			return err
		}
		if made, err = d.accounts.CreateAccount(ctx, account); err != nil {
			return err
		}
		return d.record(ctx, tenant, "service_account.create", "application", account.Application, map[string]any{"name": name, "roles": roles})
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return &account, made, nil
}

// SetServiceAccountRoles makes a service account hold exactly these roles.
func (d *Directory) SetServiceAccountRoles(ctx context.Context, tenant id.Tenant, clientID string, roles []string) error {
	return d.changeAccount(ctx, tenant, clientID, func(ctx context.Context, at *place, account *ServiceAccount) error {
		added, removed := without(roles, account.Roles), without(account.Roles, roles)
		if len(added)+len(removed) == 0 {
			return nil
		}
		before := account.facts(at.blueprint)
		after := before
		after.Roles = roles
		if err := d.admitAccount(ctx, at, roleOperation(added), &before, &after); err != nil {
			return err
		}
		if err := d.accounts.SetAccountRoles(ctx, tenant, clientID, roles); err != nil {
			return err
		}
		return d.record(ctx, tenant, "service_account.roles", "application", clientID, map[string]any{"added": added, "removed": removed})
	})
}

// ReplaceServiceAccountSecret makes another secret, which is shown this once.
// Those before work for overlap more, at most MaxSecretOverlap. It fails with
// fault.Invalid on overlap.
func (d *Directory) ReplaceServiceAccountSecret(ctx context.Context, tenant id.Tenant, clientID string, overlap time.Duration) (secret.Text, error) {
	if overlap < 0 || overlap > MaxSecretOverlap {
		return secret.Text{}, fault.Field(fault.Invalid, "overlap", "%s is not between 0 and %s", overlap, MaxSecretOverlap)
	}
	var made secret.Text
	err := d.changeAccount(ctx, tenant, clientID, func(ctx context.Context, at *place, account *ServiceAccount) error {
		operation := authz.OpUpdate
		if at.blueprint.HasOperation(opSetSecret) {
			operation = opSetSecret
		}
		facts := account.facts(at.blueprint)
		err := d.admitAccount(ctx, at, operation, &facts, &facts)
		if err != nil {
			return err
		}
		if made, err = d.accounts.ReplaceAccountSecret(ctx, tenant, clientID, overlap); err != nil {
			return err
		}
		return d.record(ctx, tenant, "service_account.secret", "application", clientID, nil)
	})
	return made, err
}

// DeleteServiceAccount removes a service account with all that was issued to it.
func (d *Directory) DeleteServiceAccount(ctx context.Context, tenant id.Tenant, clientID string) error {
	return d.changeAccount(ctx, tenant, clientID, func(ctx context.Context, at *place, account *ServiceAccount) error {
		before := account.facts(at.blueprint)
		if err := d.admitAccount(ctx, at, authz.OpDelete, &before, nil); err != nil {
			return err
		}
		if err := d.accounts.DeleteAccount(ctx, tenant, clientID); err != nil {
			return err
		}
		return d.record(ctx, tenant, "service_account.delete", "application", clientID, map[string]any{"roles": account.Roles})
	})
}

func (d *Directory) changeAccount(ctx context.Context, tenant id.Tenant, clientID string, change func(ctx context.Context, at *place, account *ServiceAccount) error) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, tenant)
		if err != nil {
			return err
		}
		account, err := d.accounts.Account(ctx, tenant, clientID)
		if err != nil {
			return err
		}
		return change(ctx, at, account)
	})
}

// admitAccount is admit for a service account. No rule over holders counts
// accounts: a tenant that only they administer has nobody to administer it.
func (d *Directory) admitAccount(ctx context.Context, at *place, operation string, before, after *authz.MembershipFacts) error {
	actor, err := d.rights.actor(ctx, at)
	if err != nil {
		return err
	}
	act := authz.Act{
		Operation: operation, At: at.view, Actor: actor, After: after, Untallied: true,
		Target: authz.Target{Kind: authz.ServiceHolders, Before: before},
	}
	if before != nil {
		act.Target.Holders = []authz.Holder{at.blueprint.Holder(at.view, *before)}
	}
	return at.blueprint.May(act).Err()
}

// facts returns the account as decisions see it.
func (a *ServiceAccount) facts(b *authz.Blueprint) authz.MembershipFacts {
	return authz.MembershipFacts{Status: b.FirstStatus(), Roles: a.Roles}
}
