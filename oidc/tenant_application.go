package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// maxApplicationSecrets is how many secrets of an application may be in force.
const maxApplicationSecrets = 10

// ID returns what the secret is called: something that is known from its hash, and
// says nothing of it.
func (s *ApplicationSecret) ID() string {
	sum := sha256.Sum256(append([]byte("the name of a secret\x00"), s.Hash[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Applications returns the applications of the tenant by client_id, without their
// secrets: at most limit, after the client_id if it is not empty. Machines, which
// are the tenant's service accounts, are not among them. It fails with fault.Denied.
func (o *OIDC) Applications(ctx context.Context, tenant id.Tenant, after string, limit int) ([]Application, error) {
	if err := o.rights.Permitted(ctx, tenant, permissionApplications); err != nil {
		return nil, err
	}
	return o.store.ApplicationsOf(ctx, tenant, after, limit)
}

// ApplicationOf returns an application of the tenant, as it is now. It fails with
// fault.Denied and fault.NotFound.
func (o *OIDC) ApplicationOf(ctx context.Context, tenant id.Tenant, clientID string) (*Application, error) {
	return o.ofTenant(ctx, tenant, clientID, permissionApplications)
}

func (o *OIDC) ofTenant(ctx context.Context, tenant id.Tenant, clientID, permission string) (*Application, error) {
	if err := o.rights.Permitted(ctx, tenant, permission); err != nil {
		return nil, err
	}
	a, err := o.store.Application(ctx, clientID)
	if errors.Is(err, fault.NotFound) || err == nil && !a.applicationOf(tenant) {
		return nil, noApplication()
	}
	return a, err
}

// applicationOf reports whether the application is one of the tenant that people
// sign in to. A service account has rules of its own.
func (a *Application) applicationOf(tenant id.Tenant) bool {
	return a.ClientID != "" && a.Owner == tenant && a.Type != Machine
}

// noApplication is what is said of another tenant's application and of none.
func noApplication() error { return fault.New(fault.NotFound, "there is no such application") }

// errNotByItself is the answer to who would remove or disable what the operator has
// registered for the tenant.
func errNotByItself() error {
	return fault.New(fault.Denied, "the operator has registered the application").WithCode("operators")
}

// RemoveApplication removes an application of the tenant that has registered itself,
// with all that was issued to it. It fails with fault.Denied and fault.NotFound.
func (o *OIDC) RemoveApplication(ctx context.Context, tenant id.Tenant, clientID string) error {
	a, err := o.ofTenant(ctx, tenant, clientID, permissionDeleteApplications)
	if err != nil {
		return err
	}
	if a.Registration == nil {
		return errNotByItself()
	}
	err = o.deleteApplication(ctx, a)
	if errors.Is(err, fault.NotFound) {
		return noApplication()
	}
	return err
}

// EnableApplication puts an application that has registered itself out of use, or
// into use again. Out of use it does not sign anybody in, and what people have given
// to it ends. It fails as RemoveApplication does.
func (o *OIDC) EnableApplication(ctx context.Context, tenant id.Tenant, clientID string, enabled bool) (*Application, error) {
	err := o.changeApplication(ctx, tenant, clientID, func(ctx context.Context, a *Application) (action string, err error) {
		switch {
		case a.Registration == nil:
			return "", errNotByItself()
		case enabled != a.Disabled():
			return "", nil
		case enabled:
			a.Registration.Disabled = time.Time{}
			return "application.enable", nil
		}
		a.Registration.Disabled = o.now()
		return "application.disable", nil
	})
	if err != nil {
		return nil, err
	}
	return o.ApplicationOf(ctx, tenant, clientID)
}

// AddApplicationSecret makes another secret, which is shown this once. Those before
// work for overlap more, at most directory.MaxSecretOverlap. It fails as
// RemoveApplication does, and with fault.Invalid where the application has none.
func (o *OIDC) AddApplicationSecret(ctx context.Context, tenant id.Tenant, clientID string, overlap time.Duration) (*ApplicationSecret, secret.Text, error) {
	if overlap < 0 || overlap > directory.MaxSecretOverlap {
		return nil, secret.Text{}, fault.Field(fault.Invalid, "overlap", "%s is not between 0 and %s", overlap, directory.MaxSecretOverlap)
	}
	made := secret.Random(applicationSecretPrefix)
	now := o.now()
	kept := &ApplicationSecret{Hash: o.hashSecret(clientID, made), Created: now}
	err := o.changeApplication(ctx, tenant, clientID, func(_ context.Context, a *Application) (string, error) {
		if !a.keepsSecret() {
			return "", fault.New(fault.Invalid, "the application has no secret: it proves who it is by a key, or not at all").WithCode("no_secret")
		}
		a.Secrets = a.withSecret(kept.Hash, overlap, now)
		if len(a.Secrets) > maxApplicationSecrets {
			return "", fault.New(fault.Conflict, "the application has %d secrets: delete some first", maxApplicationSecrets).WithCode("too_many")
		}
		return "application.secret", nil
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return kept, made, nil
}

// DeleteApplicationSecret has a secret work no more, at once. It fails as
// RemoveApplication does.
func (o *OIDC) DeleteApplicationSecret(ctx context.Context, tenant id.Tenant, clientID, name string) error {
	return o.changeApplication(ctx, tenant, clientID, func(_ context.Context, a *Application) (string, error) {
		var kept []ApplicationSecret
		for _, s := range a.Secrets {
			if s.ID() != name {
				kept = append(kept, s)
			}
		}
		if len(kept) == len(a.Secrets) {
			return "", fault.New(fault.NotFound, "the application has no such secret")
		}
		a.Secrets = kept
		return "application.secret_delete", nil
	})
}

// keepsSecret reports whether the application has client secrets.
func (a *Application) keepsSecret() bool {
	return ApplicationSpec{Type: a.Type, Security: a.Security}.keepsSecret()
}

// changeApplication changes an application of the tenant under its lock, with the
// event of the action that change returns; without one nothing is changed.
func (o *OIDC) changeApplication(ctx context.Context, tenant id.Tenant, clientID string, change func(ctx context.Context, a *Application) (action string, err error)) error {
	defer o.applications.Invalidate(clientID)
	return o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.rights.Permitted(ctx, tenant, permissionUpdateApplications); err != nil {
			return err
		}
		action := ""
		err := o.store.UpdateApplication(ctx, clientID, func(a *Application) (err error) {
			if !a.applicationOf(tenant) {
				return noApplication()
			}
			if action, err = change(ctx, a); err == nil && action == "" {
				return errUnchanged
			}
			a.Modified = o.now()
			return err
		})
		if errors.Is(err, errUnchanged) {
			return nil
		}
		if err != nil {
			return err
		}
		if action == "application.disable" {
			if err := o.endApplication(ctx, tenant, clientID); err != nil {
				return err
			}
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), tenant, action, "application", clientID, nil))
	})
}

// endApplication ends what people have given to an application, and tells it.
func (o *OIDC) endApplication(ctx context.Context, tenant id.Tenant, clientID string) error {
	grants, err := o.store.RevokeGrantsOfApplication(ctx, tenant, clientID, o.now())
	if err != nil {
		return err
	}
	return o.notify(ctx, grants, "")
}
