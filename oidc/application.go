package oidc

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// ApplicationType says where an application runs, and so which grants it may
// use and whether it can keep a secret (RFC 6749 §2.1).
type ApplicationType string

// The types of applications.
const (
	Web     ApplicationType = "web"     // on a server; keeps a secret
	SPA     ApplicationType = "spa"     // in a browser; no secret
	Native  ApplicationType = "native"  // on a device of the person (RFC 8252); no secret
	Machine ApplicationType = "machine" // acts for itself in its tenant; keeps a secret
	Device  ApplicationType = "device"  // input-constrained (RFC 8628); keeps a secret
)

// Confidential reports whether applications of the type authenticate with a
// secret.
func (t ApplicationType) Confidential() bool { return t == Web || t == Machine || t == Device }

// signsIn reports whether applications of the type sign people in by redirect.
func (t ApplicationType) signsIn() bool { return t == Web || t == SPA || t == Native }

// withPerson reports whether applications of the type run where the person is, and
// not on a server of their makers: their requests come from the person's network.
func (t ApplicationType) withPerson() bool { return t == SPA || t == Native || t == Device }

// AccessTokenFormat says what an application's access tokens are.
type AccessTokenFormat string

// The formats of access tokens.
const (
	FormatJWT    AccessTokenFormat = "jwt"    // signed (RFC 9068)
	FormatOpaque AccessTokenFormat = "opaque" // random; means something at introspection only
)

// An Application is an OAuth client.
type Application struct {
	ClientID               string
	Owner                  id.Tenant // empty: the instance's
	Name                   string
	Type                   ApplicationType
	Roles                  []string // of a machine's service account in Owner
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	BackchannelLogoutURI   string
	AccessToken            AccessTokenFormat
	AccessTokenAlg         Alg // of the signed ones
	IDTokenAlg             Alg
	API                    bool // people's access tokens for it may have the scope api
	ThirdParty             bool // people are asked for their consent
	RequirePKCE            bool // false only for those that keep a secret
	Secrets                []ApplicationSecret
	Created                time.Time
	Modified               time.Time
	Security               Security
	Sector                 string        // for whom its subjects are; empty: it knows people as everybody does
	Registration           *Registration // nil: the operator has registered it, or a tenant's administrator

	// The owner as it is now; read with the application, never stored with it.
	OwnerSlug             string
	OwnerStatus           string
	OwnerBlueprint        string
	OwnerBlueprintVersion int
}

// ApplicationSecret is what is kept of a client secret.
type ApplicationSecret struct {
	Hash     secret.Hash // see OIDC.hashSecret
	Created  time.Time
	Expires  time.Time // zero: never
	LastUsed time.Time // to an hour; zero: never
}

// ApplicationSpec is an application as the file of apply has it. Errors name
// its fields as that file does.
type ApplicationSpec struct {
	ClientID               string
	Name                   string // default: the client_id
	Type                   ApplicationType
	Tenant                 id.Tenant // the owner, already resolved from its slug; empty: the instance
	Roles                  []string
	Secret                 secret.Text // empty: kept as it is, or made
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	BackchannelLogoutURI   string
	AccessToken            AccessTokenFormat // default: jwt
	AccessTokenAlg         Alg               // one of TokenAlgs; default: ES256
	IDTokenAlg             Alg               // the same
	API                    bool              // people's access tokens for it may have the scope api
	SecretOverlap          time.Duration     // how long the secrets before Secret are accepted beside it
	Security               Security
	ThirdParty             bool // people are asked for their consent before it gets anything of theirs
	WithoutPKCE            bool // it need not send a code_challenge
	SubjectType            SubjectType
	Sector                 string // a host; default: that of the redirect URIs

	registration *Registration // of one that registers itself
}

// Applied says what PutApplication did.
type Applied struct {
	Created bool
	Changed bool        // also true when created
	Secret  secret.Text // the secret that was made, to be shown once; otherwise empty
}

