package portal

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/upstream"
)

// outFlag lets a person look at every page: go test ./portal -run Every -args -out DIR.
var outFlag = flag.String("out", "", "write the rendered pages and static files to this folder")

func newTestPages(t *testing.T) (*pages, assets) {
	t.Helper()
	a, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPages(a)
	if err != nil {
		t.Fatal(err)
	}
	return p, a
}

// render writes one page.
type render func(w *httptest.ResponseRecorder, r *http.Request) error

// fixtures are views of every page: one for each shape that a page can take.
func fixtures(p *pages) map[string]render {
	all := map[string]render{}
	now := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	hostile := `"><script>alert(1)</script>`
	berlin := standingView{Slug: "berlin", Name: "Berlin Verkehrsbetriebe", Roles: []string{"Administrator", "Billing"}, Status: "Active", Usable: true, Default: true}
	munich := standingView{Slug: "munich", Name: "München", Roles: []string{"Viewer"}, Status: "Active", Usable: true}
	oslo := standingView{Slug: "oslo", Name: "Oslo", Status: "Suspended"}
	paris := standingView{Slug: "paris", Name: "Paris Métro", Roles: []string{"Member"}, Status: "Invited"}

	add(all, p.login, "plain", loginPage{})
	add(all, p.login, "application", loginPage{Application: "Shop", Tenant: "berlin", Email: "ann@berlin.example"})
	add(all, p.login, "fresh", loginPage{Application: "Shop", Reason: "login.reason.fresh", Email: "ann@berlin.example"})
	add(all, p.login, "stronger", loginPage{Application: "Shop", Reason: "login.reason.stronger", Email: "ann@berlin.example"})
	add(all, p.login, "wrong", loginPage{Application: "Shop", Email: "ann@berlin.example", Problem: &problem{message{Key: "login.problem.wrong"}, "password"}})
	add(all, p.login, "no_email", loginPage{Problem: &problem{message{Key: "login.problem.email"}, "username"}})
	add(all, p.login, "no_password", loginPage{Email: "ann@berlin.example", Problem: &problem{message{Key: "login.problem.password"}, "password"}})
	add(all, p.login, "seconds", loginPage{Email: hostile, Problem: &problem{waitMessage(2 * time.Second), ""}})
	add(all, p.login, "minutes", loginPage{Application: hostile, Email: "ann@berlin.example", Problem: &problem{waitMessage(15 * time.Minute), ""}})
	add(all, p.code, "plain", codePage{Way: authn.WayApp, Email: "ann@berlin.example", Restart: "/me"})
	add(all, p.code, "trust", codePage{Way: authn.WayApp, Email: "ann@berlin.example", Restart: "/me", Days: 30})
	add(all, p.code, "trusted", codePage{Way: authn.WayApp, Email: "ann@berlin.example", Restart: "/me", Days: 30, Trust: true, Problem: &problem{message{Key: "code.problem.wrong"}, "code"}})
	add(all, p.code, "missing", codePage{Way: authn.WayApp, Email: hostile, Restart: "/me", Problem: &problem{message{Key: "code.problem.missing"}, "code"}})
	add(all, p.code, "wrong", codePage{Way: authn.WayApp, Email: "ann@berlin.example", Restart: "/oauth2/authorize/continue?request=x&y=z", Problem: &problem{message{Key: "code.problem.wrong"}, "code"}})
	recovery := wayLink{authn.WayRecovery, "/login/code?login=x&way=recovery"}
	add(all, p.code, "ways", codePage{Way: authn.WayApp, Others: []wayLink{recovery}, Email: "ann@berlin.example", Restart: "/me", Days: 30})
	add(all, p.code, "recovery_wrong", codePage{Way: authn.WayRecovery, Email: "ann@berlin.example", Restart: "/me", Problem: &problem{message{Key: "code.problem.wrong_recovery"}, "code"}})
	add(all, p.code, "recovery", codePage{Way: authn.WayRecovery, Others: []wayLink{{authn.WayApp, "/login/code?login=x&way=app"}}, Email: "ann@berlin.example", Restart: "/me"})
	mailed := codePage{Way: authn.WayMail, Others: []wayLink{recovery}, Send: "/login/code/mail?login=x", Login: "x", Email: "ann@berlin.example", Restart: "/me", Days: 30}
	add(all, p.code, "mail", mailed)
	mailed.Problem = &problem{message{Key: "login.problem.wait_seconds", Args: []any{20}}, ""}
	add(all, p.code, "mail_wait", mailed)
	mailed.Sent, mailed.Problem = true, &problem{message{Key: "code.problem.wrong_mail"}, "code"}
	add(all, p.code, "mail_wrong", mailed)
	mailed.Problem = nil
	add(all, p.code, "mail_sent", mailed)
	add(all, p.code, "passkey", codePage{Way: authn.WayPasskey, Others: []wayLink{{authn.WayApp, "/login/code?login=x&way=app"}, recovery}, Login: "x", Email: "ann@berlin.example", Restart: "/me", Days: 30})
	add(all, p.code, "passkey_wrong", codePage{Way: authn.WayPasskey, Email: hostile, Restart: "/me", Days: 30, Trust: true, Problem: &problem{message{Key: "passkey.problem.wrong"}, ""}})
	add(all, p.login, "passkeys", loginPage{Application: "Shop", Passkeys: true, Forgot: "/login/forgot"})
	add(all, p.login, "passkey_wrong", loginPage{Passkeys: true, Problem: &problem{message{Key: "passkey.problem.wrong"}, ""}})
	add(all, p.passkey, "plain", passkeyPage{})
	add(all, p.passkey, "name", passkeyPage{Name: hostile, Problem: &problem{message{Key: "passkey.problem.name"}, "name"}})
	add(all, p.passkey, "made", passkeyPage{Problem: &problem{message{Key: "passkey.problem.made"}, ""}})
	add(all, p.tenant, "choice", tenantPage{Application: "Shop", Person: "ann@berlin.example", Restart: "/oauth2/authorize/continue?request=x", Tenants: []standingView{berlin, munich, oslo}})
	add(all, p.tenant, "invitation", tenantPage{Application: "Shop", Person: "ann@berlin.example", Restart: "/oauth2/authorize/continue?request=x", Tenants: []standingView{berlin}, Invitations: []standingView{paris}})
	add(all, p.tenant, "only_invitations", tenantPage{Application: "Shop", Person: "ann@berlin.example", Restart: "/oauth2/authorize/continue?request=x", Invitations: []standingView{paris, {Slug: "x", Name: hostile, Roles: []string{hostile}}}})
	add(all, p.tenant, "search", tenantPage{Application: "Shop", Person: "ann@berlin.example", Request: "x", More: true, Tenants: []standingView{berlin, munich}})
	add(all, p.tenant, "found", tenantPage{Application: "Shop", Person: "ann@berlin.example", Request: "x", Search: hostile, Tenants: []standingView{munich}})
	add(all, p.tenant, "not_found", tenantPage{Application: "Shop", Person: "ann@berlin.example", Request: "x", Search: hostile})
	add(all, p.tenant, "none", tenantPage{Application: "Shop", Person: "ann@berlin.example"})
	add(all, p.tenant, "none_fixed", tenantPage{Application: "Shop", Person: "ann@berlin.example", Restart: "/oauth2/authorize/continue?request=x", Fixed: true})
	add(all, p.tenant, "problem", tenantPage{Application: "Shop", Person: "ann@berlin.example", Restart: "/oauth2/authorize/continue?request=x", Tenants: []standingView{berlin, munich}, Problem: &problem{message{Key: "tenant.problem"}, ""}})
	add(all, p.change, "plain", changePage{Email: hostile, MinPassword: 8})
	add(all, p.change, "used_before", changePage{Email: "ann@berlin.example", MinPassword: 8, Problem: &problem{message{Key: "setup.problem.used_before"}, "password"}})
	add(all, p.change, "common", changePage{Email: "ann@berlin.example", MinPassword: 8, Problem: &problem{message{Key: "setup.problem.common"}, "password"}})
	add(all, p.change, "context", changePage{Email: "ann@berlin.example", MinPassword: 8, Problem: &problem{message{Key: "setup.problem.context"}, "password"}})
	add(all, p.setup, "plain", setupPage{MinPassword: 8})
	for _, key := range []string{"email", "taken", "given", "family", "again", "same_as_email", "characters"} {
		field := map[string]string{"taken": "email", "again": "password_again", "same_as_email": "password", "characters": "password"}[key]
		if field == "" {
			field = key
		}
		add(all, p.setup, key, setupPage{Email: "olive@ops.example", Given: "Olive", Family: hostile, MinPassword: 8, Problem: &problem{message{Key: "setup.problem." + key}, field}})
	}
	add(all, p.setup, "too_short", setupPage{MinPassword: 8, Problem: &problem{message{Key: "setup.problem.too_short", Args: []any{8}}, "password"}})
	add(all, p.setup, "too_long", setupPage{MinPassword: 8, Problem: &problem{message{Key: "setup.problem.too_long", Args: []any{256}}, "password"}})
	sessions := []sessionView{
		{ID: "1", Device: device{"Firefox", "Linux"}, Address: "192.0.2.1", LastSeen: now, Started: now, Current: true},
		{ID: "2", Device: device{"Safari", "iPhone"}, Address: "2001:db8::1", LastSeen: now.Add(-3 * time.Hour), Started: now},
		{ID: "3", Device: device{Browser: "curl"}, Address: "192.0.2.7", LastSeen: now, Started: now},
		{ID: "4", Device: device{System: "Linux"}, Address: "192.0.2.8", LastSeen: now, Started: now},
		{ID: "5", LastSeen: now, Started: now},
	}
	checks := []checkView{
		{"me.check.passkey", false, "/me/security#passkeys"},
		{"me.check.factor.done", true, "/me/security#second"},
		{"me.check.codes", false, "/me/security#codes"},
		{"me.check.sessions", false, "#sessions"},
	}
	safe := []checkView{{"me.check.passkey.done", true, "/"}, {"me.check.factor", false, "/"}, {"me.check.codes.done", true, "/"}, {"me.check.sessions.done", true, "/"}}
	add(all, p.me, "checked", mePage{Name: "Ann Berg", Email: "ann@berlin.example", Sessions: sessions[:1], Checks: safe, Done: 3})
	add(all, p.me, "member", mePage{Checks: checks, Done: 1, Recent: []activityView{activityViewOf(&authn.Activity{Action: "session.start", Own: true, At: now, UserAgent: "curl/8"}), activityViewOf(&authn.Activity{Action: "login.fail", At: now, Address: "192.0.2.1"})}, Name: "Ann Berg", Email: "ann@berlin.example", SecondStep: true, Tenants: []standingView{berlin, munich, oslo}, Invitations: []standingView{paris}, Sessions: sessions})
	add(all, p.me, "operator", mePage{Name: "Olive Ops", Email: "olive@ops.example", Operator: true, Issuer: "https://id.example", Sessions: sessions[:1]})
	add(all, p.me, "many", mePage{Name: "Ann Berg", Tenants: []standingView{berlin}, AllTenants: 200, Sessions: sessions[:1]})
	add(all, p.me, "hostile", mePage{Name: hostile, Email: hostile, Tenants: []standingView{{Slug: hostile, Name: hostile, Status: hostile}}, Sessions: sessions[:1]})
	ownFixtures(all, p, hostile, berlin, munich, oslo, paris)
	deviceFixtures(all, p, hostile)
	devices := []deviceView{
		{ID: "1", Device: device{"Firefox", "Linux"}, Address: "192.0.2.1", TrustedAt: now, LastUsed: now, Expires: now.Add(720 * time.Hour)},
		{ID: "2", TrustedAt: now, LastUsed: now, Expires: now},
	}
	keys := []passkeyView{
		{ID: "1", Name: "Work laptop", Provider: "Windows Hello", Created: now, LastUsed: now.Add(time.Hour)},
		{ID: "2", Name: hostile, Synced: true, Created: now},
	}
	add(all, p.security, "passkeys", securityView{Email: "ann@berlin.example", HasPassword: true, HasFactor: true, CanPasskey: true, Passkeys: keys, Codes: 10, MinPassword: 8})
	add(all, p.security, "no_passkeys", securityView{Email: "ann@berlin.example", HasPassword: true, CanPasskey: true, MinPassword: 8})
	add(all, p.security, "passkey_name", securityView{Email: "ann@berlin.example", HasFactor: true, Passkeys: keys, Problem: &problem{message{Key: "passkey.problem.name"}, "name-2"}})
	add(all, p.security, "nothing", securityView{Email: "ann@berlin.example", HasPassword: true, MinPassword: 8})
	add(all, p.security, "all", securityView{Email: "ann@berlin.example", HasPassword: true, HasTOTP: true, HasFactor: true, Codes: 7, Devices: devices, MinPassword: 8})
	add(all, p.security, "no_password", securityView{Email: hostile, HasTOTP: true})
	for _, key := range []string{"password", "totp_removed", "device_removed", "passkey_added", "passkey_renamed", "passkey_removed"} {
		add(all, p.security, key, securityView{Email: "ann@berlin.example", HasPassword: true, Done: "security.done." + key, MinPassword: 8})
	}
	add(all, p.security, "current", securityView{Email: "ann@berlin.example", HasPassword: true, MinPassword: 8, Problem: &problem{message{Key: "password.problem.current"}, "current_password"}})
	for _, of := range []authz.Characters{authz.AnyCharacters, authz.UpperCase, authz.LowerCase, authz.Digits, authz.OtherCharacters} {
		why := policyMessage(&authz.PasswordShortfall{Least: 2, Of: of})
		add(all, p.security, "policy_"+string(of), securityView{Email: "ann@berlin.example", HasPassword: true, MinPassword: 8, Problem: &problem{why, "password"}})
	}
	add(all, p.security, "again", securityView{Email: "ann@berlin.example", HasPassword: true, MinPassword: 8, Problem: &problem{message{Key: "setup.problem.again"}, "password_again"}})
	add(all, p.security, "required", securityView{Email: "ann@berlin.example", HasPassword: true, HasTOTP: true, MinPassword: 8, Problem: &problem{message{Key: "security.problem.required", Args: []any{"Berlin"}}, ""}})
	const pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
	add(all, p.enroll, "soon", enrollPage{Why: "Shop", Key: "JBSW Y3DP", QR: pixel, Restart: "/me", Passkey: "/login/second-factor/passkey?request=x", Days: 12, Skip: "/login/second-factor/skip?request=x"})
	add(all, p.enroll, "tomorrow", enrollPage{Why: "Shop", Key: "JBSW Y3DP", QR: pixel, Restart: "/me", Days: 1, Skip: "/login/second-factor/skip?request=x"})
	add(all, p.enroll, "own", enrollPage{Key: "JBSW Y3DP EHPK 3PXP", QR: pixel, Action: "/me/totp/activate"})
	add(all, p.enroll, "demanded", enrollPage{Why: "Shop", Key: "JBSW Y3DP EHPK 3PXP", QR: pixel, Restart: "/oauth2/authorize/continue?request=x"})
	add(all, p.enroll, "passkey", enrollPage{Why: "Shop", Key: "JBSW Y3DP EHPK 3PXP", QR: pixel, Passkey: "/login/second-factor/passkey?request=x", Restart: "/oauth2/authorize/continue?request=x"})
	add(all, p.enroll, "wrong", enrollPage{Why: hostile, Key: "JBSW Y3DP EHPK 3PXP", QR: pixel, Restart: "/me", Problem: &problem{message{Key: "code.problem.wrong"}, "code"}})
	add(all, p.codes, "plain", codesPage{Codes: []string{"0123-4567-89ab", "cdef-ghjk-mnpq", "aaaa-bbbb-cccc"}, Next: "/me/security"})
	add(all, p.login, "forgot", loginPage{Forgot: "/login/forgot", Changed: true})
	add(all, p.forgot, "plain", forgotPage{Back: "/login"})
	add(all, p.forgot, "sent", forgotPage{Back: "/login?request=x", Sent: true})
	add(all, p.forgot, "problem", forgotPage{Email: hostile, Back: "/login", Problem: &problem{message{Key: "login.problem.email"}, "username"}})
	add(all, p.reset, "plain", resetPage{MinPassword: 8})
	add(all, p.reset, "again", resetPage{MinPassword: 8, Problem: &problem{message{Key: "setup.problem.again"}, "password_again"}})
	add(all, p.register, "plain", registerPage{Tenant: "Berlin", Back: "/login"})
	add(all, p.register, "sent", registerPage{Tenant: "Berlin", Sent: true, Back: "/login?request=r"})
	add(all, p.register, "refused", registerPage{Tenant: hostile, Email: hostile, Back: "/login", Problem: &problem{message{Key: "register.problem.domain"}, "email"}})
	add(all, p.registration, "plain", registrationPage{Tenant: "Berlin", Email: "ann@berlin.example", Terms: "https://berlin.example/terms", Approval: true, MinPassword: 8})
	add(all, p.registration, "known", registrationPage{Tenant: "Berlin", Email: "ann@berlin.example", Known: true})
	address := &addressForm{Countries: []language.Country{{Code: "DE", Name: hostile}}, PostalAddress: directory.PostalAddress{Street: hostile, PostalCode: hostile, Locality: hostile, Region: hostile, Country: "DE"}}
	add(all, p.registration, "address", registrationPage{Tenant: "Berlin", Email: "ann@berlin.example", Known: true, Address: address})
	for _, field := range []string{"street", "postal_code", "locality", "region", "country"} {
		add(all, p.registration, "address_"+field, registrationPage{Tenant: "Berlin", Email: "ann@berlin.example", Known: true, Address: address, Problem: &problem{message{Key: "registration.problem." + field}, field}})
	}
	add(all, p.registration, "refused", registrationPage{Tenant: hostile, Email: hostile, Given: hostile, Family: hostile, Terms: "https://berlin.example/terms", MinPassword: 8, Problem: &problem{message{Key: "registration.problem.terms"}, "terms"}})
	add(all, p.waiting, "plain", waitingPage{})
	add(all, p.consent, "plain", consentPage{
		Application: "Shop", Tenant: "Berlin", Person: "ann@berlin.example", Host: "shop.example", Confirmation: "x", Cancel: "y", Restart: "/me",
		Allows: []allowView{{What: message{Key: "consent.scope.openid", Args: []any{"Berlin"}}}, {What: message{Key: "consent.scope.offline_access"}, New: true}},
	})
	add(all, p.consent, "hostile", consentPage{
		Application: hostile, Tenant: hostile, Person: hostile, Unchecked: true, Host: hostile, Confirmation: hostile, Cancel: hostile, Restart: "/me",
		Allows:  []allowView{{What: message{Key: "consent.scope", Args: []any{hostile}}}},
		Details: []detailView{{hostile, []detailFieldView{{hostile, []message{{Key: "consent.value", Args: []any{hostile}}, {Key: "consent.value.yes"}, {Key: "consent.value.no"}, {Key: "consent.value.none"}}}}}, {Name: "x"}},
	})
	routes := []upstream.Route{{Tenant: "t", Slug: "berlin", TenantName: "Berlin", Provider: "p", Name: "Entra"}, {Tenant: "t", Slug: "berlin", TenantName: "Berlin", Provider: "q", Name: hostile}}
	add(all, p.login, "providers", loginPage{Application: "Shop", Tenant: "berlin", Providers: routes, Choose: "/login/provider?request=r", Single: true})
	add(all, p.login, "provider_only", loginPage{Application: "Shop", Providers: routes, Only: true, Reason: "login.reason.provider", Choose: "/login/provider", Email: hostile, Problem: &problem{message{Key: "login.problem.by_provider"}, ""}})
	add(all, p.login, "single", loginPage{Single: true, Reason: "login.reason.own", Problem: &problem{message{Key: "login.problem.no_provider"}, "username"}})
	add(all, p.login, "own_pages", loginPage{Reason: "login.reason.own_pages"})
	add(all, p.link, "plain", linkPage{Provider: "p", Name: "Entra", Tenant: "Berlin"})
	add(all, p.link, "hostile", linkPage{Provider: "p", Name: hostile, Tenant: hostile})
	links := []upstream.Link{{ID: "l", ProviderName: "Entra", TenantName: "Berlin", Email: "ann@berlin.example", Created: now, Used: now}, {ID: "m", ProviderName: hostile, TenantName: hostile, Created: now, Used: now}}
	for _, did := range []string{"linked", "unlinked"} {
		add(all, p.security, did, securityView{Email: "ann@berlin.example", HasPassword: true, MinPassword: 8, Links: links, Linkable: routes, Done: "security.done." + did})
	}
	add(all, p.providers, "none", providersPage{Here: "/t/berlin/identity-providers", Tenant: "Berlin", Done: "providers.done.added"})
	for _, did := range []string{"enabled", "disabled", "tested"} {
		add(all, p.providers, did, providersPage{
			Here: "/t/berlin/identity-providers", Tenant: hostile, Required: true, Done: "providers.done." + did, Domains: []domainView{{"berlin.example", true}}, Roles: []roleChoice{{"member", hostile, true}},
			Providers: []providerView{{"p", "Entra", "https://login.example", "https://id.example/login/provider/p/callback", "berlin.example", true}, {"q", hostile, hostile, hostile, "", false}},
		})
	}
	add(all, p.providers, "refused", providersPage{Here: "/t/berlin/identity-providers", Tenant: "Berlin", Form: map[string][]string{"name": {hostile}, "issuer": {hostile}, "trust_mfa": {"1"}}, Problem: &problem{message{Key: "providers.problem.invalid", Args: []any{hostile}}, "issuer"}})
	add(all, p.providers, "unreachable", providersPage{Here: "/t/berlin/identity-providers", Tenant: "Berlin", Problem: &problem{message{Key: "providers.problem.unreachable", Args: []any{"x"}}, ""}})
	add(all, p.login, "cancel", loginPage{Application: "Shop", Cancel: "y"})
	add(all, p.invited, "plain", invitedPage{Tenant: "Berlin", Email: "ann@berlin.example", MinPassword: 8})
	add(all, p.invited, "again", invitedPage{Tenant: hostile, Email: hostile, MinPassword: 8, Problem: &problem{message{Key: "setup.problem.again"}, "password_again"}})
	add(all, p.outbox, "none", outboxPage{Sends: true})
	add(all, p.outbox, "letters", outboxPage{Letters: []mail.Waiting{
		{ID: "1", To: "ann@berlin.example", Link: "/login/reset?token=x", Created: now, Rendered: mail.Rendered{Subject: "Choose a new password", Text: "Hello Ann Berg,\n\nSomebody, probably you, …\n"}},
		{ID: "2", To: hostile, Created: now, Rendered: mail.Rendered{Subject: hostile, Text: hostile}},
	}})
	add(all, p.logout, "plain", logoutPage{Email: "ann@berlin.example"})
	add(all, p.signedOut, "plain", signedOutPage{})
	add(all, p.error, "again", errorPage{Key: "link_gone", Status: 404, Again: "/login/forgot"})
	for key := range p.texts[language.Default] {
		if name, ok := strings.CutPrefix(key, "error."); ok && strings.HasSuffix(name, ".heading") {
			name = strings.TrimSuffix(name, ".heading")
			add(all, p.error, name, errorPage{Key: name, Status: 404, Request: "0198c0de-0000-7000-8000-000000000000"})
		}
	}
	return all
}

