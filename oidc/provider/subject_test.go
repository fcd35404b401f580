package provider_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

func pairwise(s *oidc.ApplicationSpec) { s.SubjectType = oidc.SubjectPairwise }

// TestPairwiseSubjects is OpenID Connect Core §8.1.
func TestPairwiseSubjects(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		p := in.person(t)
		in.application(t, pairwise)
		in.application(t, func(s *oidc.ApplicationSpec) { // of the same sector
			s.ClientID, s.SubjectType, s.RedirectURIs = "sister", oidc.SubjectPairwise, []string{"https://shop.example/other"}
		})
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.SubjectType, s.RedirectURIs = "bank", oidc.SubjectPairwise, []string{"https://bank.example/callback"}
		})
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID = "plain" })
		obtain := func(client, redirect string) tokens {
			t.Helper()
			code := p.browser.code(t, "client_id", client, "redirect_uri", redirect, "scope", "openid offline_access")
			return in.direct(t, "/oauth2/token", client, shopSecret, redemption(code, "redirect_uri", redirect)).tokens(t)
		}
		issued := obtain("shop", callback)
		_, claims := parts(t, issued.id)
		subject, _ := claims["sub"].(string)

		t.Run("it says nothing", func(t *testing.T) {
			if len(subject) != 22 || strings.Contains(subject, string(p.user.ID)[:8]) {
				t.Errorf("sub %q", subject)
			}
		})
		t.Run("§8.1 the same within a sector, another in others", func(t *testing.T) {
			_, sister := parts(t, obtain("sister", "https://shop.example/other").id)
			_, bank := parts(t, obtain("bank", "https://bank.example/callback").id)
			_, plain := parts(t, obtain("plain", callback).id)
			if sister["sub"] != subject || bank["sub"] == subject || plain["sub"] != string(p.user.ID) {
				t.Errorf("sister %v, bank %v, public %v", sister["sub"], bank["sub"], plain["sub"])
			}
		})
		t.Run("the same wherever it stands", func(t *testing.T) {
			for _, format := range []oidc.AccessTokenFormat{oidc.FormatJWT, oidc.FormatOpaque} {
				in.application(t, func(s *oidc.ApplicationSpec) { pairwise(s); s.AccessToken = format })
				got := in.refresh(t, issued.refresh).tokens(t)
				issued.refresh = got.refresh
				if format == oidc.FormatJWT {
					if _, claims := parts(t, got.access); claims["sub"] != subject {
						t.Errorf("access token: %v", claims["sub"])
					}
				}
				_, claims := parts(t, got.id)
				for where, sub := range map[string]any{
					"refreshed ID token": claims["sub"], "userinfo": in.userInfo(t, got.access).json(t)["sub"],
					"introspection": in.introspect(t, got.access)["sub"], "introspection of the refresh token": in.introspect(t, got.refresh)["sub"],
				} {
					if sub != subject {
						t.Errorf("%s of %s: %v", where, format, sub)
					}
				}
			}
		})
		t.Run("another node says the same", func(t *testing.T) {
			node := in.withStore(t, in.store)
			a, err := node.Application(t.Context(), "shop")
			must(t, err)
			if got, err := node.Subject(t.Context(), a, p.user.ID); err != nil || got != subject {
				t.Errorf("%q, %v", got, err)
			}
			if got, err := node.UserOf(t.Context(), a, subject); err != nil || got != p.user.ID {
				t.Errorf("%q, %v", got, err)
			}
		})
		other := in.user(t, "other@berlin.example")
		in.member(t, p.tenant, other, "active", "viewer")
		stranger := in.browser(t)
		stranger.signIn(t, other, authn.ACR1)
		silent := func(b *browser, pairs ...string) string {
			t.Helper()
			return b.get(t, "/oauth2/authorize", params(append(pairs, "prompt", "none")...)).redirected(t, callback).Get("error")
		}
		t.Run("§3.1.2.1 as id_token_hint", func(t *testing.T) {
			if got := silent(p.browser, "id_token_hint", issued.id); got != "" {
				t.Errorf("the same person: %q", got)
			}
			if got := silent(stranger, "id_token_hint", issued.id); got != oidc.LoginRequired {
				t.Errorf("another person: %q", got)
			}
		})
		t.Run("§5.5.1 in the parameter claims", func(t *testing.T) {
			claims := func(sub string) string { return `{"id_token":{"sub":{"value":"` + sub + `"}}}` }
			for sub, want := range map[string]string{
				subject: "", string(p.user.ID): oidc.LoginRequired, "AAAAAAAAAAAAAAAAAAAAAA": oidc.LoginRequired, "x": oidc.LoginRequired,
			} {
				if got := silent(p.browser, "claims", claims(sub)); got != want {
					t.Errorf("sub %s: %q, want %q", sub, got, want)
				}
			}
		})
		t.Run("RFC 8693 after an exchange", func(t *testing.T) {
			got := in.switchTo(t, p.browser.obtain(t).access, "openid").tokens(t)
			if in.introspect(t, got.access)["sub"] != subject {
				t.Error("it is another")
			}
			token := in.applicationToken(t, authn.ApplicationToken{Tenant: p.tenant.ID, Name: "sync", Creator: p.user.ID})
			signed := in.switchTo(t, token, "").tokens(t).access
			if _, claims := parts(t, signed); claims["sub"] != subject {
				t.Errorf("of an application token: %v", claims["sub"])
			}
			if got := in.introspect(t, signed); got["active"] != true || got["sub"] != subject {
				t.Errorf("introspection of it: %v", got)
			}
			if got := in.introspect(t, token)["sub"]; got != subject {
				t.Errorf("introspection of the application token itself: %v", got)
			}
		})
		t.Run("OIDC Back-Channel Logout §2.4", func(t *testing.T) {
			var status atomic.Int32
			status.Store(http.StatusOK)
			address, received := relyingParty(t, &status)
			in.application(t, func(s *oidc.ApplicationSpec) { pairwise(s); s.BackchannelLogoutURI = address })
			recorder := &deliveries{Store: in.store}
			must(t, in.withStore(t, recorder).SignOut(t.Context(), p.session.ID))
			must(t, in.provider.Deliver(t.Context(), recorder.written[0]))
			_, claims := parts(t, (<-received).Get("logout_token"))
			if len(recorder.written) != 1 || claims["sub"] != subject {
				t.Errorf("logout token: %v", claims["sub"])
			}
		})
	})
}

