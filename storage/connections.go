package storage

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// connectionRow is a row of the table connections, with the slug of its tenant
// where that is asked for. The mapping is JSON.
type connectionRow struct {
	TenantID       string
	ID             string
	Name           string
	Profile        string
	PausedAt       *time.Time
	PauseReason    string
	RatePerSecond  int
	RateBurst      int
	Deprovisioning string
	Mapping        string
	GuardPeople    int
	GuardPercent   int
	GuardWindow    int
	GuardState     string
	GuardSince     *time.Time
	GuardUntil     *time.Time
	CreatedAt      time.Time
	ModifiedAt     time.Time
	ClientID       *string
	Slug           string
}

func (r connectionRow) connection() (*directory.Connection, error) {
	c := &directory.Connection{
		Tenant: id.Tenant(r.TenantID), Slug: r.Slug, ID: id.Connection(r.ID), Name: r.Name, Profile: directory.ConnectionProfile(r.Profile),
		Application: orEmpty(r.ClientID), Paused: orZeroTime(r.PausedAt), PauseReason: r.PauseReason,
		RateLimit: directory.RateLimit{PerSecond: r.RatePerSecond, Burst: r.RateBurst},
		Guard: directory.Guard{
			GuardLimits: directory.GuardLimits{People: r.GuardPeople, Percent: r.GuardPercent, Window: time.Duration(r.GuardWindow) * time.Second},
			State:       directory.GuardState(r.GuardState), Since: orZeroTime(r.GuardSince), Until: orZeroTime(r.GuardUntil),
		},
		Deprovisioning: directory.Deprovisioning(r.Deprovisioning), Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
	err := decode(r.Mapping, &c.Mappings)
	return c, err
}

// selectConnection reads connectionRow, of connections c and connection_applications a.
const (
	connectionColumns = `c.tenant_id, c.id, c.name, c.profile, c.paused_at, c.pause_reason, c.rate_per_second, c.rate_burst, c.deprovisioning, c.mapping,
		c.guard_people, c.guard_percent, c.guard_window, c.guard_state, c.guard_since, c.guard_until, c.created_at, c.modified_at, a.client_id`
	connectionTables = ` FROM connections c LEFT JOIN connection_applications a ON a.tenant_id = c.tenant_id AND a.connection_id = c.id `
	selectConnection = "SELECT " + connectionColumns + connectionTables
)

// takeConnection returns the one connection of a query.
func takeConnection(query *gorm.DB) (*directory.Connection, error) {
	var rows []connectionRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return rows[0].connection()
}

// connectionValues are what an insert and an update of a connection store.
func connectionValues(c *directory.Connection) ([]any, error) {
	mappings := c.Mappings
	if mappings == nil {
		mappings = []directory.AttributeMapping{}
	}
	mapping, err := encode(mappings)
	return []any{
		c.Name, c.Profile, atOrNull(c.Paused), c.PauseReason, c.RateLimit.PerSecond, c.RateLimit.Burst, c.Deprovisioning, mapping,
		c.Guard.People, c.Guard.Percent, int(c.Guard.Window.Seconds()), c.Guard.State, atOrNull(c.Guard.Since), atOrNull(c.Guard.Until), at(c.Modified),
	}, err
}

// CreateConnection implements directory.ConnectionStore.
func (s *Store) CreateConnection(ctx context.Context, c *directory.Connection) error {
	values, err := connectionValues(c)
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		err := s.conn(ctx).Exec(`INSERT INTO connections (name, profile, paused_at, pause_reason, rate_per_second, rate_burst, deprovisioning, mapping,
			guard_people, guard_percent, guard_window, guard_state, guard_since, guard_until, modified_at, tenant_id, id, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, append(values, c.Tenant, c.ID, at(c.Created))...).Error
		if err != nil {
			return classify(err, "name")
		}
		return s.saveConnectionApplication(ctx, c)
	})
}

// UpdateConnection implements directory.ConnectionStore.
func (s *Store) UpdateConnection(ctx context.Context, tenant id.Tenant, connection id.Connection, change func(*directory.Connection) error) (*directory.Connection, error) {
	var c *directory.Connection
	err := s.InTx(ctx, func(ctx context.Context) error {
		var locked []string
		if err := s.locked(ctx).Table("connections").Where("tenant_id = ? AND id = ?", tenant, connection).Pluck("id", &locked).Error; err != nil {
			return classify(err, "")
		}
		var err error
		if c, err = s.ConnectionByID(ctx, tenant, connection); err != nil {
			return err
		}
		if err := change(c); err != nil {
			return err
		}
		values, err := connectionValues(c)
		if err != nil {
			return err
		}
		err = s.conn(ctx).Exec(`UPDATE connections SET name = ?, profile = ?, paused_at = ?, pause_reason = ?, rate_per_second = ?, rate_burst = ?, deprovisioning = ?, mapping = ?,
			guard_people = ?, guard_percent = ?, guard_window = ?, guard_state = ?, guard_since = ?, guard_until = ?, modified_at = ?
			WHERE tenant_id = ? AND id = ?`, append(values, tenant, connection)...).Error
		if err != nil {
			return classify(err, "name")
		}
		return s.saveConnectionApplication(ctx, c)
	})
	if err != nil && !errors.Is(err, directory.ErrUnchanged) {
		return nil, err
	}
	return c, nil
}

// saveConnectionApplication stores which application may act as a connection.
func (s *Store) saveConnectionApplication(ctx context.Context, c *directory.Connection) error {
	if c.Application == "" {
		return classify(s.conn(ctx).Exec("DELETE FROM connection_applications WHERE tenant_id = ? AND connection_id = ?", c.Tenant, c.ID).Error, "")
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO connection_applications (tenant_id, connection_id, client_id) VALUES (?, ?, ?)
		ON CONFLICT (tenant_id, connection_id) DO UPDATE SET client_id = excluded.client_id`, c.Tenant, c.ID, c.Application).Error, "application")
}