func add[V any](all map[string]render, p page[V], name string, view V) {
	all[p.name+"."+name] = func(w *httptest.ResponseRecorder, r *http.Request) error { return write(w, r, 200, p, view) }
}

func TestEveryPageRenders(t *testing.T) {
	p, a := newTestPages(t)
	all := fixtures(p)
	for i, registry := 0, reflect.ValueOf(*p); i < registry.NumField(); i++ {
		name := registry.Field(i)
		if name.Kind() != reflect.Struct {
			continue
		}
		page := name.FieldByName("name").String()
		if !slices.ContainsFunc(slices.Collect(keys(all)), func(fixture string) bool { return strings.HasPrefix(fixture, page+".") }) {
			t.Errorf("page %s has no fixture", page)
		}
	}
	for name, render := range all {
		for _, l := range language.All() {
			t.Run(name+"/"+l.Tag, func(t *testing.T) {
				w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
				r = r.WithContext(context.WithValue(r.Context(), speechKey{}, &speech{Tag: l.Tag, Here: "/login?a=b&c=d"}))
				if err := render(w, r); err != nil {
					t.Fatal(err)
				}
				checkPage(t, w.Body.Bytes(), a, l.Tag)
				if *outFlag != "" {
					save(t, filepath.Join(*outFlag, l.Tag, name+".html"), w.Body.Bytes())
				}
			})
		}
	}
	if *outFlag != "" {
		for name, file := range a.files {
			save(t, filepath.Join(*outFlag, "static", name), file.content)
		}
	}
}

