package provider_test

import (
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/api"
	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/scim/schema"
)

// desk is a reseller with its support staff, an organization below it, one
// beside it and one above, all of one role system.
type desk struct {
	in                           *instance
	mno, reseller, shop, another *directory.Tenant
	sue                          *directory.User // staff, in reseller
	sueThere                     *directory.Membership
	ada                          *directory.User // administrator, in shop
	adaThere                     *directory.Membership
	browser                      *browser
	session                      *authn.Session
	token                        string // Sue's
}

// portal makes a tenant of a role system, below parent if there is one.
func (in *instance) portal(t testing.TB, slug, blueprint, tier string, parent *directory.Tenant, policy directory.Policy) *directory.Tenant {
	t.Helper()
	tenant := &directory.Tenant{
		ID: id.New[id.Tenant](), Slug: slug, Name: strings.ToUpper(slug), Blueprint: blueprint, BlueprintVersion: 1, Tier: tier, Status: "enabled",
		Policy: policy, Relations: map[string]id.Tenant{}, Created: in.now(), Modified: in.now(),
	}
	if parent != nil {
		tenant.Relations["channel"] = parent.ID
	}
	must(t, in.store.CreateTenant(t.Context(), tenant))
	return tenant
}

func (in *instance) emnify(t testing.TB) *desk {
	t.Helper()
	d := &desk{in: in}
	d.mno = in.portal(t, "mno", "emnify", "partner", nil, directory.Policy{})
	d.reseller = in.portal(t, "reseller", "emnify", "partner", d.mno, directory.Policy{})
	d.shop = in.portal(t, "shop", "emnify", "trial", d.reseller, directory.Policy{})
	d.another = in.portal(t, "another", "emnify", "trial", d.mno, directory.Policy{})
	d.people(t, "support", "administrator")
	return d
}

// streamone makes a distributor and a partner, who may have consented.
func (in *instance) streamone(t testing.TB, consent bool) *desk {
	t.Helper()
	d := &desk{in: in}
	d.reseller = in.portal(t, "distributor", "streamone", "", nil, directory.Policy{})
	d.shop = in.portal(t, "partner", "streamone", "", d.reseller, directory.Policy{SupportAccess: consent})
	d.people(t, "ops", "account_admin")
	return d
}

func (d *desk) people(t testing.TB, staffRole, userRole string) {
	t.Helper()
	d.sue, d.ada = d.in.user(t, "sue@reseller.example"), d.in.user(t, "ada@shop.example")
	d.sueThere = d.in.member(t, d.reseller, d.sue, directory.StatusActive, staffRole)
	d.adaThere = d.in.member(t, d.shop, d.ada, directory.StatusActive, userRole)
	d.in.application(t, nil)
	d.browser = d.in.browser(t)
	d.session = d.browser.signIn(t, d.sue, authn.ACR2)
	d.token = d.browser.obtain(t, "scope", "openid profile email tenants").access
}

// wish is a good request for a support session; pairs alter it.
func (d *desk) wish(pairs ...string) url.Values {
	v := url.Values{
		"grant_type": {oidc.GrantTokenExchange}, "subject_token": {d.token}, "subject_token_type": {oidc.TokenTypeAccess},
		"requested_subject": {string(d.ada.ID)}, "tenant": {d.shop.Slug}, "reason": {"ticket 4711"},
	}
	set(v, pairs)
	return v
}

func (d *desk) exchange(t testing.TB, pairs ...string) answer {
	t.Helper()
	return d.in.direct(t, "/oauth2/token", "shop", shopSecret, d.wish(pairs...))
}

func (d *desk) start(t testing.TB, pairs ...string) string {
	t.Helper()
	return d.exchange(t, pairs...).tokens(t).access
}

func (a answer) refusedSupport(t testing.TB, reason string) {
	t.Helper()
	a.oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
	if got, _ := a.json(t)["error_description"].(string); got != "the support session is refused: "+reason {
		t.Errorf("got %q, want the reason %s", got, reason)
	}
}

func (d *desk) active(t testing.TB, token string, want bool) {
	t.Helper()
	if got := d.in.introspect(t, token)["active"]; got != want {
		t.Errorf("active is %v, want %v", got, want)
	}
	status := http.StatusOK
	if !want {
		status = http.StatusUnauthorized
	}
	d.in.userInfo(t, token).status(t, status)
}

func (d *desk) setStatus(t testing.TB, m *directory.Membership, status directory.Status) {
	t.Helper()
	_, err := d.in.store.UpdateMembership(t.Context(), m.Tenant, m.ID, func(m *directory.Membership) error {
		m.Status = status
		return nil
	})
	must(t, err)
}

