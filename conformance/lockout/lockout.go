// Package lockout switches people off over SCIM, and from the answer on uses
// whatever they hold, at two servers over one PostgreSQL. An application that is to
// be told notes when it was.
package lockout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/conformance/instance"
)

const (
	connectionToken = "rcs-main-Je1Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6" //nolint:gosec // of an instance that lives as long as the run
	shopID          = "shop"
	shopSecret      = "shop-secret-T7kLw2NfHc8Yd5RzGa4Pb6Je1Qm3vX9s" //nolint:gosec // see above
	redirectURI     = "http://127.0.0.1:9/callback"
	password        = "correct horse battery staple"
	scope           = "openid tenant:main offline_access"

	sessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"

	workers  = 4                // people who are signed in, and switched off, at the same time
	patience = 30 * time.Second // for what the application has to be told
)

// Ways are what is tried of each person at each server.
func Ways() []string {
	return []string{"introspection", "userinfo", "exchange", "silent renewal", "refresh"}
}

// Result is what a run came to.
type Result struct {
	People   int
	Tried    map[string]int  // by way
	Accepted map[string]int  // by way; all should be 0
	Logout   []time.Duration // from SCIM's answer to the logout token, sorted; one that came before it is 0
	Event    []time.Duration // to the CAEP event session-revoked
}

// P returns the p-th part of the durations.
func P(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[min(len(all)-1, int(p*float64(len(all))))]
}

// run is one run.
type run struct {
	servers []string // the first one is the issuer
	heard   *receiver
	people  []*person

	mu     sync.Mutex // guards result
	result Result
}

type person struct {
	membership string // the id of SCIM
	login      string
	browser    *browser.Browser
	tokens     *application.Answer
	subject    string
}

// receiver is the application, as far as it is told things.
type receiver struct {
	server *http.Server
	url    string

	mu     sync.Mutex // guards the maps, by subject
	logout map[string]time.Time
	event  map[string]time.Time
}

// Run makes two servers of the program over the PostgreSQL database, and so many
// people, and switches all of them off. dir is for its files.
func Run(ctx context.Context, program, dir, database string, people int) (_ *Result, err error) {
	heard, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, heard.server.Close()) }()
	first, err := instance.New(program, dir, database, "ROLECALL_OUTBOUND_PRIVATE=true")
	if err != nil {
		return nil, err
	}
	second, err := instance.New(program, dir, database, "ROLECALL_OUTBOUND_PRIVATE=true", "ROLECALL_PUBLIC_URL="+first.URL)
	if err != nil {
		return nil, err
	}
	if err := first.Migrate(ctx); err != nil {
		return nil, err
	}
	if _, err := first.Apply(ctx, file(heard.url)); err != nil {
		return nil, err
	}
	for _, server := range []*instance.Instance{first, second} {
		if _, err := server.Serve(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
	}
	r := &run{servers: []string{first.URL, second.Address()}, heard: heard, result: Result{People: people, Tried: map[string]int{}, Accepted: map[string]int{}}}
	if err := r.subscribe(ctx); err != nil {
		return nil, err
	}
	for n := range people {
		r.people = append(r.people, &person{login: fmt.Sprintf("person%d@main.example", n)})
	}
	if err := r.each(ctx, r.begin); err != nil {
		return nil, err
	}
	if err := r.each(ctx, r.end); err != nil {
		return nil, err
	}
	slices.Sort(r.result.Logout)
	slices.Sort(r.result.Event)
	return &r.result, nil
}

func file(told string) string {
	return `
tenants: [{slug: main, name: Main, domains: [main.example], connections: [{name: directory, token: ` + connectionToken + `}]}]
applications:
- {client_id: ` + shopID + `, name: Shop, type: web, tenant: main, secret: ` + shopSecret + `, redirect_uris: ["` + redirectURI + `"], access_token: jwt, backchannel_logout_uri: "` + told + `/logout"}
`
}

