package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// registrationAccessPrefix marks the tokens by which applications change their
// registration.
const registrationAccessPrefix = "rcra_"

// registeredPrefix begins the client_id of every application that has registered
// itself. The rest of it is nobody's choice.
const registeredPrefix = "reg-"

// A Registration is how an application has registered itself (RFC 7591), and what
// it is kept to because of that. Such an application is one of strangers: it signs
// people in to its tenant and to no other, with their consent, for the scopes and
// by the grants that it is registered for, and never acts by itself.
type Registration struct {
	Token    secret.Hash          `json:"-"`  // of its registration access token (RFC 7592 §1.2)
	By       id.RegistrationToken `json:"by"` // by which it came
	Disabled time.Time            `json:"disabled,omitzero"`
	Metadata ClientMetadata       `json:"metadata"` // as it is in force
}

// registeredFor reports whether the application may use a grant type: one that has
// not registered itself uses what its type does.
func (a *Application) registeredFor(grant string) bool {
	return a.Registration == nil || slices.Contains(a.Registration.Metadata.GrantTypes, grant)
}

// Disabled reports whether an administrator has put the application out of use.
func (a *Application) Disabled() bool {
	return a.Registration != nil && !a.Registration.Disabled.IsZero()
}

// confine holds a request of an application that has registered itself to what it
// is registered for. Which tenant it is about is not the application's to say.
func (o *OIDC) confine(ctx context.Context, r *AuthorizationRequest) error {
	a, err := o.Application(ctx, r.ClientID)
	if err != nil || a.Registration == nil {
		return err
	}
	if a.Disabled() {
		return refuse(UnauthorizedClient, "the application is disabled")
	}
	if r.TenantName != "" && r.TenantName != a.OwnerSlug && r.TenantName != string(a.Owner) {
		return refuse(InvalidScope, "the application signs people in to its own tenant alone")
	}
	metadata := &a.Registration.Metadata
	missing := func(scope string) bool { return !metadata.covers(scope) }
	r.TenantName = string(a.Owner)
	r.Scopes = slices.DeleteFunc(slices.Clone(r.Scopes), missing)
	if !slices.ContainsFunc(r.Scopes, func(scope string) bool { return !namesTenant(scope) }) {
		return refuse(InvalidScope, "the application is registered for none of the scopes")
	}
	missingClaim := func(claim string) bool { return !metadata.coversClaim(claim) }
	r.Claims.UserInfo = slices.DeleteFunc(slices.Clone(r.Claims.UserInfo), missingClaim)
	r.Claims.IDToken = slices.DeleteFunc(slices.Clone(r.Claims.IDToken), missingClaim)
	if r.MaxAge == nil {
		r.MaxAge = metadata.DefaultMaxAge
	}
	return nil
}

// covers reports whether the application is registered for the scope. To those that
// name a tenant, other rules apply.
func (m *ClientMetadata) covers(scope string) bool {
	return namesTenant(scope) || slices.Contains(strings.Fields(m.Scope), scope)
}

// coversClaim reports whether the application is registered for the scope of a claim.
func (m *ClientMetadata) coversClaim(claim string) bool { return m.covers(scopeOfClaim(claim)) }

// coversGrant reports whether the application is registered for all that it was given.
func (m *ClientMetadata) coversGrant(g *Grant) bool {
	missing := func(scope string) bool { return !m.covers(scope) }
	missingClaim := func(claim string) bool { return !m.coversClaim(claim) }
	return !slices.ContainsFunc(g.Scopes, missing) && !slices.ContainsFunc(slices.Concat(g.Claims.UserInfo, g.Claims.IDToken), missingClaim)
}

// Registered is what an application learns when it registers (RFC 7591 §3.2.1).
type Registered struct {
	Application *Application // of its owner only which one it is
	Secret      secret.Text  // that was made; otherwise empty
	Token       secret.Text  // the registration access token
}