func (d *desk) changeTenant(t testing.TB, tenant *directory.Tenant, change func(*directory.Tenant)) {
	t.Helper()
	_, err := d.in.store.UpdateTenant(t.Context(), tenant.ID, func(t *directory.Tenant) error {
		change(t)
		return nil
	})
	must(t, err)
}

// directory returns the directory that ends sessions through this instance.
func (d *desk) directory(t testing.TB) *directory.Directory {
	t.Helper()
	shipped, err := authz.Shipped()
	must(t, err)
	schemas, err := schema.Core()
	must(t, err)
	made, err := directory.New(directory.Deps{
		Store: d.in.store, Holdings: d.in.oidc, Passwords: d.in.authn, Rights: directory.NewRights(d.in.store, directory.NewBlueprints(d.in.store, shipped, d.in.now)),
		Schemas: schemas, Now: d.in.now,
	})
	must(t, err)
	return made
}

func TestSupportToken(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		response := d.exchange(t)
		token := response.tokens(t)

		t.Run("RFC 8693 §2.2.1 the response", func(t *testing.T) {
			want := map[string]any{"token_type": "Bearer", "issued_token_type": oidc.TokenTypeAccess, "expires_in": float64(3600), "scope": "openid profile email"}
			if diff := cmp.Diff(want, only(response.json(t), "token_type", "issued_token_type", "expires_in", "scope", "refresh_token", "id_token")); diff != "" {
				t.Error(diff)
			}
		})
		act := map[string]any{"sub": string(d.sue.ID), "tid": string(d.reseller.ID)}
		who := map[string]any{"sub": string(d.ada.ID), "act": act, "tid": string(d.shop.ID), "tenant": "shop", "roles": []any{"administrator"}}
		t.Run("RFC 8693 §4.1 the token names both", func(t *testing.T) {
			_, claims := parts(t, token.access)
			if diff := cmp.Diff(who, only(maps.Clone(claims), "sub", "act", "tid", "tenant", "roles", "sid", "acr", "tenants")); diff != "" {
				t.Error(diff)
			}
			if claims["client_id"] != "shop" || claims["exp"].(float64)-claims["iat"].(float64) != 3600 {
				t.Errorf("got %v", claims)
			}
		})
		t.Run("RFC 7662 §2.2 introspection names both", func(t *testing.T) {
			if diff := cmp.Diff(who, only(in.introspect(t, token.access), "sub", "act", "tid", "tenant", "roles")); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("OIDC Core §5.3 userinfo names both", func(t *testing.T) {
			got := in.userInfo(t, token.access).status(t, http.StatusOK).json(t)
			if diff := cmp.Diff(who, only(maps.Clone(got), "sub", "act", "tid", "tenant", "roles", "tenants")); diff != "" {
				t.Error(diff)
			}
			if got["email"] != "ada@shop.example" {
				t.Errorf("got %v", got)
			}
		})
		t.Run("another's library verifies it", func(t *testing.T) {
			p, err := goidc.NewProvider(t.Context(), in.url)
			must(t, err)
			verified, err := p.Verifier(&goidc.Config{ClientID: in.url, SupportedSigningAlgs: []string{"ES256"}, Now: in.now}).Verify(t.Context(), token.access)
			must(t, err)
			var claims struct{ Act map[string]any }
			must(t, verified.Claims(&claims))
			if diff := cmp.Diff(act, claims.Act); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("RFC 8414 §2 discovery", func(t *testing.T) {
			got := in.browser(t).get(t, "/.well-known/openid-configuration", nil).json(t)
			if types, _ := got["grant_types_supported"].([]any); !slices.Contains(types, any(oidc.GrantTokenExchange)) {
				t.Errorf("got %v", types)
			}
		})
	})
}

// TestSupport_EM_R13: none of the four roles makes support tokens.
func TestSupport_EM_R13(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		for _, role := range []string{"superadmin", "administrator", "observer", "user"} {
			staff := in.user(t, role+"@reseller.example")
			in.member(t, d.reseller, staff, directory.StatusActive, role)
			b := in.browser(t)
			b.signIn(t, staff, authn.ACR2)
			d.exchange(t, "subject_token", b.obtain(t).access).refusedSupport(t, "permission")
		}
		if got := in.trail.of("support_access"); len(got) != 0 {
			t.Errorf("events %v", got)
		}
	})
}

