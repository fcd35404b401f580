package provider_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

func thirdParty(s *oidc.ApplicationSpec) { s.ThirdParty = true }

// allow does what the portal's page does when the person allows what is asked.
func (b *browser) allow(t testing.TB, got answer, session *authn.Session) answer {
	t.Helper()
	request := got.waits(t, "/login/consent")
	r, err := b.in.oidc.Request(t.Context(), request, b.cookie())
	must(t, err)
	asked, err := b.in.oidc.AskedConsent(t.Context(), r, session)
	must(t, err)
	must(t, b.in.oidc.Allow(t.Context(), request, b.cookie(), session, asked.Confirmation))
	return b.resume(t, request)
}

func TestConsent(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, thirdParty)
		b := in.browser(t)
		session := b.signIn(t, p.user, authn.ACR1)
		silent := func(pairs ...string) string {
			return b.authorize(t, append([]string{"prompt", "none"}, pairs...)...).redirected(t, callback).Get("error")
		}
		t.Run("OIDC Core §3.1.2.6 prompt=none before any consent", func(t *testing.T) {
			if got := silent(); got != "consent_required" {
				t.Errorf("got %q", got)
			}
		})
		t.Run("asked once", func(t *testing.T) {
			if b.allow(t, b.authorize(t, "scope", "openid email"), session).redirected(t, callback).Get("code") == "" {
				t.Fatal("no code")
			}
			b.code(t, "scope", "openid email")
			b.code(t, "scope", "openid", "prompt", "none") // less than was allowed
			b.code(t, "scope", "openid tenant:"+p.tenant.Slug, "prompt", "none")
		})
		t.Run("more is asked for", func(t *testing.T) {
			for _, pairs := range [][]string{
				{"scope", "openid profile"},
				{"scope", "openid offline_access"}, // OIDC Core §11
				{"claims", `{"userinfo":{"phone_number":null}}`},
			} {
				b.authorize(t, pairs...).waits(t, "/login/consent")
				if got := silent(pairs...); got != "consent_required" {
					t.Errorf("%v: got %q", pairs, got)
				}
			}
			got := b.authorize(t, "scope", "openid profile")
			r, err := in.oidc.Request(t.Context(), got.waits(t, "/login/consent"), b.cookie())
			must(t, err)
			asked, err := in.oidc.AskedConsent(t.Context(), r, session)
			must(t, err)
			if !slices.Equal(asked.New, []string{"profile"}) || !slices.Equal(asked.Scopes, []string{"openid", "profile"}) {
				t.Errorf("asked for %v, new %v", asked.Scopes, asked.New)
			}
			b.allow(t, got, session)
			b.code(t, "scope", "openid email profile", "prompt", "none") // both together
		})
		t.Run("OIDC Core §3.1.2.1 prompt=consent asks always", func(t *testing.T) {
			for range 2 {
				if b.allow(t, b.authorize(t, "prompt", "consent"), session).redirected(t, callback).Get("code") == "" {
					t.Fatal("no code")
				}
			}
			in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID = "own" })
			b.code(t, "client_id", "own", "scope", "openid offline_access") // one's own applications need none
			b.authorize(t, "client_id", "own", "prompt", "consent").waits(t, "/login/consent")
		})
		t.Run("RFC 6749 §4.1.2.1 refused", func(t *testing.T) {
			request := b.authorize(t, "prompt", "consent").waits(t, "/login/consent")
			got := b.post(t, "/oauth2/authorize/cancel", url.Values{"request": {string(request)}}).redirected(t, callback)
			if got.Get("error") != "access_denied" || got.Get("state") != "the state" || got.Get("iss") != in.url {
				t.Errorf("got %v", got)
			}
			b.resume(t, request).errorPage(t)
		})
		t.Run("it is of one tenant", func(t *testing.T) {
			in.member(t, in.tenant(t, "paris", directory.Policy{}), p.user, directory.StatusActive)
			if got := silent("scope", "openid tenant:paris"); got != "consent_required" {
				t.Errorf("got %q", got)
			}
		})
		t.Run("it is of one person", func(t *testing.T) {
			bob, other := in.user(t, "bob@berlin.example"), in.browser(t)
			in.member(t, p.tenant, bob, directory.StatusActive)
			other.signIn(t, bob, authn.ACR1)
			other.authorize(t, "scope", "openid tenant:"+p.tenant.Slug).waits(t, "/login/consent")
		})
		t.Run("somebody else signs in after the answer", func(t *testing.T) {
			bert, b := in.user(t, "bert@berlin.example"), in.browser(t)
			in.member(t, p.tenant, bert, directory.StatusActive)
			ann := b.signIn(t, p.user, authn.ACR1)
			request := b.authorize(t, "prompt", "consent", "scope", "openid tenant:"+p.tenant.Slug).waits(t, "/login/consent")
			r, err := in.oidc.Request(t.Context(), request, b.cookie())
			must(t, err)
			asked, err := in.oidc.AskedConsent(t.Context(), r, ann)
			must(t, err)
			must(t, in.oidc.Allow(t.Context(), request, b.cookie(), ann, asked.Confirmation))
			b.signIn(t, bert, authn.ACR1)
			b.resume(t, request).waits(t, "/login/consent")
		})
		t.Run("the answer belongs to the question", func(t *testing.T) {
			ask := func() (*oidc.AuthorizationRequest, *oidc.AskedConsent) {
				r, err := in.oidc.Request(t.Context(), b.authorize(t, "prompt", "consent", "scope", "openid tenant:"+p.tenant.Slug).waits(t, "/login/consent"), b.cookie())
				must(t, err)
				asked, err := in.oidc.AskedConsent(t.Context(), r, session)
				must(t, err)
				return r, asked
			}
			r, asked := ask()
			_, another := ask()
			for name, confirmation := range map[string]secret.Text{"none": {}, "of another request": another.Confirmation, "made up": secret.NewText("x")} {
				if err := in.oidc.Allow(t.Context(), r.ID, b.cookie(), session, confirmation); fault.As(err).Kind != fault.Denied {
					t.Errorf("%s: %v", name, err)
				}
			}
			stranger := in.browser(t)
			again := stranger.signIn(t, p.user, authn.ACR1)
			stranger.authorize(t)
			if err := in.oidc.Allow(t.Context(), r.ID, stranger.cookie(), again, asked.Confirmation); fault.As(err).Kind != fault.NotFound {
				t.Errorf("another browser: %v", err)
			}
			if err := in.oidc.Allow(t.Context(), r.ID, b.cookie(), again, asked.Confirmation); fault.As(err).Kind != fault.Denied {
				t.Errorf("another session: %v", err)
			}
			must(t, in.oidc.Allow(t.Context(), r.ID, b.cookie(), session, asked.Confirmation))
		})
		t.Run("taken back", func(t *testing.T) {
			connected, err := in.oidc.Connected(t.Context(), p.user.ID)
			must(t, err)
			i := slices.IndexFunc(connected, func(a oidc.ConnectedApplication) bool { return a.ClientID == "shop" })
			if i < 0 || !connected[i].Allowed || !slices.Contains(connected[i].Scopes, "profile") {
				t.Fatalf("connected %+v", connected)
			}
			must(t, in.oidc.Disconnect(session.As(t.Context()), p.user.ID, "shop"))
			if got := silent("scope", "openid tenant:"+p.tenant.Slug); got != "consent_required" {
				t.Errorf("got %q", got)
			}
			if len(in.trail.of("application.allow")) == 0 || in.trail.of("application.disconnect")[0].Data["consents"] != 1 {
				t.Error("the trail does not tell")
			}
		})
	})
}

