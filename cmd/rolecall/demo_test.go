package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pquerna/otp/totp"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/directory"
)

// newDemo serves a demo at an address of the test's own.
func newDemo(t *testing.T) (*instance, *demoInstance) {
	t.Helper()
	front := httptest.NewUnstartedServer(nil)
	c := demoConfig(&config{PublicURL: settings()["public_url"].preset, MasterKey: "not this one"}, t.TempDir(), front.Listener.Addr())
	in, d, err := openDemo(t.Context(), c, slog.New(slog.DiscardHandler), "")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := in.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	front.Config.Handler = srv.Handler()
	front.Start()
	t.Cleanup(func() {
		front.Close()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in, d
}

func TestDemo(t *testing.T) {
	in, d := newDemo(t)
	t.Run("logins", func(t *testing.T) { testDemoLogins(t, in, d) })
	t.Run("text", func(t *testing.T) { testDemoText(t, in, d) })
}

// testDemoLogins signs in as everybody in every tenant of theirs, with what is
// printed, and looks at the roles in the token; who may not sign in is refused.
func testDemoLogins(t *testing.T, in *instance, d *demoInstance) {
	app := application.Application{
		Issuer: in.config.PublicURL, ClientID: demoApplication, Secret: d.secrets[demoApplication], RedirectURI: demoRedirect,
	}
	refused := 0
	for _, system := range d.Systems {
		b := must[*authz.Blueprint](t)(in.blueprints.InForce(t.Context(), system.Blueprint))
		for _, p := range system.People {
			window := must[*browser.Browser](t)(browser.New(app.Issuer))
			for _, tenant := range p.tenants() {
				status := must[authz.Status](t)(b.Status(orActive(p.Status)))
				claims, err := demoSignIn(t.Context(), app, window, tenant, p, d.password)
				if !status.SignIn {
					refused++
					if err == nil {
						t.Errorf("%s is %s in %s and signs in", p.Email, p.Status, tenant)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s in %s: %v", p.Email, tenant, err)
					continue
				}
				got := []string{}
				for _, role := range claims["roles"].([]any) {
					if key := fmt.Sprint(role); !slices.Contains(b.RoleKeys(b.Implicit()), key) {
						got = append(got, key)
					}
				}
				want := p.roles(tenant)
				slices.Sort(want)
				slices.Sort(got)
				if claims["tenant"] != tenant || !cmp.Equal(got, want) {
					t.Errorf("%s in %s: got roles %v in %v, want %v", p.Email, tenant, got, claims["tenant"], want)
				}
			}
		}
	}
	if refused < 5 {
		t.Errorf("only %d people may not sign in: the refusals can't be tried", refused)
	}
}

func orActive(status string) string {
	if status == "" {
		return string(directory.StatusActive)
	}
	return status
}

// demoSignIn goes through the pages as a browser without JavaScript.
func demoSignIn(ctx context.Context, app application.Application, b *browser.Browser, tenant string, p demoPerson, password string) (map[string]any, error) {
	request := app.Request("openid tenant:" + tenant)
	person := browser.Person{Login: p.Email, Password: password, Tenant: tenant}
	callback, page, err := b.SignIn(ctx, request.URL(), person)
	if errors.Is(err, browser.ErrStuck) && p.key != "" {
		i := slices.IndexFunc(page.Forms, func(f browser.Form) bool { return f.Has("code") })
		if i < 0 {
			return nil, err
		}
		code, err := totp.GenerateCode(p.key, time.Now())
		if err != nil {
			return nil, err
		}
		if page, err = b.Submit(ctx, page, page.Forms[i], map[string]string{"code": code}); err != nil {
			return nil, err
		}
		callback = page.Left
		if callback == nil {
			return nil, fmt.Errorf("the code leads to %s: %s", page.URL, page.Text())
		}
	} else if err != nil {
		return nil, err
	}
	if callback.Query().Get("code") == "" {
		return nil, fmt.Errorf("sent back with %s", callback.RawQuery)
	}
	answer, err := app.Redeem(ctx, request, callback.Query().Get("code"))
	if err != nil {
		return nil, err
	}
	return application.Claims(answer.String("access_token"))
}

// TestDemoHasEveryRole: each role of each portal has somebody, hidden ones and
// service accounts included, and each relation, tier and type a tenant.
func TestDemoHasEveryRole(t *testing.T) {
	d := must[*demoInstance](t)(describeDemo(""))
	shipped := must[*authz.Catalog](t)(authz.Shipped())
	var systems []string
	for _, system := range d.Systems {
		systems = append(systems, system.Blueprint)
		b := must[*authz.Blueprint](t)(shipped.Blueprint(system.Blueprint))
		held := map[string]bool{}
		for _, p := range system.People {
			for _, tenant := range p.tenants() {
				for _, role := range p.roles(tenant) {
					held[role] = true
				}
			}
			for role := range p.Resources {
				held[role] = true
			}
			if p.Try == "" {
				t.Errorf("%s is good for nothing", p.Email)
			}
		}
		for _, a := range system.Applications {
			for _, role := range a.Roles {
				held[role] = true
			}
		}
		for _, role := range b.Roles() {
			if !held[role.Key] && !role.Implicit {
				t.Errorf("%s: nobody is %s", system.Blueprint, role.Key)
			}
		}
		related := map[string]bool{}
		for _, tenant := range system.Tenants {
			for relation := range tenant.Relations {
				related[relation] = true
			}
		}
		for _, relation := range b.Document().Tenants.Relations.Keys() {
			if !related[relation] {
				t.Errorf("%s: no tenants are in the relation %s", system.Blueprint, relation)
			}
		}
	}
	slices.Sort(systems)
	if !cmp.Equal(systems, shipped.Names()) {
		t.Errorf("got the systems %v, want %v", systems, shipped.Names())
	}
}

// testDemoText: what is printed can be copied and works.
func testDemoText(t *testing.T, in *instance, d *demoInstance) {
	text := d.text(in.config)
	for _, want := range []string{
		demoWarning, in.config.PublicURL + "/login", d.password, "EMNIFY: RESELLER AND ENTERPRISE", "EM-R01", "superadmin", "invite_expired",
		"instance_user on instance-1", "-u 'acme-robot:" + d.secrets["acme-robot"] + "'", "Authorization: Bearer " + d.token,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	for _, system := range d.Systems {
		for _, p := range system.People {
			if !strings.Contains(text, p.Email) || !strings.Contains(text, p.Try) || !strings.Contains(text, p.key) {
				t.Errorf("the text lacks a word about %s", p.Email)
			}
		}
	}
	var answers []bool
	for line := range strings.Lines(text) {
		_, body, found := strings.Cut(line, "-d '{")
		if !found {
			continue
		}
		var answer struct{ Decision bool }
		postJSON(t, in.config.PublicURL+"/access/v1/evaluation", d.token, "{"+strings.TrimSuffix(strings.TrimSpace(body), "'"), &answer)
		answers = append(answers, answer.Decision)
	}
	if !cmp.Equal(answers, []bool{true, false}) {
		t.Errorf("got the decisions %v, want what the lines say: yes, no", answers)
	}
	if again := must[*demoInstance](t)(describeDemo("")); again.password == d.password {
		t.Error("two demos have the same password")
	}
}

func postJSON(t *testing.T, address, token, body string, answer any) {
	t.Helper()
	request := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body)))
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	content := must[[]byte](t)(io.ReadAll(response.Body))
	if err := errors.Join(response.Body.Close(), json.Unmarshal(content, answer)); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s: %d %s, %v", body, response.StatusCode, content, err)
	}
}

// TestDemoLeavesNothing starts the command, asks it whether it is there, ends
// it, and looks for what it left.
func TestDemoLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &lockedBuffer{}
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"demo", "--listen", "127.0.0.1:0", "--password", "a word of mine 7", "--log-level", "error"}, out, io.Discard)
	}()
	for started := time.Now(); !strings.Contains(out.String(), "End with Ctrl-C"); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		default:
		}
		if time.Since(started) > time.Minute {
			t.Fatal("it does not start")
		}
	}
	if !strings.Contains(out.String(), "(password of everybody: a word of mine 7)") {
		t.Errorf("got %s", out.String())
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(temporary)); len(left) != 1 {
		t.Fatalf("there are %v, want the database's folder", left)
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(temporary)); len(left) != 0 {
		t.Errorf("the demo left %v", left)
	}
}

// lockedBuffer is a buffer for one who writes and another who reads.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
