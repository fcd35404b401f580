package directory

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// For how long the tokens before a rotation are accepted.
const (
	DefaultRotationOverlap = 24 * time.Hour
	MaxRotationOverlap     = 30 * 24 * time.Hour
)

// expiredTokensKept is how long a token is listed after its end.
const expiredTokensKept = 30 * 24 * time.Hour

// ConnectionTokens returns the tokens of a connection, the newest first: those
// in force, and those that have expired of late.
func (d *Directory) ConnectionTokens(ctx context.Context, tenant id.Tenant, connection id.Connection) ([]ConnectionToken, error) {
	if _, err := d.ConnectionOf(ctx, tenant, connection); err != nil {
		return nil, err
	}
	return d.store.ConnectionTokens(ctx, tenant, connection)
}

// AddConnectionToken makes another token of a connection, which is returned this
// once. It is accepted until expires; the zero time is never. Those before it
// stay as they are. It fails with fault.NotFound and fault.Invalid.
func (d *Directory) AddConnectionToken(ctx context.Context, tenant id.Tenant, connection id.Connection, expires time.Time) (*ConnectionToken, secret.Text, error) {
	return d.makeToken(ctx, tenant, connection, expires, func(context.Context, *Connection) error { return nil })
}

// RotateConnection makes another token of a connection, as AddConnectionToken
// does, and lets all others expire after the overlap, if they don't before: at
// once if it is 0. It is at most MaxRotationOverlap.
func (d *Directory) RotateConnection(ctx context.Context, tenant id.Tenant, connection id.Connection, expires time.Time, overlap time.Duration) (*ConnectionToken, secret.Text, error) {
	if overlap < 0 || overlap > MaxRotationOverlap {
		return nil, secret.Text{}, fault.Field(fault.Invalid, "overlap", "must be between 0 and %d seconds", int(MaxRotationOverlap.Seconds()))
	}
	return d.makeToken(ctx, tenant, connection, expires, func(ctx context.Context, c *Connection) error {
		end := d.now().Add(overlap)
		ended, err := d.store.ExpireConnectionTokens(ctx, tenant, connection, end)
		if err != nil || ended == 0 {
			return err
		}
		return d.record(ctx, tenant, "connection.token.rotate", "connection", string(connection), map[string]any{"name": c.Name, "ending": ended, "until": end})
	})
}

// makeToken stores a fresh token, once others are dealt with.
func (d *Directory) makeToken(ctx context.Context, tenant id.Tenant, connection id.Connection, expires time.Time, others func(ctx context.Context, c *Connection) error) (*ConnectionToken, secret.Text, error) {
	made := secret.Random(connectionTokenPrefix)
	expires = expires.UTC().Truncate(time.Microsecond)
	t := &ConnectionToken{Tenant: tenant, Connection: connection, ID: id.New[id.ConnectionToken](), Created: d.now(), Expires: expires}
	if !t.live(t.Created) {
		return nil, secret.Text{}, fault.Field(fault.Invalid, "expires_at", "this is in the past")
	}
	err := d.manageConnections(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		c, err := d.store.ConnectionByID(ctx, tenant, connection)
		if err != nil {
			return noConnection(err)
		}
		if err := others(ctx, c); err != nil {
			return err
		}
		return d.storeToken(ctx, c, t, made)
	})
	if err != nil {
		return nil, secret.Text{}, err
	}
	return t, made, nil
}

func (d *Directory) storeToken(ctx context.Context, c *Connection, t *ConnectionToken, token secret.Text) error {
	if err := d.store.ForgetConnectionTokens(ctx, c.Tenant, c.ID, d.now().Add(-expiredTokensKept)); err != nil {
		return err
	}
	all, err := d.store.ConnectionTokens(ctx, c.Tenant, c.ID)
	if err != nil {
		return err
	}
	if len(all) >= maxConnectionTokens {
		return fault.New(fault.Conflict, "the connection has %d tokens: revoke some first", len(all)).WithCode("too_many")
	}
	if err := d.store.AddConnectionToken(ctx, t, token.Hash()); err != nil {
		return err
	}
	data := map[string]any{"name": c.Name, "token": t.ID}
	if !t.Expires.IsZero() {
		data["expires"] = t.Expires
	}
	return d.record(ctx, c.Tenant, "connection.token.add", "connection", string(c.ID), data)
}

// RevokeConnectionToken ends a token at once. It fails with fault.NotFound.
func (d *Directory) RevokeConnectionToken(ctx context.Context, tenant id.Tenant, connection id.Connection, token id.ConnectionToken) error {
	return d.manageConnections(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		err := d.store.DeleteConnectionToken(ctx, tenant, connection, token)
		if errors.Is(err, fault.NotFound) {
			return fault.New(fault.NotFound, "there is no such token")
		}
		if err != nil {
			return err
		}
		return d.record(ctx, tenant, "connection.token.revoke", "connection", string(connection), map[string]any{"token": token})
	})
}

// putToken gives the connection the token of a file. Without one, a token is
// made where nobody could act as the connection otherwise.
func (d *Directory) putToken(ctx context.Context, c *Connection, token secret.Text, byApplication bool) (made secret.Text, err error) {
	if token.Empty() {
		all, err := d.store.ConnectionTokens(ctx, c.Tenant, c.ID)
		if err != nil || len(all) > 0 || byApplication || c.Application != "" {
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
	t := &ConnectionToken{Tenant: c.Tenant, Connection: c.ID, ID: id.New[id.ConnectionToken](), Created: d.now()}
	return made, d.storeToken(ctx, c, t, token)
}
