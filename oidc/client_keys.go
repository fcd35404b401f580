package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/maypok86/otter/v2"

	"github.com/rolecall/rolecall/internal/fault"
)

// KeySets fetches what applications publish: keys at their jwks_uri, and redirect
// URIs at their sector_identifier_uri. It speaks to addresses that somebody else
// chose, and must not be led to what only this machine can reach.
type KeySets interface {
	KeySet(ctx context.Context, address string) ([]byte, error)
	Sector(ctx context.Context, address string) ([]byte, error)
}

// Bounds of the key sets of applications, which strangers write.
const (
	MaxKeySet     = 64 << 10 // bytes
	maxClientKeys = 20
	minRSA        = 2048 // bits (RFC 7518 §3.3)
	maxRSA        = 8192 // beyond it a signature takes too long to check
)

// How long a fetched key set is believed, how soon it is fetched again for a key
// that it lacks, and how long it serves where it can't be fetched.
const (
	keySetCacheTime = 10 * time.Minute
	keySetMissTime  = time.Minute
	keySetStaleTime = time.Hour
)

// clientKeys are the published keys of applications, as this node knows them.
type clientKeys struct {
	mu   sync.Mutex // guards sets against two who add the same
	sets *otter.Cache[string, *publishedKeys]
}

// publishedKeys is what was last found at one jwks_uri.
type publishedKeys struct {
	mu      sync.Mutex // held while it is fetched: one asks, the others wait
	keys    []jose.JSONWebKey
	fetched time.Time // zero: never
	tried   time.Time
}

func (c *clientKeys) at(address string) *publishedKeys {
	c.mu.Lock()
	defer c.mu.Unlock()
	if set, ok := c.sets.GetIfPresent(address); ok {
		return set
	}
	set := &publishedKeys{}
	c.sets.Set(address, set)
	return set
}

// keysOf returns the keys with which the application may have signed something
// under that kid by that algorithm. Without a kid all that fit are meant.
func (o *OIDC) keysOf(ctx context.Context, a *Application, kid string, alg Alg) []jose.JSONWebKey {
	var all []jose.JSONWebKey
	if a.Security.JWKSURI != "" {
		all = o.published(ctx, a.Security.JWKSURI, kid)
	} else {
		all = readKeys([]byte(a.Security.JWKS))
	}
	var fitting []jose.JSONWebKey
	for i := range all {
		if k := &all[i]; (kid == "" || k.KeyID == kid) && fits(k, alg) {
			fitting = append(fitting, *k)
		}
	}
	return fitting
}

// published returns the keys at the address. They are fetched when they are old,
// and when none has the kid, but no more often than once a minute, whatever
// somebody sends.
func (o *OIDC) published(ctx context.Context, address, kid string) []jose.JSONWebKey {
	set := o.clientKeys.at(address)
	set.mu.Lock()
	defer set.mu.Unlock()
	now := o.now()
	old := set.fetched.IsZero() || now.Sub(set.fetched) >= keySetCacheTime
	lacks := kid != "" && !slices.ContainsFunc(set.keys, func(k jose.JSONWebKey) bool { return k.KeyID == kid })
	if (old || lacks) && (set.tried.IsZero() || now.Sub(set.tried) >= keySetMissTime) && o.keySets != nil {
		set.tried = now
		// Whoever asked may have gone: what is found serves those after him.
		text, err := o.keySets.KeySet(context.WithoutCancel(ctx), address)
		if err != nil {
			o.logger.WarnContext(ctx, "an application's keys could not be fetched", "jwks_uri", address, "err", err)
		} else {
			set.keys, set.fetched = readKeys(text), now
		}
	}
	if !set.fetched.IsZero() && now.Sub(set.fetched) >= keySetStaleTime {
		return nil
	}
	return set.keys
}

// readKeys returns the keys of a set that signatures can be checked with, and
// passes over all others (RFC 7517 §5).
func readKeys(text []byte) []jose.JSONWebKey {
	keys, _ := eachKey(text, func(error) error { return nil })
	return keys
}

// parseInlineKeys holds a set that is registered to what its keys are for, and
// returns it without what they don't need.
func parseInlineKeys(text []byte) (string, error) {
	refused := func(err error) error {
		return fault.Field(fault.Invalid, "jwks", "the jwks must be a set of public keys: EC on P-256, RSA of %d to %d bits, or Ed25519, at most %d: %v", minRSA, maxRSA, maxClientKeys, err)
	}
	keys, err := eachKey(text, func(err error) error { return err })
	if err != nil {
		return "", refused(err)
	}
	if len(keys) == 0 {
		return "", refused(errKey("there is none"))
	}
	canonical, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	return string(canonical), err
}

// errKey says what is wrong with a key.
type errKey string

func (e errKey) Error() string { return string(e) }

// eachKey reads a key set. bad says what becomes of it where a key is of no use.
func eachKey(text []byte, bad func(error) error) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(text) > MaxKeySet {
		return nil, errKey("it is too long")
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errKey("it is no JSON object with the member keys")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		err := json.Unmarshal(raw, &k)
		if err != nil {
			err = errKey("a key is malformed, or of another kind")
		} else {
			err = checkKey(&k)
		}
		if err == nil && len(keys) == maxClientKeys {
			err = errKey("there are too many")
		}
		if err != nil {
			if err := bad(err); err != nil {
				return nil, err
			}
			continue
		}
		keys = append(keys, jose.JSONWebKey{Key: k.Key, KeyID: k.KeyID, Algorithm: k.Algorithm, Use: k.Use})
	}
	return keys, nil
}

// checkKey fails for a key that signatures can't, or must not, be checked with:
// a shared one would let whoever has it sign (RFC 8725 §2.1).
func checkKey(k *jose.JSONWebKey) error {
	if k.Use != "" && k.Use != "sig" {
		return errKey("a key is not for signatures")
	}
	switch key := k.Key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return errKey("an EC key is not on P-256")
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return errKey("an RSA key is too short or too long")
		}
	case ed25519.PublicKey:
	default:
		return errKey("a key is private, shared or of another kind")
	}
	if !k.Valid() {
		return errKey("a key is malformed")
	}
	return nil
}

// fits reports whether signatures by the algorithm are made with such a key.
func fits(k *jose.JSONWebKey, alg Alg) bool {
	if k.Algorithm != "" && k.Algorithm != string(alg) && (alg != EdDSA || k.Algorithm != "Ed25519") {
		return false
	}
	switch k.Key.(type) {
	case *ecdsa.PublicKey:
		return alg == ES256
	case *rsa.PublicKey:
		return alg == RS256 || alg == PS256
	case ed25519.PublicKey:
		return alg == EdDSA
	}
	return false
}

// joseAlgs are the algorithms as the library names them.
func joseAlgs(algs []Alg) []jose.SignatureAlgorithm {
	names := make([]jose.SignatureAlgorithm, len(algs))
	for i, alg := range algs {
		names[i] = jose.SignatureAlgorithm(alg)
	}
	return names
}