// TestSupport_EM_R14: whom a holder of Support may assume.
func TestSupport_EM_R14(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		below := in.portal(t, "below", "emnify", "trial", d.shop, directory.Policy{})
		closed := in.portal(t, "closed", "emnify", "trial", d.reseller, directory.Policy{})
		deep := in.portal(t, "default", "default", "", nil, directory.Policy{})
		for _, at := range []*directory.Tenant{d.mno, d.another, below, closed, deep} {
			role := "administrator"
			if at == deep {
				role = "admin"
			}
			in.member(t, at, d.ada, directory.StatusActive, role)
		}
		d.changeTenant(t, closed, func(t *directory.Tenant) { t.Status = "suspended" })
		invited := in.user(t, "invited@shop.example")
		in.member(t, d.shop, invited, directory.StatusInvited, "user")
		disabled := in.user(t, "disabled@shop.example")
		in.member(t, d.shop, disabled, directory.StatusActive, "user")
		operator := in.user(t, "operator@shop.example")
		in.member(t, d.shop, operator, directory.StatusActive, "user")
		for user, change := range map[id.User]func(*directory.User){
			disabled.ID: func(u *directory.User) { u.Disabled = true },
			operator.ID: func(u *directory.User) { u.Operator = true },
		} {
			_, err := in.store.UpdateUser(t.Context(), user, func(u *directory.User) error { change(u); return nil })
			must(t, err)
		}
		in.member(t, d.shop, d.sue, directory.StatusActive, "user")

		for _, row := range []struct {
			name   string
			pairs  []string
			reason string // empty: allowed
		}{
			{"an active user below", nil, ""},
			{"by address", []string{"requested_subject", "ADA@shop.example"}, ""},
			{"by the tenant's id", []string{"tenant", string(d.shop.ID)}, ""},
			{"by the scope tenant", []string{"tenant", "", "scope", "openid tenant:shop"}, ""},
			{"further below", []string{"tenant", "below"}, ""},
			{"himself", []string{"requested_subject", string(d.sue.ID)}, "self"},
			{"a user of the parent", []string{"tenant", "mno"}, "permission"},
			{"a user outside the subtree", []string{"tenant", "another"}, "permission"},
			{"a tenant that there is not", []string{"tenant", "nowhere"}, "permission"},
			{"a tenant without support sessions", []string{"tenant", "default"}, "permission"},
			{"a user outside, by address", []string{"tenant", "another", "requested_subject", "nobody@shop.example"}, "permission"},
			{"who is not active", []string{"requested_subject", "invited@shop.example"}, "target_status"},
			{"whose login is off", []string{"requested_subject", "disabled@shop.example"}, "target_status"},
			{"an operator", []string{"requested_subject", "operator@shop.example"}, "target_status"},
			{"who is no member", []string{"requested_subject", "nobody@shop.example"}, "target_status"},
			{"in a tenant that is not enabled", []string{"tenant", "closed"}, "tenant_status"},
			{"as Observer", []string{"role", "observer"}, ""},
			{"as Administrator", []string{"role", "administrator"}, ""},
			{"as User", []string{"role", "user"}, "role_override"},
			{"as SuperAdmin", []string{"role", "superadmin"}, "role_override"},
			{"as Support", []string{"role", "support"}, "role_override"},
			{"as what there is not", []string{"role", "emperor"}, "role_override"},
		} {
			t.Run(row.name, func(t *testing.T) {
				got := d.exchange(t, row.pairs...)
				if row.reason != "" {
					got.refusedSupport(t, row.reason)
					return
				}
				d.active(t, got.tokens(t).access, true)
			})
		}
	})
}

// TestSupport_EM_R15: the override changes the token, not the user, and some
// things no session may.
func TestSupport_EM_R15(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		permissions := func(pairs ...string) []any {
			t.Helper()
			token := d.start(t, pairs...)
			_, claims := parts(t, token)
			now := in.introspect(t, token)
			if diff := cmp.Diff(claims["permissions"], now["permissions"]); diff != "" {
				t.Errorf("token and introspection differ: %s", diff)
			}
			list, _ := now["permissions"].([]any)
			return list
		}
		own, observer := permissions(), permissions("role", "observer")
		if !slices.Contains(own, any("devices.update")) || slices.Contains(observer, any("devices.update")) || !slices.Contains(observer, any("devices.list")) {
			t.Errorf("as himself %v, as Observer %v", own, observer)
		}
		for _, p := range slices.Concat(own, observer) {
			key, _ := p.(string)
			if key == "me.password.update" || strings.Contains(key, ".mfa.keys.") || key == "app_tokens.create" || key == "app_tokens.update" || strings.HasPrefix(key, "users.roles.") {
				t.Errorf("a support session may %s", key)
			}
		}
		b := in.browser(t)
		b.signIn(t, d.ada, authn.ACR1)
		_, claims := parts(t, b.obtain(t, "scope", "openid permissions").access)
		if list, _ := claims["permissions"].([]any); !slices.Contains(list, any("devices.update")) || !slices.Contains(list, any("me.password.update")) || claims["act"] != nil {
			t.Errorf("the user's own token is %v", claims)
		}
	})
}

