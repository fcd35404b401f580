package storage

import (
	"context"
	"database/sql"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/upstream"
)

var _ upstream.Store = (*Store)(nil)

// identityProviderRow is a row of the table identity_providers.
type identityProviderRow struct {
	TenantID   string
	ID         string
	Name       string
	Issuer     string
	ClientID   string
	SecretBox  []byte
	Settings   string
	Enabled    bool
	CreatedAt  time.Time
	ModifiedAt time.Time
}

const identityProviderColumns = "p.tenant_id, p.id, p.name, p.issuer, p.client_id, p.secret_box, p.settings, p.enabled, p.created_at, p.modified_at"

func (r *identityProviderRow) provider() (*upstream.Provider, error) {
	p := &upstream.Provider{
		Tenant: id.Tenant(r.TenantID), ID: id.IdentityProvider(r.ID), Name: r.Name, Issuer: r.Issuer, ClientID: r.ClientID, Secret: r.SecretBox,
		Enabled: r.Enabled, Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
	return p, decode(r.Settings, &p.Rules)
}

func (s *Store) identityProviders(ctx context.Context, query string, values ...any) ([]upstream.Provider, error) {
	var rows []identityProviderRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	all := make([]upstream.Provider, 0, len(rows))
	for i := range rows {
		p, err := rows[i].provider()
		if err != nil {
			return nil, err
		}
		all = append(all, *p)
	}
	return all, nil
}

// IdentityProviders implements upstream.ProviderStore.
func (s *Store) IdentityProviders(ctx context.Context, tenant id.Tenant) ([]upstream.Provider, error) {
	return s.identityProviders(ctx, "SELECT "+identityProviderColumns+" FROM identity_providers p WHERE p.tenant_id = ? ORDER BY p.name", tenant)
}

// IdentityProvider implements upstream.ProviderStore.
func (s *Store) IdentityProvider(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) (*upstream.Provider, error) {
	return one(s.identityProviders(ctx, "SELECT "+identityProviderColumns+" FROM identity_providers p WHERE p.tenant_id = ? AND p.id = ?", tenant, provider))
}

// IdentityProviderByID implements upstream.ProviderStore.
func (s *Store) IdentityProviderByID(ctx context.Context, provider id.IdentityProvider) (*upstream.Provider, error) {
	return one(s.identityProviders(ctx, "/* across tenants: the button says by which */ SELECT "+identityProviderColumns+" FROM identity_providers p WHERE p.id = ?", provider))
}

// one returns the first of what a query found, and fails with fault.NotFound where
// that is nothing.
func one[T any](found []T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	return &found[0], nil
}

// CreateIdentityProvider implements upstream.ProviderStore.
func (s *Store) CreateIdentityProvider(ctx context.Context, p *upstream.Provider) error {
	settings, err := encode(p.Rules)
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		err := s.conn(ctx).Exec(`INSERT INTO identity_providers (tenant_id, id, name, issuer, client_id, secret_box, settings, enabled, created_at, modified_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, p.Tenant, p.ID, p.Name, p.Issuer, p.ClientID, p.Secret, settings, p.Enabled, at(p.Created), at(p.Modified)).Error
		if err != nil {
			return classify(err, "name")
		}
		return s.putProviderDomains(ctx, p)
	})
}

// UpdateIdentityProvider implements upstream.ProviderStore.
func (s *Store) UpdateIdentityProvider(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider, change func(*upstream.Provider) error) (*upstream.Provider, error) {
	var p *upstream.Provider
	err := s.InTx(ctx, func(ctx context.Context) error {
		var locked []string
		if err := s.locked(ctx).Table("identity_providers").Where("tenant_id = ? AND id = ?", tenant, provider).Pluck("id", &locked).Error; err != nil {
			return classify(err, "")
		}
		var err error
		if p, err = s.IdentityProvider(ctx, tenant, provider); err != nil {
			return err
		}
		if err := change(p); err != nil {
			return err
		}
		settings, err := encode(p.Rules)
		if err != nil {
			return err
		}
		err = s.conn(ctx).Exec(`UPDATE identity_providers SET name = ?, issuer = ?, client_id = ?, secret_box = ?, settings = ?, enabled = ?, modified_at = ?
			WHERE tenant_id = ? AND id = ?`, p.Name, p.Issuer, p.ClientID, p.Secret, settings, p.Enabled, at(p.Modified), tenant, provider).Error
		if err != nil {
			return classify(err, "name")
		}
		return s.putProviderDomains(ctx, p)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (s *Store) putProviderDomains(ctx context.Context, p *upstream.Provider) error {
	if err := s.conn(ctx).Exec("DELETE FROM identity_provider_domains WHERE tenant_id = ? AND provider_id = ?", p.Tenant, p.ID).Error; err != nil {
		return classify(err, "")
	}
	for _, domain := range p.Domains {
		err := s.conn(ctx).Exec("INSERT INTO identity_provider_domains (tenant_id, provider_id, domain) VALUES (?, ?, ?)", p.Tenant, p.ID, domain).Error
		if err != nil {
			return classify(err, "domains")
		}
	}
	return nil
}

// DeleteIdentityProvider implements upstream.ProviderStore.
func (s *Store) DeleteIdentityProvider(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) error {
	return classify(s.conn(ctx).Exec("DELETE FROM identity_providers WHERE tenant_id = ? AND id = ?", tenant, provider).Error, "")
}

// HasProvider implements directory.Store.
func (s *Store) HasProvider(ctx context.Context, tenant id.Tenant) (has bool, err error) {
	err = s.queryRow(ctx, "SELECT EXISTS (SELECT 1 FROM identity_providers WHERE tenant_id = ? AND enabled)", string(tenant)).Scan(&has)
	return has, classify(s.translate(err), "")
}

// ProviderEnabled implements oidc.Store.
func (s *Store) ProviderEnabled(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) (enabled bool, err error) {
	err = s.queryRow(ctx, "SELECT EXISTS (SELECT 1 FROM identity_providers WHERE tenant_id = ? AND id = ? AND enabled)", string(tenant), string(provider)).Scan(&enabled)
	return enabled, classify(s.translate(err), "")
}

// Known implements directory.RightsStore.
func (s *Store) Known(ctx context.Context, tenant id.Tenant, user id.User) (managed bool, others int, err error) {
	err = s.queryRow(ctx, `/* across tenants: who else knows one person */
		SELECT EXISTS (SELECT 1 FROM memberships WHERE user_id = ? AND tenant_id = ? AND managed),
			(SELECT count(*) FROM memberships WHERE user_id = ? AND tenant_id <> ?)`, string(user), string(tenant), string(user), string(tenant)).Scan(&managed, &others)
	return managed, others, classify(s.translate(err), "")
}

// AsksSSO implements directory.RightsStore. It is asked with every sign-in: the
// policy is looked into only where somebody is bound by it.
func (s *Store) AsksSSO(ctx context.Context, user id.User) (asks bool, err error) {
	err = s.queryRow(ctx, `/* across tenants: what is asked of one person's sign-in */ SELECT EXISTS (SELECT 1 FROM memberships m
		JOIN tenants t ON t.id = m.tenant_id WHERE m.user_id = ? AND t.policy LIKE '%"sso":"required"%')`, string(user)).Scan(&asks)
	return asks, classify(s.translate(err), "")
}

// routeColumns are those of an upstream.Route.
const routeColumns = "p.tenant_id, t.slug, t.name, p.id, p.name"

// RoutesByDomain implements upstream.ProviderStore.
func (s *Store) RoutesByDomain(ctx context.Context, domain string) ([]upstream.Route, error) {
	return s.routes(ctx, `/* across tenants: whose address it is says which */ SELECT `+routeColumns+` FROM identity_provider_domains pd
		JOIN tenant_domains d ON d.tenant_id = pd.tenant_id AND d.domain = pd.domain
		JOIN identity_providers p ON p.tenant_id = pd.tenant_id AND p.id = pd.provider_id
		JOIN tenants t ON t.id = p.tenant_id WHERE pd.domain = ? AND p.enabled ORDER BY t.name, p.name`, domain)
}

// RoutesAny implements upstream.ProviderStore.
func (s *Store) RoutesAny(ctx context.Context) (is bool, err error) {
	err = s.queryRow(ctx, `/* across tenants: whether the sign-in page speaks of it */ SELECT EXISTS (SELECT 1 FROM identity_provider_domains)`).Scan(&is)
	return is, classify(s.translate(err), "")
}

// RoutesOfTenant implements upstream.ProviderStore.
func (s *Store) RoutesOfTenant(ctx context.Context, slugOrID string) ([]upstream.Route, error) {
	return s.routes(ctx, `SELECT `+routeColumns+` FROM tenants t JOIN identity_providers p ON p.tenant_id = t.id
		WHERE p.tenant_id = t.id AND (t.slug = ? OR t.id = ?) AND p.enabled ORDER BY p.name`, slugOrID, slugOrID)
}

// RoutesOfTenants implements upstream.ProviderStore.
func (s *Store) RoutesOfTenants(ctx context.Context, tenants []id.Tenant) ([]upstream.Route, error) {
	list, err := encode(tenants)
	if err != nil {
		return nil, err
	}
	return s.routes(ctx, `SELECT `+routeColumns+` FROM tenants t JOIN identity_providers p ON p.tenant_id = t.id
		WHERE p.tenant_id IN (SELECT value FROM `+s.listed()+`) AND p.enabled ORDER BY t.name, p.name`, list)
}

func (s *Store) routes(ctx context.Context, query string, values ...any) ([]upstream.Route, error) {
	var found []upstream.Route
	err := s.query(ctx, func(rows *sql.Rows) error {
		var r upstream.Route
		err := rows.Scan(&r.Tenant, &r.Slug, &r.TenantName, &r.Provider, &r.Name)
		found = append(found, r)
		return err
	}, query, values...)
	return found, err
}

// CreateSignIn implements upstream.SignInStore.
func (s *Store) CreateSignIn(ctx context.Context, a *upstream.Attempt, state, browser secret.Hash) error {
	about, err := encode(a.About)
	if err != nil {
		return err
	}
	return classify(s.conn(ctx).Exec(`INSERT INTO upstream_sign_ins (tenant_id, provider_id, state_hash, browser_hash, nonce_hash, verifier_box, about, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.Tenant, a.Provider, state[:], browser[:], a.Nonce[:], a.Verifier, about, at(a.Created), at(a.Expires)).Error, "")
}

// TakeSignIn implements upstream.SignInStore.
func (s *Store) TakeSignIn(ctx context.Context, state, browser secret.Hash, now time.Time) (*upstream.Attempt, error) {
	var rows []struct {
		TenantID    string
		ProviderID  string
		NonceHash   []byte
		VerifierBox []byte
		About       string
		CreatedAt   time.Time
		ExpiresAt   time.Time
	}
	err := s.conn(ctx).Raw(`/* across tenants: what the browser brings back says which */ DELETE FROM upstream_sign_ins
		WHERE state_hash = ? AND browser_hash = ? AND expires_at > ?
		RETURNING tenant_id, provider_id, nonce_hash, verifier_box, about, created_at, expires_at`, state[:], browser[:], at(now)).Scan(&rows).Error
	if err != nil {
		return nil, classify(err, "")
	}
	if len(rows) == 0 {
		return nil, &fault.Error{Kind: fault.NotFound}
	}
	row := rows[0]
	a := &upstream.Attempt{
		Tenant: id.Tenant(row.TenantID), Provider: id.IdentityProvider(row.ProviderID), Verifier: row.VerifierBox,
		Created: row.CreatedAt.UTC(), Expires: row.ExpiresAt.UTC(),
	}
	copy(a.Nonce[:], row.NonceHash)
	return a, decode(row.About, &a.About)
}

// identityLinkRow is a row of the table identity_links with what people call it.
type identityLinkRow struct {
	TenantID     string
	ID           string
	ProviderID   string
	Provider     string
	TenantName   string
	Issuer       string
	Subject      string
	MembershipID string
	UserID       string
	Email        string
	CreatedAt    time.Time
	UsedAt       time.Time
}

const identityLinks = `SELECT l.tenant_id, l.id, l.provider_id, p.name AS provider, t.name AS tenant_name, l.issuer, l.subject, l.membership_id, l.user_id, l.email, l.created_at, l.used_at
	FROM identity_links l JOIN identity_providers p ON p.tenant_id = l.tenant_id AND p.id = l.provider_id JOIN tenants t ON t.id = l.tenant_id `

func (s *Store) identityLinks(ctx context.Context, query string, values ...any) ([]upstream.Link, error) {
	var rows []identityLinkRow
	if err := s.conn(ctx).Raw(query, values...).Scan(&rows).Error; err != nil {
		return nil, classify(err, "")
	}
	all := make([]upstream.Link, 0, len(rows))
	for i := range rows {
		row := &rows[i]
		all = append(all, upstream.Link{
			Tenant: id.Tenant(row.TenantID), ID: id.IdentityLink(row.ID), Provider: id.IdentityProvider(row.ProviderID), ProviderName: row.Provider, TenantName: row.TenantName,
			Issuer: row.Issuer, Subject: row.Subject, Membership: id.Membership(row.MembershipID), User: id.User(row.UserID), Email: row.Email,
			Created: row.CreatedAt.UTC(), Used: row.UsedAt.UTC(),
		})
	}
	return all, nil
}

// LinkBySubject implements upstream.LinkStore.
func (s *Store) LinkBySubject(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider, issuer, subject string) (*upstream.Link, error) {
	return one(s.identityLinks(ctx, identityLinks+"WHERE l.tenant_id = ? AND l.provider_id = ? AND l.issuer = ? AND l.subject = ?", tenant, provider, issuer, subject))
}

// LinksOfUser implements upstream.LinkStore.
func (s *Store) LinksOfUser(ctx context.Context, user id.User) ([]upstream.Link, error) {
	return s.identityLinks(ctx, "/* across tenants: what one person signs in with */ "+identityLinks+"WHERE l.user_id = ? ORDER BY t.name, p.name, l.id", user)
}

// LinksOfMembership implements upstream.LinkStore.
func (s *Store) LinksOfMembership(ctx context.Context, tenant id.Tenant, membership id.Membership) ([]upstream.Link, error) {
	return s.identityLinks(ctx, identityLinks+"WHERE l.tenant_id = ? AND l.membership_id = ? ORDER BY p.name, l.id", tenant, membership)
}

// CreateIdentityLink implements upstream.LinkStore.
func (s *Store) CreateIdentityLink(ctx context.Context, l *upstream.Link) error {
	return classify(s.conn(ctx).Exec(`INSERT INTO identity_links (tenant_id, id, provider_id, issuer, subject, membership_id, user_id, email, created_at, used_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, l.Tenant, l.ID, l.Provider, l.Issuer, l.Subject, l.Membership, l.User, l.Email, at(l.Created), at(l.Used)).Error, "subject")
}

// UseIdentityLink implements upstream.LinkStore.
func (s *Store) UseIdentityLink(ctx context.Context, tenant id.Tenant, link id.IdentityLink, email string, used time.Time) error {
	return classify(s.conn(ctx).Exec("UPDATE identity_links SET email = ?, used_at = ? WHERE tenant_id = ? AND id = ?", email, at(used), tenant, link).Error, "")
}

// DeleteIdentityLink implements upstream.LinkStore.
func (s *Store) DeleteIdentityLink(ctx context.Context, tenant id.Tenant, link id.IdentityLink) error {
	result := s.conn(ctx).Exec("DELETE FROM identity_links WHERE tenant_id = ? AND id = ?", tenant, link)
	return oneRow(result.RowsAffected, result.Error)
}
