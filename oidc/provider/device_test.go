package provider_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

const boxSecret = "box secret"

// device registers the device application "box".
func (in *instance) device(t testing.TB) {
	t.Helper()
	in.application(t, func(s *oidc.ApplicationSpec) {
		*s = oidc.ApplicationSpec{ClientID: "box", Name: "Box", Type: oidc.Device, Secret: secret.NewText(boxSecret)}
	})
}

// ask has the device ask for scopes, and returns its device code and user code.
func (in *instance) ask(t testing.TB, scope string) (device, user string) {
	t.Helper()
	answer := in.direct(t, "/oauth2/device_authorization", "box", boxSecret, url.Values{"scope": {scope}}).status(t, http.StatusOK).json(t)
	device, _ = answer["device_code"].(string)
	user, _ = answer["user_code"].(string)
	return device, user
}

func (in *instance) poll(t testing.TB, device string) answer {
	t.Helper()
	return in.direct(t, "/oauth2/token", "box", boxSecret, url.Values{"grant_type": {oidc.GrantDeviceCode}, "device_code": {device}})
}

// enter types the code into a browser.
func (in *instance) enter(t testing.TB, user string) (*oidc.AuthorizationRequest, error) {
	t.Helper()
	return in.oidc.EnterUserCode(t.Context(), user, secret.NewText("a browser"), authn.Client{Address: "192.0.2.7"})
}

// allow has the person enter the code and say yes.
func (in *instance) allow(t testing.TB, user string, session *authn.Session) {
	t.Helper()
	r, err := in.enter(t, user)
	must(t, err)
	q, err := in.oidc.DeviceQuestion(t.Context(), r, session)
	must(t, err)
	must(t, in.oidc.AllowDevice(t.Context(), r, session, q.Confirmation))
}

