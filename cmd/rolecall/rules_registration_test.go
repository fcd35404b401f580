package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

const registrantPassword = "Four Unrelated Words 4"

// posts sends a form of the pages, as the browser that has the session does.
func (s *stage) posts(address, session string, pairs ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, s.in.config.PublicURL+address, strings.NewReader(values(pairs...).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if session != "" {
		r.AddCookie(&http.Cookie{Name: cookie.Session, Value: session})
	}
	return s.send(r)
}

// registers fills in the form of the tenant's page, and does what waits to be
// delivered.
func (s *stage) registers(tenant, email string) *httptest.ResponseRecorder {
	s.t.Helper()
	answer := s.posts("/login/register?tenant="+tenant, "", "email", email)
	for _, d := range must[[]outbox.Delivery](s.t)(s.in.store.ClaimDeliveries(s.t.Context(), s.in.now(), s.in.now().Add(time.Minute), outbox.Claim{Most: 100, Each: 100})) {
		if d.Kind == outbox.Registration {
			s.check(s.in.deliverers(nil)[outbox.Registration](s.t.Context(), d))
			s.check(s.in.store.FinishDelivery(s.t.Context(), d, s.in.now()))
		}
	}
	return answer
}

// linkTo is the way of the link in the last letter to an address.
func (s *stage) linkTo(email, wantSubject string) string {
	s.t.Helper()
	for _, letter := range must[[]mail.Waiting](s.t)(s.in.mail.Outbox(s.t.Context(), 100)) {
		if !strings.EqualFold(letter.To, email) {
			continue
		}
		if !strings.Contains(letter.Subject, wantSubject) {
			s.t.Fatalf("%s got %q, want %q", email, letter.Subject, wantSubject)
		}
		return strings.TrimPrefix(letter.Link, s.in.config.PublicURL)
	}
	s.t.Fatalf("nothing was written to %s", email)
	return ""
}

// shows checks the status and the texts of an answer.
func (s *stage) shows(r *httptest.ResponseRecorder, status int, texts ...string) {
	s.t.Helper()
	if r.Code != status {
		s.t.Fatalf("got %d %s, want %d", r.Code, r.Header().Get("Location"), status)
	}
	for _, text := range texts {
		if !strings.Contains(strings.ReplaceAll(r.Body.String(), "\u2011", "-"), text) { // hyphens at which no line ends
			s.t.Errorf("there is no %q in %s", text, r.Body)
		}
	}
}

// leads checks where an answer leads to.
func (s *stage) leads(r *httptest.ResponseRecorder, want string) {
	s.t.Helper()
	if got := r.Header().Get("Location"); r.Code != http.StatusSeeOther || got != want {
		s.t.Fatalf("got %d to %q, want %q: %s", r.Code, got, want, r.Body)
	}
}

func (s *stage) confirms(link string, pairs ...string) *httptest.ResponseRecorder {
	return s.posts(link, "", append([]string{
		"given", "Reg", "family", "Istrant", "password", registrantPassword, "password_again", registrantPassword, "terms", "1",
	}, pairs...)...)
}

func (s *stage) policy(actor, tenant string, registration any) string {
	return s.api(actor, http.MethodPut, tenant, "/policy", map[string]any{"mfa": "off", "registration": registration}, nil)
}

func TestRulesSelfRegistration(t *testing.T) {
	t.Parallel()
	onStage(t, "streamone", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "acct", Name: "Account"})
		s.tenant(directory.TenantSpec{Slug: "shut", Name: "Shut"})
		s.person("aa", "acct", "account_admin")
		s.person("op", "acct", "ops")
		s.rule("SI-R18", func() {
			s.registrationIsOff()
			s.registrationWithApproval()
			s.registrationConditions()
		})
	})
}

func (s *stage) registrationIsOff() {
	for _, tenant := range []string{"acct", "nobodys", "%FF", "..%2Fx"} {
		s.shows(s.send(s.get("/login/register?tenant="+tenant)), http.StatusNotFound, "Registration is not possible")
		s.shows(s.posts("/login/register?tenant="+tenant, "", "email", "new@corp.example"), http.StatusNotFound, "Registration is not possible")
	}
	if left := must[[]outbox.Delivery](s.t)(s.in.store.ClaimDeliveries(s.t.Context(), s.in.now(), s.in.now(), outbox.Claim{Most: 100, Each: 100})); len(left) != 0 {
		s.t.Errorf("got %v", left)
	}
}

