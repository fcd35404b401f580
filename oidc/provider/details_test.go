package provider_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

const (
	payments = "https://pay.example/"
	accounts = "https://accounts.example/"

	// payment and reading are objects of RFC 9396's examples, listing a part of reading.
	payment = `{"type":"payment_initiation","actions":["initiate","status"],"locations":["https://pay.example/"],"instructedAmount":{"currency":"EUR","amount":123.50},"creditorName":"Merchant A"}`
	reading = `{"type":"account_information","actions":["list_accounts","read_balances"],"locations":["https://pay.example/","https://accounts.example/"]}`
	listing = `{"type":"account_information","actions":["list_accounts"],"locations":["https://accounts.example/"]}`
)

func inEveryLanguage(text string) map[string]string {
	return map[string]string{"en": text, "de": text, "fr": text, "es": text}
}

// detailTypes defines the types of the examples.
func (in *instance) detailTypes(t testing.TB) {
	t.Helper()
	label := func(path string) oidc.DetailField { return oidc.DetailField{Path: path, Labels: inEveryLanguage(path)} }
	for _, put := range []oidc.DetailType{
		{Name: "payment_initiation", Fields: []oidc.DetailField{label("creditorName"), label("instructedAmount")}, Schema: json.RawMessage(`{
			"required": ["actions", "instructedAmount", "creditorName"],
			"properties": {
				"actions": {"type": "array", "minItems": 1, "items": {"enum": ["initiate", "status", "cancel"]}},
				"locations": {"type": "array"},
				"instructedAmount": {"type": "object", "required": ["currency", "amount"], "properties": {"currency": {"type": "string"}, "amount": {"type": "number"}}},
				"creditorName": {"type": "string"}
			}}`)},
		{Name: "account_information", Schema: json.RawMessage(`{"required": ["actions"], "properties": {"actions": {"type": "array", "minItems": 1}, "locations": {"type": "array"}}}`)},
		{Name: "other", Schema: json.RawMessage(`{"properties": {}}`)},
	} {
		put.Names = inEveryLanguage(put.Name)
		must(t, in.oidc.PutDetailType(t.Context(), put))
	}
}

// detailed lets an application use them, but for other.
func detailed(s *oidc.ApplicationSpec) {
	s.Security.DetailTypes = []string{"payment_initiation", "account_information"}
	s.Security.Resources = []string{payments, accounts}
}

func array(objects ...string) string { return "[" + strings.Join(objects, ",") + "]" }

// has compares a member authorization_details with the JSON that it should be.
func has(t testing.TB, where string, members map[string]any, want string) {
	t.Helper()
	var wanted any
	if want != "" {
		must(t, json.Unmarshal([]byte(want), &wanted))
	}
	if diff := cmp.Diff(wanted, members["authorization_details"]); diff != "" {
		t.Errorf("%s (-want +got):\n%s", where, diff)
	}
}

// permit signs in to shop with a person's yes, and redeems the code.
func (p *person) permit(t testing.TB, pairs ...string) answer {
	t.Helper()
	got := p.browser.allow(t, p.browser.authorize(t, pairs...), p.session).redirected(t, callback)
	return p.browser.in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(got.Get("code"))).status(t, http.StatusOK)
}

func TestAuthorizationDetails(t *testing.T) {
	for _, format := range []oidc.AccessTokenFormat{oidc.FormatJWT, oidc.FormatOpaque} {
		t.Run(string(format), func(t *testing.T) {
			each(t, func(t *testing.T, in *instance) { testDetails(t, in, format) })
		})
	}
}

