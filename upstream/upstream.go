package upstream

import (
	"context"
	"log/slog"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Sessions ends what began at a provider, in the transaction in ctx. It is oidc's.
type Sessions interface {
	EndVia(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) error
}

// Deps is what New needs. All fields are required.
type Deps struct {
	Store     Store
	Directory *directory.Directory
	Authn     *authn.Authn
	Sessions  Sessions
	Party     Party
	Keyring   *secret.Keyring
	// PublicURL is the address of the instance, to which providers send people back.
	PublicURL string
	// Private says that providers may be at addresses that are not of the public
	// Internet, and at loopback addresses without TLS.
	Private bool
	Now     func() time.Time
	Logger  *slog.Logger
}

// Upstream manages providers and signs people in by them. Make one with New; it is
// safe for concurrent use.
type Upstream struct{ Deps }

// New returns an Upstream.
func New(d Deps) *Upstream { return &Upstream{d} }

func (u *Upstream) now() time.Time { return u.Now().UTC().Truncate(time.Microsecond) }

// secretOf returns the secret that the provider knows us by; the empty one is none.
func (u *Upstream) secretOf(p *Provider) (secret.Text, error) {
	if p.Secret == nil {
		return secret.Text{}, nil
	}
	text, err := u.Keyring.Open(p.Secret, p.place())
	return secret.NewText(string(text)), err
}