func (s *stage) registrationWithApproval() {
	s.allows(s.policy("operator", "acct", map[string]any{
		"approval": true, "role": "sales", "denied_domains": []string{"free.example"}, "terms": "https://acct.example/terms",
	}))
	for email, want := range map[string]string{"x@free.example": "this domain", "nonsense": "Enter an e-mail address", "": "Enter an e-mail address"} {
		s.shows(s.registers("acct", email), http.StatusUnprocessableEntity, want)
	}
	s.shows(s.send(s.get("/login/register?tenant=acct")), http.StatusOK, "Register at Account")

	s.leads(s.registers("acct", "New@Corp.example"), "/login/register?sent=1&tenant=acct")
	first := s.linkTo("new@corp.example", "Register at Account")
	s.registers("acct", "new@corp.example")
	link := s.linkTo("new@corp.example", "Register at Account")
	s.shows(s.send(s.get(first)), http.StatusNotFound, "This link does not work")
	s.shows(s.send(s.get(link)), http.StatusOK, "new@corp.example", "looks at each registration", "https://acct.example/terms")
	for _, wrong := range []struct {
		text  string
		pairs []string
	}{
		{"Agree to the terms", []string{"terms", ""}},
		{"not the same", []string{"password", "other"}},
		{"upper-case letters", []string{"password", "longenough7x", "password_again", "longenough7x"}}, // the role system's policy
		{"your given name", []string{"given", " "}},
	} {
		s.shows(s.confirms(link, wrong.pairs...), http.StatusUnprocessableEntity, wrong.text)
	}
	if user, err := s.in.directory.UserByName(s.t.Context(), "new@corp.example"); err == nil {
		s.t.Fatalf("the address is not confirmed, and there is %v", user)
	}
	answer := s.confirms(link)
	s.leads(answer, "/login/registration/waiting")
	if cookies := answer.Result().Cookies(); len(cookies) != 0 {
		s.t.Errorf("who waits got %v", cookies)
	}
	s.shows(s.send(s.get("/login/registration/waiting")), http.StatusOK, "waits for approval")
	s.shows(s.confirms(link), http.StatusNotFound, "This link does not work")

	pending := func(email string) string {
		s.t.Helper()
		user := must[*directory.User](s.t)(s.in.directory.UserByName(s.t.Context(), email))
		m := must[*directory.Membership](s.t)(s.in.store.MembershipOfUser(s.t.Context(), s.id("acct"), user.ID))
		if m.Status != "pending" || !user.EmailVerified {
			s.t.Fatalf("got %+v of %+v", m, user)
		}
		return string(m.ID)
	}
	member := "/members/" + pending("new@corp.example")
	approve := func(actor string) string {
		return s.api(actor, http.MethodPut, "acct", member+"/status", map[string]any{"status": "active"}, nil)
	}
	s.refuses("permission", approve("op"))
	s.allows(approve("aa"))
	s.linkTo("new@corp.example", "Welcome to Account")

	// Denied: gone, and told.
	s.registers("acct", "bad@corp.example")
	s.leads(s.confirms(s.linkTo("bad@corp.example", "Register")), "/login/registration/waiting")
	bad := pending("bad@corp.example")
	s.refuses("permission", s.api("op", http.MethodDelete, "acct", "/members/"+bad, nil, nil))
	s.allows(s.api("aa", http.MethodDelete, "acct", "/members/"+bad, nil, nil))
	s.linkTo("bad@corp.example", "Your registration at Account")

	// Known addresses get the same answer, and their owners a letter.
	known := s.registers("acct", s.email("aa"))
	s.leads(known, "/login/register?sent=1&tenant=acct")
	s.linkTo(s.email("aa"), "You have an account at Account")
	unknown := s.registers("acct", "fresh@corp.example")
	if known.Body.String() != unknown.Body.String() || len(known.Header()) != len(unknown.Header()) {
		s.t.Errorf("the answers differ: %v %v", known, unknown)
	}

	// In a domain that a tenant has verified it is the same.
	s.tenant(directory.TenantSpec{Slug: "verified", Name: "Verified", Domains: []string{"verified.example"}})
	s.allows(s.pushes(http.MethodPost, "verified", "/Users", map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": "known@verified.example",
	}, nil))
	known, unknown = s.registers("acct", "known@verified.example"), s.registers("acct", "unknown@verified.example")
	s.leads(known, "/login/register?sent=1&tenant=acct")
	s.leads(unknown, "/login/register?sent=1&tenant=acct")
	if known.Body.String() != unknown.Body.String() || len(known.Header()) != len(unknown.Header()) {
		s.t.Errorf("in a verified domain the answers differ: %v %v", known, unknown)
	}

	// Who has an account elsewhere joins with it, and is not signed in by the mail.
	s.user("pat")
	s.check(s.in.authn.SetPassword(s.operator(), s.user("pat").ID, secret.NewText("Pats own Passw0rd")))
	s.registers("acct", s.email("pat"))
	link = s.linkTo(s.email("pat"), "Register at Account")
	s.shows(s.send(s.get(link)), http.StatusOK, "You have an account")
	answer = s.confirms(link)
	s.leads(answer, "/login/registration/waiting")
	if len(answer.Result().Cookies()) != 0 {
		s.t.Error("a mail signs in who has a password")
	}
	pending(s.email("pat"))
	s.allows(s.password("pat", "Pats own Passw0rd"))
	s.refuses("unauthenticated", strings.Replace(s.password("pat", registrantPassword), "wrong_credentials", "unauthenticated", 1))
}

