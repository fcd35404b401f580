package storage

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// applicationTokenRow is a row of the table application_tokens. TenantID is null
// for tokens of the instance; lists are words with a space in between.
type applicationTokenRow struct {
	ID            string `gorm:"primaryKey"`
	TenantID      *string
	Name          string
	Description   string
	CreatorID     string
	Hash          []byte
	Permissions   string
	CIDRs         string    `gorm:"column:cidrs"`
	CreatedAt     time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt     *time.Time
	LastUsedAt    *time.Time
	RevokedAt     *time.Time
	PreviousHash  []byte
	PreviousUntil *time.Time
}

// TableName implements gorm's Tabler.
func (applicationTokenRow) TableName() string { return "application_tokens" }

func (r applicationTokenRow) token() *authn.ApplicationToken {
	t := &authn.ApplicationToken{
		ID: id.ApplicationToken(r.ID), Tenant: id.Tenant(orEmpty(r.TenantID)), Name: r.Name, Description: r.Description,
		Creator: id.User(r.CreatorID), Created: r.CreatedAt.UTC(), Expires: orZeroTime(r.ExpiresAt), LastUsed: orZeroTime(r.LastUsedAt),
		Revoked: orZeroTime(r.RevokedAt), PreviousUntil: orZeroTime(r.PreviousUntil),
	}
	if r.Permissions != "" {
		t.Permissions = strings.Fields(r.Permissions)
	}
	for text := range strings.FieldsSeq(r.CIDRs) {
		network, _ := netip.ParsePrefix(text) // what is no network contains no address: the token is so the more limited
		t.Networks = append(t.Networks, network)
	}
	return t
}

func (r applicationTokenRow) stored() *authn.StoredToken {
	t := &authn.StoredToken{ApplicationToken: *r.token(), Hash: secret.Hash(r.Hash)}
	if len(r.PreviousHash) == len(t.Previous) {
		t.Previous = secret.Hash(r.PreviousHash)
	}
	return t
}

func applicationTokenRowOf(t *authn.StoredToken) *applicationTokenRow {
	row := &applicationTokenRow{
		ID: string(t.ID), TenantID: orNull(string(t.Tenant)), Name: t.Name, Description: t.Description, CreatorID: string(t.Creator),
		Hash: t.Hash[:], Permissions: strings.Join(t.Permissions, " "), CreatedAt: at(t.Created), ExpiresAt: atOrNull(t.Expires),
		LastUsedAt: atOrNull(t.LastUsed), RevokedAt: atOrNull(t.Revoked), PreviousUntil: atOrNull(t.PreviousUntil),
	}
	networks := make([]string, len(t.Networks))
	for i, network := range t.Networks {
		networks[i] = network.String()
	}
	row.CIDRs = strings.Join(networks, " ")
	if t.Previous != (secret.Hash{}) {
		row.PreviousHash = t.Previous[:]
	}
	return row
}

// liveTokenRow is a token with what its creator is. The row has a name because
// gorm passes over anonymous fields of private types.
type liveTokenRow struct {
	Row             applicationTokenRow `gorm:"embedded"`
	CreatorDisabled bool
	CreatorOperator bool
	ByPrevious      bool
}

func (r liveTokenRow) live() *authn.LiveToken {
	return &authn.LiveToken{
		ApplicationToken: *r.Row.token(), ByPrevious: r.ByPrevious, CreatorDisabled: r.CreatorDisabled, CreatorOperator: r.CreatorOperator,
	}
}

// CreateApplicationToken implements authn.ApplicationTokenStore.
func (s *Store) CreateApplicationToken(ctx context.Context, t *authn.StoredToken) error {
	return classify(s.conn(ctx).Create(applicationTokenRowOf(t)).Error, "token")
}

// ofTenant limits a query to the tenant's tokens, or the instance's.
func ofTenant(query *gorm.DB, tenant id.Tenant) *gorm.DB {
	if tenant == "" {
		return query.Where("tenant_id IS NULL")
	}
	return query.Where("tenant_id = ?", tenant)
}

// ApplicationTokenByName implements authn.ApplicationTokenStore.
func (s *Store) ApplicationTokenByName(ctx context.Context, tenant id.Tenant, name string) (*authn.StoredToken, error) {
	var row applicationTokenRow
	query := ofTenant(s.locked(ctx).Where("name = ? AND revoked_at IS NULL", name), tenant)
	if err := query.Order("id").Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	return row.stored(), nil
}