var (
	clientIDForm = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,126}[A-Za-z0-9])?$`)
	errUnchanged = errors.New("nothing to change")
)

// PutApplication makes the instance hold what spec says. It is idempotent: a
// second call changes nothing, and never makes another secret. It fails with
// fault.Invalid and the field's name.
func (o *OIDC) PutApplication(ctx context.Context, spec ApplicationSpec) (*Applied, error) {
	spec = spec.withDefaults()
	if err := spec.validate(); err != nil {
		return nil, err
	}
	var err error
	if spec.Security, err = spec.secured(); err != nil {
		return nil, err
	}
	if spec.Sector, err = spec.sector(); err != nil {
		return nil, err
	}
	var applied Applied
	err = o.store.InTx(ctx, func(ctx context.Context) error {
		applied = Applied{}
		if err := o.ensureKeysFor(ctx, spec.IDTokenAlg, spec.AccessTokenAlg); err != nil {
			return err
		}
		if err := o.checkDetailTypes(ctx, spec.Security.DetailTypes); err != nil {
			return err
		}
		err := o.store.UpdateApplication(ctx, spec.ClientID, func(a *Application) error {
			return o.merge(a, spec, &applied)
		})
		if errors.Is(err, errUnchanged) {
			return nil
		}
		if err != nil {
			return err
		}
		action := "application.update"
		if applied.Created {
			action = "application.create"
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), spec.Tenant, action, "application", spec.ClientID,
			map[string]any{"type": spec.Type, "roles": spec.Roles, "secret_made": !applied.Secret.Empty()}))
	})
	if err != nil {
		return nil, err
	}
	o.applications.Invalidate(spec.ClientID)
	return &applied, nil
}

// merge brings a, which is zero where there is none yet, to what spec says.
func (o *OIDC) merge(a *Application, spec ApplicationSpec, applied *Applied) error {
	now := o.now()
	next := Application{
		ClientID: spec.ClientID, Owner: spec.Tenant, Name: spec.Name, Type: spec.Type, Roles: spec.Roles,
		RedirectURIs: spec.RedirectURIs, PostLogoutRedirectURIs: spec.PostLogoutRedirectURIs,
		BackchannelLogoutURI: spec.BackchannelLogoutURI, AccessToken: spec.AccessToken, AccessTokenAlg: spec.AccessTokenAlg,
		IDTokenAlg: spec.IDTokenAlg, API: spec.API, ThirdParty: spec.ThirdParty, RequirePKCE: !spec.WithoutPKCE,
		Secrets: a.Secrets, Created: a.Created, Modified: now,
	}
	next.Security, next.Sector, next.Registration = spec.Security, spec.Sector, spec.registration
	switch {
	case !spec.keepsSecret():
		next.Secrets = nil
	case !spec.Secret.Empty():
		next.Secrets = a.withSecret(o.hashSecret(spec.ClientID, spec.Secret), spec.SecretOverlap, now)
	case len(a.Secrets) == 0:
		applied.Secret = secret.Random(applicationSecretPrefix)
		next.Secrets = []ApplicationSecret{{Hash: o.hashSecret(spec.ClientID, applied.Secret), Created: now}}
	}
	if a.ClientID == "" {
		next.Created = now
		applied.Created = true
	} else if a.same(&next) {
		return errUnchanged
	}
	applied.Changed = true
	*a = next
	return nil
}

// same reports whether storing b in place of a would change anything. What has
// registered itself, and does so again, is stored anew.
func (a *Application) same(b *Application) bool {
	return a.Registration == nil && b.Registration == nil && a.Security.equal(&b.Security) && a.Owner == b.Owner && a.Name == b.Name && a.Type == b.Type && slices.Equal(a.Roles, b.Roles) &&
		slices.Equal(a.RedirectURIs, b.RedirectURIs) && slices.Equal(a.PostLogoutRedirectURIs, b.PostLogoutRedirectURIs) &&
		a.BackchannelLogoutURI == b.BackchannelLogoutURI && a.AccessToken == b.AccessToken && a.AccessTokenAlg == b.AccessTokenAlg && a.IDTokenAlg == b.IDTokenAlg &&
		a.API == b.API && a.ThirdParty == b.ThirdParty && a.RequirePKCE == b.RequirePKCE && a.Sector == b.Sector &&
		slices.EqualFunc(a.Secrets, b.Secrets, func(x, y ApplicationSecret) bool { return x.Hash.Equal(y.Hash) && x.Expires.Equal(y.Expires) })
}

// withSecret returns the application's secrets with the one of the hash as its
// current one. Those before it end with the overlap, if not sooner. Where it is the
// current one already, nothing changes but that without an overlap it is alone.
func (a *Application) withSecret(hash secret.Hash, overlap time.Duration, now time.Time) []ApplicationSecret {
	current := slices.IndexFunc(a.Secrets, func(s ApplicationSecret) bool { return s.Hash.Equal(hash) && s.Expires.IsZero() })
	if current >= 0 && (overlap > 0 || len(a.Secrets) == 1) {
		return a.Secrets
	}
	secrets := []ApplicationSecret{{Hash: hash, Created: now}}
	end := now.Add(overlap)
	for _, s := range a.Secrets {
		if s.Expires.IsZero() || s.Expires.After(end) {
			s.Expires = end
		}
		if s.Expires.After(now) && !s.Hash.Equal(hash) {
			secrets = append(secrets, s)
		}
	}
	return secrets
}

func (s ApplicationSpec) withDefaults() ApplicationSpec {
	if s.Name == "" {
		s.Name = s.ClientID
	}
	if s.AccessToken == "" {
		s.AccessToken = FormatJWT
	}
	s.AccessTokenAlg, s.IDTokenAlg = cmp.Or(s.AccessTokenAlg, ES256), cmp.Or(s.IDTokenAlg, ES256)
	return s
}

func (s ApplicationSpec) validate() error {
	if !clientIDForm.MatchString(s.ClientID) {
		return fault.Field(fault.Invalid, "client_id", "the client_id %q must be 1 to 128 letters, digits, '.', '_', '~' and '-', with a letter or digit at either end", s.ClientID)
	}
	// A token that a machine got for itself has its client_id as subject: it
	// must never be that of a person (RFC 9700 §4.15).
	if _, err := id.Parse[id.User](strings.ToLower(s.ClientID)); err == nil {
		return fault.Field(fault.Invalid, "client_id", "the client_id must not have the form of a UUID, which is that of a user's identifier")
	}
	switch s.Type {
	case Web, SPA, Native, Machine, Device:
	default:
		return fault.Field(fault.Invalid, "type", "%q is not one of web, spa, native, machine, device", s.Type)
	}
	if s.AccessToken != FormatJWT && s.AccessToken != FormatOpaque {
		return fault.Field(fault.Invalid, "access_token", "%q is not one of jwt, opaque", s.AccessToken)
	}
	if err := s.validateTokenAlgs(); err != nil {
		return err
	}
	if err := s.validateCredentials(); err != nil {
		return err
	}
	return s.validateURIs()
}

// validateTokenAlgs holds what tokens are signed by to what there are keys for.
func (s ApplicationSpec) validateTokenAlgs() error {
	if !slices.Contains(TokenAlgs(), s.AccessTokenAlg) {
		return fault.Field(fault.Invalid, "access_token_signed_response_alg", "%q is not one of ES256, RS256, EdDSA", s.AccessTokenAlg)
	}
	if !slices.Contains(TokenAlgs(), s.IDTokenAlg) {
		return fault.Field(fault.Invalid, "id_token_signed_response_alg", "%q is not one of ES256, RS256, EdDSA", s.IDTokenAlg)
	}
	return nil
}

func (s ApplicationSpec) validateCredentials() error {
	switch {
	case !s.Type.Confidential() && !s.Secret.Empty():
		return fault.Field(fault.Invalid, "secret", "an application of type %s can't keep a secret: leave it out", s.Type)
	case s.Type == Machine && s.Tenant == "":
		return fault.Field(fault.Invalid, "tenant", "an application of type machine acts in a tenant: name it")
	case s.API && !s.Type.signsIn() && s.Type != Device:
		return fault.Field(fault.Invalid, "api", "the scope api is for applications that sign people in; one of type %s uses the API by itself", s.Type)
	case s.ThirdParty && !s.Type.signsIn() && s.Type != Device:
		return fault.Field(fault.Invalid, "third_party", "an application of type %s signs nobody in, so there is nobody to ask for consent", s.Type)
	case s.WithoutPKCE && s.Type != Web:
		return fault.Field(fault.Invalid, "require_pkce", "only applications of type web can go without PKCE: others have no secret that would protect the code")
	case s.Type != Machine && len(s.Roles) > 0:
		return fault.Field(fault.Invalid, "roles", "only applications of type machine have roles of their own")
	}
	return nil
}

// hashSecret is what is stored of a client secret: HMAC-SHA256 under a key
// derived from the master key, over the client_id and the secret.
//
// Secrets that this server makes carry 256 bits, and SHA-256 would do. But
// apply takes secrets from a file, and those may be guessable: with the key,
// which is not in the database, a copy of the database is no use for guessing,
// and with the client_id two applications with one secret don't show it. A slow
// hash would give less (it only delays guessing) and cost every token request.
func (o *OIDC) hashSecret(clientID string, s secret.Text) secret.Hash {
	mac := hmac.New(sha256.New, o.secretKey[:])
	mac.Write([]byte(clientID))
	mac.Write([]byte{0})
	mac.Write([]byte(s.Reveal()))
	return secret.Hash(mac.Sum(nil))
}

// Application returns the application of that client_id, at most two seconds
// old. It fails with fault.NotFound. The caller must not change it.
func (o *OIDC) Application(ctx context.Context, clientID string) (*Application, error) {
	if a, ok := o.applications.GetIfPresent(clientID); ok {
		return a, nil
	}
	a, err := o.store.Application(ctx, clientID)
	if err != nil {
		return nil, err
	}
	o.applications.Set(clientID, a)
	return a, nil
}

// accepts returns the secret of the hash if it is in force, or nil. It looks at all
// of them, so that its time does not tell which one fits.
func (a *Application) accepts(hash secret.Hash, now time.Time) (accepted *ApplicationSecret) {
	for i := range a.Secrets {
		s := &a.Secrets[i]
		if s.Hash.Equal(hash) && (s.Expires.IsZero() || now.Before(s.Expires)) {
			accepted = s
		}
	}
	return accepted
}

// secretUseResolution is how exact ApplicationSecret.LastUsed is: whether a secret can
// be deleted is asked days after, and an application may come a thousand times a second.
const secretUseResolution = time.Hour

// touchSecret writes down that the application uses the secret, at most once in
// secretUseResolution. The request does not fail with it.
func (o *OIDC) touchSecret(ctx context.Context, a *Application, s *ApplicationSecret) {
	now := o.now()
	if now.Sub(s.LastUsed) < secretUseResolution {
		return
	}
	if err := o.store.TouchApplicationSecret(ctx, a.ClientID, s.Hash, now.Add(-secretUseResolution), now); err != nil {
		o.logger.WarnContext(ctx, "the use of a client secret was not recorded", "client_id", a.ClientID, "error", err)
		return
	}
	o.applications.Invalidate(a.ClientID)
}
