package directory

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/maypok86/otter/v2"

	"github.com/rolecall/rolecall/internal/cache"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// The permissions that a role system can give for connections. Where it has none
// of them, connections are the operator's.
const (
	permissionRead   = "connections.read"
	permissionCreate = "connections.create"
	permissionUpdate = "connections.update"
	permissionDelete = "connections.delete"
)

// connectionTokenPrefix marks the tokens that the server makes.
const connectionTokenPrefix = "rcs_"

// connectionKey is what a connection was found by: a token, an application, or
// its id.
type connectionKey struct {
	tenant      string // slug or id, as it was asked for
	token       secret.Hash
	application string
	connection  id.Connection
}

// maxTokensSeen is of how many tokens a node remembers that their use was written
// down.
const maxTokensSeen = 10_000

// connectionCache keeps what requests ask of connections: a revoked token works
// for cache.Lifetime on the other nodes.
type connectionCache struct {
	*cache.Recent[connectionKey, *Connection]

	seen *otter.Cache[id.ConnectionToken, time.Time] // tokens whose use was written down of late
}

func newConnectionCache() (*connectionCache, error) {
	found, err := cache.NewRecent[connectionKey, *Connection]()
	if err != nil {
		return nil, err
	}
	seen, err := otter.New(&otter.Options[id.ConnectionToken, time.Time]{
		MaximumSize: maxTokensSeen, ExpiryCalculator: otter.ExpiryWriting[id.ConnectionToken, time.Time](seenResolution),
	})
	return &connectionCache{found, seen}, err
}

// Connection returns the connection of the tenant of that slug or id that a
// token belongs to; the caller must not change it. Every failure is the same
// fault.Unauthenticated: the tenant does not exist, or the token is missing,
// unknown, expired or another tenant's. A connection that is paused is returned.
//
// The Code tells one that has expired, with CodeTokenExpired. It is for the
// tenant's own log: whoever presents a token must not learn it.
func (d *Directory) Connection(ctx context.Context, tenant string, token secret.Text) (*Connection, error) {
	refused := fault.New(fault.Unauthenticated, "a valid connection token of this tenant is needed")
	// Not every database takes what is no text for one.
	if token.Empty() || !validName(tenant) {
		return nil, refused
	}
	key := connectionKey{tenant: tenant, token: token.Hash()}
	c, err := d.connections.Get(key, func() (*Connection, error) { return d.store.ConnectionByToken(ctx, tenant, key.token, time.Time{}) })
	if errors.Is(err, fault.NotFound) {
		return nil, refused
	}
	if err == nil && !c.Token.live(d.now()) {
		return nil, refused.WithCode(CodeTokenExpired)
	}
	return c, err
}

// ConnectionOfApplication is Connection for the machine that has proven to be
// the application of that client_id.
func (d *Directory) ConnectionOfApplication(ctx context.Context, tenant, clientID string) (*Connection, error) {
	refused := fault.New(fault.Unauthenticated, "the application is none of a connection of this tenant")
	if !validName(tenant) {
		return nil, refused
	}
	c, err := d.connections.Get(connectionKey{tenant: tenant, application: clientID}, func() (*Connection, error) {
		return d.store.ConnectionByApplication(ctx, tenant, clientID)
	})
	if errors.Is(err, fault.NotFound) {
		return nil, refused
	}
	return c, err
}

func validName(tenant string) bool {
	return utf8.ValidString(tenant) && strings.IndexByte(tenant, 0) < 0
}

// seenResolution is how exact the last use of a token is.
const seenResolution = time.Minute

// SeeConnection writes down that the token by which the connection was found is
// in use, at most once in seenResolution.
func (d *Directory) SeeConnection(ctx context.Context, c *Connection) error {
	now := d.now()
	if c.Token == nil || c.Token.ID == "" || now.Sub(c.Token.LastUsed) < seenResolution {
		return nil
	}
	if seen, ok := d.connections.seen.GetIfPresent(c.Token.ID); ok && now.Sub(seen) < seenResolution {
		return nil
	}
	d.connections.seen.Set(c.Token.ID, now)
	return d.store.SeeConnectionToken(ctx, c.Token, now)
}

// manageConnections runs change in a transaction that has locked the tenant, if
// the caller has the permission, and makes this node read connections anew.
func (d *Directory) manageConnections(ctx context.Context, tenant id.Tenant, permission string, change func(ctx context.Context) error) error {
	// Whatever comes of it: what was read while it went on is not kept.
	defer d.connections.Changed()
	return d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, tenant)
		if err != nil {
			return err
		}
		if err := d.rights.permitted(ctx, at, permission); err != nil {
			return err
		}
		return change(ctx)
	})
}