func testDetails(t *testing.T, in *instance, format oidc.AccessTokenFormat) {
	p := in.person(t)
	in.detailTypes(t)
	in.application(t, func(s *oidc.ApplicationSpec) { detailed(s); s.AccessToken = format })
	// token checks that an answer and its token have the details, for the audience.
	token := func(t *testing.T, got answer, want string, audience ...any) tokens {
		t.Helper()
		issued := got.tokens(t)
		has(t, "RFC 9396 §7 the token response", got.json(t), want)
		seen := in.introspect(t, issued.access)
		has(t, "RFC 9396 §9.2 introspection", seen, want)
		var aud any = audience
		if len(audience) == 1 {
			aud = audience[0]
		}
		if diff := cmp.Diff(aud, seen["aud"]); diff != "" {
			t.Errorf("aud: %s", diff)
		}
		if format == oidc.FormatJWT {
			_, claims := parts(t, issued.access)
			has(t, "RFC 9396 §9.1 the JWT", claims, want)
		}
		return issued
	}
	t.Run("§3 with scopes", func(t *testing.T) {
		issued := token(t, p.permit(t, "authorization_details", array(payment, reading)), array(payment, reading), in.url, payments, accounts)
		if issued.scope != "openid" || issued.id == "" {
			t.Errorf("got %+v", issued)
		}
		in.userInfo(t, issued.access).status(t, http.StatusOK)
		if _, claims := parts(t, issued.id); claims["authorization_details"] != nil {
			t.Error("the ID token has them")
		}
	})
	t.Run("§3 without scopes, by POST", func(t *testing.T) {
		asked := p.browser.post(t, "/oauth2/authorize", params("scope", "", "authorization_details", array(payment)))
		got := p.browser.allow(t, asked, p.session).redirected(t, callback)
		issued := token(t, in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(got.Get("code"))), array(payment), payments)
		if issued.scope != "" || issued.id != "" {
			t.Errorf("got %+v", issued)
		}
		in.userInfo(t, issued.access).oauthError(t, http.StatusUnauthorized, "invalid_token") // it is not for this server
	})
	t.Run("§6 less for a code", func(t *testing.T) {
		code := p.browser.allow(t, p.browser.authorize(t, "authorization_details", array(payment, reading)), p.session).redirected(t, callback).Get("code")
		got := in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(code, "authorization_details", array(listing)))
		issued := token(t, got, array(listing), in.url, payments, accounts)
		t.Run("§6.1 what was allowed stays", func(t *testing.T) {
			token(t, in.refresh(t, issued.refresh), array(payment, reading), in.url, payments, accounts)
		})
	})
	t.Run("§6 a refresh keeps them", func(t *testing.T) {
		issued := p.permit(t, "authorization_details", array(payment, reading)).tokens(t)
		seen := in.introspect(t, issued.refresh)
		has(t, "introspection of the refresh token", seen, array(payment, reading))
		issued = token(t, in.refresh(t, issued.refresh), array(payment, reading), in.url, payments, accounts)
		t.Run("or has less", func(t *testing.T) {
			issued = token(t, in.refresh(t, issued.refresh, "authorization_details", array(listing)), array(listing), in.url, payments, accounts)
		})
		t.Run("§9.1 for one resource", func(t *testing.T) {
			part := strings.Replace(reading, `"https://pay.example/",`, "", 1)
			issued = token(t, in.refresh(t, issued.refresh, "resource", accounts), array(part), accounts)
			in.refresh(t, issued.refresh, "resource", accounts, "authorization_details", array(payment)).oauthError(t, 400, "invalid_authorization_details")
			issued = token(t, in.refresh(t, issued.refresh, "resource", in.url), "", in.url)
		})
		t.Run("never more", func(t *testing.T) {
			for name, asked := range map[string]string{
				"an action":        array(strings.Replace(payment, `"status"`, `"cancel"`, 1)),
				"another amount":   array(strings.Replace(payment, "123.50", "1230.50", 1)),
				"another creditor": array(strings.Replace(payment, "Merchant A", "Merchant B", 1)),
				"twice":            array(payment, payment),
				"another type":     array(`{"type":"other"}`),
				"a list left out":  array(strings.Replace(listing, `,"locations":["https://accounts.example/"]`, "", 1)),
				"no JSON":          `[{`,
			} {
				if got := in.refresh(t, issued.refresh, "authorization_details", asked); got.StatusCode != 400 || got.json(t)["error"] != "invalid_authorization_details" {
					t.Errorf("%s: %d %s", name, got.StatusCode, got.body)
				}
			}
			token(t, in.refresh(t, issued.refresh), array(payment, reading), in.url, payments, accounts) // none of which used it up
		})
	})
	t.Run("a grant without any", func(t *testing.T) {
		issued := token(t, in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(p.browser.code(t))), "", in.url)
		in.refresh(t, issued.refresh, "authorization_details", array(listing)).oauthError(t, 400, "invalid_authorization_details")
	})
	t.Run("§9.2 in a signed answer", func(t *testing.T) {
		issued := p.permit(t, "authorization_details", array(payment)).tokens(t)
		_, claims := parts(t, in.introspectAs(t, "application/token-introspection+jwt", issued.access).body)
		answer, _ := claims["token_introspection"].(map[string]any)
		has(t, "the answer", answer, array(payment))
	})
	t.Run("RFC 8693 an exchange", func(t *testing.T) {
		in.member(t, in.tenant(t, "hamburg", directory.Policy{}), p.user, directory.StatusActive, "viewer")
		other := func(s *oidc.ApplicationSpec) { detailed(s); s.ClientID, s.AccessToken = "other", format }
		in.application(t, other)
		issued := p.permit(t, "scope", "openid tenant:berlin", "authorization_details", array(payment, reading)).tokens(t)
		exchange := func(client string, pairs ...string) answer {
			return in.direct(t, "/oauth2/token", client, shopSecret, exchangeOf(issued.access, pairs...))
		}
		t.Run("in the same tenant passes on all or a part", func(t *testing.T) {
			token(t, exchange("shop"), array(payment, reading), in.url, payments, accounts)
			less := token(t, exchange("shop", "authorization_details", array(listing)), array(listing), in.url, payments, accounts)
			exchange("shop", "authorization_details", array(payment, payment)).oauthError(t, 400, "invalid_authorization_details")
			again := exchangeOf(less.access, "authorization_details", array(payment))
			in.direct(t, "/oauth2/token", "shop", shopSecret, again).oauthError(t, 400, "invalid_authorization_details") // which the grant has, the token not
		})
		t.Run("for another tenant passes on none", func(t *testing.T) {
			token(t, exchange("shop", "scope", "openid tenant:hamburg"), "", in.url, payments, accounts)
			exchange("shop", "scope", "openid tenant:hamburg", "authorization_details", array(listing)).oauthError(t, 400, "invalid_authorization_details")
		})
		t.Run("for another application passes on none", func(t *testing.T) {
			got := exchange("other").status(t, http.StatusOK).json(t)
			has(t, "the token response", got, "")
			exchange("other", "authorization_details", array(listing)).oauthError(t, 400, "invalid_authorization_details")
		})
		t.Run("as somebody else has none", func(t *testing.T) {
			exchange("shop", "requested_subject", "x", "reason", "y", "tenant", "berlin", "authorization_details", array(listing)).oauthError(t, 400, "invalid_authorization_details")
		})
	})
	t.Run("the operator takes a type back", func(t *testing.T) {
		issued := p.permit(t, "scope", "openid tenant:berlin", "authorization_details", array(payment, reading)).tokens(t)
		in.application(t, func(s *oidc.ApplicationSpec) {
			detailed(s)
			s.AccessToken, s.Security.DetailTypes = format, []string{"account_information"}
		})
		has(t, "the token response", in.refresh(t, issued.refresh).status(t, http.StatusOK).json(t), array(reading))
	})
}

