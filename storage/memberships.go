package storage

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// membershipRow is a row of the table memberships.
type membershipRow struct {
	TenantID     string `gorm:"primaryKey"`
	ID           string `gorm:"primaryKey"`
	UserID       string
	Status       string
	Accepted     bool
	Managed      bool
	Source       string
	UserName     string
	UserNameKey  string
	ExternalID   *string
	Profile      string
	Search       string
	Version      int64
	CreatedAt    time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt   time.Time
	RetiredAt    *time.Time
	SecondFactor bool
}

// TableName implements gorm's Tabler.
func (*membershipRow) TableName() string { return "memberships" }

func membershipRowOf(m *directory.Membership) (membershipRow, error) {
	profile, search, err := encodeDocuments(m.Profile, m.Search)
	key := schema.Fold(m.UserName)
	if !m.Retired.IsZero() {
		key = "\x01retired " + string(m.ID) // the name is free for others
	}
	return membershipRow{
		TenantID: string(m.Tenant), ID: string(m.ID), UserID: string(m.User), Status: string(m.Status),
		Accepted: m.Accepted, Managed: m.Managed, Source: string(m.Source),
		UserName: m.UserName, UserNameKey: key, ExternalID: orNull(m.ExternalID),
		Profile: profile, Search: search, Version: m.Version, CreatedAt: at(m.Created), ModifiedAt: at(m.Modified), RetiredAt: atOrNull(m.Retired),
		SecondFactor: m.SecondFactor,
	}, err
}

// membership is the inverse of membershipRowOf, but for Search, which nobody
// reads back.
func (r *membershipRow) membership() (*directory.Membership, error) {
	m := &directory.Membership{
		Tenant: id.Tenant(r.TenantID), ID: id.Membership(r.ID), User: id.User(r.UserID), Status: directory.Status(r.Status),
		Accepted: r.Accepted, Managed: r.Managed, Source: directory.Source(r.Source),
		UserName: r.UserName, ExternalID: orEmpty(r.ExternalID), Version: r.Version,
		Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(), Retired: orZeroTime(r.RetiredAt),
		SecondFactor: r.SecondFactor,
	}
	return m, decode(r.Profile, &m.Profile)
}

// encodeDocuments returns a resource's profile and its search twin as JSON.
func encodeDocuments(profile, search map[string]any) (profileText, searchText string, err error) {
	if profileText, err = encode(profile); err != nil {
		return "", "", err
	}
	searchText, err = encode(search)
	return profileText, searchText, err
}

// CreateMembership implements directory.MembershipStore.
func (s *Store) CreateMembership(ctx context.Context, m *directory.Membership) error {
	m.Version = 1
	row, err := membershipRowOf(m)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, m.Tenant, membershipResource().name, string(m.ID), m.Keys, func(ctx context.Context) error {
		return classify(s.exec(ctx, insertMembership, row.values()...), "userName")
	})
}

