package provider_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

const bye = "https://shop.example/bye"

func (b *browser) endSession(t testing.TB, pairs ...string) answer {
	t.Helper()
	v := url.Values{}
	set(v, pairs)
	return b.get(t, "/oauth2/end_session", v)
}

func (b *browser) signedIn(t testing.TB) bool {
	t.Helper()
	return b.authorize(t, "prompt", "none").redirected(t, callback).Has("code")
}

func TestEndSession(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.PostLogoutRedirectURIs = "other", nil })
		fresh := func(t *testing.T) (*browser, tokens) {
			b := in.browser(t)
			b.signIn(t, p.user, authn.ACR1)
			return b, b.obtain(t)
		}
		t.Run("RP-Initiated Logout §2 with a hint", func(t *testing.T) {
			b, issued := fresh(t)
			got := b.endSession(t, "id_token_hint", issued.id, "post_logout_redirect_uri", bye, "state", "s&t").redirected(t, bye)
			if got.Get("state") != "s&t" || b.signedIn(t) {
				t.Errorf("state %q, signed in %v", got.Get("state"), b.signedIn(t))
			}
			in.refresh(t, issued.refresh).oauthError(t, 400, "invalid_grant")
		})
		t.Run("by a form of the application's site, without cookies", func(t *testing.T) {
			b, issued := fresh(t)
			in.browser(t).post(t, "/oauth2/end_session", url.Values{"id_token_hint": {issued.id}, "post_logout_redirect_uri": {bye}}).
				status(t, http.StatusSeeOther).redirected(t, bye)
			if b.signedIn(t) {
				t.Error("still signed in")
			}
		})
		t.Run("without a hint the person is asked", func(t *testing.T) {
			b, _ := fresh(t)
			page := b.endSession(t, "client_id", "shop", "post_logout_redirect_uri", bye, "state", "x").status(t, http.StatusOK)
			if !b.signedIn(t) {
				t.Fatal("signed out without being asked")
			}
			form := url.Values{}
			for _, field := range regexp.MustCompile(`name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
				form.Set(field[1], field[2])
			}
			other, _ := fresh(t)
			other.post(t, "/oauth2/end_session", form).status(t, http.StatusOK) // asked anew: the confirmation is another session's
			if !other.signedIn(t) {
				t.Error("another session's confirmation signs out")
			}
			if got := b.post(t, "/oauth2/end_session", form).redirected(t, bye); got.Get("state") != "x" || b.signedIn(t) {
				t.Errorf("got %v", got)
			}
		})
		t.Run("a hint of another session", func(t *testing.T) {
			b, _ := fresh(t)
			_, foreign := fresh(t)
			b.endSession(t, "id_token_hint", foreign.id).status(t, http.StatusOK)
			if !b.signedIn(t) {
				t.Error("signed out")
			}
		})
		t.Run("nobody is signed in", func(t *testing.T) {
			in.browser(t).endSession(t).status(t, http.StatusOK)
			in.browser(t).endSession(t, "client_id", "shop", "post_logout_redirect_uri", bye).redirected(t, bye)
		})
		b, issued := fresh(t)
		for name, pairs := range map[string][]string{
			"modified hint":               {"id_token_hint", issued.id + "x"},
			"no hint at all":              {"id_token_hint", "rubbish"},
			"unregistered address":        {"id_token_hint", issued.id, "post_logout_redirect_uri", bye + "/"},
			"redirect URI as the address": {"id_token_hint", issued.id, "post_logout_redirect_uri", callback},
			"address without application": {"post_logout_redirect_uri", bye},
			"another application's hint":  {"id_token_hint", issued.id, "client_id", "other"},
			"another's address":           {"client_id", "other", "post_logout_redirect_uri", bye},
			"unknown application":         {"client_id", "nobody"},
		} {
			t.Run(name, func(t *testing.T) {
				b.endSession(t, pairs...).errorPage(t)
				if !b.signedIn(t) {
					t.Error("signed out in spite of the error")
				}
			})
		}
	})
}

// deliveries returns what a change writes into the outbox.
type deliveries struct {
	oidc.Store
	written []outbox.Delivery
}

func (d *deliveries) AppendDelivery(ctx context.Context, delivery outbox.Delivery) error {
	d.written = append(d.written, delivery)
	return d.Store.AppendDelivery(ctx, delivery)
}

// relyingParty takes logout tokens.
func relyingParty(t *testing.T, status *atomic.Int32) (address string, received chan url.Values) {
	t.Helper()
	received = make(chan url.Values, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		must(t, r.ParseForm())
		received <- r.PostForm
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/logout", received
}

func TestBackchannelLogout(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		var status atomic.Int32
		status.Store(http.StatusOK)
		address, received := relyingParty(t, &status)
		p := in.person(t)
		in.application(t, func(s *oidc.ApplicationSpec) { s.BackchannelLogoutURI = address })
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID = "quiet" })
		recorder := &deliveries{Store: in.store}
		recording := in.withStore(t, recorder)
		for name, end := range map[string]func(s *authn.Session){
			"sign-out": func(s *authn.Session) { must(t, recording.SignOut(t.Context(), s.ID)) },
			"login":    func(*authn.Session) { must(t, recording.EndLogin(t.Context(), p.user.ID)) },
			"membership": func(*authn.Session) {
				must(t, recording.EndMembership(t.Context(), p.tenant.ID, p.membership.ID, p.user.ID))
			},
		} {
			t.Run(name, func(t *testing.T) {
				b := in.browser(t)
				session := b.signIn(t, p.user, authn.ACR1)
				b.obtain(t)
				b.obtain(t) // one session, one application: one notice
				b.code(t, "client_id", "quiet")
				recorder.written = nil
				end(session)
				if len(recorder.written) != 1 || recorder.written[0].Kind != outbox.BackchannelLogout || recorder.written[0].Tenant != p.tenant.ID {
					t.Fatalf("deliveries %+v", recorder.written)
				}
				must(t, in.provider.Deliver(t.Context(), recorder.written[0]))
				token := (<-received).Get("logout_token")
				header, claims := parts(t, token)
				if header["typ"] != "logout+jwt" || header["alg"] != "ES256" {
					t.Errorf("header %v", header)
				}
				want := map[string]any{
					"iss": in.url, "aud": "shop", "sub": string(p.user.ID), "sid": string(session.ID), "jti": string(recorder.written[0].ID),
					"iat": float64(in.now().Unix()), "exp": float64(in.now().Add(2 * time.Minute).Unix()),
					"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
				}
				if name == "membership" {
					want["tid"] = string(p.tenant.ID)
				}
				if diff := cmp.Diff(want, claims); diff != "" {
					t.Error(diff)
				}
				in.userInfo(t, token).oauthError(t, 401, "invalid_token")
				in.browser(t).endSession(t, "id_token_hint", token).errorPage(t) // RFC 8725 §3.11: all but its typ would fit
			})
		}
		t.Run("a failure is tried again", func(t *testing.T) {
			status.Store(http.StatusBadRequest)
			if err := in.provider.Deliver(t.Context(), recorder.written[0]); err == nil || !strings.Contains(err.Error(), "400") {
				t.Errorf("err %v", err)
			}
			<-received
			status.Store(http.StatusFound)
			if in.provider.Deliver(t.Context(), recorder.written[0]) == nil {
				t.Error("a redirect counts as success")
			}
		})
		t.Run("who does not want to know is not told", func(t *testing.T) {
			in.application(t, nil)
			must(t, in.provider.Deliver(t.Context(), recorder.written[0]))
		})
	})
}

// TestApplicationThatHangs: one that takes connections and never answers holds no
// other one up.
func TestApplicationThatHangs(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		var status atomic.Int32
		status.Store(http.StatusOK)
		address, received := relyingParty(t, &status)
		in.application(t, func(s *oidc.ApplicationSpec) { s.BackchannelLogoutURI = address })
		held, release := make(chan struct{}, 100), make(chan struct{})
		hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			held <- struct{}{}
			<-release
		}))
		t.Cleanup(hangs.Close)
		t.Cleanup(func() { close(release) })
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.BackchannelLogoutURI = "hangs", hangs.URL })
		told := map[string]int{"hangs": 100, "shop": 30}
		for _, application := range []string{"hangs", "shop"} {
			for range told[application] {
				must(t, in.store.AppendDelivery(t.Context(), outbox.Delivery{
					ID: id.New[id.Delivery](), Tenant: p.tenant.ID, Kind: outbox.BackchannelLogout, Destination: application,
					Payload: []byte(`{"client_id":"` + application + `","user":"` + string(p.user.ID) + `"}`), Due: in.now(), Created: in.now(),
				}))
			}
		}
		w := &outbox.Worker{
			Store: in.store, Handlers: map[outbox.Kind]outbox.Handler{outbox.BackchannelLogout: in.provider.Deliver},
			Now: in.now, Logger: slog.New(slog.DiscardHandler), Poll: 5 * time.Millisecond,
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		<-held
		for range told["shop"] {
			<-received
		}
		if len(held) > 8 { // of the eight that it begins with one is counted, and after their time comes one more
			t.Errorf("%d more wait for the one that hangs", len(held))
		}
		cancel()
		must(t, <-ended)
	})
}

func TestLockOutRevokesApplicationTokens(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		ctx := audit.WithActor(t.Context(), audit.Actor{Kind: audit.ActorOperator})
		token, err := in.authn.PutApplicationToken(ctx, authn.ApplicationToken{Tenant: p.tenant.ID, Creator: p.user.ID, Name: "ci"}, secret.Text{})
		must(t, err)
		_, err = in.authn.ApplicationToken(t.Context(), token, netip.Addr{})
		must(t, err)
		in.suspend(t, p.membership)
		_, err = in.store.UpdateMembership(t.Context(), p.tenant.ID, p.membership.ID, func(m *directory.Membership) error {
			m.Status = directory.StatusActive
			return nil
		})
		must(t, err)
		if _, err = in.authn.ApplicationToken(t.Context(), token, netip.Addr{}); err == nil {
			t.Error("the application token has outlived the lock-out")
		}
	})
}
