package main

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
)

// TestTenantChooserOfAPartner: who reaches ten thousand customers without being
// a member of one sees a page of a few, finds the others by name, and signs in
// to them.
func TestTenantChooserOfAPartner(t *testing.T) {
	t.Parallel()
	onStage(t, "timextender", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "vendor", GrantableEntitlements: []string{"partner"}})
		s.tenant(directory.TenantSpec{Slug: "partner", Name: "Partner", Type: "partner", Entitlements: []string{"partner"}}, "supply", "vendor")
		s.tenant(directory.TenantSpec{Slug: "stranger", Name: "Customer of nobody"})
		s.person("cm", "partner", "customer_manager")
		const customers = 10_000
		s.customers("partner", "supply", customers)
		c := s.chooser("cm")

		page := c.get("")
		if got := strings.Count(page.Body.String(), `class="choice"`); got != 20 || page.Body.Len() > 32<<10 {
			t.Errorf("%d of %d tenants on a page of %d bytes", got, customers, page.Body.Len())
		}
		for _, want := range []string{`name="search"`, "There are more", "Company admin"} {
			if !strings.Contains(page.Body.String(), want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		for search, want := range map[string]int{"customer 07351": 1, "  CUSTOMER 07351 ": 1, "c07351": 1, "customer 0735": 10, "07_51": 0, "%": 0, "nobody": 0, "partner": 1, strings.Repeat("x", 201): 20} {
			if got := strings.Count(c.get(search).Body.String(), `class="choice"`); got != want {
				t.Errorf("%q finds %d tenants, want %d", search, got, want)
			}
		}
		if answer := c.post("c07351", url.Values{"tenant": {"stranger"}}); answer.Code != http.StatusUnprocessableEntity {
			t.Errorf("a tenant out of reach: got %d", answer.Code)
		}
		if answer := c.post("c07351", url.Values{"tenant": {"c07351"}}); answer.Code != http.StatusSeeOther {
			t.Fatalf("choosing a customer that was found: %d", answer.Code)
		}
		answer := c.send(http.MethodGet, "/oauth2/authorize/continue?request="+c.request, nil)
		if !strings.Contains(answer.Header().Get("Location"), "code=") {
			t.Errorf("after the choice: %d %s", answer.Code, answer.Header().Get("Location"))
		}

		c = s.chooser("cm")
		took := make([]time.Duration, 0, 200)
		for i := range cap(took) {
			search := ""
			if i%2 == 1 {
				search = fmt.Sprintf("customer %04d", i*37)
			}
			began := time.Now()
			c.get(search)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		s.t.Logf("the page with %d customers: p50 %v, p99 %v", customers, took[len(took)/2], took[len(took)*99/100])
	})
}

// TestTenantChooserOfASuperAdmin: a linked workspace can be chosen without being
// a member of it.
func TestTenantChooserOfASuperAdmin(t *testing.T) {
	t.Parallel()
	onStage(t, "emnify", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "main", Name: "Main"})
		s.tenant(directory.TenantSpec{Slug: "berlin", Name: "Linked Workspace"}, "link", "main")
		s.person("sa", "main", "superadmin")
		c := s.chooser("sa")
		page := c.get("").Body.String()
		_, linked, found := strings.Cut(page, "Linked Workspace")
		if roles, _, _ := strings.Cut(linked, "</button>"); !found || !strings.Contains(roles, "SuperAdmin") || strings.Contains(page, `name="search"`) {
			t.Errorf("the page of the SuperAdmin:\n%s", page)
		}
		if answer := c.post("", url.Values{"tenant": {"berlin"}}); answer.Code != http.StatusSeeOther {
			t.Errorf("choosing the linked workspace: %d", answer.Code)
		}
	})
}

// customers makes that many tenants below one, of its role system, with the
// slugs c00000 and so on.
func (s *stage) customers(parent, relation string, count int) {
	s.t.Helper()
	db := must[*sql.DB](s.t)(sql.Open(map[string]string{"sqlite": "sqlite", "postgres": "pgx"}[s.in.store.Dialect()], strings.TrimPrefix(s.in.config.DatabaseURL, "sqlite:")))
	defer func() { s.check(db.Close()) }()
	var rows []string
	for i := range count {
		rows = append(rows, fmt.Sprintf("('01980000-0000-7000-8000-%012d', 'c%05d', 'Customer %05d')", i, i, i))
	}
	for chunk := range slices.Chunk(rows, 1000) {
		with := "WITH v(id, slug, name) AS (VALUES " + strings.Join(chunk, ", ") + ") "
		_, err := db.ExecContext(s.t.Context(), with+`INSERT INTO tenants (id, slug, name, blueprint, blueprint_version, status, policy, version, created_at, modified_at)
			SELECT v.id, v.slug, v.name, t.blueprint, t.blueprint_version, t.status, t.policy, 1, t.created_at, t.modified_at FROM v JOIN tenants t ON t.slug = $1`, parent)
		s.check(err)
		_, err = db.ExecContext(s.t.Context(), with+`INSERT INTO tenant_relations (tenant_id, relation, parent_id) SELECT v.id, $1, t.id FROM v JOIN tenants t ON t.slug = $2`, relation, parent)
		s.check(err)
	}
	_, err := db.ExecContext(s.t.Context(), "ANALYZE") // as autovacuum does within a minute
	s.check(err)
}

// chooser is a browser of a person at the page that asks for a tenant.
type chooser struct {
	s       *stage
	request string
	cookies []*http.Cookie
}

func (s *stage) chooser(person string) *chooser {
	s.t.Helper()
	c := &chooser{s: s, cookies: []*http.Cookie{{Name: cookie.Session, Value: s.session(person, authn.ACR2)}}}
	answer := c.send(http.MethodGet, "/oauth2/authorize?"+values(
		"client_id", stageClient, "redirect_uri", stageRedirect, "response_type", "code", "scope", "openid", "prompt", "select_account",
		"code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method", "S256",
	).Encode(), nil)
	c.cookies = append(c.cookies, answer.Result().Cookies()...)
	at := must[*url.URL](s.t)(url.Parse(answer.Header().Get("Location")))
	if c.request = at.Query().Get("request"); at.Path != "/login/tenant" || c.request == "" {
		s.t.Fatalf("led to %s", at)
	}
	return c
}

func (c *chooser) page(search string) string {
	return "/login/tenant?" + values("request", c.request, "search", search).Encode()
}

func (c *chooser) get(search string) *httptest.ResponseRecorder {
	c.s.t.Helper()
	answer := c.send(http.MethodGet, c.page(search), nil)
	if answer.Code != http.StatusOK {
		c.s.t.Fatalf("the page: %d %s", answer.Code, answer.Body)
	}
	return answer
}

func (c *chooser) post(search string, form url.Values) *httptest.ResponseRecorder {
	return c.send(http.MethodPost, c.page(search), form)
}

func (c *chooser) send(method, address string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, c.s.in.config.PublicURL+address, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", c.s.in.config.PublicURL)
	}
	for _, kept := range c.cookies {
		r.AddCookie(kept)
	}
	return c.s.send(r)
}
