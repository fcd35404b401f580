package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
)

// Alg is a signature algorithm (RFC 7518 §3.1).
type Alg string

// The algorithms that tokens are signed with.
const (
	ES256 Alg = "ES256" // what applications ask nothing else for, and security events
	RS256 Alg = "RS256" // tokens of applications that ask for it (OIDC Core §15.1, RFC 9068 §4)
	EdDSA Alg = "EdDSA" // the same, with Ed25519 (RFC 8037 §3.1)
)

// TokenAlgs returns the algorithms that an application may have its tokens signed
// with.
func TokenAlgs() []Alg { return []Alg{ES256, RS256, EdDSA} }

// algsWith returns the algorithms that there are keys of: ES256 and RS256, and
// with an application that has asked for it EdDSA. Verifiers that don't know its
// keys are spared them until then.
func algsWith(keys []Key) []Alg {
	return slices.DeleteFunc(TokenAlgs(), func(alg Alg) bool {
		return alg == EdDSA && !slices.ContainsFunc(keys, func(k Key) bool { return k.Alg == EdDSA })
	})
}

const rsaBits = 2048

// When keys change by themselves: after a season of signing, if the next one has
// been published for longer than anybody keeps a copy of the key set.
const (
	signingLifetime = 90 * 24 * time.Hour
	publishedBefore = 24 * time.Hour
)

// KeyState is where a signing key is in its life:
//
//	next ── rotate ── active ── rotate ── retiring ── a day ── gone
//
// A next key is published before it signs, so that verifiers have it when it
// does; a retiring one until all that it signed has expired.
type KeyState string

// The states of signing keys.
const (
	KeyNext     KeyState = "next"
	KeyActive   KeyState = "active"
	KeyRetiring KeyState = "retiring"
	KeyGone     KeyState = "gone"
)

// A Key is a signing key. There is one active key for each algorithm.
type Key struct {
	ID        id.Key // the "kid"
	Alg       Alg
	State     KeyState
	Public    []byte // PKIX, DER
	Private   []byte // PKCS #8, sealed for the place "signing_keys/private_key/" + ID; empty when gone
	Created   time.Time
	Activated time.Time // zero: not yet
	Retired   time.Time // zero: not yet
}

// EnsureKeys creates the signing keys that are missing. Several nodes may call
// it at once and agree on the result. The first start needs it before serving.
func (o *OIDC) EnsureKeys(ctx context.Context) error {
	have, err := o.store.SigningKeys(ctx)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	algs := algsWith(have)
	failures := make([]error, len(algs))
	for i, alg := range algs {
		group.Go(func() { failures[i] = o.ensureKey(ctx, alg, have) })
	}
	group.Wait()
	return errors.Join(failures...)
}

// ensureKeysFor makes the keys of the algorithms that an application asks for, before
// anything is signed for it, if there are none.
func (o *OIDC) ensureKeysFor(ctx context.Context, algs ...Alg) error {
	if !slices.Contains(algs, EdDSA) {
		return nil
	}
	have, err := o.store.SigningKeys(ctx)
	if err != nil {
		return err
	}
	return o.ensureKey(ctx, EdDSA, have)
}

func (o *OIDC) ensureKey(ctx context.Context, alg Alg, have []Key) error {
	states := []KeyState{KeyActive}
	if alg != RS256 { // an RSA key takes long to make: its successor waits for Clean or Rotate
		states = append(states, KeyNext)
	}
	for _, state := range states {
		if slices.ContainsFunc(have, func(k Key) bool { return k.Alg == alg && k.State == state }) {
			continue
		}
		if err := o.createKey(ctx, alg, state); err != nil {
			return err
		}
	}
	return nil
}

func (o *OIDC) createKey(ctx context.Context, alg Alg, state KeyState) error {
	key, err := o.newKey(alg, state)
	if err != nil {
		return err
	}
	return o.store.InTx(ctx, func(ctx context.Context) error {
		created, err := o.store.CreateSigningKey(ctx, key)
		if err != nil || !created { // another node was first
			return err
		}
		return o.keyEvent(ctx, "signing_key.create", key)
	})
}

func (o *OIDC) newKey(alg Alg, state KeyState) (*Key, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case PS256: // applications use it, not the server
		fallthrough
	default:
		return nil, fmt.Errorf("no keys of algorithm %q", alg)
	}
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	now := o.now()
	key := &Key{ID: id.New[id.Key](), Alg: alg, State: state, Created: now}
	if state == KeyActive {
		key.Activated = now
	}
	if key.Public, err = x509.MarshalPKIXPublicKey(private.Public()); err != nil {
		return nil, fmt.Errorf("encode a signing key: %w", err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode a signing key: %w", err)
	}
	key.Private, err = o.keyring.Seal(plain, key.place())
	return key, err
}