// DeleteConnection implements directory.ConnectionStore.
func (s *Store) DeleteConnection(ctx context.Context, tenant id.Tenant, connection id.Connection) error {
	result := s.conn(ctx).Exec("DELETE FROM connections WHERE tenant_id = ? AND id = ?", tenant, connection)
	return oneRow(result.RowsAffected, classify(result.Error, ""))
}

// ConnectionByID implements directory.ConnectionStore.
func (s *Store) ConnectionByID(ctx context.Context, tenant id.Tenant, connection id.Connection) (*directory.Connection, error) {
	return takeConnection(s.conn(ctx).Raw(selectConnection+"WHERE c.tenant_id = ? AND c.id = ?", tenant, connection))
}

// ConnectionByName implements directory.ConnectionStore.
func (s *Store) ConnectionByName(ctx context.Context, tenant id.Tenant, name string) (*directory.Connection, error) {
	return takeConnection(s.conn(ctx).Raw(selectConnection+"WHERE c.tenant_id = ? AND c.name = ?", tenant, name))
}

// Connections implements directory.ConnectionStore.
func (s *Store) Connections(ctx context.Context, tenant id.Tenant, after string, limit int) ([]directory.Connection, error) {
	var rows []connectionRow
	err := s.conn(ctx).Raw(selectConnection+"WHERE c.tenant_id = ? AND c.name > ? ORDER BY c.name LIMIT ?", tenant, after, limit).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	connections := make([]directory.Connection, 0, len(rows))
	for _, row := range rows {
		c, err := row.connection()
		if err != nil {
			return nil, err
		}
		connections = append(connections, *c)
	}
	return connections, nil
}

// ConnectionByApplication implements directory.ConnectionStore.
func (s *Store) ConnectionByApplication(ctx context.Context, tenant, clientID string) (*directory.Connection, error) {
	return takeConnection(s.conn(ctx).Raw("SELECT "+connectionColumns+", t.slug"+connectionTables+`JOIN tenants t ON t.id = c.tenant_id
		WHERE a.client_id = ? AND (t.slug = ? OR c.tenant_id = ?)`, clientID, tenant, tenant))
}

// connectionTokenRow is a row of the table connection_tokens, but for the hash.
type connectionTokenRow struct {
	TenantID     string
	ConnectionID string
	TokenID      string
	TokenCreated time.Time
	ExpiresAt    *time.Time
	LastUsedAt   *time.Time
}

// listedColumns are those of connectionTokenRow, of connection_tokens ct.
const listedColumns = "ct.tenant_id, ct.connection_id, ct.id AS token_id, ct.created_at AS token_created, ct.expires_at, ct.last_used_at"

func (r connectionTokenRow) token() *directory.ConnectionToken {
	return &directory.ConnectionToken{
		Tenant: id.Tenant(r.TenantID), Connection: id.Connection(r.ConnectionID), ID: id.ConnectionToken(r.TokenID),
		Created: r.TokenCreated.UTC(), Expires: orZeroTime(r.ExpiresAt), LastUsed: orZeroTime(r.LastUsedAt),
	}
}

// ConnectionByToken implements directory.ConnectionStore.
func (s *Store) ConnectionByToken(ctx context.Context, tenant string, token secret.Hash, now time.Time) (*directory.Connection, error) {
	var rows []struct {
		Connection connectionRow      `gorm:"embedded"`
		Token      connectionTokenRow `gorm:"embedded"`
	}
	err := s.conn(ctx).Raw("SELECT "+connectionColumns+", t.slug, "+listedColumns+connectionTables+`
		JOIN connection_tokens ct ON ct.tenant_id = c.tenant_id AND ct.connection_id = c.id
		JOIN tenants t ON t.id = c.tenant_id
		WHERE ct.hash = ? AND (t.slug = ? OR ct.tenant_id = ?) AND (ct.expires_at IS NULL OR ct.expires_at > ?)`,
		token[:], tenant, tenant, at(now)).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	c, err := rows[0].Connection.connection()
	if err != nil {
		return nil, err
	}
	c.Token = rows[0].Token.token()
	c.Token.Tenant, c.Token.Connection = c.Tenant, c.ID
	return c, nil
}