// TestSupport_EM_R38: the target's tenant is told, at the beginning and the end.
func TestSupport_EM_R38(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		token := d.start(t, "role", "observer")
		in.direct(t, "/oauth2/revoke", "shop", shopSecret, url.Values{"token": {token}}).status(t, http.StatusOK)
		d.active(t, token, false)
		begun, ended := in.trail.of("support_access"), in.trail.of("support_session.end")
		if len(begun) != 1 || len(ended) != 1 {
			t.Fatalf("events %v and %v", begun, ended)
		}
		e := begun[0]
		if e.Tenant != d.shop.ID || e.Actor.ID != string(d.sue.ID) || e.TargetID != string(d.ada.ID) || e.Data["severity"] != "warn" ||
			e.Data["staff"] != d.sue.ID || e.Data["staff_tid"] != d.reseller.ID || e.Data["staff_tenant"] != "reseller" ||
			e.Data["reason"] != "ticket 4711" || e.Data["role"] != "observer" || e.Data["membership"] != d.adaThere.ID {
			t.Errorf("the event is %+v", e)
		}
		if e := ended[0]; e.Tenant != d.shop.ID || e.Data["reason"] != "revoked" || e.Data["staff"] != d.sue.ID {
			t.Errorf("the event of the end is %+v", e)
		}
	})
}

// TestSupport_SI_R08: the partner's consent, withdrawn, ends what runs; several
// sessions at once are fine.
func TestSupport_SI_R08(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.streamone(t, false)
		d.exchange(t).refusedSupport(t, "consent")
		operator := authz.NewContext(t.Context(), authz.Principal{Kind: authz.OperatorPrincipal})
		allow := func(allowed bool) {
			t.Helper()
			_, err := d.directory(t).SaveTenant(operator, directory.TenantSpec{Slug: "partner", SupportAccess: &allowed})
			must(t, err)
		}
		allow(true)
		one, two := d.start(t), d.start(t)
		_, err := d.directory(t).SaveTenant(operator, directory.TenantSpec{Slug: "partner", Policy: &directory.Policy{TrustedDeviceDays: new(3)}})
		must(t, err)
		d.active(t, one, true)
		d.active(t, two, true)
		allow(false)
		ended := in.trail.of("support_session.end")
		if len(ended) != 2 || ended[0].Data["reason"] != "consent" {
			t.Errorf("events %v", ended)
		}
		allow(true)
		d.active(t, one, false)
		d.active(t, two, false)
		d.exchange(t).tokens(t)
	})
}

// TestSupportSecondFactor: what the tenant asks of its people it asks of those
// who act as one.
func TestSupportSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.streamone(t, true)
		d.changeTenant(t, d.shop, func(t *directory.Tenant) { t.Policy.MFA = directory.MFARequired })
		d.exchange(t).tokens(t)
		b := in.browser(t)
		b.signIn(t, d.sue, authn.ACR1)
		d.exchange(t, "subject_token", b.obtain(t).access).refusedSupport(t, "second_factor")
	})
}

// TestSupportOneAtATime: where the role system says so, the next session ends
// the one before; that of another member of staff stays.
func TestSupportOneAtATime(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		sam := in.user(t, "sam@reseller.example")
		in.member(t, d.reseller, sam, directory.StatusActive, "support")
		b := in.browser(t)
		b.signIn(t, sam, authn.ACR2)
		other := d.start(t, "subject_token", b.obtain(t).access)
		first := d.start(t)
		d.exchange(t, "role", "superadmin").refusedSupport(t, "role_override")
		d.active(t, first, true)
		second := d.start(t)
		d.active(t, first, false)
		d.active(t, second, true)
		if got := in.introspect(t, other)["active"]; got != true {
			t.Error("another's session has ended")
		}
	})
}

