package storage

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/outbound"
	"github.com/rolecall/rolecall/provisioning"
	"github.com/rolecall/rolecall/scim"
	"github.com/rolecall/rolecall/scim/schema"
)

// What the tenant of planned holds.
const (
	plannedPeople  = 50_000
	plannedGroups  = 500
	plannedLarge   = 20_000 // members of the largest group
	plannedTenants = 2_000  // others
	plannedToken   = "connection-token-0123456789"
)

// planned is a server whose statements are looked at.
type planned struct {
	store   *Store
	handler http.Handler
	tenant  id.Tenant
	grant   oidc.Grant
}

// nth is the identifier of the n-th row of a kind, which is one digit.
func nth(kind, n int) string { return fmt.Sprintf("00000000-0000-7%d00-8000-%012x", kind, n) }

// sqlNth is nth as SQL, of the number n.
func sqlNth(kind int) string {
	return fmt.Sprintf("'00000000-0000-7%d00-8000-' || lpad(to_hex(n), 12, '0')", kind)
}

// Kinds of nth.
const (
	kindPerson = iota
	kindUser
	kindGroup
	kindTenant
	kindOther
)

// hotRequest is something that goes on all day.
type hotRequest struct {
	name  string
	do    func(t *testing.T)
	scans bool // it may read, up to its page, all that there is
}

func (p *planned) hot() []hotRequest {
	const patch = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[%s]}`
	person, large := nth(kindPerson, 4711), "/Groups/"+nth(kindGroup, 1)
	scim := func(method, path, body string, status int) func(*testing.T) {
		return func(t *testing.T) { t.Helper(); p.scim(t, method, path, body, status) }
	}
	get := func(path string) func(*testing.T) { return scim(http.MethodGet, path, "", http.StatusOK) }
	list := func(filter string) func(*testing.T) { return get("/Users?filter=" + url.QueryEscape(filter)) }
	change := func(path, operation string, status int) func(*testing.T) {
		return scim(http.MethodPatch, path, fmt.Sprintf(patch, operation), status)
	}
	store := func(do func(ctx context.Context, s *Store) error) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := do(t.Context(), p.store); err != nil {
				t.Fatal(err)
			}
		}
	}
	return []hotRequest{
		{name: "connection by token", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.ConnectionByToken(ctx, string(p.tenant), secret.NewText(plannedToken).Hash(), time.Now())
			return err
		})},
		{name: "user by id", do: get("/Users/" + person)},
		{name: "user by userName", do: list(`userName eq "person4711@people.example"`)},
		{name: "user by externalId", do: list(`externalId eq "ext-4711"`)},
		{name: "user by address", do: list(`emails[type eq "work" and value eq "person4711@people.example"]`)},
		{name: "user by any address", do: list(`emails.value eq "person4711@people.example"`)},
		{name: "user by part of displayName", do: list(`displayName co "family4711"`)},
		{name: "user by beginning of userName", do: list(`userName sw "person4711"`)},
		{name: "create a user", do: scim(http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"externalId":"ext-new","userName":"new@people.example",
			"name":{"givenName":"New","familyName":"Person"},"displayName":"New Person","emails":[{"type":"work","primary":true,"value":"new@people.example"}],"active":true}`, http.StatusCreated)},
		{name: "switch a user off", do: change("/Users/"+person, `{"op":"replace","path":"active","value":false}`, http.StatusOK)},
		{name: "delete a user", do: scim(http.MethodDelete, "/Users/"+nth(kindPerson, 4712), "", http.StatusNoContent)},
		{name: "first page of users", scans: true, do: get("/Users?count=100")},
		{name: "next page of users by cursor", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.Memberships(ctx, p.tenant, directory.Query{Count: 100, Uncounted: true, After: &directory.Position{ID: nth(kindPerson, plannedPeople/2)}})
			return err
		})},
		{name: "deep page of users by index", scans: true, do: get(fmt.Sprintf("/Users?count=100&startIndex=%d", plannedPeople/2))},
		{name: "number of users", do: get("/Users?count=0")},
		{name: "group without members", do: get(large + "?excludedAttributes=members")},
		{name: "group by displayName", do: get("/Groups?excludedAttributes=members&filter=" + url.QueryEscape(`displayName eq "Group 17"`))},
		{name: "first members of a group", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.Members(ctx, p.tenant, []id.Group{id.Group(nth(kindGroup, 1))}, "", 1000)
			return err
		})},
		{name: "add a member", do: change(large, `{"op":"add","path":"members","value":[{"value":"`+nth(kindPerson, plannedPeople)+`"}]}`, http.StatusNoContent)},
		{name: "remove a member", do: change(large, `{"op":"remove","path":"members[value eq \"`+nth(kindPerson, 17)+`\"]"}`, http.StatusNoContent)},
		{name: "groups of a user", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.GroupsOf(ctx, p.tenant, []id.Membership{id.Membership(nth(kindPerson, 4713))})
			return err
		})},
		{name: "what a person holds", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.Held(ctx, directory.Bearer{User: id.User(nth(kindUser, 4713))}, []id.Tenant{p.tenant})
			return err
		})},
		{name: "what a person of an address holds", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.Held(ctx, directory.Bearer{Email: "person4713@people.example"}, []id.Tenant{p.tenant})
			return err
		})},
		{name: "log of a person", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.ProvisioningEntries(ctx, p.tenant, provisioning.Query{Person: "person4711@people.example", Limit: 51})
			return err
		})},
		{name: "introspection of a signed token", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.Live(ctx, p.tenant, p.grant.ID, "jti")
			return err
		})},
		{name: "introspection of an opaque token", do: store(func(ctx context.Context, s *Store) error {
			_, _, err := s.LiveByAccessToken(ctx, secret.NewText("access").Hash())
			return err
		})},
		{name: "refresh", do: store(func(ctx context.Context, s *Store) error {
			old := secret.NewText("refresh").Hash()
			if _, _, err := s.LiveByRefreshToken(ctx, old); err != nil {
				return err
			}
			_, err := s.RotateRefreshToken(ctx, old, &oidc.RefreshToken{
				Hash: secret.NewText("next").Hash(), Tenant: p.tenant, Grant: p.grant.ID, Created: time.Now(), Expires: time.Now().Add(time.Hour),
			})
			return err
		})},
		{name: "claim of deliveries", do: store(func(ctx context.Context, s *Store) error {
			now := time.Now()
			_, err := s.ClaimDeliveries(ctx, now, now.Add(time.Minute), outbox.Claim{Most: 64, Each: 1, Room: map[string]int{"application-1": 0, "application-2": 8}})
			return err
		})},
		{name: "members of a group who are not pushed yet", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.NoteMissingMembers(ctx, p.target(outbound.AllPeople), 1, nth(kindGroup, 7), time.Now())
			return err
		})},
		{name: "members of a group who are not pushed yet and are in another", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.NoteMissingMembers(ctx, p.target(outbound.InGroups), 1, nth(kindGroup, 7), time.Now())
			return err
		})},
		{name: "person to push by userName", do: store(func(ctx context.Context, s *Store) error {
			_, err := s.UnlinkedNamed(ctx, p.target(outbound.AllPeople), 1, outbound.User, "person100@people.example")
			return err
		})},
	}
}