// AddConnectionToken implements directory.ConnectionStore.
func (s *Store) AddConnectionToken(ctx context.Context, t *directory.ConnectionToken, token secret.Hash) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO connection_tokens (tenant_id, hash, connection_id, id, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`,
		t.Tenant, token[:], t.Connection, t.ID, at(t.Created), atOrNull(t.Expires)).Error, "token") // gorm expands a slice after a parenthesis
}

// ConnectionTokens implements directory.ConnectionStore.
func (s *Store) ConnectionTokens(ctx context.Context, tenant id.Tenant, connection id.Connection) ([]directory.ConnectionToken, error) {
	var rows []connectionTokenRow
	err := s.conn(ctx).Raw("SELECT "+listedColumns+" FROM connection_tokens ct WHERE ct.tenant_id = ? AND ct.connection_id = ? ORDER BY ct.created_at DESC, ct.id DESC", tenant, connection).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	tokens := make([]directory.ConnectionToken, 0, len(rows))
	for _, row := range rows {
		tokens = append(tokens, *row.token())
	}
	return tokens, nil
}

// ExpireConnectionTokens implements directory.ConnectionStore.
func (s *Store) ExpireConnectionTokens(ctx context.Context, tenant id.Tenant, connection id.Connection, end time.Time) (int, error) {
	result := s.conn(ctx).Exec("UPDATE connection_tokens SET expires_at = ? WHERE tenant_id = ? AND connection_id = ? AND (expires_at IS NULL OR expires_at > ?)",
		at(end), tenant, connection, at(end))
	return int(result.RowsAffected), classify(result.Error, "")
}

// ForgetConnectionTokens implements directory.ConnectionStore.
func (s *Store) ForgetConnectionTokens(ctx context.Context, tenant id.Tenant, connection id.Connection, before time.Time) error {
	return classify(s.conn(ctx).Exec("DELETE FROM connection_tokens WHERE tenant_id = ? AND connection_id = ? AND expires_at < ?", tenant, connection, at(before)).Error, "")
}

// DeleteConnectionToken implements directory.ConnectionStore.
func (s *Store) DeleteConnectionToken(ctx context.Context, tenant id.Tenant, connection id.Connection, token id.ConnectionToken) error {
	result := s.conn(ctx).Exec("DELETE FROM connection_tokens WHERE tenant_id = ? AND connection_id = ? AND id = ?", tenant, connection, token)
	return oneRow(result.RowsAffected, classify(result.Error, ""))
}

// SeeConnectionToken implements directory.ConnectionStore.
func (s *Store) SeeConnectionToken(ctx context.Context, t *directory.ConnectionToken, used time.Time) error {
	return classify(s.conn(ctx).Exec("UPDATE connection_tokens SET last_used_at = ? WHERE tenant_id = ? AND id = ? AND (last_used_at IS NULL OR last_used_at < ?)",
		at(used), t.Tenant, t.ID, at(used)).Error, "")
}

// SwitchedOff implements directory.ConnectionStore.
func (s *Store) SwitchedOff(ctx context.Context, tenant id.Tenant, connection id.Connection, since time.Time, other id.Membership) (off, people int, err error) {
	var counts struct{ Members, People int }
	err = s.conn(ctx).Raw(`SELECT count(*) AS members, coalesce(max(people), 0) AS people FROM switch_offs
		WHERE tenant_id = ? AND connection_id = ? AND at > ? AND membership_id <> ?`, tenant, connection, at(since), other).Scan(&counts).Error
	return counts.Members, counts.People, classify(err, "")
}

// AddSwitchOff implements directory.ConnectionStore.
func (s *Store) AddSwitchOff(ctx context.Context, o directory.SwitchOff, forget time.Time) error {
	err := s.conn(ctx).Exec(`INSERT INTO switch_offs (tenant_id, connection_id, membership_id, people, at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, connection_id, membership_id) DO UPDATE SET people = excluded.people, at = excluded.at`,
		o.Tenant, o.Connection, o.Membership, o.People, at(o.At)).Error
	if err != nil {
		return classify(err, "")
	}
	return classify(s.conn(ctx).Exec("DELETE FROM switch_offs WHERE tenant_id = ? AND connection_id = ? AND at < ?", o.Tenant, o.Connection, at(forget)).Error, "")
}

// CountActive implements directory.ConnectionStore.
func (s *Store) CountActive(ctx context.Context, tenant id.Tenant) (int, error) {
	people := 0
	err := s.conn(ctx).Raw("SELECT count(*) FROM memberships WHERE tenant_id = ? AND status <> ?", tenant, directory.StatusSuspended).Scan(&people).Error
	return people, classify(err, "")
}
