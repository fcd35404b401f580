package clients

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/conformance/recording"
)

var (
	// ann's address is of Berlin's domain: Berlin manages her.
	ann = browser.Person{Login: "ann@berlin.example", Password: "correct horse battery staple"}
	// bob's is of no tenant's.
	bob = browser.Person{Login: "bob@people.example", Password: "seven wet otters in a row"}
)

// TestSignIn provisions two tenants as Entra and Okta do, and signs people in
// with clients that others wrote.
func TestSignIn(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(*testing.T, registration) openIDClient{
		"go-oidc": newGoClient, "openid-client": newNodeClient, "zitadel rp": newZitadelClient,
	} {
		for app, secret := range map[string]string{
			"shop": "shop-secret-8Yd5RzGa4Pb6Je1Qm3vX9sT7kLw2NfHc", // signed access tokens
			"till": "till-secret-Rz5Ga4Pb6Je1Qm3vX9sT7kLw2NfHc8Yd", // opaque ones
		} {
			t.Run(name+"/"+app, func(t *testing.T) {
				t.Parallel()
				instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
					w := provision(t, i)
					w.client = connect(t, registration{i.URL, app, secret})
					w.app = application.Application{Issuer: i.URL, ClientID: app, Secret: secret, RedirectURI: redirectURI}
					t.Run("sign-out", w.signsOut)
					t.Run("managed", w.managedPerson)
					t.Run("unmanaged", w.unmanagedPerson)
				})
			})
		}
	}
}

// world is an instance in which both tenants have their people.
type world struct {
	i            *instance.Instance
	berlin, oslo map[string]string // the ids of what was provisioned, by name
	client       openIDClient
	app          application.Application
}

func provision(t *testing.T, i *instance.Instance) *world {
	t.Helper()
	w := &world{i: i}
	_, w.berlin = entra.replay(t, i)
	_, w.oslo = okta.replay(t, i)
	if t.Failed() {
		t.FailNow()
	}
	return w
}

// push sends one request of a directory, written as in the recordings.
func (w *world) push(t *testing.T, variables map[string]string, exchange string) {
	t.Helper()
	exchanges, err := recording.Parse("request", strings.NewReader(exchange))
	if err != nil {
		t.Fatal(err)
	}
	player := recording.Player{Client: http.DefaultClient, Variables: variables}
	for _, outcome := range player.Play(t.Context(), exchanges) {
		if outcome.Err != nil {
			t.Fatal(outcome.Err)
		}
	}
}

const patchHead = `
Authorization: Bearer {{token}}
Content-Type: application/scim+json; charset=utf-8
`

// join is a group change as Entra sends it.
func join(group, user string) string {
	return "PATCH {{scim}}/Groups/{{" + group + "}}" + patchHead +
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Add","path":"members","value":[{"$ref":null,"value":"{{` + user + `}}"}]}]}` + "\nHTTP 204\n"
}