func (s *stage) registrationConditions() {
	// What can't be.
	for field, registration := range map[string]any{
		"400:policy.registration.domains":        map[string]any{"role": "sales"},
		"400:policy.registration.denied_domains": map[string]any{"approval": true, "denied_domains": []string{"*.example"}},
		"400:policy.registration.role":           map[string]any{"approval": true, "role": "user"}, // locked
		"400:policy.registration.terms":          map[string]any{"approval": true, "terms": "javascript:alert(1)"},
	} {
		s.refuses(field, s.policy("operator", "acct", registration))
	}
	// With a list of domains nobody waits; the link's owner is signed in.
	s.allows(s.policy("operator", "shut", map[string]any{"domains": []string{"corp.example"}, "role": "sales"}))
	s.shows(s.registers("shut", "x@other.example"), http.StatusUnprocessableEntity, "this domain")
	s.registers("shut", "zoe@corp.example")
	link := s.linkTo("zoe@corp.example", "Register at Shut")

	// Two answers at once: one registers.
	var wait sync.WaitGroup
	codes := make([]int, 4)
	for i := range codes {
		wait.Go(func() { codes[i] = s.confirms(link).Code })
	}
	wait.Wait()
	registered := 0
	for _, code := range codes {
		if code == http.StatusSeeOther {
			registered++
		} else if code != http.StatusNotFound && code != http.StatusConflict && code != http.StatusServiceUnavailable {
			s.t.Errorf("got %d", code)
		}
	}
	if registered != 1 {
		s.t.Errorf("%d of %v have registered", registered, codes)
	}
	zoe := must[*directory.User](s.t)(s.in.directory.UserByName(s.t.Context(), "zoe@corp.example"))
	m := must[*directory.Membership](s.t)(s.in.store.MembershipOfUser(s.t.Context(), s.id("shut"), zoe.ID))
	if st := must[*directory.Standing](s.t)(s.in.directory.Standing(s.t.Context(), s.id("shut"), zoe.ID)); !st.SignIn || len(st.Roles) != 1 || st.Roles[0] != "sales" || m.Source != directory.SourceSelf {
		s.t.Errorf("got %+v", st)
	}

	// One address at two tenants at once: one user.
	s.registers("acct", "two@corp.example")
	atAcct := s.linkTo("two@corp.example", "Register at Account")
	s.registers("shut", "two@corp.example")
	atShut := s.linkTo("two@corp.example", "Register at Shut")
	for _, link := range []string{atAcct, atShut} {
		wait.Go(func() { s.confirms(link) })
	}
	wait.Wait()
	s.confirms(atAcct) // whoever came second goes on with the account that there is by now
	s.confirms(atShut)
	two := must[*directory.User](s.t)(s.in.directory.UserByName(s.t.Context(), "two@corp.example"))
	if all := must[[]directory.Membership](s.t)(s.in.store.MembershipsOfUser(s.t.Context(), two.ID)); len(all) != 2 {
		s.t.Errorf("got %+v", all)
	}

	s.registrationWithAddress()

	// Taken off the list in between, or denied: the link is of no use.
	s.registers("shut", "gone@corp.example")
	gone := s.linkTo("gone@corp.example", "Register at Shut")
	for _, changed := range []map[string]any{
		{"domains": []string{"other.example"}, "role": "sales"},
		{"domains": []string{"corp.example"}, "denied_domains": []string{"corp.example"}, "role": "sales"},
	} {
		s.allows(s.policy("operator", "shut", changed))
		s.shows(s.confirms(gone), http.StatusNotFound, "Registration is not possible")
	}
	s.allows(s.policy("operator", "shut", map[string]any{"domains": []string{"corp.example"}, "role": "sales"}))

	// Switched off in between: so it is.
	s.registers("shut", "late@corp.example")
	late := s.linkTo("late@corp.example", "Register at Shut")
	s.allows(s.policy("operator", "shut", nil))
	s.shows(s.confirms(late), http.StatusNotFound, "Registration is not possible")
	// Expired: so is it, though the tenant is open again.
	s.allows(s.policy("operator", "shut", map[string]any{"domains": []string{"corp.example"}, "role": "sales"}))
	s.shows(s.send(s.get(late)), http.StatusOK)
	s.in.now = func() time.Time { return time.Now().UTC().Add(25 * time.Hour) }
	s.check(s.in.wire())
	s.handler = handlerOf(s.t, s.in)
	s.shows(s.confirms(late), http.StatusNotFound, "This link does not work")
}