func (k *Key) place() string { return "signing_keys/private_key/" + string(k.ID) }

func (o *OIDC) keyEvent(ctx context.Context, action string, k *Key) error {
	return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), "", action, "signing_key", string(k.ID), map[string]any{"alg": k.Alg, "state": k.State}))
}

// Keys returns the signing keys that are not gone, the oldest first, without
// their private parts.
func (o *OIDC) Keys(ctx context.Context) ([]Key, error) {
	keys, err := o.store.SigningKeys(ctx)
	for i := range keys {
		keys[i].Private = nil
	}
	return keys, err
}

// RotateKeys makes each algorithm's next key the active one, the active one
// retiring, and a new next key; and removes what has retired long enough. Other
// nodes follow within ten seconds, and sign with the old key until then.
func (o *OIDC) RotateKeys(ctx context.Context) error { return o.rotateWhere(ctx, algsWith) }

// rotateWhere is RotateKeys for the algorithms that which returns of the keys as
// they are under the lock.
func (o *OIDC) rotateWhere(ctx context.Context, which func(keys []Key) []Alg) error {
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		return o.store.UpdateSigningKeys(ctx, func(keys []Key) ([]Key, error) {
			changed := retire(keys, o.now())
			for _, alg := range which(keys) {
				rotated, err := o.rotate(keys, alg)
				if err != nil {
					return nil, err
				}
				changed = append(changed, rotated...)
			}
			for i := range changed {
				if err := o.keyEvent(ctx, "signing_key.rotate", &changed[i]); err != nil {
					return nil, err
				}
			}
			return changed, nil
		})
	})
	o.ring.forget()
	return err
}

// rotate returns the keys of one algorithm that change, in an order in which no
// two of them are active at once.
func (o *OIDC) rotate(keys []Key, alg Alg) ([]Key, error) {
	now := o.now()
	var changed []Key
	for _, key := range keys {
		if key.Alg == alg && key.State == KeyActive {
			key.State, key.Retired = KeyRetiring, now
			changed = append(changed, key)
		}
	}
	states := []KeyState{KeyNext}
	if i := slices.IndexFunc(keys, func(k Key) bool { return k.Alg == alg && k.State == KeyNext }); i >= 0 {
		promoted := keys[i]
		promoted.State, promoted.Activated = KeyActive, now
		changed = append(changed, promoted)
	} else {
		states = []KeyState{KeyActive, KeyNext}
	}
	for _, state := range states {
		key, err := o.newKey(alg, state)
		if err != nil {
			return nil, err
		}
		changed = append(changed, *key)
	}
	return changed, nil
}

// retire returns the retiring keys whose time is over, gone and without their
// private parts.
func retire(keys []Key, now time.Time) []Key {
	var changed []Key
	for _, key := range keys {
		if !key.published(now) {
			key.State, key.Private = KeyGone, []byte{}
			changed = append(changed, key)
		}
	}
	return changed
}

// maintainKeys makes the next keys that are missing, has those sign whose time has
// come, and removes what has retired long enough.
func (o *OIDC) maintainKeys(ctx context.Context) error {
	keys, err := o.store.SigningKeys(ctx)
	if err != nil {
		return err
	}
	for _, alg := range algsWith(keys) {
		if !slices.ContainsFunc(keys, func(k Key) bool { return k.Alg == alg && k.State == KeyNext }) {
			if err := o.createKey(ctx, alg, KeyNext); err != nil {
				return err
			}
		}
	}
	due := func(keys []Key) []Alg { return dueAlgs(keys, o.now()) }
	if len(due(keys)) == 0 && len(retire(keys, o.now())) == 0 {
		return nil
	}
	return o.rotateWhere(ctx, due)
}

// dueAlgs returns the algorithms of which the active key has signed for long
// enough, and the next one is known everywhere.
func dueAlgs(keys []Key, now time.Time) []Alg {
	return slices.DeleteFunc(algsWith(keys), func(alg Alg) bool {
		old, known := false, false
		for _, k := range keys {
			old = old || k.Alg == alg && k.State == KeyActive && !now.Before(k.Activated.Add(signingLifetime))
			known = known || k.Alg == alg && k.State == KeyNext && !now.Before(k.Created.Add(publishedBefore))
		}
		return !old || !known
	})
}

// published reports whether verifiers may still meet what the key signed.
func (k *Key) published(now time.Time) bool {
	return k.State != KeyGone && (k.State != KeyRetiring || now.Before(k.Retired.Add(retiredKeyLifetime)))
}