// target is a server that the tenant pushes to.
func (p *planned) target(scope outbound.PeopleScope) *outbound.Target {
	return &outbound.Target{
		Tenant: p.tenant, ID: id.ProvisioningTarget(nth(kindOther, 1)), Name: "target", Status: outbound.Active, Due: time.Now(), Created: time.Now(), Modified: time.Now(),
		People: outbound.People{Scope: scope, Groups: []id.Group{id.Group(nth(kindGroup, 2))}},
	}
}

// scim sends a request of the tenant's directory.
func (p *planned) scim(t *testing.T, method, path, body string, status int) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, "/t/planned/scim/v2"+path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer "+plannedToken)
	request.Header.Set("Content-Type", "application/scim+json")
	answer := httptest.NewRecorder()
	p.handler.ServeHTTP(answer, request)
	if answer.Code != status {
		t.Fatalf("%s %s: got %d, want %d: %.500s", method, path, answer.Code, status, answer.Body)
	}
}

// noPasswords stands for the package that keeps passwords.
type noPasswords struct{}

func (noPasswords) HasPassword(context.Context, id.User) (bool, error) { return false, nil }

func (noPasswords) SetPassword(context.Context, id.User, secret.Text) error { return nil }

// newPlanned wires a server on the store and fills it.
func newPlanned(t *testing.T, s *Store) *planned {
	t.Helper()
	p := &planned{store: s, tenant: id.Tenant(nth(kindTenant, 0))}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	schemas, err := schema.Core()
	must(err)
	shipped, err := authz.Shipped()
	must(err)
	keyring, err := secret.NewKeyring(secret.NewMasterKey())
	must(err)
	log := slog.New(slog.DiscardHandler)
	rights := directory.NewRights(s, directory.NewBlueprints(s, shipped, time.Now))
	auth, err := authn.New(authn.Deps{Store: s, Rights: rights, Keyring: keyring, Now: time.Now, Logger: log})
	must(err)
	provider, err := oidc.New(oidc.Deps{Issuer: "https://id.example", Store: s, Authn: auth, Rights: rights, Keyring: keyring, Now: time.Now, Logger: log})
	must(err)
	dir, err := directory.New(directory.Deps{
		Store: s, Holdings: provider, Accounts: provider, Passwords: noPasswords{}, Rights: rights, Schemas: schemas, Now: time.Now,
	})
	must(err)
	handler, err := scim.New(scim.Deps{
		Directory: dir, Authn: auth, OIDC: provider, Schemas: schemas, Keyring: keyring, Now: time.Now, PublicURL: "https://id.example", Log: log,
		Trail: provisioning.New(provisioning.Deps{Store: s, Directory: dir, Now: time.Now, Logger: log}),
	})
	must(err)
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	handler.Mount(engine)
	p.handler = engine

	ctx, now := authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal}), time.Now()
	must(s.CreateTenant(ctx, &directory.Tenant{
		ID: p.tenant, Slug: "planned", Name: "Planned", Blueprint: "default", BlueprintVersion: 1, Status: "enabled", Created: now, Modified: now,
	}))
	_, err = dir.SaveConnection(ctx, p.tenant, directory.ConnectionSpec{Name: "directory", Profile: directory.ProfileRFC, Token: secret.NewText(plannedToken)})
	must(err)
	// One of each, made as all are, and then many like it.
	p.scim(t, http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"externalId":"ext-0","userName":"person0@people.example",
		"name":{"givenName":"Given0","familyName":"Family0"},"displayName":"Given0 Family0","title":"Engineer",
		"emails":[{"type":"work","primary":true,"value":"person0@people.example"}],"active":true}`, http.StatusCreated)
	p.scim(t, http.MethodPost, "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"externalId":"ext-g0","displayName":"Group 0"}`, http.StatusCreated)
	p.fill(t)
	return p
}

