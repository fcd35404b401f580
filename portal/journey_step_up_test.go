package portal_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// verifier proves that the code is redeemed by who asked for it (RFC 7636 §4.1).
const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

func (c *chromium) cookie(t *testing.T, name string) secret.Text {
	t.Helper()
	value := ""
	c.run(t, chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := network.GetCookies().Do(ctx)
		for _, k := range all {
			if k.Name == name {
				value = k.Value
			}
		}
		return err
	}))
	return secret.NewText(value)
}

// asks has the shop ask for a sign-in, as its authorization request would, and
// opens the page that this leads to, unless none is needed.
func (c *chromium) asks(t *testing.T, parameters oidc.Parameters) (*oidc.AuthorizationRequest, oidc.Step) {
	t.Helper()
	if c.cookie(t, cookie.Browser).Empty() {
		c.run(t, c.open("/login"))
	}
	challenge := sha256.Sum256([]byte(verifier))
	parameters.RedirectURI = "https://shop.example/callback"
	if parameters.Scopes == nil {
		parameters.Scopes = []string{oidc.ScopeOpenID}
	}
	parameters.Challenge = base64.RawURLEncoding.EncodeToString(challenge[:])
	r := c.site.oidc.NewRequest("shop", c.cookie(t, cookie.Browser), parameters)
	var session *authn.Session
	if value := c.cookie(t, cookie.Session); !value.Empty() {
		session = must(c.site.authn.Session(t.Context(), value))(t)
	}
	step := must(c.site.oidc.Begin(t.Context(), r, session))(t)
	if step != oidc.StepDone {
		c.run(t, c.open("/login?request="+string(r.ID)))
	}
	return r, step
}

// next is what the request waits for, asked where the pages lead to in the end.
func (c *chromium) next(t *testing.T, request id.AuthorizationRequest) (*oidc.AuthorizationRequest, *authn.Session, oidc.Step) {
	t.Helper()
	c.run(t, c.at("/oauth2/authorize/continue"))
	r := must(c.site.oidc.Request(t.Context(), request, c.cookie(t, cookie.Browser)))(t)
	session := must(c.site.authn.Session(t.Context(), c.cookie(t, cookie.Session)))(t)
	return r, session, must(c.site.oidc.Next(t.Context(), r, session))(t)
}

// idToken is what the shop reads in its ID token where the pages have led to the end.
func (c *chromium) idToken(t *testing.T, request id.AuthorizationRequest) oidc.IDClaims {
	t.Helper()
	r, session, step := c.next(t, request)
	if step != oidc.StepDone {
		t.Fatalf("the request waits for step %v", step)
	}
	return c.redeem(t, r, session, true)
}

// redeem ends a request that waits for nothing; stored is whether it ever did.
func (c *chromium) redeem(t *testing.T, r *oidc.AuthorizationRequest, session *authn.Session, stored bool) oidc.IDClaims {
	t.Helper()
	if err := c.site.oidc.EnsureKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	code := must(c.site.oidc.Authorize(t.Context(), r, session, stored))(t)
	shop := must(c.site.oidc.Application(t.Context(), "shop"))(t)
	tokens := must(c.site.oidc.Exchange(t.Context(), shop, code, r.RedirectURI, verifier, oidc.Terms{}))(t)
	var claims oidc.IDClaims
	payload := must(base64.RawURLEncoding.DecodeString(strings.Split(tokens.ID, ".")[1]))(t)
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func (c *chromium) typePassword() chromedp.Action {
	return chromedp.Tasks{chromedp.SendKeys("#password", annPassword), chromedp.Click("#submit_button")}
}

// OIDC Core §3.1.2.1, acr_values: who has a second factor is asked for it, and for
// nothing else, and the ID token says that they were.
func TestJourneyStepUp(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.password(), c.at("/me"))
	c.site.withTOTP(t)
	c.site.advance(time.Minute)
	if _, step := c.asks(t, oidc.Parameters{TenantName: "berlin"}); step != oidc.StepDone {
		t.Fatalf("without acr_values: step %v", step)
	}
	r, _ := c.asks(t, oidc.Parameters{TenantName: "berlin", ACRValues: []string{authn.ACR2}})
	c.run(t, c.at("/login/code"), text("authenticator app"))
	c.see(t, "step-up-code")
	c.submitCode(t, false)
	claims := c.idToken(t, r.ID)
	if claims.ACR != authn.ACR2 || !slices.Contains(claims.AMR, authn.AMROneTimeCode) || claims.AuthTime != c.site.clock().Unix() {
		t.Errorf("the ID token says acr %s, amr %v, auth_time %d, want two factors now (%d)", claims.ACR, claims.AMR, claims.AuthTime, c.site.clock().Unix())
	}
}

// A tenant that demands a second factor has one set up on the way by who has none,
// and the ID token says that it was used.
func TestJourneyStepUpWithAnotherFactor(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.password(), c.at("/me"))
	must(c.site.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: &directory.Policy{MFA: directory.MFARequired}}))(t)
	r, _ := c.asks(t, oidc.Parameters{TenantName: "berlin", ACRValues: []string{authn.ACR2}})
	c.run(t, c.at("/login/second-factor"), text("Shop asks for a second factor"))
	c.see(t, "step-up-enroll")
	var key string
	c.run(t, chromedp.Text("#totp_key", &key))
	c.run(t, chromedp.SendKeys("#code", c.site.codeOf(t, strings.ReplaceAll(key, " ", ""))), chromedp.Click("#submit_button"), text("Keep these recovery codes"),
		chromedp.Click(`a[href^="/oauth2/authorize/continue"]`))
	if claims := c.idToken(t, r.ID); claims.ACR != authn.ACR2 || !slices.Contains(claims.AMR, authn.AMRMultiFactor) {
		t.Errorf("the ID token says acr %s, amr %v, want two factors", claims.ACR, claims.AMR)
	}
}