// registrationWithAddress is the option "require address": who registers says where
// they live, be it that they have an account, and the member has it.
func (s *stage) registrationWithAddress() {
	open := map[string]any{"domains": []string{"corp.example"}, "role": "sales"}
	s.shows(s.send(s.get(s.writesTo("shut", "plain@corp.example"))), http.StatusOK, "plain@corp.example")
	s.leads(s.confirms(s.linkTo("plain@corp.example", "Register"), "street", "Unasked 1", "locality", "X", "country", "DE"), "/me/tenants/shut?done=registered")
	addressOf := func(email string) any {
		s.t.Helper()
		user := must[*directory.User](s.t)(s.in.directory.UserByName(s.t.Context(), email))
		return must[*directory.Membership](s.t)(s.in.store.MembershipOfUser(s.t.Context(), s.id("shut"), user.ID)).Profile["addresses"]
	}
	if got := addressOf("plain@corp.example"); got != nil {
		s.t.Errorf("nobody asked, and there is %v", got)
	}

	open["address"] = true
	s.allows(s.policy("operator", "shut", open))
	link := s.writesTo("shut", "home@corp.example")
	s.shows(s.send(s.get(link)), http.StatusOK, `autocomplete="address-line1"`, `<option value="AT">Austria</option>`)
	address := []string{"street", "Ringstraße 1", "postal_code", "1010", "locality", "Wien", "region", "", "country", "AT"}
	for field, wrong := range map[string]struct{ value, text string }{
		"street":      {" ", "Enter the street"},
		"locality":    {"", "Enter the town"},
		"country":     {"SU", "Choose the country"},
		"postal_code": {strings.Repeat("1", 201), "The postal code is too long"},
		"region":      {"Wien\x00", "The state or region"},
	} {
		s.shows(s.confirms(link, append(slices.Clone(address), field, wrong.value)...), http.StatusUnprocessableEntity, wrong.text)
	}
	for _, none := range []string{"", "at", "ZZ", "AUT", "UK", "EU"} {
		s.shows(s.confirms(link, append(slices.Clone(address), "country", none)...), http.StatusUnprocessableEntity, "Choose the country")
	}
	s.leads(s.confirms(link, address...), "/me/tenants/shut?done=registered")
	want := []any{map[string]any{"type": "other", "primary": true, "streetAddress": "Ringstraße 1", "postalCode": "1010", "locality": "Wien", "country": "AT"}}
	if got := addressOf("home@corp.example"); !reflect.DeepEqual(got, want) {
		s.t.Errorf("got %v, want %v", got, want)
	}

	s.user("kim")
	s.check(s.in.authn.SetPassword(s.operator(), s.user("kim").ID, secret.NewText("Kims own Passw0rd")))
	open["domains"] = []string{strings.SplitAfter(s.email("kim"), "@")[1]}
	s.allows(s.policy("operator", "shut", open))
	link = s.writesTo("shut", s.email("kim"))
	s.shows(s.confirms(link), http.StatusUnprocessableEntity, "Enter the street")
	s.leads(s.confirms(link, append(address, "region", "W")...), "/me/tenants/shut?done=registered")
	if got, _ := json.Marshal(addressOf(s.email("kim"))); !strings.Contains(string(got), `"region":"W"`) {
		s.t.Errorf("got %s", got)
	}
	s.allows(s.policy("operator", "shut", map[string]any{"domains": []string{"corp.example"}, "role": "sales"}))
}