// TestSupportEnds: what was asked at the beginning is asked at each use, and
// what has ended stays so.
func TestSupportEnds(t *testing.T) {
	type change struct {
		name, reason string
		change, undo func(t *testing.T, d *desk)
	}
	status := func(who func(d *desk) *directory.Membership, s directory.Status) func(t *testing.T, d *desk) {
		return func(t *testing.T, d *desk) { t.Helper(); d.setStatus(t, who(d), s) }
	}
	sue := func(d *desk) *directory.Membership { return d.sueThere }
	ada := func(d *desk) *directory.Membership { return d.adaThere }
	tenant := func(who func(d *desk) *directory.Tenant, change func(d *desk, t *directory.Tenant)) func(t *testing.T, d *desk) {
		return func(t *testing.T, d *desk) {
			t.Helper()
			d.changeTenant(t, who(d), func(t *directory.Tenant) { change(d, t) })
		}
	}
	shop := func(d *desk) *directory.Tenant { return d.shop }
	reseller := func(d *desk) *directory.Tenant { return d.reseller }
	for _, row := range []change{
		{
			"the staff member is suspended", "signed_out",
			status(sue, directory.StatusSuspended), status(sue, directory.StatusActive),
		},
		{
			"the user is suspended", "target_status",
			status(ada, directory.StatusSuspended), status(ada, directory.StatusActive),
		},
		{
			"the tenant is not enabled any more", "tenant_status",
			tenant(shop, func(_ *desk, t *directory.Tenant) { t.Status = "suspended" }),
			tenant(shop, func(_ *desk, t *directory.Tenant) { t.Status = "enabled" }),
		},
		{
			"the relation is cut", "permission",
			tenant(shop, func(_ *desk, t *directory.Tenant) { t.Relations = map[string]id.Tenant{} }),
			tenant(shop, func(d *desk, t *directory.Tenant) { t.Relations = map[string]id.Tenant{"channel": d.reseller.ID} }),
		},
		{
			"the reseller's package has gone", "permission",
			tenant(reseller, func(_ *desk, t *directory.Tenant) { t.Tier = "trial" }),
			tenant(reseller, func(_ *desk, t *directory.Tenant) { t.Tier = "partner" }),
		},
		{
			"the role is taken", "permission",
			func(t *testing.T, d *desk) {
				t.Helper()
				must(t, d.in.store.Unassign(t.Context(), directory.Assignment{Tenant: d.reseller.ID, Membership: d.sueThere.ID, Role: "support", Source: directory.AssignedDirect}))
			},
			func(t *testing.T, d *desk) {
				t.Helper()
				must(t, d.in.store.Assign(t.Context(), directory.Assignment{Tenant: d.reseller.ID, Membership: d.sueThere.ID, Role: "support", Source: directory.AssignedDirect}, d.in.now()))
			},
		},
		{
			"the staff member signs out", "signed_out",
			func(t *testing.T, d *desk) { t.Helper(); must(t, d.in.oidc.SignOut(t.Context(), d.session.ID)) },
			func(*testing.T, *desk) {},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			each(t, func(t *testing.T, in *instance) {
				d := in.emnify(t)
				token := d.start(t)
				d.active(t, token, true)
				row.change(t, d)
				d.active(t, token, false)
				ended := in.trail.of("support_session.end")
				if len(ended) != 1 || ended[0].Data["reason"] != row.reason || ended[0].Tenant != d.shop.ID {
					t.Errorf("events %v, want the reason %s", ended, row.reason)
				}
				row.undo(t, d)
				d.active(t, token, false)
			})
		})
	}
}

// TestSupportLockOut: a lock-out ends the sessions of both sides at once.
func TestSupportLockOut(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		for _, end := range []func(){
			func() { must(t, in.oidc.EndMembership(t.Context(), d.shop.ID, d.adaThere.ID, d.ada.ID)) },
			func() { must(t, in.oidc.EndLogin(t.Context(), d.ada.ID)) },
			func() { must(t, in.oidc.EndMembership(t.Context(), d.reseller.ID, d.sueThere.ID, d.sue.ID)) },
		} {
			token := d.start(t)
			before := len(in.trail.of("support_session.end"))
			end()
			if ended := in.trail.of("support_session.end"); len(ended) != before+1 || ended[before].Data["reason"] != "locked_out" {
				t.Errorf("events %v", ended)
			}
			d.active(t, token, false)
		}
	})
}

// TestSupportExpires: an hour, and Clean writes down the end.
func TestSupportExpires(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		token := d.start(t)
		in.advance(time.Hour - time.Second)
		d.active(t, token, true)
		in.advance(time.Second)
		d.active(t, token, false)
		must(t, in.oidc.Clean(t.Context()))
		if ended := in.trail.of("support_session.end"); len(ended) != 1 || ended[0].Data["reason"] != "expired" {
			t.Errorf("events %v", ended)
		}
		sessions, err := in.oidc.SupportSessions(t.Context(), d.shop.ID)
		must(t, err)
		if len(sessions) != 1 || !sessions[0].Ended.Equal(sessions[0].Expires) {
			t.Errorf("on record are %+v", sessions)
		}
		in.advance(oidc.SupportRetention + time.Hour)
		must(t, in.oidc.Clean(t.Context()))
		if sessions, err = in.oidc.SupportSessions(t.Context(), d.shop.ID); err != nil || len(sessions) != 0 {
			t.Errorf("after the retention there are %+v, %v", sessions, err)
		}
	})
}

