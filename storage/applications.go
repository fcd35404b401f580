package storage

import (
	"context"
	"errors"
	"strings"
	"time"

	"gorm.io/gorm/clause"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

var _ oidc.Store = (*Store)(nil)

// applicationRow is a row of the table applications.
type applicationRow struct {
	ClientID               string `gorm:"primaryKey"`
	OwnerID                *string
	Name                   string
	Type                   string
	Roles                  string
	RedirectURIs           string `gorm:"column:redirect_uris"`
	PostLogoutRedirectURIs string `gorm:"column:post_logout_redirect_uris"`
	BackchannelLogoutURI   string `gorm:"column:backchannel_logout_uri"`
	AccessToken            string
	AccessTokenAlg         string
	IDTokenAlg             string
	API                    bool `gorm:"column:api"`
	ThirdParty             bool
	RequirePKCE            bool      `gorm:"column:require_pkce"`
	CreatedAt              time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt             time.Time
	Security               string
	Sector                 string
	Registration           string // JSON; empty: none
	RegistrationHash       []byte
}

// TableName implements gorm's Tabler.
func (applicationRow) TableName() string { return "applications" }

// applicationSecretRow is a row of the table application_secrets.
type applicationSecretRow struct {
	ClientID   string
	Hash       []byte
	CreatedAt  time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
}

// TableName implements gorm's Tabler.
func (applicationSecretRow) TableName() string { return "application_secrets" }

// ownedApplicationRow is an application with its owner. The row has a name
// because gorm passes over anonymous fields of private types.
type ownedApplicationRow struct {
	Row                   applicationRow `gorm:"embedded"`
	OwnerSlug             string
	OwnerStatus           string
	OwnerBlueprint        string
	OwnerBlueprintVersion int
}

func applicationRowOf(a *oidc.Application) (row applicationRow, err error) {
	row = applicationRow{
		ClientID: a.ClientID, OwnerID: orNull(string(a.Owner)), Name: a.Name, Type: string(a.Type),
		BackchannelLogoutURI: a.BackchannelLogoutURI, AccessToken: string(a.AccessToken), AccessTokenAlg: string(a.AccessTokenAlg),
		IDTokenAlg: string(a.IDTokenAlg), API: a.API, ThirdParty: a.ThirdParty, RequirePKCE: a.RequirePKCE, Sector: a.Sector,
		CreatedAt: at(a.Created), ModifiedAt: at(a.Modified),
	}
	var roles, redirects, postLogout, security, registration error
	row.Security, security = encode(a.Security)
	row.Roles, roles = encode(a.Roles)
	row.RedirectURIs, redirects = encode(a.RedirectURIs)
	row.PostLogoutRedirectURIs, postLogout = encode(a.PostLogoutRedirectURIs)
	if a.Registration != nil {
		row.Registration, registration = encode(a.Registration)
		row.RegistrationHash = a.Registration.Token[:]
	}
	return row, errors.Join(roles, redirects, postLogout, security, registration)
}

func (o *ownedApplicationRow) application() (*oidc.Application, error) {
	r := &o.Row
	a := &oidc.Application{
		ClientID: r.ClientID, Owner: id.Tenant(orEmpty(r.OwnerID)), Name: r.Name, Type: oidc.ApplicationType(r.Type),
		BackchannelLogoutURI: r.BackchannelLogoutURI, AccessToken: oidc.AccessTokenFormat(r.AccessToken), AccessTokenAlg: oidc.Alg(r.AccessTokenAlg),
		IDTokenAlg: oidc.Alg(r.IDTokenAlg), API: r.API, ThirdParty: r.ThirdParty, RequirePKCE: r.RequirePKCE, Sector: r.Sector,
		Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
		OwnerSlug: o.OwnerSlug, OwnerStatus: o.OwnerStatus, OwnerBlueprint: o.OwnerBlueprint, OwnerBlueprintVersion: o.OwnerBlueprintVersion,
	}
	var registration error
	if r.Registration != "" {
		a.Registration = &oidc.Registration{}
		registration = decode(r.Registration, a.Registration)
		copy(a.Registration.Token[:], r.RegistrationHash)
	}
	return a, errors.Join(registration, decode(r.Security, &a.Security), decode(r.Roles, &a.Roles), decode(r.RedirectURIs, &a.RedirectURIs), decode(r.PostLogoutRedirectURIs, &a.PostLogoutRedirectURIs))
}

// selectApplication reads ownedApplicationRow.
const selectApplication = `SELECT a.*, coalesce(t.slug, '') AS owner_slug, coalesce(t.status, '') AS owner_status, coalesce(t.blueprint, '') AS owner_blueprint,
		coalesce(t.blueprint_version, 0) AS owner_blueprint_version
		FROM applications a LEFT JOIN tenants t ON t.id = a.owner_id `

// Application implements oidc.ApplicationStore.
func (s *Store) Application(ctx context.Context, clientID string) (*oidc.Application, error) {
	var rows []ownedApplicationRow
	err := s.conn(ctx).Raw(selectApplication+"WHERE a.client_id = ?", clientID).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	var secrets []applicationSecretRow // asked for whether it exists or not, so that the time does not tell
	if err := s.conn(ctx).Where("client_id = ?", clientID).Order("created_at").Find(&secrets).Error; err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	a, err := rows[0].application()
	if err != nil {
		return nil, err
	}
	for _, row := range secrets {
		a.Secrets = append(a.Secrets, oidc.ApplicationSecret{
			Hash: secret.Hash(row.Hash), Created: row.CreatedAt.UTC(), Expires: orZeroTime(row.ExpiresAt), LastUsed: orZeroTime(row.LastUsedAt),
		})
	}
	return a, nil
}

// UpdateApplication implements oidc.ApplicationStore.
func (s *Store) UpdateApplication(ctx context.Context, clientID string, change func(*oidc.Application) error) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		// The lock may find no row; then the primary key decides between two
		// who create the same application.
		var locked []string
		if err := s.locked(ctx).Table("applications").Where("client_id = ?", clientID).Pluck("client_id", &locked).Error; err != nil {
			return classify(err, "")
		}
		a, err := s.Application(ctx, clientID)
		if errors.Is(err, fault.NotFound) {
			a, err = &oidc.Application{}, nil
		}
		if err != nil {
			return err
		}
		if err := change(a); err != nil {
			return err
		}
		return s.saveApplication(ctx, a, len(locked) == 0)
	})
}

