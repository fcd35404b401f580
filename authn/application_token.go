package authn

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// applicationTokenPrefix lets secret scanners find leaked tokens.
const applicationTokenPrefix = "rc_"

// An ApplicationToken is a long-lived secret for the API. It never allows more
// than its creator may do.
type ApplicationToken struct {
	ID      id.ApplicationToken
	Tenant  id.Tenant // empty: an operator's, for the whole instance
	Name    string    // unique in the tenant among tokens in force
	Creator id.User
	Created time.Time
	Expires time.Time // zero: never
}

// PutApplicationToken makes the tenant, or the instance, hold a token of that
// name and creator. A token given by the caller is taken as it is; without one,
// a token is made if there is none yet, and returned this once. What is so
// already stays as it is. It fails with fault.Invalid, and with fault.Denied if
// the token is one of the instance and the creator no operator.
func (a *Authn) PutApplicationToken(ctx context.Context, t ApplicationToken, given secret.Text) (made secret.Text, err error) {
	if strings.TrimSpace(t.Name) == "" {
		return secret.Text{}, fault.Field(fault.Invalid, "name", "an application token needs a name")
	}
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		creator, err := a.store.User(ctx, t.Creator)
		if err != nil {
			return err
		}
		if t.Tenant == "" && !creator.Operator {
			return fault.Field(fault.Denied, "creator", "only an operator can have an application token for the whole instance").WithCode("not_operator")
		}
		current, hash, err := a.store.ApplicationTokenByName(ctx, t.Tenant, t.Name)
		if errors.Is(err, fault.NotFound) {
			if given.Empty() {
				made = secret.Random(applicationTokenPrefix)
				given = made
			}
			return a.createApplicationToken(ctx, t, given)
		}
		if err != nil {
			return err
		}
		return a.changeApplicationToken(ctx, current, hash, t, given)
	})
	if err != nil {
		return secret.Text{}, err
	}
	return made, nil
}

func (a *Authn) createApplicationToken(ctx context.Context, t ApplicationToken, token secret.Text) error {
	t.ID, t.Created = id.New[id.ApplicationToken](), a.now()
	err := a.store.CreateApplicationToken(ctx, &t, token.Hash())
	if errors.Is(err, fault.Conflict) {
		return &fault.Error{Kind: fault.Conflict, Field: "token", Detail: "this value is in use, or belonged to a token that was revoked: give another one, or none to have one made", Err: err}
	}
	if err != nil {
		return err
	}
	return a.applicationTokenEvent(ctx, "application_token.create", t)
}

func (a *Authn) changeApplicationToken(ctx context.Context, current *ApplicationToken, hash secret.Hash, t ApplicationToken, given secret.Text) error {
	next, nextHash := *current, hash
	next.Creator, next.Expires = t.Creator, t.Expires
	if !given.Empty() {
		nextHash = given.Hash()
	}
	if next.Creator == current.Creator && next.Expires.Equal(current.Expires) && nextHash.Equal(hash) {
		return nil
	}
	if err := a.store.ReplaceApplicationToken(ctx, &next, nextHash); err != nil {
		return err
	}
	return a.applicationTokenEvent(ctx, "application_token.change", next)
}

// ApplicationToken returns the token in force that the secret stands for. It
// fails with fault.Unauthenticated alike for one that is unknown, expired or
// revoked, and one whose creator is disabled or has lost the tenant.
func (a *Authn) ApplicationToken(ctx context.Context, token secret.Text, from netip.Addr) (*ApplicationToken, error) {
	found, err := a.store.ApplicationTokenByHash(ctx, token.Hash(), a.now())
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Unauthenticated, "the application token is not valid")
	}
	return found, err
}

// RevokeApplicationTokens revokes the tokens that a person made in a tenant, in
// the transaction in ctx: it is part of a lock-out.
func (a *Authn) RevokeApplicationTokens(ctx context.Context, tenant id.Tenant, creator id.User) error {
	return a.store.InTx(ctx, func(ctx context.Context) error {
		revoked, err := a.store.RevokeApplicationTokens(ctx, tenant, creator, a.now())
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

func (a *Authn) applicationTokenEvent(ctx context.Context, action string, t ApplicationToken) error {
	return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), t.Tenant, action, "application_token", string(t.ID),
		map[string]any{"name": t.Name, "creator": t.Creator}))
}

// LooksLikeApplicationToken reports whether a token has the prefix of those
// that this server makes.
func LooksLikeApplicationToken(token secret.Text) bool {
	return strings.HasPrefix(token.Reveal(), applicationTokenPrefix)
}

// Principal returns who calls with the token: its creator at its tenant, or an
// operator.
func (t *ApplicationToken) Principal() authz.Principal {
	p := authz.Principal{
		Kind: authz.TokenPrincipal, Channel: authz.ChannelAPI, Tenant: t.Tenant, User: t.Creator, ApplicationToken: t.ID,
	}
	if t.Tenant == "" {
		p.Kind = authz.OperatorPrincipal
	}
	return p
}