// each does the same to all people.
func (r *run) each(ctx context.Context, do func(ctx context.Context, n int, p *person) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for n := worker; n < len(r.people) && ctx.Err() == nil; n += workers {
				if err := do(ctx, n, r.people[n]); err != nil {
					cancel(fmt.Errorf("%s: %w", r.people[n].login, err))
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

func (r *run) shop(server string) application.Application {
	return application.Application{Issuer: server, ClientID: shopID, Secret: shopSecret, RedirectURI: redirectURI}
}

// scim sends a request of the directory.
func (r *run) scim(ctx context.Context, server, method, path, body string) (*application.Answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, server+"/t/main/scim/v2"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+connectionToken)
	request.Header.Set("Content-Type", "application/scim+json")
	return application.Do(request)
}

// begin has a person pushed by the directory, and signed in.
func (r *run) begin(ctx context.Context, n int, p *person) error {
	server := r.servers[n%len(r.servers)]
	made, err := r.scim(ctx, server, http.MethodPost, "/Users",
		fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"active":true,"password":%q,"emails":[{"value":%q,"primary":true}]}`, p.login, password, p.login))
	if err != nil || made.Status != http.StatusCreated {
		return errors.Join(fmt.Errorf("create: %v", made), err)
	}
	p.membership = made.String("id")
	if p.browser, err = browser.New(r.servers[0]); err != nil {
		return err
	}
	if p.tokens, err = r.shop(r.servers[0]).SignIn(ctx, p.browser, scope, browser.Person{Login: p.login, Password: password}); err != nil {
		return err
	}
	claims, err := application.Claims(p.tokens.String("id_token"))
	if err != nil {
		return err
	}
	p.subject, _ = claims["sub"].(string)
	for _, server := range r.servers { // what is refused later is accepted now
		for _, way := range Ways()[:4] {
			if accepted, err := r.try(ctx, server, way, p); err != nil || !accepted {
				return errors.Join(fmt.Errorf("%s is refused before anybody is switched off", way), err)
			}
		}
	}
	return nil
}

// end switches a person off, and uses all that they had at once.
func (r *run) end(ctx context.Context, n int, p *person) error {
	const off = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":false}]}`
	answer, err := r.scim(ctx, r.servers[n%len(r.servers)], http.MethodPatch, "/Users/"+p.membership, off)
	answered := time.Now()
	if err != nil || answer.Status != http.StatusOK {
		return errors.Join(fmt.Errorf("switch off: %v", answer), err)
	}
	for i := range r.servers { // the other server first
		for _, way := range Ways() {
			accepted, err := r.try(ctx, r.servers[(n+1+i)%len(r.servers)], way, p)
			if err != nil {
				return err
			}
			r.mu.Lock()
			if r.result.Tried[way]++; accepted {
				r.result.Accepted[way]++
			}
			r.mu.Unlock()
		}
	}
	logout, event, err := r.heard.wait(ctx, p.subject)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Logout = append(r.result.Logout, max(0, logout.Sub(answered)))
	r.result.Event = append(r.result.Event, max(0, event.Sub(answered)))
	return nil
}

// try uses what a person holds in one way at a server, and reports whether it was
// accepted.
func (r *run) try(ctx context.Context, server, way string, p *person) (accepted bool, err error) {
	shop := r.shop(server)
	var answer *application.Answer
	switch way {
	case "introspection":
		if answer, err = shop.Introspect(ctx, p.tokens.String("access_token")); err != nil {
			return false, err
		}
		active, ok := answer.Body["active"].(bool)
		if !ok {
			return false, fmt.Errorf("introspection: %d %s", answer.Status, answer.Raw)
		}
		return active, nil
	case "userinfo":
		answer, err = shop.UserInfo(ctx, p.tokens.String("access_token"))
	case "refresh":
		answer, err = shop.Refresh(ctx, p.tokens.String("refresh_token"))
	case "exchange":
		answer, err = shop.Post(ctx, application.TokenPath, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {p.tokens.String("access_token")},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "scope": {"openid"},
		})
	case "silent renewal":
		return r.renew(ctx, server, p)
	}
	if err != nil {
		return false, err
	}
	if answer.Status >= http.StatusInternalServerError {
		return false, fmt.Errorf("%s: %d %s", way, answer.Status, answer.Raw)
	}
	return answer.Status == http.StatusOK, nil
}

// renew asks for a code without a question, in the person's browser.
func (r *run) renew(ctx context.Context, server string, p *person) (accepted bool, err error) {
	b, err := browser.New(server)
	if err != nil {
		return false, err
	}
	for name, value := range p.browser.Cookies() {
		b.SetCookie(name, value)
	}
	page, err := b.Get(ctx, r.shop(server).Request(scope).With("prompt", "none").URL())
	if err != nil {
		return false, err
	}
	if page.Left == nil {
		return false, fmt.Errorf("silent renewal ends at %s (%d)", page.URL, page.Status)
	}
	return page.Left.Query().Get("code") != "", nil
}

// subscribe has the application told of sessions that are revoked.
func (r *run) subscribe(ctx context.Context) error {
	shop := r.shop(r.servers[0])
	token, err := shop.Post(ctx, application.TokenPath, url.Values{"grant_type": {"client_credentials"}, "scope": {"ssf.manage"}})
	if err != nil || token.Status != http.StatusOK {
		return errors.Join(fmt.Errorf("the application's own token: %v", token), err)
	}
	body := fmt.Sprintf(`{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":%q},"events_requested":[%q]}`, r.heard.url+"/events", sessionRevoked)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.servers[0]+"/ssf/streams", strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token.String("access_token"))
	request.Header.Set("Content-Type", "application/json")
	stream, err := application.Do(request)
	if err != nil || stream.Status != http.StatusCreated {
		return errors.Join(fmt.Errorf("the stream: %v", stream), err)
	}
	return nil
}

