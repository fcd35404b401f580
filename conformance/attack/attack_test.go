package attack

import (
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/conformance/instance"
)

func TestMain(m *testing.M) { os.Exit(instance.Main(m)) }

//go:embed testdata/instance.yaml
var instanceFile string

const (
	acmeToken = "rcs-acme-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"
	zetaToken = "rcs-zeta-Zt5uK1nB8mVx3CqWe7Hs4DjLf9Ga2Ry6"
	ciToken   = "rc_Hc8Yd5RzGa4Pb6Je1Qm3vX9sT7kLw2NfZt5uK1nB8mV"
)

var (
	vera    = browser.Person{Login: "vera@zeta.example", Password: "correct horse battery staple"}
	mallory = browser.Person{Login: "mallory@acme.example", Password: "the other eve has a longer one"}
	walt    = browser.Person{Login: "walt@nowhere.example", Password: "walt knows nobody but himself"}
)

// target is the instance under attack.
type target struct {
	*instance.Instance
	shop, till, desk, robot application.Application
}

// each runs an attack on SQLite and PostgreSQL.
func each(t *testing.T, attack func(*testing.T, target)) {
	t.Helper()
	t.Parallel()
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) { attack(t, targetOf(i)) })
}

// once runs an attack that no database has a part in.
func once(t *testing.T, attack func(*testing.T, target)) {
	t.Helper()
	t.Parallel()
	attack(t, targetOf(instance.Start(t, "", instanceFile)))
}

func targetOf(i *instance.Instance) target {
	return target{
		Instance: i,
		shop:     application.Application{Issuer: i.URL, ClientID: "shop", Secret: "shop-secret-8Yd5RzGa4Pb6Je1Qm3vX9sT7kLw2NfHc", RedirectURI: "https://shop.example/callback"},
		till:     application.Application{Issuer: i.URL, ClientID: "till", Secret: "till-secret-Rz5Ga4Pb6Je1Qm3vX9sT7kLw2NfHc8Yd", RedirectURI: "https://till.example/callback"},
		desk:     application.Application{Issuer: i.URL, ClientID: "desk", RedirectURI: "http://127.0.0.1:51004/callback"},
		robot:    application.Application{Issuer: i.URL, ClientID: "robot", Secret: "robot-secret-Je1Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6"},
	}
}

func (g target) browser(t *testing.T) *browser.Browser {
	t.Helper()
	b, err := browser.New(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signIn signs a person in and returns the tokens.
func signIn(t *testing.T, app application.Application, b *browser.Browser, scope string, person browser.Person) *application.Answer {
	t.Helper()
	tokens, err := app.SignIn(t.Context(), b, scope, person)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// silent asks with prompt=none and returns the parameters of the callback.
func silent(t *testing.T, app application.Application, b *browser.Browser, scope string) url.Values {
	t.Helper()
	callback, _, err := b.SignIn(t.Context(), app.Request(scope).With("prompt", "none").URL(), browser.Person{})
	if err != nil {
		t.Fatal(err)
	}
	return callback.Query()
}

// do sends a request with a JSON body and headers NAME: VALUE.
func (g target) do(t *testing.T, method, address, body string, headers ...string) *application.Answer {
	t.Helper()
	if strings.HasPrefix(address, "/") {
		address = g.URL + address
	}
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			request.Host = value
		} else {
			request.Header.Set(name, value)
		}
	}
	answer, err := application.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, address, err)
	}
	return answer
}

// scim sends a SCIM request to a tenant.
func (g target) scim(t *testing.T, tenant, token, method, path, body string) *application.Answer {
	t.Helper()
	return g.do(t, method, "/t/"+tenant+"/scim/v2"+path, body, "Authorization: Bearer "+token, "Content-Type: application/scim+json")
}

// must fails the test unless the answer has that status.
func must(t *testing.T, what string, answer *application.Answer, status int) *application.Answer {
	t.Helper()
	if answer.Status != status {
		t.Fatalf("%s: got %d %.400s, want %d", what, answer.Status, answer.Raw, status)
	}
	return answer
}

// check returns the value of a call that must not fail.
func check[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// wantError fails the test unless the answer is an OAuth error with that code
// (RFC 6749 §5.2) and nothing else.
func wantError(t *testing.T, what string, answer *application.Answer, status int, code string) {
	t.Helper()
	if answer.Status != status || answer.String("error") != code {
		t.Errorf("%s: got %d %.300s, want %d %s", what, answer.Status, answer.Raw, status, code)
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if answer.Body[name] != nil {
			t.Errorf("%s: the error carries a %s", what, name)
		}
	}
}

// veraID returns the id that Zeta's directory knows Vera by.
func (g target) veraID(t *testing.T) string {
	t.Helper()
	answer := must(t, "look-up", g.scim(t, "zeta", zetaToken, http.MethodGet, "/Users?filter="+escape(`userName eq "vera@zeta.example"`), ""), http.StatusOK)
	var list struct {
		Resources []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(answer.Raw), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Resources) != 1 {
		t.Fatalf("Vera in Zeta: got %d users, want 1", len(list.Resources))
	}
	return list.Resources[0].ID
}

// patchActive switches a user off as Entra does.
const patchActive = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"False"}]}`

// reply is where a request leads.
type reply struct {
	status            int
	location, refresh string
}

// raw opens an address without following redirects and without cookies.
func (g target) raw(t *testing.T, address string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header.Get("Location"), response.Header.Get("Refresh")}
}

func escape(s string) string { return url.QueryEscape(s) }
