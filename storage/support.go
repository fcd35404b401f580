package storage

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// supportRow is a row of the table support_sessions.
type supportRow struct {
	TenantID      string
	ID            string
	UserID        string
	MembershipID  string
	StaffID       string
	StaffTenantID string
	GrantID       string
	Role          string
	Reason        string
	ClientID      string
	CreatedAt     time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt     time.Time
	EndedAt       *time.Time
	EndReason     string
}

// TableName implements gorm's Tabler.
func (*supportRow) TableName() string { return "support_sessions" }

const supportColumns = `tenant_id, id, user_id, membership_id, staff_id, staff_tenant_id, grant_id, role, reason, client_id,
	created_at, expires_at, ended_at, end_reason`

func (r *supportRow) session() oidc.SupportSession {
	return oidc.SupportSession{
		Tenant: id.Tenant(r.TenantID), ID: id.SupportSession(r.ID), User: id.User(r.UserID), Membership: id.Membership(r.MembershipID),
		Staff: id.User(r.StaffID), StaffTenant: id.Tenant(r.StaffTenantID), Grant: id.Grant(r.GrantID), Role: r.Role, Reason: r.Reason,
		ClientID: r.ClientID, Created: r.CreatedAt.UTC(), Expires: r.ExpiresAt.UTC(), Ended: orZeroTime(r.EndedAt), EndReason: r.EndReason,
	}
}

// CreateSupportSession implements oidc.SupportStore.
func (s *Store) CreateSupportSession(ctx context.Context, session *oidc.SupportSession) error {
	return classify(s.conn(ctx).Create(&supportRow{
		TenantID: string(session.Tenant), ID: string(session.ID), UserID: string(session.User), MembershipID: string(session.Membership),
		StaffID: string(session.Staff), StaffTenantID: string(session.StaffTenant), GrantID: string(session.Grant), Role: session.Role,
		Reason: session.Reason, ClientID: session.ClientID, CreatedAt: at(session.Created), ExpiresAt: at(session.Expires),
	}).Error, "")
}

// SupportSession implements oidc.SupportStore.
func (s *Store) SupportSession(ctx context.Context, tenant id.Tenant, session id.SupportSession) (*oidc.SupportSession, error) {
	return oneSupportSession(s.conn(ctx).Raw(`SELECT `+supportColumns+` FROM support_sessions WHERE tenant_id = ? AND id = ?`, tenant, session))
}

// OwnSupportSession implements oidc.SupportStore.
func (s *Store) OwnSupportSession(ctx context.Context, staffTenant id.Tenant, staff id.User, session id.SupportSession) (*oidc.SupportSession, error) {
	return oneSupportSession(s.conn(ctx).Raw(`/* across tenants: a staff member acts in any */
		SELECT `+supportColumns+` FROM support_sessions WHERE id = ? AND staff_tenant_id = ? AND staff_id = ?`, session, staffTenant, staff))
}

func oneSupportSession(query *gorm.DB) (*oidc.SupportSession, error) {
	found, err := supportSessions(query)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &found[0], nil
}

// SupportSessions implements oidc.SupportStore.
func (s *Store) SupportSessions(ctx context.Context, tenant id.Tenant, most int) ([]oidc.SupportSession, error) {
	return supportSessions(s.conn(ctx).Raw(`SELECT `+supportColumns+` FROM support_sessions WHERE tenant_id = ? ORDER BY id DESC LIMIT ?`, tenant, most))
}

// EndSupportSessions implements oidc.SupportStore.
func (s *Store) EndSupportSessions(ctx context.Context, tenant id.Tenant, which oidc.SupportFilter, ended time.Time, reason string) ([]oidc.SupportSession, error) {
	query := `UPDATE support_sessions SET ended_at = ?, end_reason = ? WHERE tenant_id = ? AND ended_at IS NULL`
	args := []any{at(ended), reason, tenant}
	if which.ID != "" {
		query, args = query+` AND id = ?`, append(args, which.ID)
	}
	if which.Staff != "" {
		query, args = query+` AND staff_id = ?`, append(args, which.Staff)
	}
	return supportSessions(s.conn(ctx).Raw(query+` RETURNING `+supportColumns, args...))
}

// EndSupportOf implements oidc.SupportStore.
func (s *Store) EndSupportOf(ctx context.Context, user id.User, tenant id.Tenant, ended time.Time, reason string) ([]oidc.SupportSession, error) {
	query := `/* across tenants: a person acts, or is acted for, in any */
		UPDATE support_sessions SET ended_at = ?, end_reason = ? WHERE ended_at IS NULL AND `
	if tenant == "" {
		return supportSessions(s.conn(ctx).Raw(query+`(user_id = ? OR staff_id = ?) RETURNING `+supportColumns, at(ended), reason, user, user))
	}
	return supportSessions(s.conn(ctx).Raw(query+`(user_id = ? AND tenant_id = ? OR staff_id = ? AND staff_tenant_id = ?) RETURNING `+supportColumns,
		at(ended), reason, user, tenant, user, tenant))
}

// EndExpiredSupport implements oidc.SupportStore.
func (s *Store) EndExpiredSupport(ctx context.Context, before time.Time, reason string) ([]oidc.SupportSession, error) {
	return supportSessions(s.conn(ctx).Raw(`/* across tenants: what is over is over in all */
		UPDATE support_sessions SET ended_at = expires_at, end_reason = ? WHERE ended_at IS NULL AND expires_at <= ? RETURNING `+supportColumns,
		reason, at(before)))
}

func supportSessions(query *gorm.DB) ([]oidc.SupportSession, error) {
	var rows []supportRow
	if err := query.Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	sessions := make([]oidc.SupportSession, 0, len(rows))
	for i := range rows {
		sessions = append(sessions, rows[i].session())
	}
	return sessions, nil
}
