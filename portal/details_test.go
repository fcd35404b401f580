package portal_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// words are texts in en, de, fr and es.
func words(texts ...string) map[string]string {
	by := map[string]string{}
	for i, l := range language.All() {
		by[l.Tag] = texts[i]
	}
	return by
}

// withPayments lets the shop ask for payments.
func (s *site) withPayments(t *testing.T) *site {
	t.Helper()
	err := s.oidc.PutDetailType(operator(t), oidc.DetailType{
		Name:  "payment_initiation",
		Names: words("Make one payment", "Eine Zahlung auslösen", "Effectuer un paiement", "Hacer un pago"),
		Schema: json.RawMessage(`{"properties": {
			"actions": {"type": "array"}, "creditorName": {"type": "string"}, "creditorAccounts": {"type": "array", "items": {"properties": {"iban": true}}},
			"instructedAmount": {"type": "object", "properties": {"currency": {"type": "string"}, "amount": {"type": "number"}}}, "urgent": {"type": "boolean"}, "note": true
		}}`),
		Fields: []oidc.DetailField{
			{Path: "creditorName", Labels: words("Payee", "Empfänger", "Bénéficiaire", "Beneficiario")},
			{Path: "instructedAmount", Labels: words("Amount", "Betrag", "Montant", "Importe")},
			{Path: "instructedAmount.currency", Labels: words("Currency", "Währung", "Devise", "Moneda")},
			{Path: "instructedAmount.amount", Labels: words("Amount", "Betrag", "Montant", "Importe")},
			{Path: "creditorAccounts", Labels: words("Account", "Konto", "Compte", "Cuenta")},
			{Path: "urgent", Labels: words("At once", "Sofort", "Immédiat", "Inmediato")},
			{Path: "note", Labels: words("Reference", "Verwendungszweck", "Motif", "Concepto")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	shop := oidc.ApplicationSpec{
		ClientID: "shop", Name: "Shop", Type: oidc.Web, RedirectURIs: []string{"https://shop.example/callback"}, Secret: secret.Random(""),
		Security: oidc.Security{DetailTypes: []string{"payment_initiation"}},
	}
	must(s.oidc.PutApplication(operator(t), shop))(t)
	return s
}

func paymentOf(t *testing.T, members string) oidc.Details {
	t.Helper()
	return must(oidc.ParseDetails(`[{"type":"payment_initiation",` + members + `}]`))(t)
}

const wholePayment = `"note":"Order 4711 of 23 November","actions":["initiate","status"],"instructedAmount":{"amount":123.50,"currency":"EUR"},"urgent":true,
	"creditorAccounts":[{"iban":"DE02100100109307118603"},{"iban":"DE40100100103307118608"}],"creditorName":"Merchant & Sons"`

// lines are the fields of a page with their values.
var lines = regexp.MustCompile(`<dt>([^<]*)</dt>((?:<dd><bdi>[^<]*</bdi></dd>)*)`)

func TestDetailsInWords(t *testing.T) {
	t.Parallel()
	s := newSite(t).withPayments(t)
	b := s.browser(t)
	r := b.request(t, oidc.Parameters{TenantName: "berlin", Scopes: []string{oidc.ScopeOpenID}, Details: paymentOf(t, wholePayment)})
	b.post(t, "/login?request="+string(r), "login", annEmail, "password", annPassword)
	for tag, want := range map[string][]string{
		"en": {"Make one payment", "Actions initiate status", "Payee Merchant &amp; Sons", "Currency EUR", "Amount 123.50", "Account 1 › iban DE02100100109307118603", "Account 2 › iban DE40100100103307118608", "At once Yes", "Reference Order 4711 of 23 November"},
		"de": {"Eine Zahlung auslösen", "Aktionen initiate status", "Empfänger Merchant &amp; Sons", "Währung EUR", "Betrag 123.50", "Konto 1 › iban DE02100100109307118603", "Konto 2 › iban DE40100100103307118608", "Sofort Ja", "Verwendungszweck Order 4711 of 23 November"},
		"fr": {"Effectuer un paiement", "Actions initiate status", "Bénéficiaire Merchant &amp; Sons", "Devise EUR", "Montant 123.50", "Compte 1 › iban DE02100100109307118603", "Compte 2 › iban DE40100100103307118608", "Immédiat Oui", "Motif Order 4711 of 23 November"},
		"es": {"Hacer un pago", "Acciones initiate status", "Beneficiario Merchant &amp; Sons", "Moneda EUR", "Importe 123.50", "Cuenta 1 › iban DE02100100109307118603", "Cuenta 2 › iban DE40100100103307118608", "Inmediato Sí", "Concepto Order 4711 of 23 November"},
	} {
		b.post(t, "/language", "language", tag, "continue", "/login")
		page := b.get(t, "/login/consent?request="+string(r))
		wantPage(t, page, http.StatusOK, "<strong>"+want[0]+"</strong>")
		var got []string
		for _, line := range lines.FindAllStringSubmatch(page.body, -1) {
			value := strings.NewReplacer("<dd><bdi>", " ", "</bdi></dd>", "").Replace(line[2])
			got = append(got, line[1]+value)
		}
		if strings.Join(got, "\n") != strings.Join(want[1:], "\n") {
			t.Errorf("%s: got %q, want %q", tag, got, want[1:])
		}
	}
}

// What an application sends is text on the page, whatever it looks like, and all of
// it is there.
func TestDetailsAreNoMarkup(t *testing.T) {
	t.Parallel()
	s := newSite(t).withPayments(t)
	b := s.browser(t)
	const evil = `</dd></dl><button name=\"consent\">Allow</button><script>alert(1)</script>`
	long := strings.Repeat("x", 499) + "!"
	r := b.request(t, oidc.Parameters{TenantName: "berlin", Details: paymentOf(t, `"creditorName":"`+evil+`","instructedAmount":{"<img src=x onerror=alert(1)>":null},"actions":[],"note":"`+long+`"`)})
	b.post(t, "/login?request="+string(r), "login", annEmail, "password", annPassword)
	page := b.get(t, "/login/consent?request="+string(r))
	wantPage(t, page, http.StatusOK, "&lt;script&gt;alert(1)&lt;/script&gt;", "Amount › &lt;img src=x onerror=alert(1)&gt;", "<bdi>None</bdi>", long)
	if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "<img") || strings.Count(page.body, `name="consent"`) != 1 {
		t.Errorf("the page has markup of the application:\n%s", page.body)
	}
}

// authorized completes a request that waits for nothing any more.
func (b *browser) authorized(t *testing.T, r id.AuthorizationRequest) {
	t.Helper()
	request := must(b.site.oidc.Request(t.Context(), r, secret.NewText(b.cookie(t, cookie.Browser))))(t)
	session := must(b.site.authn.Session(t.Context(), secret.NewText(b.cookie(t, cookie.Session))))(t)
	must(b.site.oidc.Authorize(t.Context(), request, session, true))(t)
}

func TestDetailsOfADevice(t *testing.T) {
	t.Parallel()
	s := newSite(t).withPayments(t)
	box := oidc.ApplicationSpec{ClientID: "box", Name: "Box", Type: oidc.Device, Secret: secret.Random(""), Security: oidc.Security{DetailTypes: []string{"payment_initiation"}}}
	must(s.oidc.PutApplication(operator(t), box))(t)
	app := must(s.oidc.Application(t.Context(), "box"))(t)
	codes := must(s.oidc.BeginDevice(t.Context(), app, "tenant:berlin", oidc.Terms{Details: `[{"type":"payment_initiation","creditorName":"Merchant & Sons"}]`}, ""))(t)
	b := s.browser(t)
	b.signIn(t)
	at := b.post(t, "/device", "user_code", codes.User).Header.Get("Location")
	_, request, _ := strings.Cut(at, "?")
	wantPage(t, b.get(t, "/device/confirm?"+request), http.StatusOK, "<strong>Make one payment</strong>", "<dt>Payee</dt><dd><bdi>Merchant &amp; Sons</bdi></dd>")
}

// RFC 9396: a person allows a payment, sees that it was allowed, and takes it back.
func TestDetailsAllowedAndTakenBack(t *testing.T) {
	t.Parallel()
	s := newSite(t).withPayments(t)
	b := s.browser(t)
	r := b.request(t, oidc.Parameters{TenantName: "berlin", Details: paymentOf(t, wholePayment)})
	b.post(t, "/login?request="+string(r), "login", annEmail, "password", annPassword)
	path := "/login/consent?request=" + string(r)
	found := confirmationField.FindStringSubmatch(b.get(t, path).body)
	if found == nil {
		t.Fatal("the page does not ask")
	}
	wantRedirect(t, b.post(t, path, "consent", "allow", "confirmation", found[1]), "/oauth2/authorize/continue?request="+string(r))
	b.authorized(t, r)
	page := b.get(t, "/me/applications")
	wantPage(t, page, http.StatusOK, "Shop", "May in particular: Make one payment")
	if strings.Contains(page.body, "What it can do") {
		t.Error("scopes are listed that there are not")
	}
	wantPage(t, b.post(t, "/me/profile/download"), http.StatusOK, `"creditorName": "Merchant \u0026 Sons"`)
	wantRedirect(t, b.post(t, "/me/applications", "client_id", "shop"), "/me/applications?done=1")
	wantPage(t, b.get(t, "/me/applications"), http.StatusOK, "No application holds anything of yours")
}

// A payment on the consent page, and on that of a device.
func TestJourneyDetails(t *testing.T) {
	t.Parallel()
	c := quiet(t)
	c.site.withPayments(t)
	c.run(t, c.password(), c.at("/me"))
	r, step := c.asks(t, oidc.Parameters{TenantName: "berlin", Scopes: []string{oidc.ScopeOpenID, oidc.ScopeEmail}, Details: paymentOf(t, wholePayment)})
	if step != oidc.StepConsent {
		t.Fatalf("got step %v, want the consent", step)
	}
	c.run(t, c.open("/login/consent?request="+string(r.ID)), text("Make one payment"))
	c.see(t, "consent-details")
	long := strings.Repeat("Wide", 100)
	r, _ = c.asks(t, oidc.Parameters{TenantName: "berlin", Details: paymentOf(t, `"creditorName":"`+long+`","note":{"`+long+`":1}`)})
	c.run(t, c.open("/login/consent?request="+string(r.ID)), text("WideWide"))
	c.see(t, "consent-details-long")
	c.run(t, chromedp.Click("#confirm_button"))
	c.idToken(t, r.ID)
	c.run(t, c.open("/me/applications"), text("Make one payment"))
	c.see(t, "own-applications-details")
}