func keys(m map[string]render) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func save(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkPage holds what is true of every page.
func checkPage(t *testing.T, body []byte, a assets, tag string) {
	t.Helper()
	if !bytes.HasPrefix(body, []byte("<!doctype html>")) {
		t.Error("no doctype")
	}
	document, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	ids, labeled, references := map[string]bool{}, map[string]bool{}, []string{}
	var controls []*html.Node
	for node := range document.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		count[node.Data]++
		for _, attr := range node.Attr {
			switch key := attr.Key; {
			case key == "style" || strings.HasPrefix(key, "on"):
				t.Errorf("<%s> has the attribute %s, which the policy forbids", node.Data, key)
			case key == "id" && ids[attr.Val]:
				t.Errorf("id %s stands twice", attr.Val)
			case key == "id":
				ids[attr.Val] = true
			case key == "for":
				labeled[attr.Val] = true
			case key == "aria-describedby" || key == "aria-labeledby":
				references = append(references, strings.Fields(attr.Val)...)
			case key == "href" && strings.HasPrefix(attr.Val, "#"):
				references = append(references, attr.Val[1:])
			case key == "href" || key == "src" || key == "action":
				drawn := node.Data == "img" && strings.HasPrefix(attr.Val, "data:image/png;base64,")
				drawn = drawn || node.Data == "link" && attribute(node, "rel") == "icon" && strings.HasPrefix(attr.Val, "data:image/svg+xml;base64,")
				terms := node.Data == "a" && attribute(node, "rel") == "noreferrer" && strings.HasPrefix(attr.Val, "https://") // what a tenant has people agree to
				if !drawn && !terms && (!strings.HasPrefix(attr.Val, "/") || strings.HasPrefix(attr.Val, "//")) {
					t.Errorf("%s=%q leads elsewhere", key, attr.Val)
				}
				if file, ok := strings.CutPrefix(attr.Val, "/static/"); ok {
					if _, served := a.files[file]; !served {
						t.Errorf("%s is not served", attr.Val)
					}
				}
			}
		}
		switch node.Data {
		case "script":
			if src := attribute(node, "src"); node.FirstChild != nil || !strings.HasPrefix(src, "/static/") || attribute(node, "type") != "module" {
				t.Errorf("a script that is not a file of ours: %q", src)
			}
		case "iframe", "object", "base", "style":
			t.Errorf("<%s> on the page", node.Data)
		case "html":
			if lang := attribute(node, "lang"); lang != tag {
				t.Errorf("got lang %q", lang)
			}
		case "input":
			if attribute(node, "type") != "hidden" {
				controls = append(controls, node)
			}
		case "form":
			if attribute(node, "method") != "post" && attribute(node, "role") != "search" {
				t.Error("a form that is more than a search does not post")
			}
		}
	}
	for element, want := range map[string]int{"h1": 1, "main": 1, "title": 1, "html": 1} {
		if count[element] != want {
			t.Errorf("got %d <%s>, want %d", count[element], element, want)
		}
	}
	for _, control := range controls {
		if id := attribute(control, "id"); !labeled[id] {
			t.Errorf("input %q has no label", id)
		}
		if attribute(control, "autocomplete") == "" && attribute(control, "type") != "checkbox" {
			t.Errorf("input %q does not say what belongs in it", attribute(control, "id"))
		}
	}
	for _, reference := range references {
		if !ids[reference] {
			t.Errorf("nothing has the id %q", reference)
		}
	}
}