// insertMembership stores membershipRow.values.
const insertMembership = `INSERT INTO memberships (tenant_id, id, user_id, status, accepted, managed, source, user_name, user_name_key, external_id, profile, search, version, created_at, modified_at, second_factor)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func (r *membershipRow) values() []any {
	return []any{r.TenantID, r.ID, r.UserID, r.Status, r.Accepted, r.Managed, r.Source, r.UserName, r.UserNameKey, r.ExternalID, r.Profile, r.Search, r.Version, r.CreatedAt, r.ModifiedAt, r.SecondFactor}
}

// CreatePerson implements directory.MembershipStore. On PostgreSQL it is one
// statement, and so one transaction without a round trip for its begin and end.
func (s *Store) CreatePerson(ctx context.Context, u *directory.User, m *directory.Membership, event audit.Event) error {
	u.Version, m.Version = 1, 1
	membership, err := membershipRowOf(m)
	if err != nil {
		return err
	}
	eventValues, err := eventValues(event)
	if err != nil {
		return err
	}
	user := userRowOf(u)
	if !s.sqlite && len(m.Keys) == 0 {
		err := s.exec(ctx, createPerson, slices.Concat(user.values(), membership.values(), eventValues)...)
		field := "userName"
		if violated(err) == "users_email_key" {
			field = "email"
		}
		return classify(err, field)
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.exec(ctx, insertUser, user.values()...); err != nil {
			return classify(err, "email")
		}
		if err := s.CreateMembership(ctx, m); err != nil {
			return err
		}
		return classify(s.exec(ctx, insertEvent, eventValues...), "")
	})
}

const createPerson = "WITH u AS (" + insertUser + "), m AS (" + insertMembership + ") " + insertEvent

// Membership implements directory.MembershipStore.
func (s *Store) Membership(ctx context.Context, tenant id.Tenant, membership id.Membership) (*directory.Membership, error) {
	if !s.together(ctx, string(membership)) {
		return s.membershipWhere(ctx, "tenant_id = ? AND id = ?", string(tenant), string(membership))
	}
	rows, err := s.sought(ctx, tenant, "id", string(membership))
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return rows[0].membership()
}

// MembershipOfUser implements directory.MembershipStore.
func (s *Store) MembershipOfUser(ctx context.Context, tenant id.Tenant, user id.User) (*directory.Membership, error) {
	return s.membershipWhere(ctx, "tenant_id = ? AND user_id = ?", string(tenant), string(user))
}

// MembershipByUserName implements directory.MembershipStore.
func (s *Store) MembershipByUserName(ctx context.Context, tenant id.Tenant, userName string) (*directory.Membership, error) {
	return s.membershipWhere(ctx, "tenant_id = ? AND user_name_key = ?", string(tenant), schema.Fold(userName))
}

// RetiredMembership implements directory.MembershipStore.
func (s *Store) RetiredMembership(ctx context.Context, tenant id.Tenant, externalID string) (*directory.Membership, error) {
	return s.membershipWhere(ctx, "tenant_id = ? AND external_id = ? AND retired_at IS NOT NULL ORDER BY retired_at DESC, id", string(tenant), externalID)
}

// LeaveGroups implements directory.MembershipStore.
func (s *Store) LeaveGroups(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	return classify(s.conn(ctx).Exec("DELETE FROM group_members WHERE tenant_id = ? AND member_id = ?", tenant, membership).Error, "")
}

// membershipWhere returns the first membership of a condition, which names the
// tenant.
func (s *Store) membershipWhere(ctx context.Context, condition string, args ...any) (*directory.Membership, error) {
	r, err := s.membershipRowWhere(ctx, condition, args...)
	if err != nil {
		return nil, err
	}
	return r.membership()
}

// membershipRowWhere is membershipWhere before anything is decoded.
func (s *Store) membershipRowWhere(ctx context.Context, condition string, args ...any) (r membershipRow, err error) {
	return r, classify(s.queryRow(ctx, "SELECT "+membershipColumns+" FROM memberships WHERE "+condition, args...).Scan(r.into()...), "")
}

// membershipColumns are those that membershipRow.membership reads.
const membershipColumns = `tenant_id, id, user_id, status, accepted, managed, source, user_name, external_id, profile, version, created_at, modified_at, retired_at, second_factor`

// into is where the values of membershipColumns go.
func (r *membershipRow) into() []any {
	return []any{
		&r.TenantID, &r.ID, &r.UserID, &r.Status, &r.Accepted, &r.Managed, &r.Source, &r.UserName, &r.ExternalID, &r.Profile, &r.Version,
		&r.CreatedAt, &r.ModifiedAt, &r.RetiredAt, &r.SecondFactor,
	}
}

// UpdateMembership implements directory.MembershipStore.
func (s *Store) UpdateMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, change func(*directory.Membership) error) (*directory.Membership, error) {
	var m *directory.Membership
	err := s.InTx(ctx, func(ctx context.Context) error {
		var err error
		condition := "tenant_id = ? AND id = ?"
		if !s.sqlite {
			condition += " FOR NO KEY UPDATE"
		}
		before, err := s.membershipRowWhere(ctx, condition, string(tenant), string(membership))
		if err != nil {
			return err
		}
		if m, err = before.membership(); err != nil {
			return err
		}
		if err := change(m); err != nil {
			return err
		}
		m.Version++
		row, err := membershipRowOf(m)
		if err != nil {
			return err
		}
		set, args := updateMembership, row.changeable()
		if row.Profile != before.Profile { // or its twin is as ever
			set, args = set+", profile = ?, search = ?", append(args, row.Profile, row.Search)
		}
		update := s.later
		if row.UserName != before.UserName || row.UserID != before.UserID { // another may have it
			update = s.exec
		}
		if err := update(ctx, set+" WHERE tenant_id = ? AND id = ?", append(args, row.TenantID, row.ID)...); err != nil {
			return classify(err, "userName")
		}
		return s.replaceKeys(ctx, tenant, membershipResource().name, string(membership), m.Keys)
	})
	if err != nil && !errors.Is(err, directory.ErrUnchanged) {
		return nil, err
	}
	return m, nil
}

// updateMembership stores membershipRow.changeable.
const updateMembership = `UPDATE memberships SET user_id = ?, status = ?, accepted = ?, managed = ?, source = ?, user_name = ?, user_name_key = ?, external_id = ?,
	version = ?, modified_at = ?, retired_at = ?, second_factor = ?`

func (r *membershipRow) changeable() []any {
	return []any{r.UserID, r.Status, r.Accepted, r.Managed, r.Source, r.UserName, r.UserNameKey, r.ExternalID, r.Version, r.ModifiedAt, r.RetiredAt, r.SecondFactor}
}

// ManageDomain implements directory.MembershipStore.
func (s *Store) ManageDomain(ctx context.Context, tenant id.Tenant, domain string, now time.Time) error {
	escaped := literally(schema.Fold(domain))
	return classify(s.conn(ctx).Exec(`UPDATE memberships SET managed = true, accepted = true, version = version + 1, modified_at = ?,
		status = CASE WHEN status = 'invited' THEN 'active' ELSE status END
		WHERE tenant_id = ? AND NOT managed AND user_id IN (SELECT id FROM users WHERE NOT operator AND email_key LIKE ? ESCAPE '\')`,
		at(now), tenant, "%@"+escaped).Error, "")
}

