package storage

import (
	"context"
	"time"

	"gorm.io/gorm/clause"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// consentRow is a row of the table consents.
type consentRow struct {
	TenantID   string
	UserID     string
	ClientID   string
	Scopes     string
	CreatedAt  time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt time.Time
}

// TableName implements gorm's Tabler.
func (consentRow) TableName() string { return "consents" }

func (r consentRow) consent() (oidc.Consent, error) {
	c := oidc.Consent{
		Tenant: id.Tenant(r.TenantID), User: id.User(r.UserID), ClientID: r.ClientID, Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
	return c, decode(r.Scopes, &c.Scopes)
}

// Consent implements oidc.ConsentStore.
func (s *Store) Consent(ctx context.Context, tenant id.Tenant, user id.User, clientID string) (*oidc.Consent, error) {
	var rows []consentRow
	err := s.conn(ctx).Raw(`SELECT tenant_id, user_id, client_id, scopes, created_at, modified_at FROM consents
		WHERE tenant_id = ? AND user_id = ? AND client_id = ?`, tenant, user, clientID).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	c, err := rows[0].consent()
	return &c, err
}

// SaveConsent implements oidc.ConsentStore.
func (s *Store) SaveConsent(ctx context.Context, c *oidc.Consent) error {
	scopes, err := encode(c.Scopes)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "tenant_id"}, {Name: "user_id"}, {Name: "client_id"}},
		DoUpdates: clause.AssignmentColumns([]string{"scopes", "modified_at"}),
	}).Create(&consentRow{
		TenantID: string(c.Tenant), UserID: string(c.User), ClientID: c.ClientID, Scopes: scopes, CreatedAt: at(c.Created), ModifiedAt: at(c.Modified),
	}).Error, "")
}

// heldConsentRow is a consent with names. The row has a name because gorm passes
// over anonymous fields of private types.
type heldConsentRow struct {
	Row         consentRow `gorm:"embedded"`
	Application string
	TenantName  string
}

// ConsentsOfUser implements oidc.ConsentStore.
func (s *Store) ConsentsOfUser(ctx context.Context, user id.User) ([]oidc.HeldConsent, error) {
	var rows []heldConsentRow
	err := s.conn(ctx).Raw(`/* across tenants: what one person has allowed, wherever that counts */
		SELECT c.*, a.name AS application, t.name AS tenant_name FROM consents c
			JOIN applications a ON a.client_id = c.client_id
			JOIN tenants t ON t.id = c.tenant_id
		WHERE c.user_id = ? ORDER BY c.created_at DESC, c.client_id, c.tenant_id`, user).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	consents := make([]oidc.HeldConsent, 0, len(rows))
	for i := range rows {
		c, err := rows[i].Row.consent()
		if err != nil {
			return nil, err
		}
		consents = append(consents, oidc.HeldConsent{Consent: c, Application: rows[i].Application, TenantName: rows[i].TenantName})
	}
	return consents, nil
}

// ForgetConsents implements oidc.ConsentStore.
func (s *Store) ForgetConsents(ctx context.Context, tenant id.Tenant, clientID string) error {
	return classify(s.conn(ctx).Exec("DELETE FROM consents WHERE tenant_id = ? AND client_id = ?", tenant, clientID).Error, "")
}

// DeleteConsents implements oidc.ConsentStore.
func (s *Store) DeleteConsents(ctx context.Context, user id.User, clientID string) (int, error) {
	result := s.conn(ctx).Exec(`/* across tenants: what one person has allowed, wherever that counts */
		DELETE FROM consents WHERE user_id = ? AND client_id = ?`, user, clientID)
	return int(result.RowsAffected), classify(result.Error, "")
}