// RFC 9396 §5, wherever the parameter is taken.
func TestAuthorizationDetailsThatAreRefused(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.detailTypes(t)
		key := newClientKey(t, jose.ES256, "k")
		in.application(t, func(s *oidc.ApplicationSpec) { detailed(s); s.Security.JWKS = jwks(t, key) })
		in.machine(t, p.tenant, detailed)
		in.application(t, func(s *oidc.ApplicationSpec) {
			*s = oidc.ApplicationSpec{ClientID: "box", Name: "Box", Type: oidc.Device, Secret: secret.NewText(boxSecret)}
			detailed(s)
		})
		for _, c := range []struct {
			name, details string
			says          []string
		}{
			{"an unknown type", array(`{"type":"unknown"}`), []string{"unknown"}},
			{"a type that is not the application's", array(`{"type":"other"}`), []string{"other"}},
			{"one of two", array(payment, `{"type":"other"}`), []string{"other"}},
			{"an unknown field", array(strings.Replace(payment, `"creditorName"`, `"debtor":"x","creditorName"`, 1)), []string{"payment_initiation", "debtor"}},
			{"an unknown field further in", array(strings.Replace(payment, `"currency"`, `"debtor":"x","currency"`, 1)), []string{"payment_initiation", "instructedAmount.debtor"}},
			{"a field that is missing", array(strings.Replace(payment, `,"creditorName":"Merchant A"`, "", 1)), []string{"payment_initiation", "creditorName"}},
			{"a field of another type", array(strings.Replace(payment, `123.50`, `"123.50"`, 1)), []string{"payment_initiation", "instructedAmount.amount"}},
			{"a value that is not allowed", array(strings.Replace(payment, `"status"`, `"steal"`, 1)), []string{"payment_initiation", "actions"}},
			{"RFC 8707 a resource that is not the application's", array(strings.Replace(payment, payments, "https://evil.example/", 1)), []string{"payment_initiation", "locations"}},
			{"locations that are no texts", array(strings.Replace(payment, `["https://pay.example/"]`, `[{"u":"x"}]`, 1)), []string{"payment_initiation", "locations"}},
			{"two types in one object", `[{"type":"account_information","type":"payment_initiation","actions":["x"]}]`, []string{"twice"}},
			{"a name that does not belong into an answer", array(`{"type":"account_information","actions":["x"],"\"><b>\\ü":1}`), []string{"account_information"}},
			{"an object", payment, []string{"array"}},
			{"nothing", `[]`, []string{"array"}},
			{"arrays without end", strings.Repeat("[", 2000) + strings.Repeat("]", 2000), []string{"deep"}},
			{"too much", array(slices.Repeat([]string{`{"type":"account_information","actions":["` + strings.Repeat("x", 450) + `"]}`}, 12)...), []string{"longer"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				told := func(where, code, description string) {
					t.Helper()
					if code != "invalid_authorization_details" || slices.ContainsFunc(c.says, func(part string) bool { return !strings.Contains(description, part) }) {
						t.Errorf("%s: %s %q", where, code, description)
					}
					if strings.ContainsFunc(description, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
						t.Errorf("%s: RFC 6749 §4.1.2.1 forbids a character of %q", where, description)
					}
				}
				direct := func(where string, got answer) {
					t.Helper()
					v := got.status(t, 400).json(t)
					code, _ := v["error"].(string)
					description, _ := v["error_description"].(string)
					told(where, code, description)
				}
				got := p.browser.authorize(t, "authorization_details", c.details).redirected(t, callback)
				told("§3 GET", got.Get("error"), got.Get("error_description"))
				got = p.browser.post(t, "/oauth2/authorize", params("authorization_details", c.details)).redirected(t, callback)
				told("§3 POST", got.Get("error"), got.Get("error_description"))
				direct("RFC 9126", in.direct(t, "/oauth2/par", "shop", shopSecret, params("authorization_details", c.details)))
				direct("RFC 8628", in.direct(t, "/oauth2/device_authorization", "box", boxSecret, url.Values{"scope": {"openid"}, "authorization_details": {c.details}}))
				direct("§6 client_credentials", in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"client_credentials"}, "authorization_details": {c.details}}))
				if json.Valid([]byte(c.details)) && c.details != "[]" {
					object := key.sign(t, "oauth-authz-req+jwt", in.requestClaims("authorization_details", json.RawMessage(c.details)))
					direct("RFC 9101", in.direct(t, "/oauth2/par", "shop", shopSecret, url.Values{"request": {object}}))
				}
			})
		}
		t.Run("a megabyte of arrays", func(t *testing.T) {
			much := strings.Repeat("[", 1<<20)
			form := params("authorization_details", much)
			in.direct(t, "/oauth2/par", "shop", shopSecret, form).oauthError(t, 400, "invalid_request")
			p.browser.post(t, "/oauth2/authorize", form).errorPage(t)
		})
		t.Run("RFC 6749 §3.1 twice", func(t *testing.T) {
			form := params()
			form["authorization_details"] = []string{array(payment), array(payment)}
			in.direct(t, "/oauth2/par", "shop", shopSecret, form).oauthError(t, 400, "invalid_request")
		})
		t.Run("a web application for itself", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) { detailed(s); s.Tenant = p.tenant.ID })
			form := url.Values{"grant_type": {"client_credentials"}, "scope": {"ssf.manage"}, "authorization_details": {array(listing)}}
			in.direct(t, "/oauth2/token", "shop", shopSecret, form).oauthError(t, 400, "invalid_authorization_details")
		})
	})
}

