package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Rights is what the tenants' role systems say. It is authz's and directory's
// part of a token.
type Rights interface {
	// Usable reports whether a membership of that status, in a tenant of that
	// blueprint and status, gives anything at all. It is asked with every
	// introspection and answers from memory.
	Usable(ctx context.Context, blueprint string, version int, tenantStatus string, status directory.Status) (bool, error)
	// SecondFactor reports whether the role system demands a second factor of
	// somebody, whatever the tenant's own policy says. It mostly answers from
	// memory.
	SecondFactor(ctx context.Context, who directory.Presence) (bool, error)
	// StandIns returns what a tenant of that version of a blueprint and with that
	// policy takes for a second factor without being one. It answers from memory.
	StandIns(ctx context.Context, blueprint string, version int, own directory.Policy) (directory.SignInPolicy, error)
	// Standing returns what the user is in the tenant of that slug or id, by a
	// membership or by roles that reach it. It fails with fault.NotFound where
	// the user is nothing there.
	Standing(ctx context.Context, tenant string, user id.User) (*directory.Standing, error)
	// Admits says whether a sign-in is good for the standing's tenant.
	Admits(ctx context.Context, st *directory.Standing, via directory.Via, strong bool) (directory.SignInBy, error)
	// Standings returns what the user is in every tenant that knows them,
	// whatever the status, and in some that their roles reach, by tenant name.
	Standings(ctx context.Context, user id.User) ([]directory.Standing, error)
	// Search returns those of which the name or the slug has the text in it, at
	// most so many; more says that there are others.
	Search(ctx context.Context, user id.User, text string, most int) (found []directory.Standing, more bool, err error)
	// SignIns returns those that can be used, at most so many.
	SignIns(ctx context.Context, user id.User, most int) ([]directory.Standing, error)
	// Permissions returns the keys of the permissions that a service account of
	// the tenant has there by the roles over the channel, sorted.
	Permissions(ctx context.Context, tenant id.Tenant, roles []string, channel authz.Channel) ([]string, error)
	// TokenRights returns what an application token of the creator stands for now,
	// within its own list, if it is not nil.
	TokenRights(ctx context.Context, tenant id.Tenant, creator id.User, limit []string) (*directory.Standing, error)
	// Permitted fails with fault.Denied unless the caller in ctx is an operator or
	// has the permission at the tenant.
	Permitted(ctx context.Context, tenant id.Tenant, permission string) error
	// Assume decides whether a staff member may act as a user now, and says what
	// he may do then.
	Assume(ctx context.Context, a directory.Assumption) (*directory.Assumed, error)
}

// Deps is what New needs. All fields but KeySets are required.
type Deps struct {
	Issuer  string // the public URL, as configured; never built from a request
	Store   Store
	Authn   *authn.Authn
	Rights  Rights
	Keyring *secret.Keyring
	Now     func() time.Time
	Logger  *slog.Logger
	KeySets KeySets // nil: no application has its keys at a jwks_uri
}

// OIDC is the domain's provider. It is safe for concurrent use.
type OIDC struct {
	issuer      string
	store       Store
	authn       *authn.Authn
	rights      Rights
	keyring     *secret.Keyring
	secretKey   [32]byte // for hashSecret
	confirmKey  [32]byte // for SignOutConfirmation
	userCodeKey [32]byte // for hashUserCode
	consentKey  [32]byte // for AskedConsent.Confirmation
	nonceKey    [32]byte // for DPoPNonce
	refreshKey  [32]byte // for nextOf
	now         func() time.Time
	logger      *slog.Logger

	ring         keyring
	applications *otter.Cache[string, *Application]
	origins      *otter.Cache[string, bool]
	verified     *otter.Cache[secret.Hash, *signedToken]
	keySets      KeySets
	clientKeys   clientKeys
	detailTypes  detailTypes
	subjectSalt  subjectSalt
}

// Sizes of the caches, in entries.
const (
	maxApplications = 10_000
	maxVerified     = 8_192
)

// New returns an OIDC.
func New(d Deps) (*OIDC, error) {
	applications, err := newCache[string, *Application](maxApplications, applicationCacheTime)
	if err != nil {
		return nil, err
	}
	origins, err := newCache[string, bool](maxApplications, applicationCacheTime)
	if err != nil {
		return nil, err
	}
	verified, err := newCache[secret.Hash, *signedToken](maxVerified, AccessTokenLifetime)
	if err != nil {
		return nil, err
	}
	published, err := newCache[string, *publishedKeys](maxApplications, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	return &OIDC{
		issuer: d.Issuer, store: d.Store, authn: d.Authn, rights: d.Rights, keyring: d.Keyring,
		secretKey: d.Keyring.Derive("application secrets"), confirmKey: d.Keyring.Derive("sign-out confirmation"),
		consentKey: d.Keyring.Derive("consent confirmation"), userCodeKey: d.Keyring.Derive("device user codes"),
		nonceKey: d.Keyring.Derive("DPoP nonce"), refreshKey: d.Keyring.Derive("refresh tokens"),
		now: d.Now, logger: d.Logger,
		applications: applications, origins: origins, verified: verified,
		keySets: d.KeySets, clientKeys: clientKeys{sets: published},
	}, nil
}

// newCache returns a cache of at most size entries, each for at most lifetime.
func newCache[K comparable, V any](size int, lifetime time.Duration) (*otter.Cache[K, V], error) {
	cache, err := otter.New(&otter.Options[K, V]{MaximumSize: size, ExpiryCalculator: otter.ExpiryWriting[K, V](lifetime)})
	if err != nil {
		return nil, fmt.Errorf("make a cache: %w", err)
	}
	return cache, nil
}

// Issuer returns the issuer of all tokens.
func (o *OIDC) Issuer() string { return o.issuer }

// Clean removes what is of no use any more and keeps the signing keys in order.
// It is to be run now and then, by any node.
func (o *OIDC) Clean(ctx context.Context) error {
	_, err := o.store.DeleteExpiredTokens(ctx, o.now())
	return errors.Join(err, o.endExpiredSupport(ctx), o.maintainKeys(ctx))
}