// TestPairwiseSubjects_Support: neither the user nor who acts is named to the sector
// as elsewhere.
func TestPairwiseSubjects_Support(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		in.application(t, pairwise)
		token := d.start(t)
		a, err := in.oidc.Application(t.Context(), "shop")
		must(t, err)
		of := func(user id.User) string {
			subject, err := in.oidc.Subject(t.Context(), a, user)
			must(t, err)
			return subject
		}
		_, signed := parts(t, token)
		for where, claims := range map[string]map[string]any{
			"token": signed, "introspection": in.introspect(t, token), "userinfo": in.userInfo(t, token).status(t, http.StatusOK).json(t),
		} {
			act, _ := claims["act"].(map[string]any)
			if claims["sub"] != of(d.ada.ID) || act["sub"] != of(d.sue.ID) {
				t.Errorf("%s: sub %v, act %v", where, claims["sub"], act)
			}
		}
	})
}

func TestSubjectType(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		tenant := in.person(t).tenant
		for _, row := range []struct {
			name, field, sector string
			change              func(*oidc.ApplicationSpec)
		}{
			{"public", "", "", func(s *oidc.ApplicationSpec) { s.SubjectType = oidc.SubjectPublic }},
			{"the host of the redirect URIs", "", "shop.example", func(s *oidc.ApplicationSpec) {
				s.RedirectURIs = []string{"https://shop.example/a", "https://SHOP.example:8443/b"}
			}},
			{"declared", "", "example", func(s *oidc.ApplicationSpec) {
				s.Sector, s.RedirectURIs = "example", []string{"https://shop.example/a", "https://bank.example/b"}
			}},
			{"a device's, declared", "", "tv.example", func(s *oidc.ApplicationSpec) { s.Type, s.RedirectURIs, s.Sector = oidc.Device, nil, "tv.example" }},
			{"two hosts", "sector", "", func(s *oidc.ApplicationSpec) {
				s.RedirectURIs = []string{"https://shop.example/a", "https://bank.example/b"}
			}},
			{"a device's", "sector", "", func(s *oidc.ApplicationSpec) { s.Type, s.RedirectURIs = oidc.Device, nil }},
			{"no host", "sector", "", func(s *oidc.ApplicationSpec) { s.Sector = "https://shop.example/x" }},
			{"with capitals", "sector", "", func(s *oidc.ApplicationSpec) { s.Sector = "Shop.example" }},
			{"public with a sector", "sector", "", func(s *oidc.ApplicationSpec) { s.SubjectType, s.Sector = "", "shop.example" }},
			{"unknown", "subject_type", "", func(s *oidc.ApplicationSpec) { s.SubjectType = "secret" }},
			{"a machine's", "subject_type", "", func(s *oidc.ApplicationSpec) { s.Type, s.RedirectURIs, s.Tenant = oidc.Machine, nil, tenant.ID }},
		} {
			t.Run(row.name, func(t *testing.T) {
				spec := oidc.ApplicationSpec{
					ClientID: strings.ReplaceAll(url.QueryEscape(row.name), "+", "."), Type: oidc.Web, Secret: secret.NewText(shopSecret),
					RedirectURIs: []string{callback}, SubjectType: oidc.SubjectPairwise,
				}
				spec.ClientID = strings.NewReplacer("%2C", "", "%27", "").Replace(spec.ClientID)
				row.change(&spec)
				_, err := in.oidc.PutApplication(t.Context(), spec)
				if row.field != "" {
					if f := fault.As(err); f.Kind != fault.Invalid || f.Field != row.field {
						t.Errorf("%v, want the field %s", err, row.field)
					}
					return
				}
				must(t, err)
				a, err := in.oidc.Application(t.Context(), spec.ClientID)
				must(t, err)
				if a.Sector != row.sector {
					t.Errorf("sector %q, want %q", a.Sector, row.sector)
				}
				again, err := in.oidc.PutApplication(t.Context(), spec)
				if err != nil || again.Changed {
					t.Errorf("a second time: %v, %v", again, err)
				}
			})
		}
	})
}
