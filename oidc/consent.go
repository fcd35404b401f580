package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// A Consent is what a person allowed an application in one tenant. It holds
// until the person takes it back (Disconnect), and for what it names only: an
// application that asks for more has the person asked again.
type Consent struct {
	Tenant   id.Tenant
	User     id.User
	ClientID string
	Scopes   []string // never one that names a tenant
	Created  time.Time
	Modified time.Time
}

// A HeldConsent is a consent with the names of whom it is about.
type HeldConsent struct {
	Consent
	Application string // its name
	TenantName  string
}

// consenter is who consents, and for which tenant.
type consenter struct {
	User   id.User   `json:"user,omitempty"`
	Tenant id.Tenant `json:"tenant,omitempty"`
}

// ConsentStore keeps consents.
type ConsentStore interface {
	Consent(ctx context.Context, tenant id.Tenant, user id.User, clientID string) (*Consent, error)
	// SaveConsent stores one in place of that which there is.
	SaveConsent(ctx context.Context, c *Consent) error
	// ConsentsOfUser returns those of all tenants, the newest first.
	ConsentsOfUser(ctx context.Context, user id.User) ([]HeldConsent, error)
	// ForgetConsents removes what people of the tenant have allowed the application.
	ForgetConsents(ctx context.Context, tenant id.Tenant, clientID string) error
	// DeleteConsents removes what the user allowed the application, and returns
	// how many tenants that was for.
	DeleteConsents(ctx context.Context, user id.User, clientID string) (int, error)
}

// askConsent has a person asked who has not allowed a third-party application
// what it asks for, and everybody whom the application wants asked
// (prompt=consent). An application of the instance's or the tenant's own speaks
// for those who registered it. Authorization details are of one occasion, such as a
// payment: everybody is asked for them each time, whatever they allowed before.
func (o *OIDC) askConsent(ctx context.Context, r *AuthorizationRequest, session *authn.Session, standing *directory.Standing) (Step, *directory.Standing, error) {
	if r.Device != "" || r.Consented == (consenter{session.User, standing.Tenant}) {
		return StepDone, standing, nil // who lets a device in is asked each time, by AllowDevice
	}
	if !r.Asks(PromptConsent) && len(r.Details) == 0 {
		a, err := o.Application(ctx, r.ClientID)
		if err != nil {
			return 0, nil, err
		}
		if !a.ThirdParty {
			return StepDone, standing, nil
		}
		missing, err := o.missingConsent(ctx, r, session.User, standing.Tenant)
		if err != nil {
			return 0, nil, err
		}
		if len(missing) == 0 {
			return StepDone, standing, nil
		}
	}
	if r.Asks(PromptNone) {
		return 0, nil, refuse(ConsentRequired, "the person has to allow the application what it asks for")
	}
	return StepConsent, nil, nil
}

// missingConsent returns what of the request the person has not allowed before.
func (o *OIDC) missingConsent(ctx context.Context, r *AuthorizationRequest, user id.User, tenant id.Tenant) ([]string, error) {
	scopes, err := o.consentScopes(ctx, r)
	if err != nil {
		return nil, err
	}
	given, err := o.store.Consent(ctx, tenant, user, r.ClientID)
	if errors.Is(err, fault.NotFound) {
		return scopes, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(scopes, func(s string) bool { return slices.Contains(given.Scopes, s) }), nil
}

// consentScopes returns what a person is asked to allow: the scopes that the
// request would get, and those that stand for the claims that it names. Which
// tenant it is about is no scope of a consent, but what it is given for.
func (o *OIDC) consentScopes(ctx context.Context, r *AuthorizationRequest) ([]string, error) {
	scopes, err := o.grantable(ctx, r)
	if err != nil {
		return nil, err
	}
	scopes = slices.DeleteFunc(scopes, namesTenant)
	for _, scope := range r.Claims.scopes() {
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes, nil
}

// An AskedConsent is what a person is asked to allow.
type AskedConsent struct {
	Application *Application
	Standing    *directory.Standing // in the tenant that it is for
	Scopes      []string            // all that the application asks for
	New         []string            // those of them that it was not allowed before
	Details     Details
	// Confirmation is what the answer has to bring: it belongs to this request,
	// this session and this tenant.
	Confirmation secret.Text
}

// AskedConsent returns what a request that waits at StepConsent asks for. It
// fails with fault.Stale where the request waits for something else.
func (o *OIDC) AskedConsent(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (*AskedConsent, error) {
	step, standing, err := o.ready(ctx, r, session)
	if err != nil {
		return nil, err
	}
	if step == StepDone {
		step, _, err = o.askConsent(ctx, r, session, standing)
	}
	if err != nil {
		return nil, err
	}
	if step != StepConsent {
		return nil, fault.New(fault.Stale, "the request does not wait for a consent")
	}
	asked := &AskedConsent{Standing: standing, Details: r.Details, Confirmation: o.consentConfirmation(r.ID, session.ID, standing.Tenant)}
	if asked.Application, err = o.Application(ctx, r.ClientID); err != nil {
		return nil, err
	}
	if asked.Scopes, err = o.consentScopes(ctx, r); err != nil {
		return nil, err
	}
	asked.New, err = o.missingConsent(ctx, r, session.User, standing.Tenant)
	return asked, err
}

// Allow records that the person allows the application what the request asks
// for. It fails as Request and AskedConsent do, and with fault.Denied where the
// confirmation is not the one that was shown: then another site has sent it, or
// somebody else has signed in since, or to another tenant.
func (o *OIDC) Allow(ctx context.Context, request id.AuthorizationRequest, browser secret.Text, session *authn.Session, confirmation secret.Text) error {
	r, err := o.Request(ctx, request, browser)
	if err != nil {
		return err
	}
	asked, err := o.AskedConsent(ctx, r, session)
	if err != nil {
		return err
	}
	if !asked.Confirmation.Equal(confirmation) {
		return fault.New(fault.Denied, "the answer does not belong to what was asked").WithCode("consent_changed")
	}
	tenant := asked.Standing.Tenant
	return o.store.InTx(session.As(ctx), func(ctx context.Context) error {
		now := o.now()
		consent := &Consent{Tenant: tenant, User: session.User, ClientID: r.ClientID, Scopes: asked.Scopes, Created: now, Modified: now}
		given, err := o.store.Consent(ctx, tenant, session.User, r.ClientID)
		if err == nil {
			consent.Created = given.Created
			consent.Scopes = append(consent.Scopes, given.Scopes...)
		} else if !errors.Is(err, fault.NotFound) {
			return err
		}
		slices.Sort(consent.Scopes)
		consent.Scopes = slices.Compact(consent.Scopes)
		if len(asked.Scopes) > 0 { // details alone leave nothing to remember
			if err := o.store.SaveConsent(ctx, consent); err != nil {
				return err
			}
		}
		event := audit.New(ctx, now, tenant, "application.allow", "user", string(session.User), map[string]any{
			"client_id": r.ClientID, "name": asked.Application.Name, "scopes": asked.Scopes, "authorization_details_types": list(asked.Details.Types()),
		})
		if err := o.store.AppendEvent(ctx, event); err != nil {
			return err
		}
		return o.store.UpdateAuthorizationRequest(ctx, r.ID, func(stored *AuthorizationRequest) error {
			stored.Consented = consenter{session.User, tenant}
			return nil
		})
	})
}

func (o *OIDC) consentConfirmation(request id.AuthorizationRequest, session id.Session, tenant id.Tenant) secret.Text {
	mac := hmac.New(sha256.New, o.consentKey[:])
	for _, part := range []string{string(request), string(session), string(tenant)} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return secret.NewText(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}