// TestSupportEscalation: what must not be exchanged, and what a support token
// must not become.
func TestSupportEscalation(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.Secret, s.Tenant = "stranger", secret.NewText("stranger secret"), d.another.ID
		})
		in.application(t, func(s *oidc.ApplicationSpec) {
			s.ClientID, s.Type, s.Secret = "spa", oidc.SPA, secret.Text{}
		})
		in.machine(t, d.reseller, func(s *oidc.ApplicationSpec) { s.Roles = []string{"administrator"} })
		refused := func(t *testing.T, a answer) {
			t.Helper()
			a.oauthError(t, http.StatusBadRequest, oidc.InvalidRequest)
			if text, _ := a.json(t)["error_description"].(string); !strings.HasPrefix(text, "the subject_token is") {
				t.Errorf("refused because %s", text)
			}
		}
		t.Run("no session inside a session", func(t *testing.T) {
			d.exchange(t, "subject_token", d.start(t)).refusedSupport(t, "nested")
		})
		t.Run("not another application's token", func(t *testing.T) {
			refused(t, in.direct(t, "/oauth2/token", "stranger", "stranger secret", d.wish()))
			refused(t, in.direct(t, "/oauth2/token", "spa", "", d.wish("client_id", "spa")))
		})
		t.Run("not a machine's token", func(t *testing.T) {
			got := in.direct(t, "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"client_credentials"}}).tokens(t)
			refused(t, in.direct(t, "/oauth2/token", "robot", robotSecret, d.wish("subject_token", got.access)))
		})
		t.Run("not an ID token, a refresh token, or rubbish", func(t *testing.T) {
			got := d.browser.obtain(t)
			for _, token := range []string{got.id, got.refresh, "rubbish", "rcat_rubbish"} {
				refused(t, d.exchange(t, "subject_token", token))
			}
		})
		t.Run("not a revoked token", func(t *testing.T) {
			got := d.browser.obtain(t)
			in.direct(t, "/oauth2/revoke", "shop", shopSecret, url.Values{"token": {got.access}}).status(t, http.StatusOK)
			refused(t, d.exchange(t, "subject_token", got.access))
		})
		t.Run("no more scope", func(t *testing.T) {
			for _, scope := range []string{"groups", "openid permissions", "tenants", "offline_access"} {
				d.exchange(t, "scope", scope).oauthError(t, http.StatusBadRequest, oidc.InvalidScope)
			}
			if got := d.exchange(t, "scope", "openid").tokens(t); got.scope != "openid" {
				t.Errorf("scope %s", got.scope)
			}
		})
		t.Run("no API where the application has none, and with it the caller is not the user alone", func(t *testing.T) {
			d.exchange(t, "scope", "api").oauthError(t, http.StatusBadRequest, oidc.InvalidScope)
			if _, err := in.oidc.Principal(t.Context(), oidc.Bearer(secret.NewText(d.start(t)))); fault.As(err).Code != oidc.InsufficientScope {
				t.Errorf("got %v", err)
			}
			in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.API = "console", true })
			got := d.browser.code(t, "client_id", "console", "scope", "openid api")
			own := in.direct(t, "/oauth2/token", "console", shopSecret, redemption(got)).tokens(t)
			token := in.direct(t, "/oauth2/token", "console", shopSecret, d.wish("subject_token", own.access, "role", "observer")).tokens(t)
			p, err := in.oidc.Principal(t.Context(), oidc.Bearer(secret.NewText(token.access)))
			must(t, err)
			want := authz.Principal{
				Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, Tenant: d.shop.ID, User: d.ada.ID, Membership: d.adaThere.ID,
				Application: "console", Support: &authz.Staff{User: d.sue.ID, Tenant: d.reseller.ID, Override: "observer"},
			}
			if diff := cmp.Diff(want, p); diff != "" {
				t.Error(diff)
			}
			// Another application of the owner, without the API, can't keep the scope.
			d.exchange(t, "subject_token", own.access, "scope", "api").oauthError(t, http.StatusBadRequest, oidc.InvalidScope)
		})
		t.Run("no authorization code or refresh from it", func(t *testing.T) {
			in.refresh(t, d.start(t)).oauthError(t, http.StatusBadRequest, oidc.InvalidGrant)
		})
		t.Run("no claim is taken from the request", func(t *testing.T) {
			_, claims := parts(t, d.start(t, "act", `{"sub":"x"}`, "sub", "x", "roles", "superadmin"))
			if claims["sub"] != string(d.ada.ID) || cmp.Diff(claims["roles"], []any{"administrator"}) != "" {
				t.Errorf("claims %v", claims)
			}
		})
		t.Run("not an expired token", func(t *testing.T) {
			in.advance(oidc.AccessTokenLifetime)
			refused(t, d.exchange(t))
		})
	})
}

