package oidc

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// applicationSecretPrefix lets secret scanners find leaked client secrets.
const applicationSecretPrefix = "rcs_"

// Account implements directory.Accounts.
func (o *OIDC) Account(ctx context.Context, tenant id.Tenant, clientID string) (*directory.ServiceAccount, error) {
	a, err := o.store.Application(ctx, clientID)
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, noAccount()
	case err != nil:
		return nil, err
	}
	if err := a.accountOf(tenant); err != nil {
		return nil, err
	}
	return &directory.ServiceAccount{Tenant: tenant, Application: clientID, Name: a.Name, Roles: a.Roles}, nil
}

// CreateAccount implements directory.Accounts.
func (o *OIDC) CreateAccount(ctx context.Context, account directory.ServiceAccount) (secret.Text, error) {
	spec := ApplicationSpec{ClientID: account.Application, Name: account.Name, Type: Machine, Tenant: account.Tenant, Roles: account.Roles}.withDefaults()
	if err := spec.validate(); err != nil {
		return secret.Text{}, err
	}
	var applied Applied
	err := o.store.UpdateApplication(ctx, spec.ClientID, func(a *Application) error {
		if a.ClientID != "" {
			return fault.Field(fault.Conflict, "client_id", "the client_id %q is taken", spec.ClientID)
		}
		return o.merge(a, spec, &applied)
	})
	return applied.Secret, err
}

// SetAccountRoles implements directory.Accounts.
func (o *OIDC) SetAccountRoles(ctx context.Context, tenant id.Tenant, clientID string, roles []string) error {
	return o.changeAccount(ctx, tenant, clientID, func(a *Application) { a.Roles = roles })
}

// ReplaceAccountSecret implements directory.Accounts.
func (o *OIDC) ReplaceAccountSecret(ctx context.Context, tenant id.Tenant, clientID string, overlap time.Duration) (secret.Text, error) {
	made := secret.Random(applicationSecretPrefix)
	err := o.changeAccount(ctx, tenant, clientID, func(a *Application) {
		a.Secrets = a.withSecret(o.hashSecret(clientID, made), overlap, o.now())
	})
	return made, err
}

// DeleteAccount implements directory.Accounts. What was issued to the
// application goes with its row.
func (o *OIDC) DeleteAccount(ctx context.Context, tenant id.Tenant, clientID string) error {
	defer o.applications.Invalidate(clientID)
	return o.store.DeleteApplication(ctx, tenant, clientID)
}

func (o *OIDC) changeAccount(ctx context.Context, tenant id.Tenant, clientID string, change func(*Application)) error {
	defer o.applications.Invalidate(clientID)
	return o.store.UpdateApplication(ctx, clientID, func(a *Application) error {
		if err := a.accountOf(tenant); err != nil {
			return err
		}
		change(a)
		a.Modified = o.now()
		return nil
	})
}

// accountOf fails with fault.NotFound unless the application is a service
// account of the tenant.
func (a *Application) accountOf(tenant id.Tenant) error {
	if a.ClientID == "" || a.Type != Machine || a.Owner != tenant {
		return noAccount()
	}
	return nil
}

// noAccount is what is said of another tenant's account and of none.
func noAccount() error { return fault.New(fault.NotFound, "there is no such service account") }
