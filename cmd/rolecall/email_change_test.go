package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// mailbox is an instance whose people change their addresses: 1NCE lets them.
type mailbox struct {
	*stage
	mu    sync.Mutex // guards clock
	clock time.Time
}

func onMailboxes(t *testing.T, play func(m *mailbox)) {
	t.Helper()
	eachInstance(t, func(t *testing.T, in *instance) {
		m := &mailbox{clock: in.now()}
		in.now = func() time.Time { m.mu.Lock(); defer m.mu.Unlock(); return m.clock }
		if err := in.wire(); err != nil {
			t.Fatal(err)
		}
		m.stage = newStage(t, in, "1nce")
		m.tenant(directory.TenantSpec{Slug: "acme", Name: "Acme"})
		m.person("boss", "acme", "owner")
		m.person("ann", "acme", "user")
		m.person("bob", "acme", "user")
		play(m)
	})
}

func (m *mailbox) advance(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = m.clock.Add(by)
}

// browser sends what the person's browser sends; nobody's where person is empty.
func (m *mailbox) browse(person, method, address string, form ...string) *httptest.ResponseRecorder {
	m.t.Helper()
	r := httptest.NewRequest(method, m.in.config.PublicURL+address, strings.NewReader(values(form...).Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", m.in.config.PublicURL)
	}
	if person != "" {
		r.AddCookie(&http.Cookie{Name: cookie.Session, Value: m.session(person, authn.ACR1)})
	}
	return m.send(r)
}

func (m *mailbox) leads(answer *httptest.ResponseRecorder, to string) {
	m.t.Helper()
	if answer.Code != http.StatusSeeOther || answer.Header().Get("Location") != to {
		m.t.Fatalf("got %d to %q, want 303 to %q\n%s", answer.Code, answer.Header().Get("Location"), to, answer.Body)
	}
}

func (m *mailbox) shows(answer *httptest.ResponseRecorder, status int, texts ...string) {
	m.t.Helper()
	for _, text := range texts {
		if !strings.Contains(strings.ReplaceAll(answer.Body.String(), "\u2011", "-"), text) { // hyphens at which no line ends
			m.t.Errorf("the page lacks %q:\n%s", text, answer.Body)
		}
	}
	if answer.Code != status {
		m.t.Fatalf("got %d, want %d\n%s", answer.Code, status, answer.Body)
	}
}

// asks has a person ask for an address, and returns the tokens of the links.
func (m *mailbox) asks(person, address string) (toOld, toNew string) {
	m.t.Helper()
	old := m.address(person)
	m.leads(m.browse(person, http.MethodPost, "/me/profile/email", "email", address), "/me/profile?email=sent")
	return m.token(old), m.token(address)
}

// token is that of the last letter to an address; empty: it has no link.
func (m *mailbox) token(address string) string {
	m.t.Helper()
	u := must[*url.URL](m.t)(url.Parse(m.last(address).Link))
	return u.Query().Get("token")
}

func (m *mailbox) last(address string) mail.Waiting {
	m.t.Helper()
	for _, letter := range must[[]mail.Waiting](m.t)(m.in.mail.Outbox(m.t.Context(), 1000)) {
		if letter.To == address {
			return letter
		}
	}
	m.t.Fatalf("nothing was written to %s", address)
	return mail.Waiting{}
}

func (m *mailbox) confirms(person, token string) *httptest.ResponseRecorder {
	m.t.Helper()
	return m.browse(person, http.MethodPost, "/me/email", "token", token, "answer", "confirm")
}

// address is that of the person's login, who keeps the session made before.
func (m *mailbox) address(person string) string {
	m.t.Helper()
	session := must[*authn.Session](m.t)(m.in.authn.Session(m.t.Context(), secret.NewText(m.session(person, authn.ACR1))))
	return must[*directory.User](m.t)(m.in.directory.UserByName(m.t.Context(), string(session.User))).Email
}

func TestEmailChangeIsConfirmedAtBoth(t *testing.T) {
	t.Parallel()
	onMailboxes(t, func(m *mailbox) {
		const next = "Ann@New.example"
		old, person := m.email("ann"), m.user("ann")
		m.check(m.in.authn.SetPassword(m.operator(), person.ID, secret.NewText("correct horse battery")))
		m.check(m.in.store.CreateTrustedDevice(m.t.Context(), &authn.TrustedDevice{ID: id.New[id.TrustedDevice](), User: person.ID, Expires: m.in.now().Add(time.Hour)}, secret.Random("").Hash()))
		m.check(m.in.authn.SendPasswordReset(m.t.Context(), person.ID))
		reset := m.token(old)
		m.shows(m.browse("ann", http.MethodGet, "/me/profile"), 200, old, "/me/profile/email")
		toOld, toNew := m.asks("ann", next)
		if m.last(next).Text == "" || strings.Contains(m.last(next).Text, old) {
			m.t.Errorf("the new address, which nobody has proven, learns of the old one: %s", m.last(next).Text)
		}
		m.shows(m.browse("ann", http.MethodGet, "/me/profile"), 200, next, "Both addresses")
		m.shows(m.browse("ann", http.MethodGet, "/me/email?token="+toNew), 200, old, next, "Confirm the address") // and nothing else happens
		m.leads(m.confirms("ann", toNew), "/me/profile?email=waits")
		if got := m.address("ann"); got != old {
			m.t.Fatalf("one confirmation has changed it to %s", got)
		}
		m.shows(m.browse("ann", http.MethodGet, "/me/profile?email=waits"), 200, "The old address still has to confirm it")
		m.shows(m.confirms("ann", toNew), 404, "This link does not work")
		m.leads(m.confirms("ann", toOld), "/me/profile?email=changed")
		if got := m.address("ann"); got != next {
			m.t.Fatalf("the address is %s", got)
		}
		member := must[*directory.Membership](m.t)(m.in.store.MembershipOfUser(m.t.Context(), m.id("acme"), person.ID))
		var pushed struct {
			UserName string
			Emails   []struct{ Value string }
		}
		m.allows(m.pushes(http.MethodGet, "acme", "/Users/"+string(member.ID), nil, &pushed))
		if pushed.UserName != next || len(pushed.Emails) != 1 || pushed.Emails[0].Value != next {
			m.t.Errorf("over SCIM: %+v", pushed)
		}
		for _, to := range []string{old, next} {
			if l := m.last(to); l.Link != "" || !strings.Contains(l.Text, next) {
				m.t.Errorf("the notice to %s: %+v", to, l)
			}
		}
		if devices := must[[]authn.TrustedDevice](m.t)(m.in.authn.TrustedDevices(m.t.Context(), person.ID)); len(devices) != 0 {
			m.t.Errorf("%d browsers are trusted", len(devices))
		}
		m.shows(m.browse("", http.MethodGet, "/login/reset?token="+reset), 404)
		m.shows(m.confirms("ann", toOld), 404)
		m.shows(m.browse("ann", http.MethodGet, "/me/activity"), 200, "E-mail address changed", "Another e-mail address was asked for")
		for address, want := range map[string]authn.Step{old: authn.StepPassword, strings.ToUpper(next): authn.StepDone} {
			login := must[*authn.Login](m.t)(m.in.authn.StartLogin(secret.Random(""), authn.LoginRequest{Continue: "/me"}))
			_ = m.in.authn.SubmitPassword(m.t.Context(), login, address, secret.NewText("correct horse battery"), authn.Client{})
			if login.Step != want {
				m.t.Errorf("%s signs in as far as %v, want %v", address, login.Step, want)
			}
		}
	})
}

func TestEmailChangeRefuses(t *testing.T) {
	t.Parallel()
	onMailboxes(t, func(m *mailbox) {
		ask := func(person, address string) *httptest.ResponseRecorder {
			return m.browse(person, http.MethodPost, "/me/profile/email", "email", address)
		}
		m.tenant(directory.TenantSpec{Slug: "owner", Name: "Owner", Domains: []string{"owned.example"}})
		for address, text := range map[string]string{"": "Enter an e-mail", "nobody": "Enter an e-mail", "Ann <a@b.example>": "Enter an e-mail", "a@b.example\r\nBcc: x@y.example": "Enter an e-mail", "ANN@1nce.example": "your address already"} {
			m.shows(ask("ann", address), 422, text, `aria-invalid="true"`)
		}

		// Equal answers for what is free, what somebody has and what a tenant gives out.
		var answers []string
		for _, address := range []string{"free@new.example", m.email("bob"), "new@owned.example"} {
			m.leads(ask("ann", address), "/me/profile?email=sent")
			page := m.browse("ann", http.MethodGet, "/me/profile?email=sent").Body.String()
			answers = append(answers, strings.ReplaceAll(page, address, "ADDRESS"))
			m.leads(m.browse("ann", http.MethodPost, "/me/profile/email/cancel"), "/me/profile?email=canceled")
		}
		if answers[0] != answers[1] || answers[1] != answers[2] {
			m.t.Error("the answers differ")
		}
		for _, address := range []string{m.email("bob"), "new@owned.example"} {
			if l := m.last(address); l.Link != "" || !strings.Contains(l.Text, "not possible") {
				m.t.Errorf("the letter to %s: %+v", address, l)
			}
		}

		// A link is of use to who asked, for a day, and until the next one is asked for.
		toOld, toNew := m.asks("ann", "ann@new.example")
		m.shows(m.confirms("bob", toNew), 404)
		m.shows(m.browse("bob", http.MethodGet, "/me/email?token="+toNew), 200, "another account")
		if page := m.browse("", http.MethodGet, "/me/email?token="+toNew).Body.String(); strings.Contains(page, m.email("ann")) || !strings.Contains(page, "/login?continue=") {
			m.t.Errorf("without signing in:\n%s", page)
		}
		m.leads(m.confirms("", toNew), "/login?continue="+url.QueryEscape("/me/email?token="+url.QueryEscape(toNew)))
		m.shows(m.confirms("ann", "guessed"), 404)
		older := []string{toOld, toNew}
		toOld, toNew = m.asks("ann", "ann@newer.example")
		for _, token := range older {
			m.shows(m.confirms("ann", token), 404)
		}
		m.leads(m.confirms("ann", toOld), "/me/profile?email=waits")
		m.advance(59 * time.Minute) // of a session of these tests
		m.shows(m.browse("ann", http.MethodGet, "/me/email?token="+toNew), 200)
		m.leads(ask("ann", "ann@newest.example"), "/login?confirm=1&continue="+url.QueryEscape("/me/profile/email"))
		m.advance(24 * time.Hour)
		m.sessions = map[string]string{}
		m.shows(m.confirms("ann", toNew), 404)

		// Canceled by who has the mailbox, signed in or not.
		toOld, toNew = m.asks("ann", "ann@new.example")
		m.leads(m.browse("", http.MethodPost, "/me/email", "token", toOld, "answer", "cancel"), "/me/email?canceled=1")
		m.shows(m.confirms("ann", toNew), 404)
		m.shows(m.browse("", http.MethodPost, "/me/email", "token", toOld, "answer", "cancel"), 404)

		// Too many letters.
		for range 5 {
			if ask("ann", "ann@many.example").Code == http.StatusTooManyRequests {
				return
			}
		}
		m.t.Error("nothing bounds the letters")
	})
}

// TestEmailChangeInBetween: what has become of the person, the address and the
// tenant between the request and the second confirmation counts.
func TestEmailChangeInBetween(t *testing.T) {
	t.Parallel()
	onMailboxes(t, func(m *mailbox) {
		refused := func(what, address string, between func()) {
			m.t.Helper()
			toOld, toNew := m.asks("ann", address)
			m.leads(m.confirms("ann", toNew), "/me/profile?email=waits")
			between()
			answer := m.confirms("ann", toOld)
			if got := answer.Header().Get("Location"); got != "/me/profile?email=refused" {
				m.t.Errorf("%s: %d to %q", what, answer.Code, got)
			}
			if got := m.address("ann"); got != m.email("ann") {
				m.t.Errorf("%s: the address is %s", what, got)
			}
			m.shows(m.confirms("ann", toOld), 404)
			m.advance(time.Hour) // past what bounds the letters
			m.sessions = map[string]string{}
		}
		refused("taken", "wanted@new.example", func() {
			must[*directory.User](m.t)(m.in.directory.SaveUser(m.operator(), directory.UserSpec{Email: "WANTED@new.example"}))
		})
		refused("a domain that a tenant has verified", "ann@late.example", func() {
			m.tenant(directory.TenantSpec{Slug: "late", Domains: []string{"late.example"}})
		})
		refused("a domain that the tenant does not take", "ann@free.example", func() {
			m.check(m.in.directory.SetPolicy(m.operator(), m.id("acme"), netip.Addr{}, directory.Policy{InviteDomains: []string{"1nce.example"}}))
		})
		m.shows(m.browse("ann", http.MethodPost, "/me/profile/email", "email", "ann@free.example"), 422, "does not take addresses", "1nce.example")
		m.check(m.in.directory.SetPolicy(m.operator(), m.id("acme"), netip.Addr{}, directory.Policy{}))
		refused("a role system that fixes it", "ann@fixed.example", func() {
			m.tenants["fixed"] = must[*directory.Tenant](m.t)(m.in.directory.SaveTenant(m.operator(), directory.TenantSpec{Slug: "fixed", Blueprint: "emnify"}))
			m.person("ann", "fixed", "observer")
		})
		m.shows(m.browse("ann", http.MethodGet, "/me/profile/email"), 403)
		m.shows(m.browse("ann", http.MethodPost, "/me/profile/email", "email", "ann@other.example"), 403)
	})
}

// TestEmailChangeOfManagedPeople: whose login a directory manages, it says the
// address of.
func TestEmailChangeOfManagedPeople(t *testing.T) {
	t.Parallel()
	onMailboxes(t, func(m *mailbox) {
		m.tenant(directory.TenantSpec{Slug: "corp", Name: "Corp", Domains: []string{"1nce.example"}})
		push := authz.NewContext(m.t.Context(), authz.Principal{Kind: authz.ConnectionPrincipal, Tenant: m.id("corp")})
		_, err := m.in.directory.CreateMembership(push, m.id("corp"), map[string]any{"userName": m.email("ann")})
		m.check(err)
		m.shows(m.browse("ann", http.MethodGet, "/me/profile"), 200, "Corp")
		if page := m.browse("ann", http.MethodGet, "/me/profile").Body.String(); strings.Contains(page, "/me/profile/email") {
			m.t.Error("the page offers it")
		}
		m.shows(m.browse("ann", http.MethodPost, "/me/profile/email", "email", "ann@new.example"), 403)
	})
}

// TestEmailChangeAtOnce: of many confirmations at once one changes the address,
// and of two people who want one address one gets it.
func TestEmailChangeAtOnce(t *testing.T) {
	t.Parallel()
	onMailboxes(t, func(m *mailbox) {
		atOnce := func(count int, confirm func(i int) *httptest.ResponseRecorder) map[string]int {
			var wg sync.WaitGroup
			outcomes, begin := make([]string, count), make(chan struct{})
			for i := range count {
				wg.Go(func() { <-begin; outcomes[i] = confirm(i).Header().Get("Location") })
			}
			close(begin)
			wg.Wait()
			counts := map[string]int{}
			for _, outcome := range outcomes {
				counts[strings.TrimPrefix(outcome, "/me/profile?email=")]++
			}
			return counts
		}
		toOld, toNew := m.asks("ann", "ann@new.example")
		got := atOnce(10, func(i int) *httptest.ResponseRecorder { return m.confirms("ann", []string{toOld, toNew}[i%2]) })
		if got["waits"] != 1 || got["changed"] != 1 || got[""] != 8 || m.address("ann") != "ann@new.example" {
			m.t.Errorf("got %v, and %s", got, m.address("ann"))
		}

		people := []string{"boss", "bob"}
		var links []string
		for _, person := range people {
			toOld, toNew := m.asks(person, "one@new.example")
			m.leads(m.confirms(person, toOld), "/me/profile?email=waits")
			links = append(links, toNew)
		}
		got = atOnce(2, func(i int) *httptest.ResponseRecorder { return m.confirms(people[i], links[i]) })
		if got["changed"] != 1 || got["refused"] != 1 {
			m.t.Errorf("got %v", got)
		}
	})
}

// TestEmailChangeByADirectory: whose login a directory manages has another address
// by its word, and what went to the old one is of no use any more.
func TestEmailChangeByADirectory(t *testing.T) {
	t.Parallel()
	onMailboxes(t, func(m *mailbox) {
		const password, next, newcomer = "correct horse battery", "Ann.Berg@1nce.example", "new@1nce.example"
		old, ann := m.email("ann"), m.user("ann").ID
		trust := func() {
			m.check(m.in.store.CreateTrustedDevice(m.t.Context(), &authn.TrustedDevice{ID: id.New[id.TrustedDevice](), User: ann, Expires: m.in.now().Add(time.Hour)}, secret.Random("").Hash()))
		}
		push := func(method, path, userName string) string {
			m.t.Helper()
			var pushed struct{ ID string }
			m.allows(m.pushes(method, "corp", "/Users"+path, map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": userName}, &pushed))
			return "/" + pushed.ID
		}
		m.check(m.in.authn.SetPassword(m.operator(), ann, secret.NewText(password)))
		toOld, toNew := m.asks("ann", "ann@private.example") // while the address is her own to change
		m.tenants["corp"] = must[*directory.Tenant](m.t)(m.in.directory.SaveTenant(m.operator(), directory.TenantSpec{
			Slug: "corp", Name: "Corp", Blueprint: "emnify", Tier: "standard", Domains: []string{"1nce.example"},
		}))
		atCorp := push(http.MethodPost, "", old)
		trust()
		m.check(m.in.authn.SendPasswordReset(m.t.Context(), ann))
		reset := m.token(old)
		login := m.logsIn("ann", password, secret.Text{})
		if login.Step != authn.StepCode {
			m.t.Fatalf("the sign-in is at %s, want the code", login.Step)
		}
		code := codeIn(m.t, m.last(old))

		push(http.MethodPut, atCorp, next)
		if got := m.address("ann"); got != next {
			m.t.Fatalf("the address is %s", got)
		}
		for _, to := range []string{old, next} {
			if l := m.last(to); l.Link != "" || !strings.Contains(l.Text, "Corp has changed") || !strings.Contains(l.Text, next) {
				m.t.Errorf("the notice to %s: %+v", to, l)
			}
		}
		m.shows(m.browse("", http.MethodGet, "/login/reset?token="+reset), 404)
		for _, token := range []string{toOld, toNew} {
			m.shows(m.browse("ann", http.MethodGet, "/me/email?token="+token), 404)
		}
		submits := func(code string) string {
			_, err := m.in.authn.SubmitCode(m.t.Context(), login.ID, m.stage.browser, code, false, authn.Client{})
			return verdict(err)
		}
		m.refuses("wrong_code", submits(code))
		if devices := must[[]authn.TrustedDevice](m.t)(m.in.authn.TrustedDevices(m.t.Context(), ann)); len(devices) != 0 {
			m.t.Errorf("%d browsers are trusted", len(devices))
		}
		m.advance(31 * time.Second)
		m.check(m.in.authn.SendMailCode(m.t.Context(), login.ID, m.stage.browser))
		m.allows(submits(codeIn(m.t, m.last(next))))

		// The same address, written otherwise, is no other.
		trust()
		before := len(must[[]mail.Waiting](m.t)(m.in.mail.Outbox(m.t.Context(), 1000)))
		push(http.MethodPut, atCorp, strings.ToUpper(next))
		if devices := must[[]authn.TrustedDevice](m.t)(m.in.authn.TrustedDevices(m.t.Context(), ann)); len(devices) != 1 {
			m.t.Errorf("%d browsers are trusted", len(devices))
		}
		if after := len(must[[]mail.Waiting](m.t)(m.in.mail.Outbox(m.t.Context(), 1000))); after != before {
			m.t.Errorf("%d letters were written", after-before)
		}

		// An invitation goes to who has the new mailbox.
		atCorp = push(http.MethodPost, "", newcomer)
		m.allows(m.api("boss", http.MethodPost, "acme", "/members", map[string]any{"email": newcomer, "roles": []string{"user"}}, nil))
		invitation := m.token(newcomer)
		m.shows(m.browse("", http.MethodGet, "/login/invitation?token="+invitation), 200)
		push(http.MethodPut, atCorp, "newer@1nce.example")
		m.shows(m.browse("", http.MethodGet, "/login/invitation?token="+invitation), 404)
		m.shows(m.browse("", http.MethodGet, "/login/invitation?token="+m.token("newer@1nce.example")), 200, "Acme")
	})
}