func TestDeviceFlow(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.device(t)
		t.Run("RFC 8628 §3.2 the answer", func(t *testing.T) {
			answer := in.direct(t, "/oauth2/device_authorization", "box", boxSecret, url.Values{"scope": {"openid"}}).status(t, http.StatusOK)
			if got := answer.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
			v := answer.json(t)
			user, _ := v["user_code"].(string)
			if !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(user) {
				t.Errorf("the user code is %q", user)
			}
			if v["verification_uri"] != in.url+"/device" || v["verification_uri_complete"] != in.url+"/device?user_code="+user ||
				v["expires_in"] != float64(600) || v["interval"] != float64(5) {
				t.Errorf("got %v", v)
			}
		})
		t.Run("RFC 8628 §3.5 pending, then tokens once", func(t *testing.T) {
			device, user := in.ask(t, "openid offline_access")
			in.poll(t, device).oauthError(t, 400, "authorization_pending")
			in.allow(t, strings.ToLower(strings.ReplaceAll(user, "-", " ")), p.session)
			issued := in.poll(t, device).tokens(t)
			_, claims := parts(t, issued.id)
			if claims["aud"] != "box" || claims["sub"] != string(p.user.ID) || claims["tenant"] != "berlin" || issued.refresh == "" {
				t.Errorf("got %v and the refresh token %q", claims, issued.refresh)
			}
			in.poll(t, device).oauthError(t, 400, "invalid_grant")
			in.direct(t, "/oauth2/token", "box", boxSecret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {issued.refresh}}).tokens(t)
		})
		t.Run("RFC 8707 the resources are those of the device's request", func(t *testing.T) {
			orders, bills := "https://orders.example/", "https://bills.example/"
			in.application(t, func(s *oidc.ApplicationSpec) {
				*s = oidc.ApplicationSpec{ClientID: "box", Name: "Box", Type: oidc.Device, Secret: secret.NewText(boxSecret)}
				s.Security.Resources = []string{orders, bills}
			})
			defer in.device(t)
			in.direct(t, "/oauth2/device_authorization", "box", boxSecret, url.Values{"scope": {"openid"}, "resource": {"https://else.example/"}}).oauthError(t, 400, "invalid_target")
			asked := in.direct(t, "/oauth2/device_authorization", "box", boxSecret, url.Values{"scope": {"openid"}, "resource": {orders}}).status(t, http.StatusOK).json(t)
			device, _ := asked["device_code"].(string)
			user, _ := asked["user_code"].(string)
			poll := func(resource string) answer {
				return in.direct(t, "/oauth2/token", "box", boxSecret, url.Values{"grant_type": {oidc.GrantDeviceCode}, "device_code": {device}, "resource": {resource}})
			}
			poll(bills).oauthError(t, 400, "authorization_pending")
			in.allow(t, user, p.session)
			for _, resource := range []string{bills, in.url} { // neither of which uses the code up
				poll(resource).oauthError(t, 400, "invalid_target")
			}
			issued := poll(orders).tokens(t)
			if _, claims := parts(t, issued.access); claims["aud"] != orders {
				t.Errorf("aud %v", claims["aud"])
			}
			poll(orders).oauthError(t, 400, "invalid_grant")
		})
		t.Run("RFC 8628 §3.5 slow_down adds five seconds", func(t *testing.T) {
			device, user := in.ask(t, "openid")
			in.poll(t, device).oauthError(t, 400, "authorization_pending")
			in.advance(5 * time.Second)
			in.poll(t, device).oauthError(t, 400, "authorization_pending")
			in.advance(4 * time.Second)
			in.poll(t, device).oauthError(t, 400, "slow_down")
			in.advance(9 * time.Second)
			in.poll(t, device).oauthError(t, 400, "slow_down")
			in.advance(15 * time.Second)
			in.poll(t, device).oauthError(t, 400, "authorization_pending")
			in.allow(t, user, p.session)
			in.poll(t, device).tokens(t)
		})
		t.Run("RFC 8628 §3.5 access_denied", func(t *testing.T) {
			device, user := in.ask(t, "openid")
			r, err := in.enter(t, user)
			must(t, err)
			q, err := in.oidc.DeviceQuestion(t.Context(), r, p.session)
			must(t, err)
			must(t, in.oidc.DenyDevice(t.Context(), r))
			in.poll(t, device).oauthError(t, 400, "access_denied")
			if err := in.oidc.AllowDevice(t.Context(), r, p.session, q.Confirmation); fault.As(err).Kind != fault.NotFound {
				t.Errorf("a yes after the no: %v", err)
			}
			if len(in.trail.of("device.deny")) != 1 {
				t.Error("the no is not in the audit trail")
			}
		})
		t.Run("RFC 8628 §3.5 expired_token", func(t *testing.T) {
			device, user := in.ask(t, "openid")
			r, err := in.enter(t, user)
			must(t, err)
			late, lateUser := in.ask(t, "openid")
			in.allow(t, lateUser, p.session)
			in.advance(oidc.DeviceCodeLifetime)
			in.poll(t, device).oauthError(t, 400, "expired_token")
			in.poll(t, late).oauthError(t, 400, "expired_token")
			if err := in.oidc.AllowDevice(t.Context(), r, p.session, secret.Text{}); fault.As(err).Kind != fault.NotFound {
				t.Errorf("a yes after the end: %v", err)
			}
			if _, err := in.enter(t, user); fault.As(err).Field != "user_code" {
				t.Errorf("the code after its end: %v", err)
			}
		})
	})
}