// RFC 9396 §3: the person is asked, whatever there was before.
func TestConsentToAuthorizationDetails(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.detailTypes(t)
		for name, change := range map[string]func(*oidc.ApplicationSpec){"of one's own": detailed, "of somebody else": func(s *oidc.ApplicationSpec) { detailed(s); s.ThirdParty = true }} {
			t.Run(name, func(t *testing.T) {
				in.application(t, change)
				p.permit(t, "authorization_details", array(payment))
				silent := p.browser.authorize(t, "authorization_details", array(payment), "prompt", "none").redirected(t, callback)
				if silent.Get("error") != "consent_required" || silent.Get("state") != "the state" {
					t.Errorf("prompt=none: %v", silent)
				}
				got := p.browser.authorize(t, "authorization_details", array(payment))
				request := got.waits(t, "/login/consent")
				p.browser.resume(t, request).waits(t, "/login/consent")
				r, err := in.oidc.Request(t.Context(), request, p.browser.cookie())
				must(t, err)
				asked, err := in.oidc.AskedConsent(t.Context(), r, p.session)
				must(t, err)
				if len(asked.New) > 0 || len(asked.Details) != 1 || asked.Details[0].Type() != "payment_initiation" {
					t.Errorf("asked for %+v", asked)
				}
				p.browser.code(t) // which remembers what it can
			})
		}
		t.Run("refused", func(t *testing.T) {
			request := p.browser.authorize(t, "authorization_details", array(payment)).waits(t, "/login/consent")
			got := p.browser.post(t, "/oauth2/authorize/cancel", url.Values{"request": {string(request)}}).redirected(t, callback)
			if got.Get("error") != "access_denied" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("the operator takes the type back meanwhile", func(t *testing.T) {
			got := p.browser.authorize(t, "authorization_details", array(payment))
			in.application(t, nil)
			if back := p.browser.allow(t, got, p.session).redirected(t, callback); back.Get("error") != "invalid_authorization_details" {
				t.Errorf("got %v", back)
			}
			in.application(t, detailed)
		})
		t.Run("the trail tells of them", func(t *testing.T) {
			granted := in.trail.of("grant.create")
			if got := granted[0].Data["authorization_details_types"]; !cmp.Equal(got, []string{"payment_initiation"}) {
				t.Errorf("grant.create has %v", got)
			}
			if got := in.trail.of("application.allow")[0].Data["authorization_details_types"]; !cmp.Equal(got, []string{"payment_initiation"}) {
				t.Errorf("application.allow has %v", got)
			}
		})
		t.Run("taken back", func(t *testing.T) {
			issued := p.permit(t, "scope", "", "authorization_details", array(payment)).tokens(t)
			connected, err := in.oidc.Connected(t.Context(), p.user.ID)
			must(t, err)
			if len(connected) != 1 || !slices.Contains(connected[0].Details.Types(), "payment_initiation") {
				t.Fatalf("connected %+v", connected)
			}
			must(t, in.oidc.Disconnect(p.session.As(t.Context()), p.user.ID, "shop"))
			if in.introspect(t, issued.access)["active"] != false {
				t.Error("the token lives on")
			}
			in.refresh(t, issued.refresh).oauthError(t, 400, "invalid_grant")
		})
		t.Run("without scopes there is nothing to remember", func(t *testing.T) {
			p.permit(t, "scope", "", "authorization_details", array(payment))
			connected, err := in.oidc.Connected(t.Context(), p.user.ID)
			must(t, err)
			if len(connected) != 1 || connected[0].Allowed || len(connected[0].Scopes) > 0 {
				t.Errorf("connected %+v", connected)
			}
		})
	})
}