func listen(ctx context.Context) (*receiver, error) {
	h := &receiver{logout: map[string]time.Time{}, event: map[string]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		h.note(w, h.logout, r.PostFormValue("logout_token"), http.StatusOK)
	})
	mux.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) {
		token, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		h.note(w, h.event, string(token), http.StatusAccepted)
	})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h.server, h.url = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}, "http://"+listener.Addr().String()
	go func() { _ = h.server.Serve(listener) }() // until it is closed
	return h, nil
}

// note takes down when the first token about a person came. That their signatures
// are good is held elsewhere.
func (h *receiver) note(w http.ResponseWriter, in map[string]time.Time, token string, status int) {
	now := time.Now()
	claims, err := application.Claims(token)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, subject := range subjects(claims) {
		if _, known := in[subject]; !known {
			in[subject] = now
		}
	}
	w.WriteHeader(status)
}

// subjects returns every sub in the claims of a token, wherever it stands.
func subjects(claims any) []string {
	var all []string
	switch claims := claims.(type) {
	case map[string]any:
		for name, value := range claims {
			if text, ok := value.(string); ok && name == "sub" {
				all = append(all, text)
			} else {
				all = append(all, subjects(value)...)
			}
		}
	case []any:
		for _, value := range claims {
			all = append(all, subjects(value)...)
		}
	}
	return all
}

// wait returns when the application was told of a person.
func (h *receiver) wait(ctx context.Context, subject string) (logout, event time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		h.mu.Lock()
		logout, event = h.logout[subject], h.event[subject]
		h.mu.Unlock()
		if !logout.IsZero() && !event.IsZero() {
			return logout, event, nil
		}
		select {
		case <-ctx.Done():
			told, _ := json.Marshal(map[string]bool{"logout token": !logout.IsZero(), "event": !event.IsZero()})
			return logout, event, fmt.Errorf("after %s the application was told: %s", patience, told)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
