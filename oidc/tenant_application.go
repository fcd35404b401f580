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

// ApplicationChange is what of an application of a tenant changes. Nil stays as it is.
type ApplicationChange struct {
	// Enabled puts one that has registered itself out of use, or into use again. Out
	// of use it does not sign anybody in, and what people have given to it ends.
	Enabled *bool
	// The algorithms are as in ApplicationSpec and Security.
	IDTokenAlg, AccessTokenAlg, AuthAlg, RequestAlg *Alg
}

// ChangeApplication changes an application of the tenant. It fails as
// RemoveApplication does, and with fault.Invalid and the field's name.
func (o *OIDC) ChangeApplication(ctx context.Context, tenant id.Tenant, clientID string, change ApplicationChange) (*Application, error) {
	defer o.applications.Invalidate(clientID) // when all of it is stored
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		if change.Enabled != nil {
			if err := o.enableApplication(ctx, tenant, clientID, *change.Enabled); err != nil {
				return err
			}
		}
		return o.changeAlgs(ctx, tenant, clientID, change)
	})
	if err != nil {
		return nil, err
	}
	return o.ApplicationOf(ctx, tenant, clientID)
}

func (o *OIDC) enableApplication(ctx context.Context, tenant id.Tenant, clientID string, enabled bool) error {
	return o.changeApplication(ctx, tenant, clientID, func(a *Application) (action string, data map[string]any, err error) {
		switch {
		case a.Registration == nil:
			return "", nil, errNotByItself()
		case enabled != a.Disabled():
			return "", nil, nil
		case enabled:
			a.Registration.Disabled = time.Time{}
			return "application.enable", nil, nil
		}
		a.Registration.Disabled = o.now()
		return "application.disable", nil, nil
	})
}

// changeAlgs changes what an application signs by and what is signed for it, within
// what apply and registration allow. One that has registered itself reads it in its
// registration.
func (o *OIDC) changeAlgs(ctx context.Context, tenant id.Tenant, clientID string, change ApplicationChange) error {
	if err := o.rights.Permitted(ctx, tenant, permissionUpdateApplications); err != nil {
		return err
	}
	for _, alg := range []*Alg{change.IDTokenAlg, change.AccessTokenAlg} {
		if alg == nil {
			continue
		}
		if err := o.ensureKeysFor(ctx, *alg); err != nil { // before the application is locked, as wherever one is stored
			return err
		}
	}
	return o.changeApplication(ctx, tenant, clientID, func(a *Application) (string, map[string]any, error) {
		registered := &ClientMetadata{}
		if a.Registration != nil {
			registered = &a.Registration.Metadata
		}
		data := map[string]any{}
		for _, alg := range []struct {
			name     string
			to       *Alg
			of, also *Alg
		}{
			{"id_token_signed_response_alg", change.IDTokenAlg, &a.IDTokenAlg, &registered.IDTokenAlg},
			{"access_token_signed_response_alg", change.AccessTokenAlg, &a.AccessTokenAlg, &registered.AccessTokenAlg},
			{"token_endpoint_auth_signing_alg", change.AuthAlg, &a.Security.AuthAlg, &registered.AuthAlg},
			{"request_object_signing_alg", change.RequestAlg, &a.Security.RequestAlg, &registered.RequestAlg},
		} {
			if alg.to != nil && *alg.to != *alg.of {
				*alg.of, *alg.also, data[alg.name] = *alg.to, *alg.to, *alg.to
			}
		}
		if len(data) == 0 {
			return "", nil, nil
		}
		spec := ApplicationSpec{
			Type: a.Type, RedirectURIs: a.RedirectURIs, WithoutPKCE: !a.RequirePKCE, IDTokenAlg: a.IDTokenAlg, AccessTokenAlg: a.AccessTokenAlg, Security: a.Security,
		}
		if err := spec.validateTokenAlgs(); err != nil {
			return "", nil, err
		}
		if _, err := spec.secured(); err != nil {
			return "", nil, err
		}
		return "application.update", data, nil
	})
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
	err := o.changeApplication(ctx, tenant, clientID, func(a *Application) (string, map[string]any, error) {
		if !a.keepsSecret() {
			return "", nil, fault.New(fault.Invalid, "the application has no secret: it proves who it is by a key, or not at all").WithCode("no_secret")
		}
		a.Secrets = a.withSecret(kept.Hash, overlap, now)
		if len(a.Secrets) > maxApplicationSecrets {
			return "", nil, fault.New(fault.Conflict, "the application has %d secrets: delete some first", maxApplicationSecrets).WithCode("too_many")
		}
		return "application.secret", nil, nil
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return kept, made, nil
}

// DeleteApplicationSecret has a secret work no more, at once. It fails as
// RemoveApplication does.
func (o *OIDC) DeleteApplicationSecret(ctx context.Context, tenant id.Tenant, clientID, name string) error {
	return o.changeApplication(ctx, tenant, clientID, func(a *Application) (string, map[string]any, error) {
		var kept []ApplicationSecret
		for _, s := range a.Secrets {
			if s.ID() != name {
				kept = append(kept, s)
			}
		}
		if len(kept) == len(a.Secrets) {
			return "", nil, fault.New(fault.NotFound, "the application has no such secret")
		}
		a.Secrets = kept
		return "application.secret_delete", nil, nil
	})
}

// keepsSecret reports whether the application has client secrets.
func (a *Application) keepsSecret() bool {
	return ApplicationSpec{Type: a.Type, Security: a.Security}.keepsSecret()
}

// changeApplication changes an application of the tenant under its lock, with the
// event of the action that change returns; without one nothing is changed.
func (o *OIDC) changeApplication(ctx context.Context, tenant id.Tenant, clientID string, change func(a *Application) (action string, data map[string]any, err error)) error {
	defer o.applications.Invalidate(clientID)
	return o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.rights.Permitted(ctx, tenant, permissionUpdateApplications); err != nil {
			return err
		}
		var action string
		var data map[string]any
		err := o.store.UpdateApplication(ctx, clientID, func(a *Application) (err error) {
			if !a.applicationOf(tenant) {
				return noApplication()
			}
			if action, data, err = change(a); err == nil && action == "" {
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
		return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), tenant, action, "application", clientID, data))
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