// DeleteMembership implements directory.MembershipStore.
func (s *Store) DeleteMembership(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.LeaveGroups(ctx, tenant, membership); err != nil {
			return err
		}
		if err := s.deleteKeys(ctx, tenant, membershipResource().name, string(membership)); err != nil {
			return err
		}
		deleted := s.conn(ctx).Exec("DELETE FROM memberships WHERE tenant_id = ? AND id = ?", tenant, membership)
		if deleted.Error == nil && deleted.RowsAffected == 0 {
			return classify(gorm.ErrRecordNotFound, "")
		}
		return classify(deleted.Error, "")
	})
}

// Memberships implements directory.MembershipStore.
func (s *Store) Memberships(ctx context.Context, tenant id.Tenant, query directory.Query) (*directory.Page[directory.Membership], error) {
	if page, err := s.lookUp(ctx, tenant, query); err != nil || page != nil {
		return page, err
	}
	return list(ctx, s, tenant, query, membershipResource(), (*membershipRow).membership)
}

// MembershipsAfter implements directory.MembershipStore.
func (s *Store) MembershipsAfter(ctx context.Context, tenant id.Tenant, after id.Membership, limit int) ([]directory.Membership, error) {
	return s.membershipsBy(ctx, "SELECT "+membershipColumns+" FROM memberships WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?", string(tenant), string(after), limit)
}

// MembershipsOfUser implements directory.MembershipStore.
func (s *Store) MembershipsOfUser(ctx context.Context, user id.User) ([]directory.Membership, error) {
	return s.membershipsBy(ctx, "/* across tenants: the memberships of one user */ SELECT "+membershipColumns+" FROM memberships WHERE user_id = ? ORDER BY created_at, id", string(user))
}

// membershipsBy returns the memberships of a statement that selects membershipColumns.
func (s *Store) membershipsBy(ctx context.Context, statement string, args ...any) ([]directory.Membership, error) {
	memberships := []directory.Membership{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var row membershipRow
		if err := rows.Scan(row.into()...); err != nil {
			return err
		}
		m, err := row.membership()
		if err != nil {
			return err
		}
		memberships = append(memberships, *m)
		return nil
	}, statement, args...)
	return memberships, err
}
