package oidc

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// The permissions that a role system can give for applications, and for the tokens
// by which they register themselves. Where it has none of them, applications are
// the operator's.
const (
	permissionApplications       = "applications.read"
	permissionCreateApplications = "applications.create"
	permissionUpdateApplications = "applications.update"
	permissionDeleteApplications = "applications.delete"
)

// registrationTokenPrefix marks initial access tokens.
const registrationTokenPrefix = "rcia_"

// Bounds of registration tokens.
const (
	MaxRegistrations          = 1000
	MaxRegistrationTokenTime  = 365 * 24 * time.Hour
	RegistrationTokenLifetime = 30 * 24 * time.Hour // where nothing else is said
	RegistrationTokenKept     = 30 * 24 * time.Hour // in lists, after it has expired

	maxRegistrationTokens = 100 // of a tenant, those included that have expired
	maxDescription        = 200 // characters
)

// A RegistrationToken lets applications of a tenant register themselves, for so
// many times: an initial access token (RFC 7591 §1.2), without the secret.
type RegistrationToken struct {
	Tenant        id.Tenant
	ID            id.RegistrationToken
	Description   string
	Registrations int // that it is good for
	Used          int
	Created       time.Time
	Expires       time.Time
	LastUsed      time.Time // zero: never
}

// live reports whether an application can register by the token.
func (t *RegistrationToken) live(now time.Time) bool {
	return now.Before(t.Expires) && t.Used < t.Registrations
}

// RegistrationStore keeps the tokens by which applications register themselves, and
// finds the applications of a tenant.
type RegistrationStore interface {
	CreateRegistrationToken(ctx context.Context, t *RegistrationToken, hash secret.Hash) error
	// RegistrationTokens returns those of the tenant, the newest first.
	RegistrationTokens(ctx context.Context, tenant id.Tenant) ([]RegistrationToken, error)
	RegistrationTokenByHash(ctx context.Context, hash secret.Hash) (*RegistrationToken, error)
	// UseRegistrationToken counts a registration. It fails with fault.NotFound where
	// the token is gone, has expired at now or was used as often as it may be.
	UseRegistrationToken(ctx context.Context, tenant id.Tenant, token id.RegistrationToken, now time.Time) error
	// DeleteRegistrationToken fails with fault.NotFound.
	DeleteRegistrationToken(ctx context.Context, tenant id.Tenant, token id.RegistrationToken) error
	// Tenant returns a tenant.
	Tenant(ctx context.Context, tenant id.Tenant) (*directory.Tenant, error)
	// LockTenantShared holds off whoever changes the tenant's policy until the
	// transaction ends.
	LockTenantShared(ctx context.Context, tenant id.Tenant) error
	// LockTenant holds off LockTenantShared, and itself.
	LockTenant(ctx context.Context, tenant id.Tenant) error
	// ApplicationsOf returns the applications that the tenant owns, but for
	// machines, by client_id: at most limit, after the client_id if it is not empty.
	ApplicationsOf(ctx context.Context, tenant id.Tenant, after string, limit int) ([]Application, error)
	// RevokeGrantsOfApplication revokes what people of the tenant have given to the
	// application, and returns it.
	RevokeGrantsOfApplication(ctx context.Context, tenant id.Tenant, clientID string, at time.Time) ([]Grant, error)
	// GrantsOfApplication returns what people of the tenant have given to the
	// application and is not revoked.
	GrantsOfApplication(ctx context.Context, tenant id.Tenant, clientID string) ([]Grant, error)
	// RevokeGrants revokes grants of the tenant.
	RevokeGrants(ctx context.Context, tenant id.Tenant, grants []id.Grant, at time.Time) error
}

// CreateRegistrationToken makes a token and returns it with its secret, which is not
// shown again. Of t the description, the number of registrations (0: one) and the
// end (zero: RegistrationTokenLifetime from now) count. It fails with fault.Denied,
// with fault.Invalid and the field, and with fault.Conflict where there are too many.
func (o *OIDC) CreateRegistrationToken(ctx context.Context, t RegistrationToken) (*RegistrationToken, secret.Text, error) {
	now := o.now()
	t.ID, t.Created, t.Used, t.LastUsed = id.New[id.RegistrationToken](), now, 0, time.Time{}
	t.Description = strings.TrimSpace(t.Description)
	if t.Registrations == 0 {
		t.Registrations = 1
	}
	if t.Expires.IsZero() {
		t.Expires = now.Add(RegistrationTokenLifetime)
	}
	t.Expires = t.Expires.UTC().Truncate(time.Microsecond) // as the database keeps it
	made := secret.Random(registrationTokenPrefix)
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.rights.Permitted(ctx, t.Tenant, permissionCreateApplications); err != nil {
			return err
		}
		if err := t.validate(now); err != nil {
			return err
		}
		if err := o.store.LockTenant(ctx, t.Tenant); err != nil {
			return err
		}
		all, err := o.store.RegistrationTokens(ctx, t.Tenant)
		if err != nil {
			return err
		}
		if len(all) >= maxRegistrationTokens {
			return fault.New(fault.Conflict, "the tenant has %d registration tokens: delete some first", len(all)).WithCode("too_many")
		}
		if err := o.store.CreateRegistrationToken(ctx, &t, made.Hash()); err != nil {
			return err
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, now, t.Tenant, "registration_token.create", "registration_token", string(t.ID),
			map[string]any{"description": t.Description, "registrations": t.Registrations, "expires": t.Expires}))
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return &t, made, nil
}

func (t *RegistrationToken) validate(now time.Time) error {
	switch {
	case !utf8.ValidString(t.Description) || strings.ContainsFunc(t.Description, unicode.IsControl) || utf8.RuneCountInString(t.Description) > maxDescription:
		return fault.Field(fault.Invalid, "description", "must be text of at most %d characters, in one line", maxDescription)
	case t.Registrations < 1 || t.Registrations > MaxRegistrations:
		return fault.Field(fault.Invalid, "registrations", "%d is not between 1 and %d", t.Registrations, MaxRegistrations)
	case !t.Expires.After(now) || t.Expires.Sub(now) > MaxRegistrationTokenTime:
		return fault.Field(fault.Invalid, "expires_at", "must be a time within the next %d days", MaxRegistrationTokenTime/(24*time.Hour))
	}
	return nil
}

// RegistrationTokens returns the tenant's, the newest first; one that has expired
// for RegistrationTokenKept more. It fails with fault.Denied.
func (o *OIDC) RegistrationTokens(ctx context.Context, tenant id.Tenant) ([]RegistrationToken, error) {
	if err := o.rights.Permitted(ctx, tenant, permissionApplications); err != nil {
		return nil, err
	}
	return o.store.RegistrationTokens(ctx, tenant)
}

// DeleteRegistrationToken has nobody register by the token any more. Those that have
// stay. It fails with fault.Denied and fault.NotFound.
func (o *OIDC) DeleteRegistrationToken(ctx context.Context, tenant id.Tenant, token id.RegistrationToken) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.rights.Permitted(ctx, tenant, permissionDeleteApplications); err != nil {
			return err
		}
		err := o.store.DeleteRegistrationToken(ctx, tenant, token)
		if errors.Is(err, fault.NotFound) {
			return fault.New(fault.NotFound, "there is no such registration token")
		}
		if err != nil {
			return err
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), tenant, "registration_token.delete", "registration_token", string(token), nil))
	})
}