// OIDC Core §3.1.2.1, max_age: a sign-in of before is not enough once it is too
// old, and auth_time of the ID token is that of the new one.
func TestJourneyMaxAge(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.password(), c.at("/me"))
	began := c.site.clock()
	c.site.advance(4 * time.Minute)
	if _, step := c.asks(t, oidc.Parameters{TenantName: "berlin", MaxAge: new(int64(300))}); step != oidc.StepDone {
		t.Fatalf("a sign-in of four minutes ago: step %v", step)
	}
	c.site.advance(2 * time.Minute)
	r, _ := c.asks(t, oidc.Parameters{TenantName: "berlin", MaxAge: new(int64(300))})
	c.run(t, c.at("/login"), text("confirm that it is you"))
	c.see(t, "max-age")
	c.run(t, c.typePassword())
	claims := c.idToken(t, r.ID)
	if claims.AuthTime != c.site.clock().Unix() || claims.AuthTime <= began.Unix() {
		t.Errorf("the ID token says auth_time %d, want that of the new sign-in (%d)", claims.AuthTime, c.site.clock().Unix())
	}
}

// EM-R30: a tenant that takes codes by mail sends one to who has nothing else.
func TestJourneyCodeByMail(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	policy := &directory.Policy{MFA: directory.MFARequired, EmailCodes: new(true)}
	must(c.site.directory.SaveTenant(operator(t), directory.TenantSpec{Slug: "berlin", Policy: policy}))(t)
	c.run(t, emulation.SetScriptExecutionDisabled(true))
	r, _ := c.asks(t, oidc.Parameters{TenantName: "berlin"})
	c.run(t, emulation.SetScriptExecutionDisabled(false))
	c.run(t, text("Sign in to Shop"), chromedp.SendKeys("#username", annEmail), c.typePassword(), text("We have sent a 6-digit code"))
	c.see(t, "code-by-mail")
	c.run(t, chromedp.SendKeys("#code", "12345"), chromedp.Click("#submit_button"), text("That code is wrong"))
	c.see(t, "code-by-mail-wrong")
	c.run(t, emulation.SetScriptExecutionDisabled(true), chromedp.SetValue("#code", mailedCode(t, c.site)), chromedp.Click("#submit_button"))
	if claims := c.idToken(t, r.ID); claims.ACR != authn.ACR2 || !slices.Contains(claims.AMR, authn.AMRMultipleChannels) {
		t.Errorf("the ID token says acr %s, amr %v, want the code by mail", claims.ACR, claims.AMR)
	}
}

// An account of two tenants chooses one, and the token has that one's roles.
func TestJourneyTwoTenants(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.run(t, c.password(), c.at("/me"))
	for slug, role := range map[string]string{"berlin": "owner", "munich": "viewer"} {
		r, _ := c.asks(t, oidc.Parameters{Prompt: []string{oidc.PromptSelectAccount}})
		c.run(t, c.open("/login/tenant?request="+string(r.ID)), text("Munich"), chromedp.Click(`button[name="tenant"][value="`+slug+`"]`))
		claims := c.idToken(t, r.ID)
		if want := must(c.site.directory.Tenant(t.Context(), slug))(t).ID; claims.Slug != slug || claims.Tenant != want || !slices.Equal(claims.Roles, []string{role}) {
			t.Errorf("chose %s: the ID token is of %s with %v, want %s", slug, claims.Slug, claims.Roles, role)
		}
	}
}

// A member whose account waits for approval learns that, and comes in after it.
func TestJourneyPendingApproval(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	ctx := operator(t)
	tenant := must(c.site.directory.SaveTenant(ctx, directory.TenantSpec{Slug: "stream", Name: "Stream", Blueprint: "streamone"}))(t)
	m := must(c.site.directory.SaveMembership(ctx, tenant.ID, c.site.ann, directory.MembershipSpec{Roles: []string{"account_admin"}, Status: "pending"}))(t)
	r, _ := c.asks(t, oidc.Parameters{TenantName: "stream"})
	c.run(t, text("Sign in to Shop"), chromedp.SendKeys("#username", annEmail), c.typePassword())
	if _, _, step := c.next(t, r.ID); step != oidc.StepTenant {
		t.Fatalf("got step %v, want to be told", step)
	}
	c.run(t, c.open("/login/tenant?request="+string(r.ID)), text("You wait for approval at Stream"))
	c.see(t, "pending")
	c.run(t, c.open("/me"), text("Pending"))
	must(c.site.directory.SetStatus(ctx, tenant.ID, m.ID, directory.StatusActive))(t)
	again, step := c.asks(t, oidc.Parameters{TenantName: "stream"})
	if step != oidc.StepDone {
		t.Fatalf("after the approval: step %v", step)
	}
	session := must(c.site.authn.Session(t.Context(), c.cookie(t, cookie.Session)))(t)
	if claims := c.redeem(t, again, session, false); claims.Slug != "stream" || !slices.Equal(claims.Roles, []string{"account_admin"}) {
		t.Errorf("after the approval the ID token is of %s with %v", claims.Slug, claims.Roles)
	}
}