// TestTokenExchangeRequest holds requests to RFC 8693 §2.1 and its errors to
// §2.2.2.
func TestTokenExchangeRequest(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.emnify(t)
		for _, row := range []struct {
			name  string
			pairs []string
			code  string
		}{
			{"without subject_token", []string{"subject_token", ""}, oidc.InvalidRequest},
			{"without its type", []string{"subject_token_type", ""}, oidc.InvalidRequest},
			{"of another type", []string{"subject_token_type", "urn:ietf:params:oauth:token-type:id_token"}, oidc.InvalidRequest},
			{"of an unknown type", []string{"subject_token_type", "urn:example:token"}, oidc.InvalidRequest},
			{"for another type", []string{"requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, oidc.InvalidRequest},
			{"with an actor_token", []string{"actor_token", "x", "actor_token_type", oidc.TokenTypeAccess}, oidc.InvalidRequest},
			{"with a type of actor alone", []string{"actor_token_type", oidc.TokenTypeAccess}, oidc.InvalidRequest},
			{"for another audience", []string{"audience", "https://elsewhere.example"}, oidc.InvalidTarget},
			{"for another resource", []string{"resource", "https://elsewhere.example"}, oidc.InvalidTarget},
			{"without requested_subject", []string{"requested_subject", ""}, oidc.InvalidRequest},
			{"without tenant", []string{"tenant", ""}, oidc.InvalidRequest},
			{"without reason", []string{"reason", ""}, oidc.InvalidRequest},
			{"with an empty reason", []string{"reason", " \t"}, oidc.InvalidRequest},
			{"with a long reason", []string{"reason", strings.Repeat("x", 1001)}, oidc.InvalidRequest},
			{"for two tenants", []string{"scope", "tenant:another"}, oidc.InvalidRequest},
			{"for this audience", []string{"audience", in.url, "requested_token_type", oidc.TokenTypeAccess}, ""},
		} {
			t.Run(row.name, func(t *testing.T) {
				got := d.exchange(t, row.pairs...)
				if row.code == "" {
					got.tokens(t)
					return
				}
				got.oauthError(t, http.StatusBadRequest, row.code)
			})
		}
		t.Run("with several targets", func(t *testing.T) {
			form := d.wish()
			form["audience"] = []string{in.url, "https://elsewhere.example"}
			in.direct(t, "/oauth2/token", "shop", shopSecret, form).oauthError(t, http.StatusBadRequest, oidc.InvalidTarget)
		})
		t.Run("client authentication", func(t *testing.T) {
			in.direct(t, "/oauth2/token", "shop", "wrong", d.wish()).oauthError(t, http.StatusUnauthorized, oidc.InvalidClient)
			in.direct(t, "/oauth2/token", "", "", d.wish()).oauthError(t, http.StatusUnauthorized, oidc.InvalidClient)
		})
	})
}