// TouchApplicationSecret implements oidc.ApplicationStore.
func (s *Store) TouchApplicationSecret(ctx context.Context, clientID string, hash secret.Hash, after, used time.Time) error {
	return classify(s.conn(ctx).Exec(`UPDATE application_secrets SET last_used_at = ?
		WHERE client_id = ? AND hash = ? AND (last_used_at IS NULL OR last_used_at <= ?)`, at(used), clientID, hash[:], at(after)).Error, "")
}

// DeleteApplication implements oidc.ApplicationStore.
func (s *Store) DeleteApplication(ctx context.Context, tenant id.Tenant, clientID string) error {
	result := s.conn(ctx).Exec(`DELETE FROM applications WHERE client_id = ? AND owner_id = ?`, clientID, tenant)
	return oneRow(result.RowsAffected, classify(result.Error, ""))
}

// OriginRegistered implements oidc.ApplicationStore. It looks into the lists as
// text, where every URI stands between quotation marks.
func (s *Store) OriginRegistered(ctx context.Context, origin string) (bool, error) {
	quoted := `%"` + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(origin)
	var registered bool
	err := s.conn(ctx).Raw(`SELECT EXISTS (SELECT 1 FROM applications WHERE type = ? AND
		(redirect_uris LIKE ? ESCAPE '\' OR redirect_uris LIKE ? ESCAPE '\' OR redirect_uris LIKE ? ESCAPE '\'))`,
		oidc.SPA, quoted+`/%`, quoted+`"%`, quoted+`?%`).Row().Scan(&registered)
	return registered, classify(err, "")
}

func (s *Store) saveApplication(ctx context.Context, a *oidc.Application, create bool) error {
	row, err := applicationRowOf(a)
	if err != nil {
		return err
	}
	query := s.conn(ctx)
	if create {
		err = query.Create(&row).Error
	} else {
		err = query.Select("*").Where("client_id = ?", a.ClientID).Updates(&row).Error
	}
	if err != nil {
		return classify(err, "client_id")
	}
	return s.saveApplicationSecrets(ctx, a)
}

func (s *Store) saveApplicationSecrets(ctx context.Context, a *oidc.Application) error {
	hashes := [][]byte{{}} // never empty: an empty list in SQL is no list
	for _, kept := range a.Secrets {
		hashes = append(hashes, kept.Hash[:])
		err := s.conn(ctx).Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "client_id"}, {Name: "hash"}}, DoUpdates: clause.AssignmentColumns([]string{"expires_at"}),
		}).Create(&applicationSecretRow{
			ClientID: a.ClientID, Hash: kept.Hash[:], CreatedAt: at(kept.Created), ExpiresAt: atOrNull(kept.Expires),
		}).Error
		if err != nil {
			return classify(err, "")
		}
	}
	return classify(s.conn(ctx).Exec(`DELETE FROM application_secrets WHERE client_id = ? AND hash NOT IN ?`, a.ClientID, hashes).Error, "")
}