func TestAuthorizationDetailsOfDevices(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.detailTypes(t)
		in.application(t, func(s *oidc.ApplicationSpec) {
			*s = oidc.ApplicationSpec{ClientID: "box", Name: "Box", Type: oidc.Device, Secret: secret.NewText(boxSecret)}
			detailed(s)
		})
		asked := in.direct(t, "/oauth2/device_authorization", "box", boxSecret, url.Values{"authorization_details": {array(payment, reading)}}).status(t, http.StatusOK).json(t)
		device, _ := asked["device_code"].(string)
		user, _ := asked["user_code"].(string)
		r, err := in.enter(t, user)
		must(t, err)
		q, err := in.oidc.DeviceQuestion(t.Context(), r, p.session)
		must(t, err)
		if !slices.Equal(q.Details.Types(), []string{"account_information", "payment_initiation"}) {
			t.Errorf("RFC 9396 §3: asked for %v", q.Details)
		}
		must(t, in.oidc.AllowDevice(t.Context(), r, p.session, q.Confirmation))
		poll := func(details string) answer {
			form := url.Values{"grant_type": {oidc.GrantDeviceCode}, "device_code": {device}}
			set(form, []string{"authorization_details", details})
			return in.direct(t, "/oauth2/token", "box", boxSecret, form)
		}
		poll(array(payment, payment)).oauthError(t, 400, "invalid_authorization_details") // which does not use the code up
		got := poll(array(listing)).status(t, http.StatusOK)
		has(t, "RFC 9396 §6 less", got.json(t), array(listing))
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.tokens(t).refresh}}
		has(t, "a refresh", in.direct(t, "/oauth2/token", "box", boxSecret, form).status(t, http.StatusOK).json(t), array(payment, reading))
	})
}