// TestSupportOverTheAPI: who sees support sessions, ends them, and decides about
// the consent; and that a session does none of the things that it must not.
func TestSupportOverTheAPI(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		d := in.streamone(t, false)
		handler := gin.New()
		logger := slog.New(slog.DiscardHandler)
		api.New(api.Deps{Directory: d.directory(t), Authn: in.authn, OIDC: in.oidc, Logger: logger}).Mount(handler)
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		in.application(t, func(s *oidc.ApplicationSpec) { s.ClientID, s.API = "console", true })
		token := func(b *browser) string {
			t.Helper()
			return in.direct(t, "/oauth2/token", "console", shopSecret, redemption(b.code(t, "client_id", "console", "scope", "openid api"))).tokens(t).access
		}
		call := func(method, path, token, body string) answer {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/api/v1/tenants/"+path, strings.NewReader(body))
			must(t, err)
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			return do(t, http.DefaultClient, r)
		}
		person := func(user *directory.User) string {
			t.Helper()
			b := in.browser(t)
			b.signIn(t, user, authn.ACR2)
			return token(b)
		}
		sales := in.user(t, "sales@partner.example")
		there := in.member(t, d.shop, sales, directory.StatusActive, "sales")
		ada, seller, sue := person(d.ada), person(sales), token(d.browser)
		code := func(a answer) any { return a.json(t)["code"] }
		start := func() string {
			t.Helper()
			return in.direct(t, "/oauth2/token", "console", shopSecret, d.wish("subject_token", sue)).tokens(t).access
		}
		const on, off = `{"enabled":true}`, `{"enabled":false}`

		if got := call(http.MethodPut, "partner/support-access", seller, on).status(t, http.StatusForbidden); code(got) != "permission" {
			t.Errorf("got %s", got.body)
		}
		call(http.MethodPut, "partner/support-access", sue, on).status(t, http.StatusNotFound)
		call(http.MethodPut, "partner/support-access", ada, on).status(t, http.StatusNoContent)
		if got := call(http.MethodGet, "partner/support-access", ada, "").status(t, http.StatusOK).json(t)["enabled"]; got != true {
			t.Errorf("enabled is %v", got)
		}
		session := start()
		listed := func() []any {
			t.Helper()
			items, _ := call(http.MethodGet, "partner/support-sessions", ada, "").status(t, http.StatusOK).json(t)["items"].([]any)
			return items
		}
		items := listed()
		if len(items) != 1 {
			t.Fatalf("listed are %v", items)
		}
		first, _ := items[0].(map[string]any)
		staff := map[string]any{"user": string(d.sue.ID), "tenant": string(d.reseller.ID)}
		if cmp.Diff(first["staff"], staff) != "" || first["user"] != string(d.ada.ID) || first["reason"] != "ticket 4711" || first["ended"] != nil {
			t.Errorf("listed is %v", first)
		}
		call(http.MethodGet, "partner/support-sessions", seller, "").status(t, http.StatusForbidden)
		call(http.MethodGet, "partner/support-sessions", sue, "").status(t, http.StatusNotFound)

		// What a session must not do, though the account admin could.
		if got := call(http.MethodPut, "partner/support-access", session, on).status(t, http.StatusForbidden); code(got) != "nested" {
			t.Errorf("got %s", got.body)
		}
		call(http.MethodPut, "distributor/support-access", session, on).status(t, http.StatusNotFound)

		for name, refused := range map[string]answer{
			"a role for another": call(http.MethodPut, "partner/members/"+string(there.ID)+"/roles", session, `{"roles":["ops"]}`),
			"a role for himself": call(http.MethodPut, "partner/members/"+string(d.adaThere.ID)+"/roles", session, `{"roles":["ops"]}`),
			"a new person":       call(http.MethodPost, "partner/members", session, `{"email":"new@partner.example","roles":["account_admin"]}`),
		} {
			if refused.StatusCode != http.StatusForbidden {
				t.Errorf("%s: got %d %s", name, refused.StatusCode, refused.body)
			}
		}
		call(http.MethodPut, "partner/members/"+string(there.ID)+"/roles", ada, `{"roles":["ops"]}`).status(t, http.StatusOK)
		call(http.MethodPut, "partner/members/"+string(there.ID)+"/roles", ada, `{"roles":["sales"]}`).status(t, http.StatusOK)

		path := func(i int) string {
			item, _ := listed()[i].(map[string]any)
			name, _ := item["id"].(string)
			return "/support-sessions/" + name
		}
		call(http.MethodDelete, "partner"+path(0), seller, "").status(t, http.StatusForbidden)
		call(http.MethodDelete, "distributor"+path(0), ada, "").status(t, http.StatusNotFound)
		for name, end := range map[string]func(){
			"the administrator":                  func() { call(http.MethodDelete, "partner"+path(0), ada, "").status(t, http.StatusNoContent) },
			"the staff member, from his tenant":  func() { call(http.MethodDelete, "distributor"+path(0), sue, "").status(t, http.StatusNoContent) },
			"the staff member, with the session": func() { call(http.MethodDelete, "partner"+path(0), session, "").status(t, http.StatusNoContent) },
			"the consent's end":                  func() { call(http.MethodPut, "partner/support-access", ada, off).status(t, http.StatusNoContent) },
		} {
			call(http.MethodPut, "partner/support-access", ada, on).status(t, http.StatusNoContent)
			session = start()
			call(http.MethodGet, "partner/support-sessions", session, "").status(t, http.StatusOK)
			end()
			if got := call(http.MethodGet, "partner", session, ""); got.StatusCode != http.StatusUnauthorized {
				t.Errorf("after %s the token gets %d", name, got.StatusCode)
			}
		}
	})
}
