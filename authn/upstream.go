package authn

import (
	"context"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// CodeByProvider is of who has shown the right password or passkey, and has to sign
// in by their tenant's own provider all the same.
const CodeByProvider = "sign_in_by_provider"

// BoundError is the cause of a refusal to let somebody in who has to sign in by a
// provider.
type BoundError struct {
	By []directory.Standing // in the tenants that require it
}

// Error implements error. Its text is for logs.
func (e *BoundError) Error() string {
	names := make([]string, len(e.By))
	for i := range e.By {
		names[i] = e.By[i].Slug
	}
	return "required by " + strings.Join(names, ", ")
}

// refuseBound fails with fault.Denied and CodeByProvider where a password or passkey
// lets the person in nowhere, because each of their tenants requires its own
// provider. It is asked once the credential was right: a stranger learns nothing.
func (a *Authn) refuseBound(ctx context.Context, user id.User) error {
	bound, err := a.rights.BoundElsewhere(ctx, user)
	if err != nil || len(bound) == 0 {
		return err
	}
	denied := fault.New(fault.Denied, "the person signs in by the provider of %s", bound[0].TenantName).WithCode(CodeByProvider)
	denied.Err = &BoundError{By: bound}
	return denied
}

// An Assertion is what a tenant's own provider has said of who signs in.
type Assertion struct {
	User       id.User
	Identifier string // what to call them while they sign in
	Via        directory.Via
	AuthTime   time.Time // when they showed who they are there; zero: now
	MFA        bool      // by two factors, which the tenant takes for two here
}

// SubmitAssertion is SubmitPassword for a login that StartLogin returned, whose
// first factor is what a tenant's own provider says. A second factor that the person
// has is asked for as after a password, unless the provider's counts. It fails with
// fault.Denied where the login is switched off.
func (a *Authn) SubmitAssertion(ctx context.Context, login *Login, by Assertion, client Client) error {
	person, err := a.store.User(ctx, by.User)
	if err != nil {
		return err
	}
	if person.Disabled {
		return fault.New(fault.Denied, "the login is switched off").WithCode(CodeLoginOff)
	}
	next := *login
	next.Identifier, next.User, next.Via, next.AuthTime = by.Identifier, by.User, by.Via, by.AuthTime
	next.AMR = []string{AMRFederated}
	asks := false
	if by.MFA {
		next.AMR = append(next.AMR, AMRMultiFactor)
	} else if asks, err = a.asksSecondFactor(ctx, &next); err != nil {
		return err
	}
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		if asks {
			trusted, err := a.recognize(ctx, &next, client)
			if err != nil {
				return err
			}
			if !trusted {
				return a.await(ctx, &next)
			}
		}
		return a.complete(ctx, &next, client)
	})
	if err == nil {
		*login = next
	}
	return err
}

// CodeLoginOff is of a login that a directory or an operator has switched off.
const CodeLoginOff = "login_off"

// Whole reports whether a session is good for the person's login itself: for their
// own pages, and for what they sign in with. One by a tenant's provider is only
// where the login is that tenant's alone.
func (a *Authn) Whole(ctx context.Context, session *Session) (bool, error) {
	if session.Via.None() {
		return true, nil
	}
	return a.rights.ManagesAlone(ctx, session.Via.Tenant, session.User)
}
