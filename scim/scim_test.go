package scim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/provisioning"
	"github.com/rolecall/rolecall/scim"
	"github.com/rolecall/rolecall/scim/schema"
	"github.com/rolecall/rolecall/storage"
)

var update = flag.Bool("update", false, "write the golden files anew")

const publicURL = "https://id.example"

// URNs of messages, as clients send and read them.
const (
	userURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupURN      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	patchURN      = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	searchURN     = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
	errorURN      = "urn:ietf:params:scim:api:messages:2.0:Error"
	listURN       = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
)

// nobodyHolds stands for the packages that end sessions and keep passwords:
// the directory's other boundaries, which have tests of their own.
type nobodyHolds struct{}

func (nobodyHolds) EndMembership(context.Context, id.Tenant, id.Membership, id.User) error {
	return nil
}

func (nobodyHolds) EndReach(context.Context, id.Tenant, []id.Tenant) error { return nil }

func (nobodyHolds) EndSupport(context.Context, id.Tenant, string) error { return nil }

func (nobodyHolds) EndLogin(context.Context, id.User) error { return nil }

func (nobodyHolds) HasPassword(context.Context, id.User) (bool, error) { return false, nil }

func (nobodyHolds) SetPassword(context.Context, id.User, secret.Text) error { return nil }

// clock stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// instance is a server with the tenants "acme" and "umbrella", each with a
// connection of every profile, whose token is "<tenant>-<profile>-0123456789".
type instance struct {
	*httptest.Server
	store     *storage.Store
	directory *directory.Directory
	oidc      *oidc.OIDC
	clock     *clock
	log       *bytes.Buffer

	handler *scim.Handler
}

func newInstance(t *testing.T, store *storage.Store, followers ...directory.Follower) *instance {
	t.Helper()
	return newInstanceOn(t, store, store, followers...)
}