// LockApplicationToken implements authn.ApplicationTokenStore.
func (s *Store) LockApplicationToken(ctx context.Context, tenant id.Tenant, token id.ApplicationToken) (*authn.StoredToken, error) {
	var row applicationTokenRow
	if err := ofTenant(s.locked(ctx).Where("id = ?", token), tenant).Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	return row.stored(), nil
}

// ReplaceApplicationToken implements authn.ApplicationTokenStore. The last use
// is not its matter.
func (s *Store) ReplaceApplicationToken(ctx context.Context, t *authn.StoredToken) error {
	r := applicationTokenRowOf(t)
	result := s.conn(ctx).Exec(`UPDATE application_tokens SET creator_id = ?, description = ?, hash = ?, permissions = ?, cidrs = ?,
		expires_at = ?, revoked_at = ?, previous_hash = ?, previous_until = ?
		WHERE id = ? AND (tenant_id = ? OR tenant_id IS NULL AND ? = '')`,
		r.CreatorID, r.Description, r.Hash, r.Permissions, r.CIDRs, r.ExpiresAt, r.RevokedAt, r.PreviousHash, r.PreviousUntil, t.ID, t.Tenant, t.Tenant)
	if err := classify(result.Error, "token"); err != nil {
		return err
	}
	return oneRow(result.RowsAffected, nil)
}

// ApplicationTokenByHash implements authn.ApplicationTokenStore.
func (s *Store) ApplicationTokenByHash(ctx context.Context, token secret.Hash) (*authn.LiveToken, error) {
	return s.liveToken(s.conn(ctx).Raw(`/* across tenants: the token says which tenant it is of */
		SELECT t.*, u.disabled AS creator_disabled, u.operator AS creator_operator, t.hash <> ? AS by_previous
		FROM application_tokens t JOIN users u ON u.id = t.creator_id WHERE t.hash = ? OR t.previous_hash = ?`, token[:], token[:], token[:]))
}

// ApplicationTokenByID implements authn.ApplicationTokenStore.
func (s *Store) ApplicationTokenByID(ctx context.Context, tenant id.Tenant, token id.ApplicationToken) (*authn.LiveToken, error) {
	return s.liveToken(s.conn(ctx).Raw(`SELECT t.*, u.disabled AS creator_disabled, u.operator AS creator_operator
		FROM application_tokens t JOIN users u ON u.id = t.creator_id
		WHERE t.id = ? AND (t.tenant_id = ? OR t.tenant_id IS NULL AND ? = '')`, token, tenant, tenant))
}

func (s *Store) liveToken(query *gorm.DB) (*authn.LiveToken, error) {
	var rows []liveTokenRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return rows[0].live(), nil
}

// ApplicationTokens implements authn.ApplicationTokenStore.
func (s *Store) ApplicationTokens(ctx context.Context, tenant id.Tenant, creator id.User, before id.ApplicationToken, limit int) ([]authn.ApplicationToken, error) {
	query := s.conn(ctx).Where("tenant_id = ?", tenant)
	if creator != "" {
		query = query.Where("creator_id = ?", creator)
	}
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var rows []applicationTokenRow
	if err := query.Order("id DESC").Limit(limit).Find(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	return applicationTokensOf(rows), nil
}

func applicationTokensOf(rows []applicationTokenRow) []authn.ApplicationToken {
	tokens := make([]authn.ApplicationToken, 0, len(rows))
	for _, row := range rows {
		tokens = append(tokens, *row.token())
	}
	return tokens
}

// TouchApplicationToken implements authn.ApplicationTokenStore.
func (s *Store) TouchApplicationToken(ctx context.Context, tenant id.Tenant, token id.ApplicationToken, used time.Time) error {
	return classify(s.conn(ctx).Exec(`UPDATE application_tokens SET last_used_at = ?
		WHERE id = ? AND (tenant_id = ? OR tenant_id IS NULL AND ? = '') AND (last_used_at IS NULL OR last_used_at < ?)`,
		at(used), token, tenant, tenant, at(used)).Error, "")
}

// RevokeApplicationTokens implements authn.ApplicationTokenStore.
func (s *Store) RevokeApplicationTokens(ctx context.Context, tenant id.Tenant, creator id.User, revoked time.Time) ([]authn.ApplicationToken, error) {
	var rows []applicationTokenRow
	err := s.conn(ctx).Raw(`UPDATE application_tokens SET revoked_at = ? WHERE tenant_id = ? AND creator_id = ? AND revoked_at IS NULL
		RETURNING *`, at(revoked), tenant, creator).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	return applicationTokensOf(rows), nil
}