// RFC 9396 §6: an application for itself.
func TestAuthorizationDetailsOfMachines(t *testing.T) {
	for _, format := range []oidc.AccessTokenFormat{oidc.FormatJWT, oidc.FormatOpaque} {
		t.Run(string(format), func(t *testing.T) {
			each(t, func(t *testing.T, in *instance) {
				in.detailTypes(t)
				in.machine(t, in.tenant(t, "berlin", directory.Policy{}), func(s *oidc.ApplicationSpec) { detailed(s); s.AccessToken = format })
				got := in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"client_credentials"}, "authorization_details": {array(listing)}}).status(t, http.StatusOK)
				has(t, "§7", got.json(t), array(listing))
				seen := in.direct(t, "/oauth2/introspect", "robot", robotSecret, url.Values{"token": {got.tokens(t).access}}).json(t)
				has(t, "§9.2", seen, array(listing))
				if seen["aud"] != accounts {
					t.Errorf("aud %v", seen["aud"])
				}
			})
		})
	}
}

// RFC 9396 §10.
func TestAuthorizationDetailsTypesArePublished(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		published := func() any {
			return in.browser(t).get(t, "/.well-known/openid-configuration", nil).status(t, http.StatusOK).json(t)["authorization_details_types_supported"]
		}
		if got := published(); got != nil {
			t.Errorf("without any: %v", got)
		}
		in.detailTypes(t)
		in.advance(2 * time.Second)
		if diff := cmp.Diff([]any{"account_information", "other", "payment_initiation"}, published()); diff != "" {
			t.Error(diff)
		}
		t.Run("an application can use only those", func(t *testing.T) {
			spec := oidc.ApplicationSpec{ClientID: "shop", Type: oidc.Web, RedirectURIs: []string{callback}}
			spec.Security.DetailTypes = []string{"other", "unknown"}
			if _, err := in.oidc.PutApplication(t.Context(), spec); fault.As(err).Field != "authorization_details_types" {
				t.Errorf("got %v", err)
			}
		})
		t.Run("the same once more changes nothing", func(t *testing.T) {
			before := len(in.trail.of("authorization_details_type.create"))
			in.detailTypes(t)
			if before != 3 || len(in.trail.of("authorization_details_type.create")) != 3 || len(in.trail.of("authorization_details_type.update")) != 0 {
				t.Error("the trail tells of changes")
			}
		})
		t.Run("another node learns of a change", func(t *testing.T) {
			node := in.withStore(t, in.store)
			types, err := node.DetailTypes(t.Context())
			must(t, err)
			changed := types[0]
			changed.Names = inEveryLanguage("Changed")
			must(t, in.oidc.PutDetailType(t.Context(), changed))
			in.advance(2 * time.Second)
			if types, err = node.DetailTypes(t.Context()); err != nil || types[0].Names["de"] != "Changed" {
				t.Errorf("got %v, %v", types, err)
			}
		})
	})
}