// newInstanceOn is newInstance with a store for the directory that may fail.
func newInstanceOn(t *testing.T, store *storage.Store, people directory.Store, followers ...directory.Follower) *instance {
	t.Helper()
	gin.SetMode(gin.TestMode)
	schemas, err := schema.Core()
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := authz.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	in := &instance{store: store, clock: &clock{now: time.Date(2026, 1, 23, 4, 56, 22, 123456000, time.UTC)}, log: &bytes.Buffer{}}
	rights := directory.NewRights(store, directory.NewBlueprints(store, shipped, in.clock.Now))
	keyring, err := secret.NewKeyring(secret.NewMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	auth, err := authn.New(authn.Deps{
		Store: store, Rights: rights, Keyring: keyring,
		Now: in.clock.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	provider, err := oidc.New(oidc.Deps{
		Issuer: publicURL, Store: store, Authn: auth, Rights: rights, Keyring: keyring, Now: in.clock.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := directory.New(directory.Deps{
		Store: people, Holdings: nobodyHolds{}, Accounts: provider, Passwords: nobodyHolds{}, Rights: rights, Schemas: schemas, Now: in.clock.Now,
		Followers: followers,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, slug := range []string{"acme", "umbrella"} {
		tenant := &directory.Tenant{
			ID: id.New[id.Tenant](), Slug: slug, Name: slug, Blueprint: "default", BlueprintVersion: 1, Status: "enabled",
			Created: in.clock.Now(), Modified: in.clock.Now(),
		}
		if err := store.CreateTenant(t.Context(), tenant); err != nil {
			t.Fatal(err)
		}
		for _, profile := range []directory.ConnectionProfile{directory.ProfileRFC, directory.ProfileEntra, directory.ProfileOkta} {
			if _, err := dir.SaveConnection(authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal}), tenant.ID, directory.ConnectionSpec{
				Name: string(profile), Profile: profile, Token: secret.NewText(token(slug, profile)),
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	parallel := 1
	if store.Dialect() == "postgres" {
		parallel = 8
	}
	handler, err := scim.New(scim.Deps{
		Directory: dir, Authn: auth, OIDC: provider, Schemas: schemas, Keyring: keyring, Now: in.clock.Now, PublicURL: publicURL + "/", Log: slog.New(slog.NewTextHandler(in.log, nil)),
		Trail:    provisioning.New(provisioning.Deps{Store: store, Directory: dir, Now: in.clock.Now, Logger: slog.New(slog.DiscardHandler)}),
		Parallel: parallel,
	})
	if err != nil {
		t.Fatal(err)
	}
	in.directory, in.oidc, in.handler = dir, provider, handler
	engine := gin.New()
	handler.Mount(engine)
	in.Server = httptest.NewServer(engine)
	t.Cleanup(in.Close)
	return in
}

func token(slug string, profile directory.ConnectionProfile) string {
	return slug + "-" + string(profile) + "-0123456789"
}

// each runs test on both databases.
func each(t *testing.T, test func(t *testing.T, in *instance)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, store *storage.Store) { test(t, newInstance(t, store)) })
}

// client calls the server as a connection of a tenant.
type client struct {
	t      *testing.T
	in     *instance
	tenant string
	header http.Header
}

// as returns a client of the tenant "acme" that speaks a profile.
func (in *instance) as(t *testing.T, profile directory.ConnectionProfile) *client {
	return in.of(t, "acme", profile)
}

func (in *instance) of(t *testing.T, tenant string, profile directory.ConnectionProfile) *client {
	return &client{t: t, in: in, tenant: tenant, header: http.Header{"Authorization": {"Bearer " + token(tenant, profile)}}}
}

// with returns a client that also sends the header.
func (c *client) with(name, value string) *client {
	next := *c
	next.header = c.header.Clone()
	next.header.Set(name, value)
	return &next
}

type response struct {
	t      *testing.T
	log    *bytes.Buffer // of the server
	what   string
	Status int
	Header http.Header
	Body   []byte
}

// send calls an endpoint. A body that is no string or bytes is sent as JSON.
func (c *client) send(method, path string, body any) *response {
	c.t.Helper()
	var reader io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(body)
	case []byte:
		reader = bytes.NewReader(body)
	default:
		text, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.in.URL+"/t/"+c.tenant+"/scim/v2"+strings.ReplaceAll(path, " ", "%20"), reader)
	if err != nil {
		c.t.Fatal(err)
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	maps.Copy(req.Header, c.header)
	res, err := c.in.Client().Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return &response{t: c.t, log: c.in.log, what: method + " " + path, Status: res.StatusCode, Header: res.Header, Body: data}
}

func (c *client) get(path string) *response { c.t.Helper(); return c.send("GET", path, nil) }

// want fails unless the response has the status, and SCIM's media type on
// whatever has a body.
func (r *response) want(status int) *response {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("%s answers %d, want %d: %s\n%s", r.what, r.Status, status, r.Body, r.log)
	}
	if got := r.Header.Get("Content-Type"); len(r.Body) > 0 && got != "application/scim+json" {
		r.t.Errorf("%s has the Content-Type %q", r.what, got)
	}
	return r
}

// object is the body as decoded.
func (r *response) object() map[string]any {
	r.t.Helper()
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		r.t.Fatalf("%s: %v in %q", r.what, err, r.Body)
	}
	return object
}

// at is the value at a path such as "emails.0.value"; nil if there is none.
func (r *response) at(path string) any {
	r.t.Helper()
	return lookup(r.object(), path)
}

func lookup(value any, path string) any {
	if urn, rest, found := strings.Cut(path, "|"); found { // a URN has dots of its own
		object, _ := value.(map[string]any)
		value, path = object[urn], rest
	}
	for key := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[key]
		case []any:
			i := int(key[0] - '0')
			if i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// has fails unless the body has the value at the path.
func (r *response) has(path string, want any) *response {
	r.t.Helper()
	if n, ok := want.(int); ok {
		text, _ := json.Marshal(n)
		want = json.Number(text)
	}
	if diff := cmp.Diff(want, r.at(path)); diff != "" {
		r.t.Errorf("%s: %s (-want +got):\n%s\n%s", r.what, path, diff, r.Body)
	}
	return r
}

// fails checks an error response: its form, and that its detail says all parts.
func (r *response) fails(status int, scimType string, details ...string) *response {
	r.t.Helper()
	r.want(status)
	body := r.object()
	detail, _ := body["detail"].(string)
	want := map[string]any{"schemas": []any{errorURN}, "status": json.Number(strconvItoa(status)).String(), "detail": detail}
	if scimType != "" {
		want["scimType"] = scimType
	}
	if diff := cmp.Diff(want, body); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", r.what, diff)
	}
	if detail == "" {
		r.t.Errorf("%s: the error has no detail", r.what)
	}
	for _, part := range details {
		if !strings.Contains(detail, part) {
			r.t.Errorf("%s: the detail %q does not name %q", r.what, detail, part)
		}
	}
	return r
}

func strconvItoa(n int) string { text, _ := json.Marshal(n); return string(text) }

// user makes a user and returns its id.
func (c *client) user(userName string) string {
	c.t.Helper()
	r := c.send("POST", "/Users", map[string]any{"schemas": []string{userURN}, "userName": userName}).want(http.StatusCreated)
	return r.at("id").(string)
}

func (c *client) group(displayName string, members ...string) string {
	c.t.Helper()
	body := map[string]any{"schemas": []string{groupURN}, "displayName": displayName}
	if len(members) > 0 {
		body["members"] = values(members...)
	}
	return c.send("POST", "/Groups", body).want(http.StatusCreated).at("id").(string)
}

func values(ids ...string) []map[string]any {
	out := []map[string]any{}
	for _, id := range ids {
		out = append(out, map[string]any{"value": id})
	}
	return out
}

// op is one operation of a PATCH.
func op(name, path string, value any) map[string]any {
	o := map[string]any{"op": name}
	if path != "" {
		o["path"] = path
	}
	if value != nil {
		o["value"] = value
	}
	return o
}

func patchOf(operations ...map[string]any) map[string]any {
	return map[string]any{"schemas": []string{patchURN}, "Operations": operations}
}

// memberIDs reads back who is in a group.
func (c *client) memberIDs(group string) []string {
	c.t.Helper()
	ids := []string{}
	members, _ := c.get("/Groups/" + group).want(http.StatusOK).at("members").([]any)
	for _, m := range members {
		ids = append(ids, lookup(m, "value").(string))
	}
	return ids
}

var identifier = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// golden compares a body with a file, with identifiers numbered as they come.
func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, body, "", "  "); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	seen := map[string]string{}
	got := identifier.ReplaceAllStringFunc(indented.String()+"\n", func(id string) string {
		if seen[id] == "" {
			seen[id] = "ID-" + strconvItoa(len(seen)+1)
		}
		return seen[id]
	})
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
