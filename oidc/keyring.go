package oidc

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/id"
)

// Media types of the tokens, in the header "typ": what keeps one kind of token
// from passing for another (RFC 8725 §3.11).
const (
	typIDToken     = "JWT"
	typAccessToken = "at+jwt"                  // RFC 9068 §2.1
	typIntrospect  = "token-introspection+jwt" // RFC 9701 §5
	typLogoutToken = "logout+jwt"              //nolint:gosec // a name: OIDC Back-Channel Logout 1.0 §2.4
	typEventToken  = "secevent+jwt"            //nolint:gosec // a name: RFC 8417 §2.3
)

// maxToken bounds what is parsed as a token.
const maxToken = 16 << 10

// How long a node believes its copy of the keys, and how soon it looks again
// for a key that it does not know.
const (
	keyCacheTime = 10 * time.Second
	keyMissTime  = time.Second
)

// keySet is the published keys with what they are needed for. It is immutable.
type keySet struct {
	loaded time.Time
	public jose.JSONWebKeySet
	byID   map[string]jose.JSONWebKey
	active map[Alg]*signingKey
}

// signingKey is an active key that is ready to sign.
type signingKey struct {
	signers map[string]jose.Signer // by media type
}

// keyring caches the keys of this node for a short time. The database is the
// truth. Private keys are unsealed and parsed once.
type keyring struct {
	set    atomic.Pointer[keySet]
	mu     sync.Mutex // guards parsed, and lets one caller load at a time
	parsed map[id.Key]*signingKey
}

// forget makes the next use load the keys.
func (k *keyring) forget() { k.set.Store(nil) }

// keys returns the key set, at most keyCacheTime old.
func (o *OIDC) keys(ctx context.Context) (*keySet, error) { return o.keysSince(ctx, keyCacheTime) }

func (o *OIDC) keysSince(ctx context.Context, age time.Duration) (*keySet, error) {
	fresh := func() *keySet {
		if set := o.ring.set.Load(); set != nil && o.now().Sub(set.loaded) < age {
			return set
		}
		return nil
	}
	if set := fresh(); set != nil {
		return set, nil
	}
	o.ring.mu.Lock()
	defer o.ring.mu.Unlock()
	if set := fresh(); set != nil {
		return set, nil
	}
	set, err := o.loadKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("load signing keys: %w", err)
	}
	o.ring.set.Store(set)
	return set, nil
}

// loadKeys needs o.ring.mu.
func (o *OIDC) loadKeys(ctx context.Context) (*keySet, error) {
	keys, err := o.store.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	now := o.now()
	set := &keySet{loaded: now, byID: map[string]jose.JSONWebKey{}, active: map[Alg]*signingKey{}}
	parsed := map[id.Key]*signingKey{}
	for _, key := range keys {
		if !key.published(now) {
			continue
		}
		public, err := x509.ParsePKIXPublicKey(key.Public)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", key.ID, err)
		}
		jwk := jose.JSONWebKey{Key: public, KeyID: string(key.ID), Algorithm: string(key.Alg), Use: "sig"}
		set.public.Keys = append(set.public.Keys, jwk)
		set.byID[jwk.KeyID] = jwk
		if key.State != KeyActive {
			continue
		}
		if parsed[key.ID] = o.ring.parsed[key.ID]; parsed[key.ID] == nil {
			if parsed[key.ID], err = o.openKey(&key); err != nil {
				return nil, fmt.Errorf("key %s: %w", key.ID, err)
			}
		}
		set.active[key.Alg] = parsed[key.ID]
	}
	o.ring.parsed = parsed
	return set, nil
}

func (o *OIDC) openKey(key *Key) (*signingKey, error) {
	plain, err := o.keyring.Open(key.Private, key.place())
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T can't sign", parsed)
	}
	signing := &signingKey{signers: map[string]jose.Signer{}}
	for _, typ := range []string{typIDToken, typAccessToken, typLogoutToken, typIntrospect, typEventToken} {
		signing.signers[typ], err = jose.NewSigner(
			jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Alg), Key: jose.JSONWebKey{Key: private, KeyID: string(key.ID)}},
			(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
		if err != nil {
			return nil, err
		}
	}
	return signing, nil
}

// PublicKeys returns the JSON Web Key Set to publish: next, active and retiring
// keys (RFC 7517 §5).
func (o *OIDC) PublicKeys(ctx context.Context) (*jose.JSONWebKeySet, error) {
	set, err := o.keys(ctx)
	if err != nil {
		return nil, err
	}
	return &set.public, nil
}

// SigningAlgs returns the algorithms that there are keys to sign with.
func (o *OIDC) SigningAlgs(ctx context.Context) ([]Alg, error) {
	set, err := o.keys(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(TokenAlgs(), func(alg Alg) bool { return set.active[alg] == nil }), nil
}

// sign returns claims as a signed token of the media type.
func (o *OIDC) sign(ctx context.Context, alg Alg, typ string, claims any) (string, error) {
	set, err := o.keys(ctx)
	if err != nil {
		return "", err
	}
	if set.active[alg] == nil { // another node may have made the first one
		if set, err = o.keysSince(ctx, keyMissTime); err != nil {
			return "", err
		}
	}
	key := set.active[alg]
	if key == nil {
		return "", fmt.Errorf("there is no active %s key", alg)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	signed, err := key.signers[typ].Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed.CompactSerialize()
}

// SignEvent returns the claims of a security event token, signed with the key of
// the day (RFC 8417 §2.1).
func (o *OIDC) SignEvent(ctx context.Context, claims any) (string, error) {
	return o.sign(ctx, ES256, typEventToken, claims)
}

// verify checks a token of this server against RFC 8725: its signature by one
// of our own keys with that key's own algorithm, and its media type. It returns
// the payload, whose claims are still to be checked, and the key's id. It fails
// with invalid_token.
func (o *OIDC) verify(ctx context.Context, token, typ string) (payload []byte, kid string, err error) {
	if len(token) > maxToken {
		return nil, "", errToken()
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, "", errToken()
	}
	header := parsed.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != typ {
		return nil, "", errToken()
	}
	key, err := o.publicKey(ctx, header.KeyID)
	if err != nil {
		return nil, "", err
	}
	if key == nil || key.Algorithm != header.Algorithm {
		return nil, "", errToken()
	}
	if payload, err = parsed.Verify(key.Key); err != nil {
		return nil, "", errToken()
	}
	return payload, header.KeyID, nil
}

// publicKey returns one of our published keys, or nil. A key that another node
// has just made is found within a second.
func (o *OIDC) publicKey(ctx context.Context, kid string) (*jose.JSONWebKey, error) {
	for _, age := range []time.Duration{keyCacheTime, keyMissTime} {
		set, err := o.keysSince(ctx, age)
		if err != nil {
			return nil, err
		}
		if key, ok := set.byID[kid]; ok {
			return &key, nil
		}
	}
	return nil, nil
}