// A type that is removed takes with it what people have allowed by it: the same name
// may mean something else later.
func TestAuthorizationDetailsTypeRemoved(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.detailTypes(t)
		list := func(types ...string) {
			in.application(t, func(s *oidc.ApplicationSpec) {
				detailed(s)
				s.AccessToken, s.Security.DetailTypes, s.BackchannelLogoutURI = oidc.FormatOpaque, types, "https://shop.example/logout"
			})
			in.advance(2 * time.Second)
		}
		list("payment_initiation", "account_information")
		refresh := func(got tokens) answer {
			return in.direct(t, "/oauth2/token", "shop", shopSecret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.refresh}})
		}
		holding := p.permit(t, "authorization_details", array(payment, listing)).tokens(t)
		other := p.permit(t, "authorization_details", array(listing)).tokens(t)
		waiting := p.browser.authorize(t, "authorization_details", array(payment))

		if err := in.oidc.RemoveDetailType(t.Context(), "payment_initiation"); fault.As(err).Kind != fault.Conflict || !strings.Contains(err.Error(), "shop") {
			t.Fatalf("while an application lists it: %v", err)
		}
		if in.introspect(t, holding.access)["active"] != true {
			t.Error("what was refused has ended something")
		}
		list("account_information")
		for range 2 {
			must(t, in.oidc.RemoveDetailType(t.Context(), "payment_initiation"))
		}
		if events := in.trail.of("authorization_details_type.delete"); len(events) != 1 || events[0].Data["grants_ended"] != 1 {
			t.Errorf("the trail: %+v", events)
		}
		if told, err := in.store.Deliveries(t.Context(), p.tenant.ID, outbox.BackchannelLogout, "", "", 100); err != nil || len(told) != 1 {
			t.Errorf("the application is told %d times, %v", len(told), err)
		}
		if in.introspect(t, holding.access)["active"] != false {
			t.Error("its token is in force")
		}
		refresh(holding).oauthError(t, http.StatusBadRequest, "invalid_grant")
		if in.introspect(t, other.access)["active"] != true {
			t.Error("the token of another type is not in force")
		}
		if got := p.browser.allow(t, waiting, p.session).redirected(t, callback).Get("error"); got != "invalid_authorization_details" {
			t.Errorf("who is asked meanwhile: %s", got)
		}
		has(t, "a refresh of another type", refresh(other).status(t, http.StatusOK).json(t), array(listing))
		in.advance(2 * time.Second)
		in.detailTypes(t) // by the same name
		list("payment_initiation", "account_information")
		refresh(holding).oauthError(t, http.StatusBadRequest, "invalid_grant")
	})
}

// The FAPI 2.0 profile with details that are pushed and, where the application
// signs, signed.
func TestAuthorizationDetailsWithFAPI2(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.detailTypes(t)
		key, dpop := newClientKey(t, jose.ES256, "es"), newClientKey(t, jose.ES256, "")
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.Secret = secret.Text{}
			s.Security = oidc.Security{Profile: oidc.ProfileFAPI2, AuthMethod: oidc.AuthPrivateKeyJWT, JWKS: jwks(t, key)}
			detailed(s)
		})
		send := func(path string, form url.Values) answer {
			form.Set("client_assertion", key.sign(t, "", in.assertion("iss", "shop", "sub", "shop")))
			form.Set("client_assertion_type", oidc.ClientAssertionType)
			return in.post(t, http.DefaultClient, path, form, func(r *http.Request) { r.Header.Set("DPoP", in.proof(t, dpop, "POST", path, "")) })
		}
		for name, form := range map[string]url.Values{
			"pushed": params("authorization_details", array(payment)),
			"signed": {"request": {key.sign(t, "oauth-authz-req+jwt", in.requestClaims("authorization_details", json.RawMessage(array(payment))))}},
		} {
			t.Run(name, func(t *testing.T) {
				address, _ := send("/oauth2/par", form).status(t, 201).json(t)["request_uri"].(string)
				asked := p.browser.get(t, "/oauth2/authorize", pushedQuery(address, "authorization_details", array(listing))) // which does not count
				code := p.browser.allow(t, asked, p.session).redirected(t, callback).Get("code")
				got := send("/oauth2/token", redemption(code)).status(t, http.StatusOK)
				has(t, "the token response", got.json(t), array(payment))
				if got.json(t)["token_type"] != "DPoP" {
					t.Error("the token is not bound")
				}
				refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.tokens(t).refresh}}
				has(t, "a refresh", send("/oauth2/token", refresh).status(t, http.StatusOK).json(t), array(payment))
			})
		}
	})
}