func TestDeviceFlowRefuses(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.device(t)
		in.application(t, nil)
		in.application(t, func(s *oidc.ApplicationSpec) {
			*s = oidc.ApplicationSpec{ClientID: "other", Type: oidc.Device, Secret: secret.NewText("other secret")}
		})
		ask := func(client, clientSecret, scope string) answer {
			return in.direct(t, "/oauth2/device_authorization", client, clientSecret, url.Values{"scope": {scope}})
		}
		t.Run("RFC 8628 §3.1 client authentication", func(t *testing.T) {
			ask("box", "wrong", "openid").oauthError(t, 401, "invalid_client")
		})
		t.Run("RFC 6749 §5.2 applications of other types", func(t *testing.T) {
			ask("shop", shopSecret, "openid").oauthError(t, 400, "unauthorized_client")
			device, _ := in.ask(t, "openid")
			in.direct(t, "/oauth2/token", "shop", shopSecret, url.Values{"grant_type": {oidc.GrantDeviceCode}, "device_code": {device}}).oauthError(t, 400, "unauthorized_client")
			in.direct(t, "/oauth2/token", "box", boxSecret, redemption("x")).oauthError(t, 400, "unauthorized_client")
		})
		t.Run("RFC 6749 §3.3 scopes", func(t *testing.T) {
			ask("box", boxSecret, "").oauthError(t, 400, "invalid_scope")
			ask("box", boxSecret, "openid tenant:a tenant:b").oauthError(t, 400, "invalid_scope")
		})
		t.Run("RFC 8628 §3.4 a foreign application", func(t *testing.T) {
			device, user := in.ask(t, "openid")
			in.allow(t, user, p.session)
			in.direct(t, "/oauth2/token", "other", "other secret", url.Values{"grant_type": {oidc.GrantDeviceCode}, "device_code": {device}}).oauthError(t, 400, "invalid_grant")
			in.poll(t, device).tokens(t)
		})
		t.Run("RFC 8628 §3.4 no code, no such code", func(t *testing.T) {
			in.poll(t, "").oauthError(t, 400, "invalid_request")
			in.poll(t, "rcdc_x").oauthError(t, 400, "invalid_grant")
		})
		t.Run("a lock-out between the yes and the poll", func(t *testing.T) {
			device, user := in.ask(t, "openid offline_access")
			in.allow(t, user, p.session)
			in.suspend(t, p.membership)
			in.poll(t, device).oauthError(t, 400, "invalid_grant")
		})
	})
}

// The yes is the person's whom the page has asked, in the browser that it has asked
// in, as they have to be signed in.
func TestDeviceFlowAsksLikeASignIn(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.device(t)
		t.Run("the browser is led to the sign-in, and to the question", func(t *testing.T) {
			_, user := in.ask(t, "openid tenant:berlin")
			in.application(t, nil)
			stranger := in.browser(t)
			stranger.get(t, "/oauth2/authorize", params()) // for the cookie
			r, err := in.oidc.EnterUserCode(t.Context(), user, stranger.cookie(), authn.Client{Address: "192.0.2.7"})
			must(t, err)
			query := url.Values{"request": {string(r.ID)}}
			stranger.get(t, "/oauth2/authorize/continue", query).redirected(t, "/login?request=")
			stranger.signIn(t, p.user, authn.ACR1)
			stranger.get(t, "/oauth2/authorize/continue", query).redirected(t, "/device/confirm?request=")
			p.browser.get(t, "/oauth2/authorize/continue", query).errorPage(t) // another browser's
		})
		t.Run("a tenant that demands a second factor", func(t *testing.T) {
			strict := in.tenant(t, "strict", directory.Policy{MFA: directory.MFARequired})
			in.member(t, strict, p.user, directory.StatusActive)
			_, user := in.ask(t, "openid tenant:strict")
			r, err := in.enter(t, user)
			must(t, err)
			if _, err := in.oidc.DeviceQuestion(t.Context(), r, p.session); fault.As(err).Kind != fault.Stale {
				t.Errorf("the question with one factor: %v", err)
			}
			if err := in.oidc.AllowDevice(t.Context(), r, p.session, secret.Text{}); fault.As(err).Kind != fault.Stale {
				t.Errorf("a yes with one factor: %v", err)
			}
		})
		t.Run("a yes to another question", func(t *testing.T) {
			device, user := in.ask(t, "openid tenant:berlin")
			r, err := in.enter(t, user)
			must(t, err)
			other := in.browser(t).signIn(t, p.user, authn.ACR1) // who has signed in since
			q, err := in.oidc.DeviceQuestion(t.Context(), r, other)
			must(t, err)
			for _, confirmation := range []secret.Text{q.Confirmation, {}} {
				if err := in.oidc.AllowDevice(t.Context(), r, p.session, confirmation); fault.As(err).Kind != fault.Denied {
					t.Errorf("got %v", err)
				}
			}
			in.poll(t, device).oauthError(t, 400, "authorization_pending")
		})
		t.Run("an application of a third party is asked for once", func(t *testing.T) {
			in.application(t, func(s *oidc.ApplicationSpec) {
				*s = oidc.ApplicationSpec{ClientID: "box", Name: "Box", Type: oidc.Device, Secret: secret.NewText(boxSecret), ThirdParty: true}
			})
			defer in.device(t)
			device, user := in.ask(t, "openid tenant:berlin")
			in.allow(t, user, p.session)
			in.poll(t, device).tokens(t)
		})
		t.Run("what it is asked", func(t *testing.T) {
			_, user := in.ask(t, "openid email scim tenant:berlin")
			r, err := in.enter(t, user)
			must(t, err)
			q, err := in.oidc.DeviceQuestion(t.Context(), r, p.session)
			must(t, err)
			if q.Standing.Slug != "berlin" || q.Application.Name != "Box" || strings.Join(q.Scopes, " ") != "openid email" || q.Device.Address != "127.0.0.1" || q.Device.UserAgent == "" {
				t.Errorf("got %s, %s, %v, %s, %s", q.Standing.Slug, q.Application.Name, q.Scopes, q.Device.Address, q.Device.UserAgent)
			}
		})
	})
}