// Register makes an application of the tenant that the initial access token is of,
// and uses the token up by one. It fails with invalid_token, with access_denied
// where the tenant takes no registrations, with invalid_redirect_uri and
// invalid_client_metadata, and with fault.Throttled.
func (o *OIDC) Register(ctx context.Context, token secret.Text, m ClientMetadata, client authn.Client) (*Registered, error) {
	by, err := o.store.RegistrationTokenByHash(ctx, token.Hash())
	if errors.Is(err, fault.NotFound) || err == nil && !by.live(o.now()) {
		return nil, o.unknownRegistrant(ctx, client)
	}
	if err != nil {
		return nil, err
	}
	registered := &Registered{Token: secret.Random(registrationAccessPrefix)}
	clientID := registeredPrefix + string(id.New[id.Application]())
	err = o.registering(ctx, token, by.Tenant, func() error {
		spec, err := o.specOf(ctx, clientID, by.Tenant, &m)
		if err != nil {
			return err
		}
		ctx := audit.WithActor(ctx, audit.Actor{Kind: audit.ActorApplication, ID: clientID})
		return o.store.InTx(ctx, func(ctx context.Context) error {
			if err := o.takesRegistrations(ctx, by.Tenant); err != nil {
				return err
			}
			err := o.store.UseRegistrationToken(ctx, by.Tenant, by.ID, o.now())
			if errors.Is(err, fault.NotFound) { // somebody else was faster
				return errRegistrationToken()
			}
			if err != nil {
				return err
			}
			registered.Application, registered.Secret, err = o.putRegistered(ctx, spec, "application.register", func(a *Application) (*Registration, error) {
				if a.ClientID != "" {
					return nil, fault.New(fault.Conflict, "the client_id is taken")
				}
				return &Registration{Token: registered.Token.Hash(), By: by.ID, Metadata: m}, nil
			})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	o.applications.Invalidate(clientID)
	return registered, nil
}

// Registration returns the application to whoever has its registration access token
// (RFC 7592 §2.1). It fails with invalid_token in the same way for an application
// that is gone, or never was, and with fault.Throttled.
func (o *OIDC) Registration(ctx context.Context, clientID string, token secret.Text, client authn.Client) (*Registered, error) {
	a, err := o.store.Application(ctx, clientID)
	if errors.Is(err, fault.NotFound) || err == nil && !a.registeredBy(token) {
		return nil, o.unknownRegistrant(ctx, client)
	}
	return &Registered{Application: a, Token: token}, err
}

// registeredBy reports whether the token is the application's registration access
// token.
func (a *Application) registeredBy(token secret.Text) bool {
	return a.Registration != nil && a.Registration.Token.Equal(token.Hash())
}

// ChangeRegistration replaces what the application, as Registration has returned it,
// has said of itself (RFC 7592 §2.2). current is the client secret that it says it
// has, nil where it says nothing of that. What people have given to it beyond the
// scope that it has from then on ends. It fails as Registration and Register do.
func (o *OIDC) ChangeRegistration(ctx context.Context, before *Registered, m ClientMetadata, current *secret.Text) (*Registered, error) {
	clientID, owner, token := before.Application.ClientID, before.Application.Owner, before.Token
	changed := &Registered{Token: token}
	err := o.registering(ctx, token, owner, func() error {
		if before.Application.Disabled() {
			return refuse(AccessDenied, "the application is disabled")
		}
		spec, err := o.specOf(ctx, clientID, owner, &m)
		if err != nil {
			return err
		}
		ctx := audit.WithActor(ctx, audit.Actor{Kind: audit.ActorApplication, ID: clientID})
		return o.store.InTx(ctx, func(ctx context.Context) error {
			if err := o.takesRegistrations(ctx, owner); err != nil {
				return err
			}
			changed.Application, changed.Secret, err = o.putRegistered(ctx, spec, "application.update", func(a *Application) (*Registration, error) {
				switch {
				case !a.registeredBy(token): // it is gone, or was taken over, since
					return nil, errRegistrationToken()
				case a.Disabled():
					return nil, refuse(AccessDenied, "the application is disabled")
				case current != nil && a.accepts(o.hashSecret(clientID, *current), o.now()) == nil:
					return nil, fault.Field(fault.Invalid, "client_secret", "it is not the present one: an application does not choose its secret").WithCode(InvalidClientMetadata)
				}
				return &Registration{Token: a.Registration.Token, By: a.Registration.By, Metadata: m}, nil
			})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	o.applications.Invalidate(clientID)
	return changed, nil
}

// Unregister removes the application with all that was issued to it (RFC 7592 §2.3).
// It fails as Registration does.
func (o *OIDC) Unregister(ctx context.Context, clientID string, token secret.Text, client authn.Client) error {
	registered, err := o.Registration(ctx, clientID, token, client)
	if err != nil {
		return err
	}
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorApplication, ID: clientID})
	err = o.deleteApplication(ctx, registered.Application)
	if errors.Is(err, fault.NotFound) {
		return errRegistrationToken()
	}
	return err
}

// deleteApplication removes an application of a tenant. Grants, codes and tokens go
// with its row.
func (o *OIDC) deleteApplication(ctx context.Context, a *Application) error {
	defer o.applications.Invalidate(a.ClientID)
	return o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.store.DeleteApplication(ctx, a.Owner, a.ClientID); err != nil {
			return err
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), a.Owner, "application.delete", "application", a.ClientID, map[string]any{"name": a.Name}))
	})
}

// errRegistrationToken is the one answer for every reason not to accept a token of
// whoever registers.
func errRegistrationToken() error {
	return refuse(InvalidToken, "the token is unknown, expired, revoked or used up")
}

// unknownRegistrant counts an attempt with a token that is not accepted.
func (o *OIDC) unknownRegistrant(ctx context.Context, client authn.Client) error {
	if err := o.authn.TryRegistrant(ctx, client); err != nil {
		return err
	}
	return errRegistrationToken()
}

// registering runs do, in the name of whoever has the token, if the tenant takes
// registrations. Who fails over and over waits longer each time: addresses are
// fetched for him. What is wrong with the metadata has one of the codes of RFC 7591
// §3.2.2.
func (o *OIDC) registering(ctx context.Context, token secret.Text, tenant id.Tenant, do func() error) error {
	if err := o.registrationsOf(ctx, tenant); err != nil {
		return err
	}
	if err := o.authn.TryRegistration(ctx, token.Hash()); err != nil {
		return err
	}
	err := do()
	if err == nil {
		return o.authn.RegistrationDone(ctx, token.Hash())
	}
	if f := fault.As(err); f.Kind == fault.Invalid && f.Code == "" {
		f.Code = InvalidClientMetadata
		if f.Field == "redirect_uris" {
			f.Code = InvalidRedirectURI
		}
	}
	return err
}

// takesRegistrations is registrationsOf in a transaction, while the policy can't
// change.
func (o *OIDC) takesRegistrations(ctx context.Context, tenant id.Tenant) error {
	if err := o.store.LockTenantShared(ctx, tenant); err != nil {
		return err
	}
	return o.registrationsOf(ctx, tenant)
}

// registrationsOf fails with access_denied unless applications may register with the
// tenant now, and change what they have registered.
func (o *OIDC) registrationsOf(ctx context.Context, tenant id.Tenant) error {
	t, err := o.store.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	usable, err := o.rights.Usable(ctx, t.Blueprint, t.BlueprintVersion, t.Status, directory.StatusActive)
	if err == nil && (!usable || !t.Policy.DynamicRegistration) {
		err = refuse(AccessDenied, "the tenant takes no registrations of applications")
	}
	return err
}

// specOf returns the application that the metadata stand for, and brings them to
// what will be in force. What they refer to is fetched.
func (o *OIDC) specOf(ctx context.Context, clientID string, tenant id.Tenant, m *ClientMetadata) (ApplicationSpec, error) {
	if err := m.normalize(); err != nil {
		return ApplicationSpec{}, err
	}
	spec, err := m.spec(clientID, tenant)
	if err != nil {
		return spec, err
	}
	m.JWKS = json.RawMessage(spec.Security.JWKS)
	if spec.Security.JWKSURI != "" {
		if err := o.checkKeysAt(ctx, spec.Security.JWKSURI); err != nil {
			return spec, err
		}
	}
	if m.SectorURI != "" {
		err = o.checkSector(ctx, m.SectorURI, m.RedirectURIs)
	}
	return spec, err
}

// checkKeysAt fails unless the application publishes keys at the address.
func (o *OIDC) checkKeysAt(ctx context.Context, address string) error {
	const field = "jwks_uri"
	if o.keySets == nil {
		return fault.Field(fault.Invalid, field, "this server fetches no keys: use jwks")
	}
	text, err := o.keySets.KeySet(ctx, address)
	if err != nil {
		o.logger.InfoContext(ctx, "keys of an application that registers could not be fetched", "jwks_uri", address, "err", err)
		return fault.Field(fault.Invalid, field, "%q can't be fetched", address)
	}
	if len(readKeys(text)) == 0 {
		return fault.Field(fault.Invalid, field, "%q has no key of use: EC on P-256, RSA of %d to %d bits, or Ed25519", address, minRSA, maxRSA)
	}
	return nil
}

// checkSector fails unless all redirect URIs are in the list at the address, which
// shows that whoever has the host knows of them (OIDC Core §8.1, OpenID Connect
// Registration 1.0 §5).
func (o *OIDC) checkSector(ctx context.Context, address string, redirectURIs []string) error {
	const field = "sector_identifier_uri"
	if o.keySets == nil {
		return fault.Field(fault.Invalid, field, "this server fetches nothing")
	}
	text, err := o.keySets.Sector(ctx, address)
	if err != nil {
		o.logger.InfoContext(ctx, "the sector of an application that registers could not be fetched", "sector_identifier_uri", address, "err", err)
		return fault.Field(fault.Invalid, field, "%q can't be fetched", address)
	}
	var listed []string
	if len(text) > MaxKeySet || json.Unmarshal(text, &listed) != nil {
		return fault.Field(fault.Invalid, field, "%q is no JSON array of redirect URIs", address)
	}
	for _, uri := range redirectURIs {
		if !slices.Contains(listed, uri) {
			return fault.Field(fault.Invalid, field, "%q does not list the redirect URI %q", address, uri)
		}
	}
	return nil
}

// putRegistered stores the application with its event, in the transaction in ctx:
// register says of what there is, or of nothing, how it is registered from now on.
// It returns what it stored, and the secret that it made, if it did. People who have
// allowed something to an application of another name, or at another address, are
// asked again; what they have given to it beyond its scope ends.
func (o *OIDC) putRegistered(ctx context.Context, spec ApplicationSpec, action string, register func(*Application) (*Registration, error)) (*Application, secret.Text, error) {
	if err := o.ensureKeysFor(ctx, spec.IDTokenAlg, spec.AccessTokenAlg); err != nil {
		return nil, secret.Text{}, err
	}
	var applied Applied
	var stored Application
	other, narrower := false, false
	err := o.store.UpdateApplication(ctx, spec.ClientID, func(a *Application) (err error) {
		other = a.ClientID != "" && (a.Name != spec.Name || !slices.Equal(a.RedirectURIs, spec.RedirectURIs))
		if spec.registration, err = register(a); err != nil {
			return err
		}
		metadata := &spec.registration.Metadata
		narrower = a.Registration != nil && slices.ContainsFunc(strings.Fields(a.Registration.Metadata.Scope), func(scope string) bool { return !metadata.covers(scope) })
		err = o.merge(a, spec, &applied)
		stored = *a
		return err
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	if other {
		if err := o.store.ForgetConsents(ctx, spec.Tenant, spec.ClientID); err != nil {
			return nil, secret.Text{}, err
		}
	}
	data := map[string]any{
		"name": spec.Name, "type": spec.Type, "redirect_uris": spec.RedirectURIs, "registration_token": spec.registration.By, "secret_made": !applied.Secret.Empty(),
	}
	if narrower {
		if data["grants_ended"], err = o.endBeyond(ctx, &stored); err != nil {
			return nil, secret.Text{}, err
		}
	}
	return &stored, applied.Secret, o.store.AppendEvent(ctx, audit.New(ctx, o.now(), spec.Tenant, action, "application", spec.ClientID, data))
}

// endBeyond ends what people have given to the application beyond what it is
// registered for, and tells it. Grants are not cut down instead: the tokens that an
// application has from them say what they are good for, signed, and would say too
// much until they expire.
func (o *OIDC) endBeyond(ctx context.Context, a *Application) (int, error) {
	grants, err := o.store.GrantsOfApplication(ctx, a.Owner, a.ClientID)
	if err != nil {
		return 0, err
	}
	grants = slices.DeleteFunc(grants, func(g Grant) bool { return a.Registration.Metadata.coversGrant(&g) })
	ended := make([]id.Grant, 0, len(grants))
	for i := range grants {
		ended = append(ended, grants[i].ID)
	}
	if err := o.store.RevokeGrants(ctx, a.Owner, ended, o.now()); err != nil {
		return 0, err
	}
	return len(grants), o.notify(ctx, grants, "")
}