// like makes many rows of a table like the first there is, but for the columns
// of which set has an expression of the number n, from 1 on.
func (p *planned) like(t *testing.T, table string, many int, set map[string]string) {
	t.Helper()
	var pairs []string
	for _, column := range slices.Sorted(maps.Keys(set)) {
		pairs = append(pairs, "'"+column+"', "+set[column])
	}
	p.exec(t, fmt.Sprintf(`INSERT INTO %[1]s SELECT (jsonb_populate_record(first, jsonb_build_object(%[2]s))).*
		FROM (SELECT t FROM %[1]s t LIMIT 1) one(first), generate_series(1, %[3]d) n`, table, strings.Join(pairs, ", "), many))
}

func (p *planned) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := p.store.pool.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%.200s: %v", query, err)
	}
}

func (p *planned) fill(t *testing.T) {
	t.Helper()
	name := "'person' || n || '@people.example'"
	p.like(t, "tenants", plannedTenants, map[string]string{"id": sqlNth(kindTenant), "slug": "'other-' || n", "name": "'Other ' || n"})
	p.like(t, "users", plannedPeople, map[string]string{"id": sqlNth(kindUser), "email": name, "email_key": name})
	person := map[string]string{
		"id": sqlNth(kindPerson), "user_id": sqlNth(kindUser), "user_name": name, "user_name_key": name, "external_id": "'ext-' || n",
		"search": `jsonb_build_object('displayName', 'given' || n || ' family' || n, 'title', 'engineer', 'name', jsonb_build_object('givenName', 'given' || n, 'familyName', 'family' || n),
			'emails', jsonb_build_array(jsonb_build_object('type', 'work', 'primary', true, 'value', ` + name + `)))`,
	}
	p.like(t, "memberships", plannedPeople, person)
	person["tenant_id"] = strings.ReplaceAll(sqlNth(kindTenant), "n)", "1 + n / 5)")
	p.like(t, "memberships", 5*plannedTenants-5, person)
	p.like(t, "groups", plannedGroups, map[string]string{"id": sqlNth(kindGroup), "display_name": "'Group ' || n", "display_name_key": "'group ' || n", "external_id": "'ext-g' || n"})
	p.like(t, "groups", plannedTenants, map[string]string{"tenant_id": sqlNth(kindTenant), "id": sqlNth(kindGroup), "display_name_key": "'group ' || n"})
	members := `INSERT INTO group_members (tenant_id, group_id, member_id, member_kind) SELECT `
	p.exec(t, members+"$1, $2, "+sqlNth(kindPerson)+", 'user' FROM generate_series(1, $3) n", string(p.tenant), nth(kindGroup, 1), plannedLarge)
	p.exec(t, members+"$1, "+strings.ReplaceAll(sqlNth(kindGroup), "n)", "2 + n % $2)")+", "+sqlNth(kindPerson)+", 'user' FROM generate_series(1, $3) n",
		string(p.tenant), plannedGroups-2, plannedPeople-1)
	p.exec(t, members+sqlNth(kindTenant)+", "+sqlNth(kindGroup)+", "+sqlNth(kindPerson)+", 'user' FROM generate_series(1, $1) n", plannedTenants)
	p.exec(t, `INSERT INTO group_roles (tenant_id, group_name, group_name_key, group_id, role, created_at) SELECT `+sqlNth(kindTenant)+`,
		'Group ' || n, 'group ' || n, `+sqlNth(kindGroup)+`, 'member', now() FROM generate_series(1, $1) n`, plannedTenants)
	p.exec(t, `INSERT INTO assignments (tenant_id, membership_id, role, source, created_at) SELECT $1, `+sqlNth(kindPerson)+`, 'member', 'direct', now()
		FROM generate_series(1, $2) n`, string(p.tenant), plannedPeople)
	p.like(t, "connections", plannedTenants, map[string]string{"tenant_id": sqlNth(kindTenant), "id": sqlNth(kindOther)})
	p.like(t, "connection_tokens", plannedTenants, map[string]string{
		"tenant_id": sqlNth(kindTenant), "connection_id": sqlNth(kindOther), "id": sqlNth(kindOther), "hash": `'\x' || md5(n::text)`,
	})
	p.exec(t, `INSERT INTO tenant_domains (tenant_id, domain, verified_at) SELECT `+sqlNth(kindTenant)+`, 'domain' || n || '.example', now() FROM generate_series(1, $1) n`, plannedTenants)
	p.exec(t, `INSERT INTO scim_versions (tenant_id, version) SELECT `+sqlNth(kindTenant)+`, 1 FROM generate_series(1, $1) n`, plannedTenants)
	p.exec(t, `INSERT INTO tenant_relations (tenant_id, relation, parent_id) SELECT `+sqlNth(kindTenant)+`, 'partner', $2 FROM generate_series(1, $1) n`, plannedTenants, nth(kindTenant, 1))
	p.exec(t, `INSERT INTO tenant_entitlements (tenant_id, key, source) SELECT `+sqlNth(kindTenant)+`, 'key', 'operator' FROM generate_series(1, $1) n`, plannedTenants)
	p.exec(t, `INSERT INTO scim_keys (tenant_id, type, resource_id, attribute, value, is_unique) SELECT `+sqlNth(kindTenant)+`, 'User', `+sqlNth(kindPerson)+`, 'badge', 'b' || n, false
		FROM generate_series(1, $1) n`, plannedTenants)
	p.exec(t, `INSERT INTO list_bookmarks (tenant_id, walk, start_index, kind, resource_id, expires_at) SELECT `+sqlNth(kindTenant)+`, decode(md5(n::text), 'hex'), 101, 'User', 'x', now()
		FROM generate_series(1, $1) n`, plannedTenants)
	p.exec(t, `INSERT INTO provisioning_log (tenant_id, id, at, connection_id, actor_kind, actor_id, method, path, resource_type, resource_id, name, name_key,
		external_id, status, scim_type, code, detail, duration_us, request_id, if_match, changes, body, answer)
		SELECT $1, `+sqlNth(kindOther)+`, now(), '', 'connection_token', '', 'PATCH', '', 'User', `+sqlNth(kindPerson)+`, `+name+`, `+name+`,
		'ext-' || n, 200, '', '', '', 0, '', '', '[]', '', '' FROM generate_series(1, $2) n`, string(p.tenant), plannedPeople)
	p.fillGrants(t)
	p.exec(t, `INSERT INTO outbox (id, tenant_id, kind, destination, payload, attempts, due_at, last_error, created_at, done_at)
		SELECT `+sqlNth(kindOther)+`, $1, 'backchannel_logout', 'application-' || n % 300, '{}', 0, now(), '', now(), CASE WHEN n > 5000 THEN now() END
		FROM generate_series(1, $2) n`, string(p.tenant), plannedPeople)
	target := p.target(outbound.AllPeople)
	if err := p.store.CreateProvisioningTarget(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	p.like(t, "provisioning_targets", plannedTenants, map[string]string{"tenant_id": sqlNth(kindTenant), "id": sqlNth(kindOther)})
	p.exec(t, `INSERT INTO provisioning_links (tenant_id, target_id, kind, resource_id, remote_id, remote_version, sent, local_version, live)
		SELECT $1, $2, 'User', `+sqlNth(kindPerson)+`, 'remote-' || n, '', '{}', 1, true FROM generate_series(1, $3) n WHERE n % 100 <> 0`, string(p.tenant), string(target.ID), plannedPeople)
	p.exec(t, `INSERT INTO connection_applications (tenant_id, connection_id, client_id) SELECT `+sqlNth(kindTenant)+`, `+sqlNth(kindOther)+`, 'application-' || n
		FROM generate_series(1, 500) n`)
	p.exec(t, "ANALYZE")
}

// fillGrants makes what applications hold.
func (p *planned) fillGrants(t *testing.T) {
	t.Helper()
	const grants = 20_000
	ctx, s, now := t.Context(), p.store, time.Now()
	p.exec(t, `INSERT INTO applications (client_id, name, type, roles, redirect_uris, post_logout_redirect_uris, access_token, created_at, modified_at)
		SELECT 'application-' || n, 'Application', 'web', '[]', '[]', '[]', 'opaque', now(), now() FROM generate_series(0, 500) n`)
	p.exec(t, `INSERT INTO sessions (id, token_hash, user_id, auth_time, acr, amr, created_at, last_seen_at, expires_at)
		SELECT `+sqlNth(kindOther)+`, decode(md5(n::text), 'hex'), `+sqlNth(kindUser)+`, now(), '', '[]', now(), now(), now() FROM generate_series(1, $1) n`, grants)
	p.grant = oidc.Grant{
		Tenant: p.tenant, ID: id.Grant(nth(kindOther, 0)), Home: p.tenant, Membership: id.Membership(nth(kindPerson, 1)), User: id.User(nth(kindUser, 1)),
		ClientID: "application-0", Session: id.Session(nth(kindOther, 1)), Scopes: []string{"openid"}, AuthTime: now, Created: now,
	}
	for _, err := range []error{
		s.CreateGrant(ctx, &p.grant),
		s.CreateRefreshToken(ctx, &oidc.RefreshToken{Hash: secret.NewText("refresh").Hash(), Tenant: p.tenant, Grant: p.grant.ID, Created: now, Expires: now.Add(time.Hour)}),
		s.CreateAccessToken(ctx, &oidc.AccessToken{
			Hash: secret.NewText("access").Hash(), Tenant: p.tenant, Grant: p.grant.ID, ClientID: "application-0", Scopes: []string{"openid"}, Created: now, Expires: now.Add(time.Hour),
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p.like(t, "grants", grants, map[string]string{"id": sqlNth(kindOther), "membership_id": sqlNth(kindPerson), "user_id": sqlNth(kindUser), "session_id": sqlNth(kindOther)})
	for _, table := range []string{"refresh_tokens", "access_tokens"} {
		p.like(t, table, grants, map[string]string{"grant_id": sqlNth(kindOther), "hash": `'\x' || md5(n::text)`})
	}
	p.exec(t, `INSERT INTO application_secrets (client_id, hash, created_at) SELECT 'application-' || n, decode(md5(n::text) || md5(n::text), 'hex'), now() FROM generate_series(0, 500) n`)
	p.exec(t, `INSERT INTO application_tokens (id, tenant_id, name, creator_id, hash, created_at) SELECT `+sqlNth(kindOther)+`, `+sqlNth(kindTenant)+`, 'Token', `+sqlNth(kindUser)+`,
		decode(md5(n::text), 'hex'), now() FROM generate_series(1, $1) n`, plannedTenants)
	p.exec(t, `INSERT INTO support_sessions (tenant_id, id, user_id, membership_id, staff_id, staff_tenant_id, grant_id, reason, client_id, created_at, expires_at)
		SELECT `+sqlNth(kindTenant)+`, `+sqlNth(kindOther)+`, `+sqlNth(kindUser)+`, `+sqlNth(kindPerson)+`, `+sqlNth(kindUser)+`, '', '', '', '', now(), now()
		FROM generate_series(1, $1) n`, plannedTenants)
	p.exec(t, `INSERT INTO revoked_tokens (jti, expires_at) SELECT md5(n::text), now() FROM generate_series(1, 5000) n`)
}