// A grant that the device has not heard of yet has no token that keeps it.
func TestAllowedDeviceOutlivesTheCleaning(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.device(t)
		device, user := in.ask(t, "openid")
		in.allow(t, user, p.session)
		must(t, in.oidc.Clean(t.Context()))
		in.poll(t, device).tokens(t)
		gone, _ := in.ask(t, "openid")
		in.advance(2*oidc.DeviceCodeLifetime + time.Second)
		must(t, in.oidc.Clean(t.Context()))
		in.poll(t, gone).oauthError(t, 400, "invalid_grant")
	})
}

// RFC 8628 §5.1.
func TestUserCodesAreNotGuessed(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		in.device(t)
		_, user := in.ask(t, "openid")
		wrong := "BBBB-BBBB"
		if user == wrong {
			wrong = "CCCC-CCCC"
		}
		for _, nothing := range []string{"", "AEIO-U123", "BBBB", user + "B"} {
			if _, err := in.enter(t, nothing); fault.As(err).Field != "user_code" {
				t.Errorf("%q: %v", nothing, err)
			}
		}
		guesses := 0
		for ; guesses < 100; guesses++ {
			// A code of one's own does not make the guesses forgotten.
			_, own := in.ask(t, "openid")
			if _, err := in.enter(t, own); fault.As(err).Kind == fault.Throttled {
				break
			}
			if _, err := in.enter(t, wrong); fault.As(err).Kind == fault.Throttled {
				break
			}
		}
		if guesses < 10 || guesses > 25 {
			t.Errorf("%d guesses were taken before a wait", guesses)
		}
		if _, err := in.enter(t, user); fault.As(err).Kind != fault.Throttled {
			t.Errorf("the right code after that: %v", err)
		}
	})
}

// What runs where the person is gets nothing outside of the tenant's networks; the
// server of a web application is elsewhere anyway.
func TestRefreshFromOutsideOfTheNetworks(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, nil)
		in.device(t)
		networks := func(text ...string) {
			t.Helper()
			_, err := in.store.UpdateTenant(t.Context(), p.tenant.ID, func(tenant *directory.Tenant) error {
				tenant.Policy.Addresses = nil
				for _, network := range text {
					tenant.Policy.Addresses = append(tenant.Policy.Addresses, netip.MustParsePrefix(network))
				}
				return nil
			})
			must(t, err)
		}
		device, user := in.ask(t, "openid offline_access")
		in.allow(t, user, p.session)
		box, shop := in.poll(t, device).tokens(t).refresh, p.browser.obtain(t).refresh
		refresh := func() answer {
			return in.direct(t, "/oauth2/token", "box", boxSecret, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {box}})
		}
		networks("192.0.2.0/24")
		refresh().oauthError(t, 400, "invalid_grant")
		in.refresh(t, shop).tokens(t)
		networks("192.0.2.0/24", "127.0.0.0/8")
		refresh().tokens(t) // the refusal has not used it up
	})
}
