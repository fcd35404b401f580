package provider

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/internal/egress"
	"github.com/rolecall/rolecall/oidc"
)

// keySetTimeout bounds the wait for an application's keys: a request waits for it.
const keySetTimeout = 5 * time.Second

// keySets implements oidc.KeySets.
type keySets struct{ client *http.Client }

// NewKeySets returns what fetches the keys of applications. private says that they may
// be at private addresses.
func NewKeySets(private bool) oidc.KeySets {
	return keySets{egress.Client(keySetTimeout, private)}
}

// KeySet implements oidc.KeySets.
func (k keySets) KeySet(ctx context.Context, address string) ([]byte, error) {
	return k.fetch(ctx, "jwks_uri", address, "application/jwk-set+json, application/json")
}

// Sector implements oidc.KeySets.
func (k keySets) Sector(ctx context.Context, address string) ([]byte, error) {
	return k.fetch(ctx, "sector_identifier_uri", address, "application/json")
}

func (k keySets) fetch(ctx context.Context, what, address, accept string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	request.Header.Set("Accept", accept)
	response, err := k.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the application answered %d", what, response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, oidc.MaxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return text, nil
}