// setActive is E1.
func setActive(user, value string) string {
	return "PATCH {{scim}}/Users/{{" + user + "}}" + patchHead +
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"` + value + `"}]}` + "\nHTTP 200\n"
}

// untouched fails unless the membership is active and as it was at the last call.
func (w *world) untouched(t *testing.T, user string) {
	t.Helper()
	version := "version of " + user
	w.push(t, w.oslo, "GET {{scim}}/Users/{{"+user+"}}\nAuthorization: Bearer {{token}}\nHTTP 200\n[Captures]\n"+version+": jsonpath \"$.meta.version\"\n[Asserts]\njsonpath \"$.active\" == true\n")
	if before, ok := w.oslo["before: "+version]; ok && before != w.oslo[version] {
		t.Errorf("the membership in Oslo went from version %s to %s", before, w.oslo[version])
	}
	w.oslo["before: "+version] = w.oslo[version]
}

const baseScope = "openid profile email groups"

// scopeOf asks for a tenant.
func scopeOf(tenant string) string { return baseScope + " tenant:" + tenant }

// signIn goes through the login forms.
func (w *world) signIn(t *testing.T, b *browser.Browser, scope string, person browser.Person) *signedIn {
	t.Helper()
	callback, _, err := b.SignIn(t.Context(), w.client.authorize(t, scope, ""), person)
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.client.callback(t, callback)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// silently asks with prompt=none.
func (w *world) silently(t *testing.T, b *browser.Browser, scope string) (*signedIn, error) {
	t.Helper()
	callback, _, err := b.SignIn(t.Context(), w.client.authorize(t, scope, "none"), browser.Person{})
	if err != nil {
		t.Fatal(err)
	}
	return w.client.callback(t, callback)
}

func (w *world) browser(t *testing.T) *browser.Browser {
	t.Helper()
	b, err := browser.New(w.i.URL)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// standing is what a token says of a person in the tenant in use.
type standing struct {
	Tenant string   `json:"tenant"`
	Roles  []string `json:"roles"`
	Groups []string `json:"groups"`
}

// carries fails unless ID token, access token and userinfo all say the same
// tenant, roles and groups, and nothing of another tenant. It returns the tid.
func (w *world) carries(t *testing.T, s *signedIn, want standing) (tid string) {
	t.Helper()
	userInfo, err := w.client.userInfo(t, s)
	if err != nil {
		t.Fatal(err)
	}
	introspection := w.introspect(t, s.access)
	if introspection["active"] != true {
		t.Errorf("introspection: got active %v, want true", introspection["active"])
	}
	sources := map[string]map[string]any{"ID token": s.claims, "userinfo": userInfo, "introspection": introspection}
	if w.app.ClientID == "shop" {
		sources["access token"] = w.accessToken(t, s.access)
	}
	for name, claims := range sources {
		var got standing
		decode(t, claims, &got)
		slices.Sort(got.Groups)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if claims["sub"] != s.claims["sub"] {
			t.Errorf("%s: got sub %v, want %v", name, claims["sub"], s.claims["sub"])
		}
		current, _ := claims["tid"].(string)
		if tid == "" {
			tid = current
		}
		if current == "" || current != tid {
			t.Errorf("%s: got tid %q, another source has %q", name, current, tid)
		}
		// Nothing was asked about other tenants.
		for _, claim := range []string{"tenants", "permissions", "act"} {
			if value, ok := claims[claim]; ok {
				t.Errorf("%s: got %s %v, want none", name, claim, value)
			}
		}
	}
	return tid
}

// accessToken verifies a signed access token (RFC 9068 §4) and returns its claims.
func (w *world) accessToken(t *testing.T, token string) map[string]any {
	t.Helper()
	payload, err := oidc.NewRemoteKeySet(t.Context(), w.i.URL+"/oauth2/keys").VerifySignature(t.Context(), token)
	if err != nil {
		t.Fatalf("the access token: %v", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if claims["iss"] != w.i.URL || claims["client_id"] != w.app.ClientID {
		t.Errorf("access token: got iss %v and client_id %v, want %s and %s", claims["iss"], claims["client_id"], w.i.URL, w.app.ClientID)
	}
	return claims
}

func (w *world) introspect(t *testing.T, token string) map[string]any {
	t.Helper()
	answer, err := w.app.Introspect(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != http.StatusOK {
		t.Fatalf("introspection: got %d %s, want 200", answer.Status, answer.Raw)
	}
	return answer.Body
}

func decode(t *testing.T, claims map[string]any, into any) {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// lockedOut fails unless nothing that s holds is accepted any more.
func (w *world) lockedOut(t *testing.T, b *browser.Browser, s *signedIn, tenant string) {
	t.Helper()
	_, err := w.client.userInfo(t, s)
	wantRefusal(t, "userinfo", err, http.StatusUnauthorized, "")
	if got := w.introspect(t, s.access); len(got) != 1 || got["active"] != false {
		t.Errorf("introspection of the access token: got %v, want active false and nothing else", got)
	}
	if got := w.introspect(t, s.refresh); got["active"] != false {
		t.Errorf("introspection of the refresh token: got %v, want active false", got)
	}
	_, err = w.client.refresh(t, s.refresh)
	wantRefusal(t, "refresh", err, http.StatusBadRequest, "invalid_grant")
	_, err = w.silently(t, b, scopeOf(tenant))
	wantRefusal(t, "prompt=none for "+tenant, err, 0, "login_required")
}

// signsOut: Ann signs out through the application. The session is over, and with
// it what the application holds.
func (w *world) signsOut(t *testing.T) {
	b := w.browser(t)
	s := w.signIn(t, b, scopeOf("berlin"), ann)
	page, err := b.Get(t.Context(), w.client.endSession(t, s, "after"))
	if err != nil {
		t.Fatal(err)
	}
	if page.Left == nil || page.Left.String() != signedOutURI+"?state=after" {
		t.Fatalf("the browser is at %s (%d) and sent to %v, want %s", page.URL, page.Status, page.Left, signedOutURI)
	}
	_, err = w.silently(t, b, scopeOf("berlin"))
	wantRefusal(t, "prompt=none", err, 0, "login_required")
	_, err = w.client.refresh(t, s.refresh)
	wantRefusal(t, "refresh", err, http.StatusBadRequest, "invalid_grant")
}

// managedPerson: Ann is Berlin's. Berlin's directory rules over her login, and
// not over her membership in Oslo.
func (w *world) managedPerson(t *testing.T) {
	b := w.browser(t)
	inBerlin := w.signIn(t, b, scopeOf("berlin"), ann)
	berlin := w.carries(t, inBerlin, standing{"berlin", []string{"member"}, []string{"Sales"}})

	// Oslo's directory has named her too. Until she agrees, that is nothing.
	if _, err := w.silently(t, b, scopeOf("oslo")); err == nil {
		t.Error("a membership that waits for acceptance gave a token")
	}
	w.accept(t, b, "oslo")
	inOslo, err := w.silently(t, b, scopeOf("oslo"))
	if err != nil {
		t.Fatal(err)
	}
	if oslo := w.carries(t, inOslo, standing{"oslo", []string{"viewer"}, []string{"Sales"}}); oslo == berlin {
		t.Errorf("both tenants have the tid %s", oslo)
	}
	if inOslo.claims["sub"] != inBerlin.claims["sub"] {
		t.Errorf("got sub %v in Oslo and %v in Berlin, want one person", inOslo.claims["sub"], inBerlin.claims["sub"])
	}
	w.untouched(t, "ann")

	w.push(t, w.berlin, join("engineering", "ann"))
	inBerlin, err = w.client.refresh(t, inBerlin.refresh)
	if err != nil {
		t.Fatal(err)
	}
	w.carries(t, inBerlin, standing{"berlin", []string{"member", "viewer"}, []string{"Engineering", "Sales"}})

	w.push(t, w.berlin, setActive("ann", "False"))
	w.lockedOut(t, b, inBerlin, "berlin")
	w.untouched(t, "ann")
	// Who manages a person switches off the login itself, and with it this session.
	_, err = w.silently(t, b, scopeOf("oslo"))
	wantRefusal(t, "prompt=none for oslo", err, 0, "login_required")
	if callback, _, err := w.browser(t).SignIn(t.Context(), w.client.authorize(t, scopeOf("oslo"), ""), ann); err == nil {
		t.Errorf("a disabled login signs in, and is sent to %s", callback)
	}

	w.push(t, w.berlin, setActive("ann", "True"))
	again := w.browser(t)
	w.carries(t, w.signIn(t, again, scopeOf("berlin"), ann), standing{"berlin", []string{"member", "viewer"}, []string{"Engineering", "Sales"}})
	inOslo, err = w.silently(t, again, scopeOf("oslo"))
	if err != nil {
		t.Fatal(err)
	}
	w.carries(t, inOslo, standing{"oslo", []string{"viewer"}, []string{"Sales"}})
	_, err = w.client.refresh(t, inBerlin.refresh)
	wantRefusal(t, "refresh of a grant from before the suspension", err, http.StatusBadRequest, "invalid_grant")
}

// unmanagedPerson: nobody has verified the domain of Bob's address. He accepts
// both tenants, and each has power over its own membership only.
func (w *world) unmanagedPerson(t *testing.T) {
	b := w.browser(t)
	w.signInToAccept(t, b, bob)
	w.accept(t, b, "berlin")
	w.accept(t, b, "oslo")

	// Without a tenant in the scope, he is asked.
	chosen := bob
	chosen.Tenant = "berlin"
	inBerlin := w.signIn(t, w.browser(t), baseScope, chosen)
	w.carries(t, inBerlin, standing{"berlin", []string{"member"}, []string{"Sales"}})

	inBerlin = w.signIn(t, b, scopeOf("berlin"), bob)
	w.carries(t, inBerlin, standing{"berlin", []string{"member"}, []string{"Sales"}})
	inOslo := w.signIn(t, b, scopeOf("oslo"), bob)
	w.carries(t, inOslo, standing{"oslo", []string{"viewer"}, []string{"Sales"}})
	w.untouched(t, "bob")

	w.push(t, w.berlin, setActive("bob", "False"))
	w.lockedOut(t, b, inBerlin, "berlin")
	w.untouched(t, "bob")
	inOslo, err := w.client.refresh(t, inOslo.refresh)
	if err != nil {
		t.Fatalf("Berlin's suspension ended Oslo's grant: %v", err)
	}
	w.carries(t, inOslo, standing{"oslo", []string{"viewer"}, []string{"Sales"}})
	if _, err := w.silently(t, b, scopeOf("oslo")); err != nil {
		t.Errorf("Berlin's suspension ended the session for Oslo: %v", err)
	}
}

// signInToAccept signs in without an application, as someone does who has
// memberships that wait and none that is active.
func (w *world) signInToAccept(t *testing.T, b *browser.Browser, person browser.Person) {
	t.Helper()
	page, err := b.Get(t.Context(), "/login")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, form := range page.Forms {
			if form.Has("password") || form.Has("login") {
				if page, err = b.Submit(t.Context(), page, form, map[string]string{"login": person.Login, "password": person.Password}); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	if page.Status != http.StatusOK || page.URL.Path != "/me" {
		t.Fatalf("signed in at %s (%d): %s; want /me", page.URL, page.Status, page.Text())
	}
}

// accept agrees to a membership on the pages.
func (w *world) accept(t *testing.T, b *browser.Browser, tenant string) {
	t.Helper()
	page, err := b.Get(t.Context(), "/me")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range page.Forms {
		if value, ok := form.Choice("accept", tenant); ok {
			if page, err = b.Submit(t.Context(), page, form, map[string]string{"accept": value}); err != nil {
				t.Fatal(err)
			}
			if page.Status != http.StatusOK {
				t.Fatalf("accepting %s: got %d: %s", tenant, page.Status, page.Text())
			}
			return
		}
	}
	t.Fatalf("no form at %s accepts %s: %s", page.URL, tenant, page.Text())
}
