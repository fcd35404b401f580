package directory

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// connectionTokenPrefix marks the tokens that the server makes.
const connectionTokenPrefix = "rcs_"

// Connection returns the connection of the tenant of that slug or id that a
// token belongs to; the caller must not change it. Every failure is the same fault.Unauthenticated: the tenant
// does not exist, or the token is missing, unknown, expired or another tenant's.
func (d *Directory) Connection(ctx context.Context, tenant string, token secret.Text) (*Connection, error) {
	refused := fault.New(fault.Unauthenticated, "a valid connection token of this tenant is needed")
	// Not every database takes what is no text for one.
	if token.Empty() || !utf8.ValidString(tenant) || strings.IndexByte(tenant, 0) >= 0 {
		return nil, refused
	}
	key := connectionKey{tenant, token.Hash()}
	if c, ok := d.connections.GetIfPresent(key); ok {
		return c, nil
	}
	c, err := d.store.ConnectionByToken(ctx, tenant, key.token, d.now())
	if errors.Is(err, fault.NotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	d.connections.Set(key, c)
	return c, nil
}

// connectionKey is what a connection was found by.
type connectionKey struct {
	tenant string
	token  secret.Hash
}

// A connection that was found is taken as it was for connectionCacheTime: that
// is how long a token may work after it was taken back on another node.
const (
	connectionCacheTime = 2 * time.Second
	maxConnections      = 10_000
)

// ConnectionSpec describes a connection as the file of apply has it.
type ConnectionSpec struct {
	Name    string
	Profile ConnectionProfile
	Token   secret.Text // empty: made where the connection has none yet
}

// SaveConnection makes the tenant have the connection. It returns the token if
// it had to make one, which can't be read again.
func (d *Directory) SaveConnection(ctx context.Context, tenant id.Tenant, spec ConnectionSpec) (made secret.Text, err error) {
	if err := operatorOnly(ctx); err != nil {
		return secret.Text{}, err
	}
	if spec.Profile == "" {
		spec.Profile = ProfileRFC
	}
	switch spec.Profile {
	case ProfileRFC, ProfileEntra, ProfileOkta:
	default:
		return secret.Text{}, fault.Field(fault.Invalid, "profile", "%q is not one of rfc, entra, okta", spec.Profile)
	}
	if strings.TrimSpace(spec.Name) == "" {
		return secret.Text{}, fault.Field(fault.Invalid, "name", "a connection needs a name")
	}
	if strings.ContainsFunc(spec.Token.Reveal(), unicode.IsSpace) {
		return secret.Text{}, fault.Field(fault.Invalid, "token", "a token has no spaces: it travels in the Authorization header")
	}
	err = d.store.InTx(ctx, func(ctx context.Context) error {
		c, err := d.saveConnection(ctx, tenant, spec)
		if err != nil {
			return err
		}
		made, err = d.addToken(ctx, c, spec.Token)
		return err
	})
	return made, err
}

func (d *Directory) saveConnection(ctx context.Context, tenant id.Tenant, spec ConnectionSpec) (*Connection, error) {
	now := d.now()
	c, err := d.store.ConnectionByName(ctx, tenant, spec.Name)
	switch {
	case errors.Is(err, fault.NotFound):
		c = &Connection{Tenant: tenant, ID: id.New[id.Connection](), Name: spec.Name, Created: now}
	case err != nil:
		return nil, err
	case c.Profile == spec.Profile:
		return c, nil
	}
	c.Profile, c.Modified = spec.Profile, now
	if err := d.store.SaveConnection(ctx, c); err != nil {
		return nil, err
	}
	return c, d.record(ctx, tenant, "connection.save", "connection", string(c.ID), map[string]any{"name": c.Name, "profile": c.Profile})
}

// addToken gives the connection the token, or a fresh one where it has none.
func (d *Directory) addToken(ctx context.Context, c *Connection, token secret.Text) (made secret.Text, err error) {
	if token.Empty() {
		has, err := d.store.HasConnectionToken(ctx, c)
		if err != nil || has {
			return secret.Text{}, err
		}
		made = secret.Random(connectionTokenPrefix)
		token = made
	} else {
		owner, err := d.store.ConnectionByToken(ctx, string(c.Tenant), token.Hash(), d.now())
		if err == nil && owner.ID == c.ID {
			return secret.Text{}, nil
		} else if err != nil && !errors.Is(err, fault.NotFound) {
			return secret.Text{}, err
		}
	}
	if err := d.store.AddConnectionToken(ctx, c, token.Hash(), d.now()); err != nil {
		return secret.Text{}, err
	}
	return made, d.record(ctx, c.Tenant, "connection.token.add", "connection", string(c.ID), nil)
}