func attribute(node *html.Node, key string) string {
	for _, attr := range node.Attr {
		if attr.Key == key {
			return attr.Val
		}
	}
	return ""
}

func TestEveryTextIsUsed(t *testing.T) {
	t.Parallel()
	p, _ := newTestPages(t)
	var source strings.Builder
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(content)
		}
	}
	for key := range p.texts[language.Default] {
		if strings.HasPrefix(key, "error.") && (strings.HasSuffix(key, ".heading") || strings.HasSuffix(key, ".text")) {
			other := strings.NewReplacer(".heading", ".text", ".text", ".heading").Replace(key)
			if p.texts[language.Default][other] == "" {
				t.Errorf("%s lacks %s", key, other)
			}
			continue
		}
		made := func(prefix string) bool { return strings.HasPrefix(key, prefix) }
		if slices.ContainsFunc([]string{"setup.problem.", "password.problem.", "own.", "roles.by.", "roles.stay.", "activity.", "tokens.problem.", "me.check.", "profile.lock.", "profile.problem.", "email.note.", "email.problem.", "consent.scope.", "consent.field.", "registration.problem."}, made) || strings.HasPrefix(key, "code.") && strings.Count(key, ".") == 2 {
			continue // made of the name of a field or a way; the fixtures render them
		}
		if !strings.Contains(source.String(), `"`+key+`"`) {
			t.Errorf("nothing uses %s", key)
		}
	}
}

