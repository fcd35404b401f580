package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

// TestPeopleWithoutAnAddress: whom a directory knows by a name and a telephone only
// is written to by nobody, and whoever wants that is told why it can't be.
func TestPeopleWithoutAnAddress(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		yes := true
		s.tenant(directory.TenantSpec{Slug: "berlin", Name: "Berlin", Policy: &directory.Policy{MFA: directory.MFARequired, EmailCodes: &yes}})
		s.person("boss", "berlin", "owner")
		var pushed struct{ ID string }
		s.allows(s.pushes(http.MethodPost, "berlin", "/Users", map[string]any{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": "ext-4711",
			"phoneNumbers": []map[string]any{{"value": "+49 30 1234567"}},
		}, &pushed))
		m := must[*directory.Membership](s.t)(s.in.store.Membership(s.t.Context(), s.id("berlin"), id.Membership(pushed.ID)))
		written := func() int { return len(must[[]mail.Waiting](s.t)(s.in.mail.Outbox(s.t.Context(), 1000))) }
		before := written()

		member := "/members/" + pushed.ID
		s.refuses("no_address",
			s.api("boss", http.MethodPost, "berlin", member+"/password-reset", nil, nil),
			s.api("boss", http.MethodPost, "berlin", member+"/invitation", nil, nil),
		)
		must[*directory.Membership](s.t)(s.in.directory.SetStatus(s.operator(), m.Tenant, m.ID, directory.StatusInvited))
		s.refuses("no_address", s.api("boss", http.MethodPost, "berlin", member+"/invitation", nil, nil))
		must[*directory.Membership](s.t)(s.in.directory.SetStatus(s.operator(), m.Tenant, m.ID, directory.StatusActive))

		// Signed in all the same, as by a tenant's own provider: no code is mailed to
		// nobody, an app is set up instead.
		now, token := s.in.now(), secret.Random("")
		session := &authn.Session{
			ID: id.New[id.Session](), User: m.User, AuthTime: now, ACR: authn.ACR1, AMR: []string{authn.AMRPassword}, Created: now, LastSeen: now, Expires: now.Add(time.Hour),
		}
		s.check(s.in.store.CreateSession(s.t.Context(), session, token.Hash()))
		held := []*http.Cookie{{Name: cookie.Session, Value: token.Reveal()}}
		follows := func(address string) *httptest.ResponseRecorder {
			s.t.Helper()
			for range 6 {
				r := s.get(address)
				for _, k := range held {
					r.AddCookie(k)
				}
				answer := s.send(r)
				held = append(held, answer.Result().Cookies()...)
				if answer.Code != http.StatusFound && answer.Code != http.StatusSeeOther {
					return answer
				}
				address = must[*url.URL](s.t)(url.Parse(answer.Header().Get("Location"))).RequestURI()
			}
			s.t.Fatalf("it goes on to %s", address)
			return nil
		}
		for _, page := range []string{"/me", "/me/profile", "/me/security", "/me/tenants", "/me/tenants/berlin", "/me/activity"} {
			s.shows(follows(page), http.StatusOK)
		}
		s.shows(follows("/me/profile/email"), http.StatusForbidden)
		s.shows(follows("/oauth2/authorize?"+values("client_id", stageClient, "redirect_uri", stageRedirect, "response_type", "code",
			"scope", "openid tenant:berlin", "state", "s", "code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method", "S256").Encode()),
			http.StatusOK, "totp_key")

		// What is typed into the forms for strangers has to be an address.
		for _, typed := range []string{"ext-4711", "+49 30 1234567"} {
			s.shows(s.posts("/login/forgot", token.Reveal(), "login", typed), http.StatusUnprocessableEntity, "Enter your e-mail address")
		}
		if left := must[[]outbox.Delivery](s.t)(s.in.store.ClaimDeliveries(s.t.Context(), s.in.now(), s.in.now(), outbox.Claim{Most: 100, Each: 100})); len(left) != 0 {
			s.t.Errorf("got %v", left)
		}

		for _, letter := range must[[]mail.Waiting](s.t)(s.in.mail.Outbox(s.t.Context(), 1000)) {
			if !strings.Contains(letter.To, "@") {
				s.t.Errorf("%q is to nobody", letter.Subject)
			}
		}
		if after := written(); after != before {
			s.t.Errorf("%d letters were written", after-before)
		}
	})
}
