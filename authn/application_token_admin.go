package authn

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// For how long the secret before a rotation is accepted.
const (
	DefaultTokenOverlap = 24 * time.Hour
	MaxTokenOverlap     = 7 * 24 * time.Hour
)

// An ApplicationTokenChange is what of a token is to be another; nil leaves it.
type ApplicationTokenChange struct {
	Description *string
	Expires     *time.Time // zero: never
	Permissions *[]string  // none: no limit
	Networks    *[]netip.Prefix
}

// CreateApplicationToken makes a token of the caller in ctx and returns it with
// its secret, which is not shown again. Of t the name, the description and the
// limits count. It fails with fault.Denied where the role system does not allow
// it, the caller is no person, or the token would exceed the one that it is made
// with (EM-R17); and with fault.Invalid and fault.Conflict.
func (a *Authn) CreateApplicationToken(ctx context.Context, t ApplicationToken) (*ApplicationToken, secret.Text, error) {
	p := authz.FromContext(ctx)
	if err := a.mayMake(ctx, p, t.Tenant); err != nil {
		return nil, secret.Text{}, err
	}
	made := newApplicationToken()
	t.Creator, t.Expires = p.User, stored(t.Expires)
	err := a.store.InTx(ctx, func(ctx context.Context) error {
		switch _, err := a.store.ApplicationTokenByName(ctx, t.Tenant, t.Name); {
		case err == nil:
			return fault.Field(fault.Conflict, "name", "there is a token of this name")
		case !errors.Is(err, fault.NotFound):
			return err
		}
		if err := a.withinCallers(ctx, p, &t); err != nil {
			return err
		}
		return a.addApplicationToken(ctx, &t, made)
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return &t, made, nil
}

// stored is a time as the database keeps it.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// mayMake fails unless the caller is a person who may make tokens at the tenant
// and would have some right with them. Neither a support session nor a machine
// makes tokens, whatever the role system says: they would outlive it.
func (a *Authn) mayMake(ctx context.Context, p authz.Principal, tenant id.Tenant) error {
	if err := ownSecrets(p); err != nil {
		return err
	}
	if p.Tenant != tenant {
		return fault.New(fault.Denied, "a token is made in the tenant in use").WithCode("tenant")
	}
	b, err := a.rights.Blueprint(ctx, tenant)
	if err != nil {
		return err
	}
	if key := b.AppTokens().Operations.Create; key != "" {
		if err := a.rights.Permitted(ctx, tenant, key); err != nil {
			return err
		}
	}
	useful, err := a.rights.Reaches(ctx, tenant, p.User, authz.ChannelAPI)
	if err == nil && !useful {
		return fault.New(fault.Denied, "none of your roles counts over the API: a token would be of no use").WithCode("channel")
	}
	return err
}

// ownSecrets fails for callers who must not learn a secret of a person.
func ownSecrets(p authz.Principal) error {
	switch {
	case p.Support != nil:
		return fault.New(fault.Denied, "a support session does not make or change application tokens").WithCode("support_session")
	case p.Kind != authz.UserPrincipal && p.Kind != authz.TokenPrincipal:
		return fault.New(fault.Denied, "an application token is a person's: only who made it, or is to be its creator, can do this").WithCode("not_creator")
	}
	return nil
}

// withinCallers fails with fault.Denied if the token would allow anything that
// the application token with which the caller came does not: somebody who
// finds a limited token must not get rid of its limits.
func (a *Authn) withinCallers(ctx context.Context, p authz.Principal, t *ApplicationToken) error {
	if p.Kind != authz.TokenPrincipal {
		return nil
	}
	own, err := a.store.ApplicationTokenByID(ctx, p.Tenant, p.ApplicationToken)
	if err != nil {
		return err
	}
	if field := t.exceeds(&own.ApplicationToken); field != "" {
		return fault.Field(fault.Denied, field, "a token must not allow more than the one that it is made or changed with").WithCode("wider")
	}
	return nil
}

// exceeds returns the name of a limit that t has less narrow than limits, or "".
func (t *ApplicationToken) exceeds(limits *ApplicationToken) string {
	switch {
	case !limits.Expires.IsZero() && (t.Expires.IsZero() || t.Expires.After(limits.Expires)):
		return "expires_at"
	case len(limits.Permissions) > 0 && (len(t.Permissions) == 0 ||
		slices.ContainsFunc(t.Permissions, func(key string) bool { return !slices.Contains(limits.Permissions, key) })):
		return "permissions"
	case len(limits.Networks) > 0 && (len(t.Networks) == 0 ||
		slices.ContainsFunc(t.Networks, func(n netip.Prefix) bool { return !slices.ContainsFunc(limits.Networks, covers(n)) })):
		return "cidrs"
	}
	return ""
}

// covers reports of a network whether all of n lies in it.
func covers(n netip.Prefix) func(netip.Prefix) bool {
	return func(wide netip.Prefix) bool { return wide.Bits() <= n.Bits() && wide.Contains(n.Addr()) }
}

// operation picks the permission of an operation on tokens of one's own.
type operation func(*authz.AppTokenOperations) string

func toList(o *authz.AppTokenOperations) string   { return o.List }
func toUpdate(o *authz.AppTokenOperations) string { return o.Update }
func toRevoke(o *authz.AppTokenOperations) string { return o.Revoke }

// may fails unless the caller may do something with tokens of the creator: its
// own by that operation, those of others as who manages them. Who may not even
// see a token does not learn that there is one.
func (a *Authn) may(ctx context.Context, tenant id.Tenant, creator id.User, op operation) (own bool, err error) {
	p := authz.FromContext(ctx)
	b, err := a.rights.Blueprint(ctx, tenant)
	if err != nil {
		return false, err
	}
	operations := b.AppTokens().Operations
	if ownSecrets(p) == nil && p.Tenant == tenant && p.User == creator {
		key := op(operations)
		if key == "" {
			return true, nil
		}
		return true, a.rights.Permitted(ctx, tenant, key)
	}
	if p.Kind != authz.OperatorPrincipal && operations.Manage == "" {
		return false, errNoToken()
	}
	err = a.rights.Permitted(ctx, tenant, operations.Manage)
	if errors.Is(err, fault.Denied) {
		err = errNoToken()
	}
	return false, err
}

func errNoToken() error { return fault.New(fault.NotFound, "there is no such application token") }

// ApplicationTokenOf returns a token that the caller may see. It fails with
// fault.NotFound.
func (a *Authn) ApplicationTokenOf(ctx context.Context, tenant id.Tenant, token id.ApplicationToken) (*ApplicationToken, error) {
	found, err := a.store.ApplicationTokenByID(ctx, tenant, token)
	if errors.Is(err, fault.NotFound) {
		return nil, errNoToken()
	}
	if err != nil {
		return nil, err
	}
	if _, err := a.may(ctx, tenant, found.Creator, toList); err != nil {
		return nil, err
	}
	return &found.ApplicationToken, nil
}

// ApplicationTokens returns the tokens of a tenant that the caller may see, or
// those of one creator among them, the newest first: at most limit, older than
// before if that is not empty.
func (a *Authn) ApplicationTokens(ctx context.Context, tenant id.Tenant, creator id.User, before id.ApplicationToken, limit int) ([]ApplicationToken, error) {
	_, err := a.may(ctx, tenant, creator, toList)
	if own := authz.FromContext(ctx).User; errors.Is(err, fault.NotFound) && creator == "" && own != "" {
		creator = own // who does not manage tokens sees the own ones
		_, err = a.may(ctx, tenant, creator, toList)
	}
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, fault.New(fault.Denied, "these are tokens of somebody else").WithCode("permission")
	case err != nil:
		return nil, err
	}
	return a.store.ApplicationTokens(ctx, tenant, creator, before, limit)
}

// ChangeApplicationToken changes a token in force. Its creator may do so as far
// as the role system lets people edit their own; who manages the tokens of
// others can only narrow them. It fails with fault.Denied, fault.NotFound and
// fault.Invalid.
func (a *Authn) ChangeApplicationToken(ctx context.Context, tenant id.Tenant, token id.ApplicationToken, change ApplicationTokenChange) (*ApplicationToken, error) {
	return a.editApplicationToken(ctx, tenant, token, toUpdate, "application_token.change", func(ctx context.Context, t *StoredToken, own bool) error {
		before := t.ApplicationToken
		change.apply(&t.ApplicationToken)
		if err := a.checkApplicationToken(ctx, &t.ApplicationToken); err != nil {
			return err
		}
		if !t.Expires.Equal(before.Expires) && !t.Expires.IsZero() && !t.Expires.After(a.now()) {
			return fault.Field(fault.Invalid, "expires_at", "this is in the past: revoke the token instead")
		}
		if own {
			return a.withinCallers(ctx, authz.FromContext(ctx), &t.ApplicationToken)
		}
		if t.Description != before.Description {
			return fault.Field(fault.Denied, "description", "a token is described by who made it").WithCode("not_creator")
		}
		if field := t.exceeds(&before); field != "" {
			return fault.Field(fault.Denied, field, "somebody else's token can only be narrowed").WithCode("wider")
		}
		return nil
	})
}

func (c ApplicationTokenChange) apply(t *ApplicationToken) {
	if c.Description != nil {
		t.Description = *c.Description
	}
	if c.Expires != nil {
		t.Expires = stored(*c.Expires)
	}
	if c.Permissions != nil {
		t.Permissions = slices.Clone(*c.Permissions)
	}
	if c.Networks != nil {
		t.Networks = slices.Clone(*c.Networks)
	}
}

// RotateApplicationToken gives a token of the caller another secret, which is
// returned this once. The one before is accepted for the overlap, at most
// MaxTokenOverlap; the one before that ends. It fails as ChangeApplicationToken
// does.
func (a *Authn) RotateApplicationToken(ctx context.Context, tenant id.Tenant, token id.ApplicationToken, overlap time.Duration) (*ApplicationToken, secret.Text, error) {
	if overlap < 0 || overlap > MaxTokenOverlap {
		return nil, secret.Text{}, fault.Field(fault.Invalid, "overlap", "must be between 0 and %d seconds", int(MaxTokenOverlap.Seconds()))
	}
	made := newApplicationToken()
	t, err := a.editApplicationToken(ctx, tenant, token, toUpdate, "application_token.rotate", func(ctx context.Context, t *StoredToken, own bool) error {
		p := authz.FromContext(ctx)
		if !own {
			return fault.New(fault.Denied, "only who made a token gets its secret").WithCode("not_creator")
		}
		if err := a.withinCallers(ctx, p, &t.ApplicationToken); err != nil {
			return err
		}
		t.Previous, t.PreviousUntil = secret.Hash{}, time.Time{}
		if overlap > 0 {
			t.Previous, t.PreviousUntil = t.Hash, a.now().Add(overlap)
		}
		t.Hash = made.Hash()
		return nil
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return t, made, nil
}

// RevokeApplicationToken ends a token for good, with both of its secrets. One
// that is revoked stays so. It fails with fault.Denied and fault.NotFound.
func (a *Authn) RevokeApplicationToken(ctx context.Context, tenant id.Tenant, token id.ApplicationToken) error {
	_, err := a.editApplicationToken(ctx, tenant, token, toRevoke, "application_token.revoke", func(_ context.Context, t *StoredToken, _ bool) error {
		if t.Revoked.IsZero() {
			t.Revoked = a.now()
		}
		return nil
	})
	return err
}

// editApplicationToken changes a token under its lock, with its event; what
// changes nothing leaves none.
func (a *Authn) editApplicationToken(ctx context.Context, tenant id.Tenant, token id.ApplicationToken, op operation, action string,
	edit func(ctx context.Context, t *StoredToken, own bool) error,
) (*ApplicationToken, error) {
	var next StoredToken
	err := a.store.InTx(ctx, func(ctx context.Context) error {
		current, err := a.store.LockApplicationToken(ctx, tenant, token)
		if errors.Is(err, fault.NotFound) {
			return errNoToken()
		}
		if err != nil {
			return err
		}
		own, err := a.may(ctx, tenant, current.Creator, op)
		if err != nil {
			return err
		}
		next = *current
		if err := edit(ctx, &next, own); err != nil {
			return err
		}
		if next.same(current) {
			return nil
		}
		if !current.Revoked.IsZero() {
			return fault.New(fault.Conflict, "the token is revoked, for good").WithCode("revoked")
		}
		if err := a.store.ReplaceApplicationToken(ctx, &next); err != nil {
			return err
		}
		return a.applicationTokenEvent(ctx, action, next.ApplicationToken)
	})
	if err != nil {
		return nil, err
	}
	return &next.ApplicationToken, nil
}

// MayCreateApplicationToken returns what the tenant's role system asks of
// application tokens. It fails with fault.Denied where the caller in ctx can make
// none there.
func (a *Authn) MayCreateApplicationToken(ctx context.Context, tenant id.Tenant) (authz.AppTokenPolicy, error) {
	if err := a.mayMake(ctx, authz.FromContext(ctx), tenant); err != nil {
		return authz.AppTokenPolicy{}, err
	}
	b, err := a.rights.Blueprint(ctx, tenant)
	if err != nil {
		return authz.AppTokenPolicy{}, err
	}
	return b.AppTokens(), nil
}