// The stylesheet states its contrasts; this holds it to them.
func TestColorsHaveContrast(t *testing.T) {
	t.Parallel()
	css, err := staticFiles.ReadFile("static/portal.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, _ := strings.Cut(string(css), "prefers-color-scheme: dark")
	dark, _, _ = strings.Cut(dark, "}\n}")
	light, _, _ = strings.Cut(light, "}\n")
	for theme, block := range map[string]string{"light": light, "dark": dark} {
		colors := map[string][3]float64{}
		for _, match := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{3,6});`).FindAllStringSubmatch(block, -1) {
			colors[match[1]] = linear(t, match[2])
		}
		if len(colors) < 18 {
			t.Fatalf("%s: found only %d colors", theme, len(colors))
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"text", "ground", 4.5},
			{"text", "surface", 4.5},
			{"text", "tint", 4.5},
			{"text", "sunken", 4.5},
			{"text", "glow", 4.5},
			{"muted", "ground", 4.5},
			{"muted", "surface", 4.5},
			{"muted", "tint", 4.5},
			{"muted", "glow", 4.5},
			{"link", "surface", 4.5},
			{"link", "tint", 4.5},
			{"link", "ground", 4.5},
			{"on-accent", "accent", 4.5},
			{"on-accent", "accent-hover", 4.5},
			{"good", "good-tint", 4.5},
			{"bad", "bad-tint", 4.5},
			{"bad", "surface", 4.5},
			{"edge", "surface", 3},
			{"edge", "ground", 3},
			{"ring", "surface", 3},
			{"ring", "ground", 3},
			{"ring", "tint", 3},
			{"bad", "surface", 3},
		} {
			if got := contrast(colors[pair.front], colors[pair.back]); got < pair.least {
				t.Errorf("%s: %s on %s has %.2f:1, want %v:1", theme, pair.front, pair.back, got, pair.least)
			}
		}
	}
	if len(css) > 14<<10 {
		t.Errorf("the stylesheet has %d bytes, want at most 14 kB", len(css))
	}
}
