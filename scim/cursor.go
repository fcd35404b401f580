package scim

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// cursorTime is how long a cursor is valid.
const cursorTime = time.Hour

// cursors makes and reads the cursors of RFC 9865 §2. A cursor is a place in a
// list, sealed: the value that the list is sorted by is a person's data, and
// addresses are logged. It is bound to the tenant, the caller, the resource
// types and the query.
type cursors struct {
	key [sha256.Size]byte
	now func() time.Time
}

// cursor is the content of one.
type cursor struct {
	Kind    string  `json:"k"`
	Key     *string `json:"s,omitempty"`
	ID      string  `json:"i"`
	Count   int     `json:"c"` // of the first page
	Expires int64   `json:"e"` // in seconds of Unix time
}

// seal returns the cursor that leads behind the place, in base64url: unreserved
// characters only.
func (s cursors) seal(tenant id.Tenant, walk directory.Walk, place directory.Place, count int) (string, error) {
	aead, err := s.cipher(tenant)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(cursor{
		Kind: place.Kind, Key: place.Key, ID: place.ID, Count: count, Expires: s.now().Add(cursorTime).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("encode cursor: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, plain, walk[:])), nil //nolint:gosec // it makes the nonce itself
}

// open is the inverse of seal. The error is the same for whatever was not sealed
// for this tenant and walk.
func (s cursors) open(tenant id.Tenant, walk directory.Walk, text string) (cursor, error) {
	aead, err := s.cipher(tenant)
	if err != nil {
		return cursor{}, err
	}
	foreign := badRequest(invalidCursor, "cursor: expected the nextCursor of a response to the same request: resource type, filter, sortBy and sortOrder may not change from page to page")
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return cursor{}, foreign
	}
	plain, err := aead.Open(nil, nil, sealed, walk[:])
	if err != nil {
		return cursor{}, foreign
	}
	var c cursor
	if err := json.Unmarshal(plain, &c); err != nil {
		return cursor{}, foreign // of another version of the server
	}
	if s.now().Unix() >= c.Expires {
		return cursor{}, badRequest(expiredCursor, "cursor: expected one that is not older than %s; begin again without one", cursorTime)
	}
	return c, nil
}

// cipher has a key of the tenant's own, so that no key seals so much that random
// nonces might repeat.
func (s cursors) cipher(tenant id.Tenant) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, s.key[:], string(tenant), sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("key of cursors: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of cursors: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func newCursors(keyring *secret.Keyring, now func() time.Time) cursors {
	return cursors{key: keyring.Derive("scim cursors"), now: now}
}

// walk names what the pages of one list have in common: who asks, and for what.
func (q *query) walk(ctx context.Context, kinds []*kind) directory.Walk {
	caller := audit.ActorFrom(ctx)
	parts := []string{string(caller.Kind), caller.ID, q.filterText, q.sortText, fmt.Sprint(q.descending)}
	for _, k := range kinds {
		parts = append(parts, k.t.Name)
	}
	return sha256.Sum256([]byte(strings.Join(parts, "\x00")))
}