// writesTo registers an address, and returns the way of the letter's link.
func (s *stage) writesTo(tenant, email string) string {
	s.t.Helper()
	s.registers(tenant, email)
	return s.linkTo(email, "Register")
}

// The sign-in page of an application leads to the registration only where a
// tenant is named that takes some.
func TestRegistrationIsOfferedAtTheSignIn(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "open", Policy: &directory.Policy{Registration: &directory.Registration{Domains: []string{"corp.example"}, Role: "member"}}})
		s.tenant(directory.TenantSpec{Slug: "shut"})
		for tenant, want := range map[string]bool{"open": true, "shut": false, "none": false, "": false} {
			scope := "openid"
			if tenant != "" {
				scope += " tenant:" + tenant
			}
			begun := s.send(s.get("/oauth2/authorize?" + values("client_id", stageClient, "redirect_uri", stageRedirect, "response_type", "code",
				"scope", scope, "state", "s", "code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method", "S256").Encode()))
			to := must[*url.URL](s.t)(url.Parse(begun.Header().Get("Location")))
			r := s.get(to.RequestURI())
			for _, k := range begun.Result().Cookies() {
				r.AddCookie(k)
			}
			page := s.send(r)
			if got := strings.Contains(page.Body.String(), "/login/register?"); page.Code != http.StatusOK || got != want {
				s.t.Errorf("%q: %d, the link is there: %t", tenant, page.Code, got)
			}
		}

		// Who sets it gives the role away, so must be one who may.
		s.person("boss", "shut", "owner")
		s.person("mia", "shut", "member")
		registration := func(role string) map[string]any {
			return map[string]any{"domains": []string{"corp.example"}, "role": role}
		}
		s.refuses("permission", s.policy("mia", "shut", registration("viewer")))
		s.allows(s.policy("boss", "shut", registration("member")))
		s.refuses("400:policy.registration.role", s.policy("boss", "shut", registration("owner")), s.policy("boss", "shut", registration("king")))
		s.refuses("400:policy.registration.approval", s.policy("boss", "shut", map[string]any{"approval": true}))
		var got struct {
			Registration json.RawMessage `json:"registration"`
		}
		s.allows(s.api("boss", http.MethodGet, "shut", "/policy", nil, &got))
		if want := `{"domains":["corp.example"],"role":"member"}`; string(got.Registration) != want {
			s.t.Errorf("got %s, want %s", got.Registration, want)
		}

		// An address that is invited is led to the invitation.
		s.allows(s.api("boss", http.MethodPost, "shut", "/members", map[string]any{"email": "inge@corp.example", "roles": []string{"member"}}, nil))
		s.registers("shut", "inge@corp.example")
		if link := s.linkTo("inge@corp.example", "You are invited"); !strings.HasPrefix(link, "/login/invitation?token=") {
			s.t.Errorf("got %s", link)
		}
		// As many as for a forgotten password.
		answer := s.registers("shut", "often@corp.example")
		for range 5 {
			answer = s.registers("shut", "often@corp.example")
		}
		s.shows(answer, http.StatusTooManyRequests)
		if answer.Header().Get("Retry-After") == "" {
			s.t.Error("there is no Retry-After")
		}
	})
}