// Connections returns the tenant's connections by name: at most limit, after the
// name if it is not empty.
func (d *Directory) Connections(ctx context.Context, tenant id.Tenant, after string, limit int) ([]Connection, error) {
	if err := d.Permitted(ctx, tenant, permissionRead); err != nil {
		return nil, err
	}
	return d.store.Connections(ctx, tenant, after, limit)
}

// ConnectionOf returns a connection of the tenant, or fault.NotFound.
func (d *Directory) ConnectionOf(ctx context.Context, tenant id.Tenant, connection id.Connection) (*Connection, error) {
	if err := d.Permitted(ctx, tenant, permissionRead); err != nil {
		return nil, err
	}
	c, err := d.store.ConnectionByID(ctx, tenant, connection)
	return c, noConnection(err)
}

func noConnection(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "there is no such connection")
	}
	return err
}

// CreateConnection makes a connection without a token. Its name has to be set; a
// profile that is not is rfc. It fails with fault.Invalid, and with
// fault.Conflict on name and application.
func (d *Directory) CreateConnection(ctx context.Context, tenant id.Tenant, settings ConnectionSettings) (*Connection, error) {
	var c *Connection
	err := d.manageConnections(ctx, tenant, permissionCreate, func(ctx context.Context) error {
		var err error
		c, err = d.createConnection(ctx, tenant, settings)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (d *Directory) createConnection(ctx context.Context, tenant id.Tenant, settings ConnectionSettings) (*Connection, error) {
	now := d.now()
	c := &Connection{Tenant: tenant, ID: id.New[id.Connection](), Profile: ProfileRFC, Deprovisioning: DeprovisionDelete, Created: now, Modified: now}
	if err := d.applySettings(ctx, c, settings); err != nil {
		return nil, err
	}
	if err := d.checkConnectionApplication(ctx, c); err != nil {
		return nil, err
	}
	if err := d.store.CreateConnection(ctx, c); err != nil {
		return nil, err
	}
	return c, d.recordConnection(ctx, c, "connection.create")
}

// ChangeConnection brings a connection to the settings. It fails as
// CreateConnection does, and with fault.NotFound.
func (d *Directory) ChangeConnection(ctx context.Context, tenant id.Tenant, connection id.Connection, settings ConnectionSettings) (*Connection, error) {
	return d.changeConnection(ctx, tenant, connection, "connection.update", func(ctx context.Context, c *Connection) error {
		before := c.Application
		if err := d.applySettings(ctx, c, settings); err != nil {
			return err
		}
		if c.Application == before {
			return nil
		}
		return d.checkConnectionApplication(ctx, c)
	})
}

// checkConnectionApplication fails with fault.Invalid on application unless it is
// a machine of the tenant.
func (d *Directory) checkConnectionApplication(ctx context.Context, c *Connection) error {
	if c.Application == "" {
		return nil
	}
	if !validName(c.Application) {
		return fault.Field(fault.Invalid, "application", "a client_id is expected")
	}
	_, err := d.accounts.Account(ctx, c.Tenant, c.Application)
	if errors.Is(err, fault.NotFound) {
		return fault.Field(fault.Invalid, "application", "%q is no application of type machine of this tenant", c.Application)
	}
	return err
}

// PauseConnection makes the server refuse whatever comes through the connection,
// until ResumeConnection. The reason is shown to administrators, and to the
// directory's.
func (d *Directory) PauseConnection(ctx context.Context, tenant id.Tenant, connection id.Connection, reason string) (*Connection, error) {
	reason = strings.TrimSpace(reason)
	if strings.ContainsRune(reason, 0) || utf8.RuneCountInString(reason) > maxPauseReason {
		return nil, fault.Field(fault.Invalid, "reason", "must be text of at most %d characters", maxPauseReason)
	}
	return d.changeConnection(ctx, tenant, connection, "connection.pause", func(_ context.Context, c *Connection) error {
		if c.Paused.IsZero() {
			c.Paused = d.now()
		}
		c.PauseReason = reason
		return nil
	})
}

// ResumeConnection ends PauseConnection.
func (d *Directory) ResumeConnection(ctx context.Context, tenant id.Tenant, connection id.Connection) (*Connection, error) {
	return d.changeConnection(ctx, tenant, connection, "connection.resume", func(_ context.Context, c *Connection) error {
		c.Paused, c.PauseReason = time.Time{}, ""
		return nil
	})
}

// changeConnection changes a connection under its lock, with its event; what
// changes nothing leaves none.
func (d *Directory) changeConnection(ctx context.Context, tenant id.Tenant, connection id.Connection, action string, change func(ctx context.Context, c *Connection) error) (*Connection, error) {
	var changed *Connection
	err := d.manageConnections(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		unchanged := false
		var err error
		changed, err = d.store.UpdateConnection(ctx, tenant, connection, func(c *Connection) error {
			before := *c
			if err := change(ctx, c); err != nil {
				return err
			}
			if unchanged = before.same(c); unchanged {
				return ErrUnchanged
			}
			c.Modified = d.now()
			return nil
		})
		if err != nil || unchanged {
			return noConnection(err)
		}
		return d.recordConnection(ctx, changed, action)
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// DeleteConnection removes a connection with its tokens, at once. What its
// directory has pushed stays. It fails with fault.NotFound.
func (d *Directory) DeleteConnection(ctx context.Context, tenant id.Tenant, connection id.Connection) error {
	return d.manageConnections(ctx, tenant, permissionDelete, func(ctx context.Context) error {
		c, err := d.store.ConnectionByID(ctx, tenant, connection)
		if err != nil {
			return noConnection(err)
		}
		if err := d.store.DeleteConnection(ctx, tenant, connection); err != nil {
			return noConnection(err)
		}
		return d.record(ctx, tenant, "connection.delete", "connection", string(connection), map[string]any{"name": c.Name})
	})
}

// recordConnection writes an event with the connection as it is now.
func (d *Directory) recordConnection(ctx context.Context, c *Connection, action string) error {
	data := map[string]any{"name": c.Name, "profile": c.Profile, "deprovisioning": c.Deprovisioning}
	if c.Application != "" {
		data["application"] = c.Application
	}
	if c.RateLimit.PerSecond > 0 {
		data["rate_limit"] = map[string]any{"per_second": c.RateLimit.PerSecond, "burst": c.RateLimit.Burst}
	}
	if c.Guard.On() {
		data["guard"] = map[string]any{"people": c.Guard.People, "percent": c.Guard.Percent, "window": int(c.Guard.Window.Seconds())}
	}
	if len(c.Mappings) > 0 {
		data["mapping"] = c.Mappings
	}
	if !c.Paused.IsZero() {
		data["paused"], data["reason"] = c.Paused, c.PauseReason
	}
	return d.record(ctx, c.Tenant, action, "connection", string(c.ID), data)
}

// ConnectionSpec describes a connection as the file of apply has it.
type ConnectionSpec struct {
	Name    string
	Profile ConnectionProfile // empty: as it is, or rfc
	Token   secret.Text       // empty: made where the connection has neither a token nor an application yet
	// ByApplication says that an application is going to act as the connection, so
	// that no token is made.
	ByApplication bool
	// Settings is what the file says beyond; Name and Profile in it do not count.
	Settings ConnectionSettings
}

// SaveConnection makes the tenant have the connection. It returns the token if
// it had to make one, which can't be read again.
func (d *Directory) SaveConnection(ctx context.Context, tenant id.Tenant, spec ConnectionSpec) (made secret.Text, err error) {
	if err := operatorOnly(ctx); err != nil {
		return secret.Text{}, err
	}
	if strings.ContainsFunc(spec.Token.Reveal(), unicode.IsSpace) {
		return secret.Text{}, fault.Field(fault.Invalid, "token", "a token has no spaces: it travels in the Authorization header")
	}
	spec.Settings.Name = &spec.Name
	spec.Settings.Profile = nil
	if spec.Profile != "" {
		spec.Settings.Profile = &spec.Profile
	}
	err = d.manageConnections(ctx, tenant, permissionCreate, func(ctx context.Context) error {
		c, err := d.store.ConnectionByName(ctx, tenant, strings.TrimSpace(spec.Name))
		switch {
		case errors.Is(err, fault.NotFound):
			c, err = d.createConnection(ctx, tenant, spec.Settings)
		case err == nil:
			c, err = d.ChangeConnection(ctx, tenant, c.ID, spec.Settings)
		}
		if err != nil {
			return err
		}
		made, err = d.putToken(ctx, c, spec.Token, spec.ByApplication)
		return err
	})
	return made, err
}

// BindConnection makes an application the one of a connection that the file of
// apply names: applications come after the tenants there.
func (d *Directory) BindConnection(ctx context.Context, tenant id.Tenant, name, clientID string) error {
	if err := operatorOnly(ctx); err != nil {
		return err
	}
	c, err := d.store.ConnectionByName(ctx, tenant, strings.TrimSpace(name))
	if err != nil {
		return noConnection(err)
	}
	_, err = d.ChangeConnection(ctx, tenant, c.ID, ConnectionSettings{Application: &clientID})
	return err
}