// A consent without a grant in force can be taken back as well.
func TestConsentOutlivesItsGrants(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, thirdParty)
		b := in.browser(t)
		session := b.signIn(t, p.user, authn.ACR1)
		b.allow(t, b.authorize(t), session)
		must(t, in.oidc.SignOut(t.Context(), session.ID))
		in.advance(time.Hour)
		session = b.signIn(t, p.user, authn.ACR1)
		b.code(t)
		must(t, in.oidc.SignOut(t.Context(), session.ID))
		connected, err := in.oidc.Connected(t.Context(), p.user.ID)
		must(t, err)
		if len(connected) != 1 || !connected[0].Allowed || !slices.Equal(connected[0].Scopes, []string{"openid"}) {
			t.Fatalf("connected %+v", connected)
		}
		must(t, in.oidc.Disconnect(t.Context(), p.user.ID, "shop"))
		if err := in.oidc.Disconnect(t.Context(), p.user.ID, "shop"); fault.As(err).Kind != fault.NotFound {
			t.Errorf("twice: %v", err)
		}
	})
}

func TestWithoutPKCE(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, func(s *oidc.ApplicationSpec) { s.WithoutPKCE = true })
		none := []string{"code_challenge", "", "code_challenge_method", ""}
		in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(p.browser.code(t, none...), "code_verifier", "")).tokens(t)
		t.Run("RFC 9700 §2.1.1 a code without a challenge takes no verifier", func(t *testing.T) {
			in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(p.browser.code(t, none...))).oauthError(t, http.StatusBadRequest, "invalid_grant")
		})
		t.Run("RFC 9700 §2.1.1 a code with a challenge takes no less", func(t *testing.T) {
			in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(p.browser.code(t), "code_verifier", "")).oauthError(t, http.StatusBadRequest, "invalid_grant")
			in.direct(t, "/oauth2/token", "shop", shopSecret, redemption(p.browser.code(t))).tokens(t)
		})
		t.Run("half of it", func(t *testing.T) {
			for _, pairs := range [][]string{{"code_challenge", ""}, {"code_challenge_method", ""}, {"code_challenge_method", "plain"}} {
				if got := p.browser.authorize(t, pairs...).redirected(t, callback); got.Get("error") != "invalid_request" {
					t.Errorf("%v: %v", pairs, got)
				}
			}
		})
	})
}
