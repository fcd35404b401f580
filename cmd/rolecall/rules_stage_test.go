package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// The application by which the people of these tests use the API.
const (
	stageClient   = "rules"
	stageSecret   = "secret of the application"
	stageRedirect = "https://rules.example/callback"
	stageVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	ok            = "ok" // the verdict of what is allowed
)

// stage is a live instance on which the rules of one portal are played: by its
// people with access tokens of their own, by the operator and by directories.
// People are called by short names.
type stage struct {
	browser  secret.Text // ties sign-ins to one another
	t        *testing.T  // of the rule that is being played
	in       *instance
	handler  http.Handler
	portal   string
	tenants  map[string]*directory.Tenant
	sessions map[string]string // person and acr to cookie
	tokens   map[string]string // person, tenant and acr to access token
}

// newStage makes an instance's server and the application of its people.
func newStage(t *testing.T, in *instance, blueprint string) *stage {
	t.Helper()
	s := &stage{
		t: t, in: in, handler: handlerOf(t, in), portal: blueprint,
		tenants: map[string]*directory.Tenant{}, sessions: map[string]string{}, tokens: map[string]string{},
	}
	must[*oidc.Applied](t)(in.oidc.PutApplication(s.operator(), oidc.ApplicationSpec{
		ClientID: stageClient, Type: oidc.Web, Secret: secret.NewText(stageSecret), RedirectURIs: []string{stageRedirect}, API: true,
	}))
	return s
}

// onStage plays rules of a portal on each database.
func onStage(t *testing.T, blueprint string, play func(s *stage)) {
	t.Helper()
	eachInstance(t, func(t *testing.T, in *instance) { play(newStage(t, in, blueprint)) })
}

// rule plays one rule as a test of its id. TestEveryRuleIsTestedOrListed finds
// the ids of these calls.
func (s *stage) rule(name string, play func()) {
	outer := s.t
	defer func() { s.t = outer }()
	outer.Run(name, func(t *testing.T) {
		s.t = t
		play()
	})
}

func (s *stage) operator() context.Context { return operator(s.t.Context()) }

// check ends the test on an error of its own set-up.
func (s *stage) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// allows fails the test unless all verdicts are ok.
func (s *stage) allows(verdicts ...string) {
	s.t.Helper()
	for i, v := range verdicts {
		if v != ok {
			s.t.Errorf("act %d is refused: %s", i+1, v)
		}
	}
}

// refuses fails the test unless all verdicts are refusals with the code.
func (s *stage) refuses(code string, verdicts ...string) {
	s.t.Helper()
	for i, v := range verdicts {
		if v != code {
			s.t.Errorf("act %d: got %s, want the refusal %s", i+1, v, code)
		}
	}
}

// verdict is ok, or the code of the fault.
func verdict(err error) string {
	var f *fault.Error
	switch {
	case err == nil:
		return ok
	case !errors.As(err, &f):
		return err.Error()
	case f.Code != "":
		return f.Code
	default:
		return strings.TrimSuffix(fmt.Sprintf("%v:%s", f.Kind, f.Field), ":")
	}
}

// answered is ok, or the code of the problem, or its status.
func answered(r *httptest.ResponseRecorder) string {
	if r.Code < http.StatusBadRequest {
		return ok
	}
	var p struct{ Detail, Field, Code string }
	switch bad := json.Unmarshal(r.Body.Bytes(), &p); {
	case bad != nil:
		return http.StatusText(r.Code)
	case p.Code != "":
		return p.Code
	case p.Field != "":
		return fmt.Sprintf("%d:%s", r.Code, p.Field)
	case strings.Contains(r.Header().Get("Content-Type"), "scim"): // the code leads the sentence
		code, _, _ := strings.Cut(p.Detail, ": ")
		return code
	default:
		return fmt.Sprint(r.Code)
	}
}

// tenant makes a tenant of the portal below others. spec's slug is the name.
func (s *stage) tenant(spec directory.TenantSpec, below ...string) {
	s.t.Helper()
	spec.Blueprint = s.portal
	s.tenants[spec.Slug] = must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), spec))
	for pair := range slices.Chunk(below, 2) {
		s.check(s.in.directory.Link(s.operator(), directory.Edge{Tenant: s.id(spec.Slug), Relation: pair[0], Parent: pair[1]}))
	}
}

// id returns the id of a tenant, whether the stage has made it or a request.
func (s *stage) id(tenant string) id.Tenant {
	s.t.Helper()
	if s.tenants[tenant] == nil {
		s.tenants[tenant] = must[*directory.Tenant](s.t)(s.in.directory.Tenant(s.operator(), tenant))
	}
	return s.tenants[tenant].ID
}

func (s *stage) email(person string) string { return person + "@" + s.portal + ".example" }

func (s *stage) user(person string) *directory.User {
	s.t.Helper()
	return must[*directory.User](s.t)(s.in.directory.SaveUser(s.operator(), directory.UserSpec{Email: s.email(person)}))
}

// person makes an active member of a tenant with the roles.
func (s *stage) person(name, tenant string, roles ...string) {
	s.t.Helper()
	s.personIn("", name, tenant, roles...)
}

// personIn makes a member in a status.
func (s *stage) personIn(status directory.Status, name, tenant string, roles ...string) {
	s.t.Helper()
	if roles == nil {
		roles = []string{}
	}
	must[*directory.Membership](s.t)(s.in.directory.SaveMembership(s.operator(), s.id(tenant), s.user(name), directory.MembershipSpec{Roles: roles, Status: status}))
}

// legacy gives a role that has been locked since.
func (s *stage) legacy(name, tenant, role string) {
	s.t.Helper()
	s.personIn("", name, tenant, "sales")
	m := s.member(name, tenant)
	s.check(s.in.store.Unassign(s.t.Context(), directory.Assignment{Tenant: m.Tenant, Membership: m.ID, Role: "sales"}))
	s.check(s.in.store.Assign(s.t.Context(), directory.Assignment{Tenant: m.Tenant, Membership: m.ID, Role: role, Source: directory.AssignedOperator}, s.in.now()))
}

// member returns a membership as it is.
func (s *stage) member(person, tenant string) *directory.Membership {
	s.t.Helper()
	u := must[*directory.User](s.t)(s.in.directory.UserByName(s.t.Context(), s.email(person)))
	return must[*directory.Membership](s.t)(s.in.store.MembershipOfUser(s.t.Context(), s.id(tenant), u.ID))
}

// has checks which roles a member holds.
func (s *stage) has(person, tenant string, want ...string) {
	s.t.Helper()
	u := must[*directory.User](s.t)(s.in.directory.UserByName(s.t.Context(), s.email(person)))
	got := must[*directory.Standing](s.t)(s.in.directory.Standing(s.t.Context(), s.id(tenant), u.ID)).Roles
	if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		s.t.Errorf("%s holds %v at %s, want %v", person, got, tenant, want)
	}
}

// is checks the status of a member.
func (s *stage) is(person, tenant string, want directory.Status) {
	s.t.Helper()
	if got := s.member(person, tenant).Status; got != want {
		s.t.Errorf("%s is %s at %s, want %s", person, got, tenant, want)
	}
}

// as is a context in which a person acts in a tenant over the portal, for acts
// that have no interface yet. Without a tenant nothing but his rights bind him.
func (s *stage) as(person, tenant string) context.Context {
	s.t.Helper()
	p := authz.Principal{Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, User: s.user(person).ID}
	if tenant != "" {
		p.Tenant = s.id(tenant)
	}
	return authz.NewContext(s.t.Context(), p)
}

// send sends a request to the server.
func (s *stage) send(r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, r)
	return recorder
}

func (s *stage) get(address string) *http.Request {
	return httptest.NewRequest(http.MethodGet, s.in.config.PublicURL+address, nil)
}

// asksToken posts what an application posts to the token endpoint.
func (s *stage) asksToken(client, clientSecret string, pairs ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, s.in.config.PublicURL+"/oauth2/token", strings.NewReader(values(pairs...).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(clientSecret))
	return s.send(r)
}

func values(pairs ...string) url.Values {
	v := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		v.Set(pair[0], pair[1])
	}
	return v
}

// session is the cookie of a browser in which the person has proven the factors
// of the acr. Hashing a password for each would take most of a test's time;
// what passwords are about uses password.
func (s *stage) session(person, acr string) string {
	s.t.Helper()
	if s.sessions[person+acr] == "" {
		now, token, amr := s.in.now(), secret.Random(""), []string{authn.AMRPassword}
		if acr == authn.ACR2 {
			amr = append(amr, authn.AMROneTimeCode, authn.AMRMultiFactor)
		}
		s.check(s.in.store.CreateSession(s.t.Context(), &authn.Session{
			ID: id.New[id.Session](), User: s.user(person).ID, AuthTime: now, ACR: acr, AMR: amr,
			Created: now, LastSeen: now, Expires: now.Add(time.Hour),
		}, token.Hash()))
		s.sessions[person+acr] = token.Reveal()
	}
	return s.sessions[person+acr]
}

// signIn signs a person in to a tenant by the code flow and returns the access
// token, or the error by which the server refuses. The tenant may be none.
func (s *stage) signIn(person, tenant, acr string) (token, refusal string) {
	s.t.Helper()
	answer, refusal := s.codeFlow(person, tenant, acr)
	if refusal != ok {
		return "", refusal
	}
	return s.tokenOf(answer)
}

// codeFlow is signIn that returns the answer of the token endpoint.
func (s *stage) codeFlow(person, tenant, acr string) (answer *httptest.ResponseRecorder, refusal string) {
	s.t.Helper()
	scope := "openid api"
	if tenant != "" {
		scope += " tenant:" + tenant
	}
	sum := sha256.Sum256([]byte(stageVerifier))
	r := s.get("/oauth2/authorize?" + values(
		"client_id", stageClient, "redirect_uri", stageRedirect, "response_type", "code", "scope", scope, "prompt", "none",
		"state", "s", "code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256",
	).Encode())
	r.AddCookie(&http.Cookie{Name: cookie.Session, Value: s.session(person, acr)})
	answer = s.send(r)
	back := must[*url.URL](s.t)(url.Parse(answer.Header().Get("Location"))).Query()
	if back.Get("code") == "" {
		if back.Get("error") == "" {
			s.t.Fatalf("the code flow of %s at %s: %d %s", person, tenant, answer.Code, answer.Body)
		}
		return nil, back.Get("error")
	}
	return s.asksToken(stageClient, stageSecret,
		"grant_type", "authorization_code", "code", back.Get("code"), "redirect_uri", stageRedirect, "code_verifier", stageVerifier), ok
}

// tokenOf reads the answer of the token endpoint. A refusal is the last word of
// its description, which for a support session is the reason, or the error.
func (s *stage) tokenOf(r *httptest.ResponseRecorder) (token, refusal string) {
	s.t.Helper()
	var got struct {
		Token       string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	s.check(json.Unmarshal(r.Body.Bytes(), &got))
	if _, reason, found := strings.Cut(got.Description, "the support session is refused: "); found {
		return "", reason
	}
	if got.Error != "" {
		return "", got.Error
	}
	return got.Token, ok
}

// signs is the verdict on a sign-in with two factors, signs1 with one.
func (s *stage) signs(person, tenant string) string {
	s.t.Helper()
	_, refusal := s.signIn(person, tenant, authn.ACR2)
	return refusal
}

func (s *stage) signs1(person, tenant string) string {
	s.t.Helper()
	_, refusal := s.signIn(person, tenant, authn.ACR1)
	return refusal
}

// bearer is what the person's requests in a tenant carry; of whom the tenant
// does not let in, nothing is left but the refusal.
func (s *stage) bearer(person, tenant string) (header, refusal string) {
	s.t.Helper()
	switch {
	case person == "operator":
		return "Bearer " + instanceToken, ok
	case strings.HasPrefix(person, "Bearer "):
		return person, ok
	}
	key := person + "@" + tenant
	if s.tokens[key] == "" {
		token, refusal := s.signIn(person, tenant, authn.ACR2)
		if refusal != ok {
			return "", refusal
		}
		s.tokens[key] = token
	}
	return "Bearer " + s.tokens[key], ok
}

// api calls an operation in a tenant as a person, as the operator, or with a
// header of the form "Bearer ...".
func (s *stage) api(person, method, tenant, path string, body, into any) string {
	s.t.Helper()
	header, refusal := s.bearer(person, tenant)
	if refusal != ok {
		return refusal
	}
	r := call(s.t, s.handler, method, "/api/v1/tenants/"+tenant+path, header, body, nil)
	if v := answered(r); v != ok || into == nil {
		return v
	}
	s.check(json.Unmarshal(r.Body.Bytes(), into))
	return ok
}

// adds has a person add a member.
func (s *stage) adds(actor, person, tenant string, roles ...string) string {
	s.t.Helper()
	body := map[string]any{"email": s.email(person)}
	if roles != nil {
		body["roles"] = roles
	}
	return s.api(actor, http.MethodPost, tenant, "/members", body, nil)
}

// gives has a person set the roles of a member.
func (s *stage) gives(actor, person, tenant string, roles ...string) string {
	s.t.Helper()
	if roles == nil {
		roles = []string{}
	}
	return s.api(actor, http.MethodPut, tenant, "/members/"+string(s.member(person, tenant).ID)+"/roles", map[string]any{"roles": roles}, nil)
}

// sets has a person set the status of a member.
func (s *stage) sets(actor, person, tenant string, status directory.Status) string {
	s.t.Helper()
	return s.api(actor, http.MethodPut, tenant, "/members/"+string(s.member(person, tenant).ID)+"/status", map[string]any{"status": status}, nil)
}

// removes has a person remove a member.
func (s *stage) removes(actor, person, tenant string) string {
	s.t.Helper()
	return s.api(actor, http.MethodDelete, tenant, "/members/"+string(s.member(person, tenant).ID), nil, nil)
}

// lists has a person list members, and returns whom he sees.
func (s *stage) lists(actor, tenant string) (names []string, v string) {
	s.t.Helper()
	var got struct {
		Items []struct {
			UserName string `json:"user_name"`
		}
	}
	v = s.api(actor, http.MethodGet, tenant, "/members", nil, &got)
	for _, item := range got.Items {
		names = append(names, item.UserName)
	}
	return names, v
}

// offered is what the API offers a person to do with a member.
func (s *stage) offered(actor, person, tenant string) authz.Offer {
	s.t.Helper()
	path := "/offer"
	if person != "" {
		path = "/members/" + string(s.member(person, tenant).ID) + "/offer"
	}
	var offer authz.Offer
	s.allows(s.api(actor, http.MethodGet, tenant, path, nil, &offer))
	return offer
}

// edits has a person change attributes of a member's profile.
func (s *stage) edits(actor, person, tenant string, attributes map[string]any) string {
	s.t.Helper()
	m := s.member(person, tenant)
	_, err := s.in.directory.ChangeMembership(s.as(actor, tenant), m.Tenant, m.ID, 0, func(doc map[string]any) (map[string]any, error) {
		maps.Copy(doc, attributes)
		return doc, nil
	})
	return verdict(err)
}

// asks asks over AuthZEN whether a person may do something at a tenant.
func (s *stage) asks(kind, name, permission, tenant, channel string) (bool, authz.Explanation) {
	s.t.Helper()
	return s.asksOn(kind, name, permission, map[string]any{"type": "tenant", "id": tenant}, channel)
}

func (s *stage) asksOn(kind, name, permission string, resource map[string]any, channel string) (bool, authz.Explanation) {
	s.t.Helper()
	body := must[[]byte](s.t)(json.Marshal(map[string]any{
		"subject": map[string]string{"type": kind, "id": name}, "action": map[string]string{"name": permission},
		"resource": resource, "context": map[string]any{"channel": channel, "explain": true},
	}))
	var got struct {
		Decision bool
		Context  authz.Explanation
	}
	if code := authZEN(s.t, s.handler, "/access/v1/evaluation", "Bearer "+instanceToken, string(body), &got); code != http.StatusOK {
		s.t.Fatalf("%s of %s at %v: got %d", permission, name, resource, code)
	}
	return got.Decision, got.Context
}

// may checks that a person has permissions at a tenant over the portal.
func (s *stage) may(person, tenant string, permissions ...string) {
	s.t.Helper()
	for _, p := range permissions {
		if allowed, e := s.asks("user", s.email(person), p, tenant, "portal"); !allowed {
			s.t.Errorf("%s may not %s at %s: %+v", person, p, tenant, e.RemovedBy)
		}
	}
}

// mayNot checks that a person lacks permissions at a tenant, and at which stage
// they were lost.
func (s *stage) mayNot(stage authz.Stage, person, tenant string, permissions ...string) {
	s.t.Helper()
	for _, p := range permissions {
		allowed, e := s.asks("user", s.email(person), p, tenant, "portal")
		if allowed || e.RemovedBy == nil || e.RemovedBy.Stage != stage {
			s.t.Errorf("%s of %s at %s: got %v %+v, want no by %s", p, person, tenant, allowed, e.RemovedBy, stage)
		}
	}
}

// password is the verdict on a sign-in with a password.
func (s *stage) password(person, password string) string {
	s.t.Helper()
	login := must[*authn.Login](s.t)(s.in.authn.StartLogin(secret.Random(""), authn.LoginRequest{Continue: "/"}))
	return verdict(s.in.authn.SubmitPassword(s.t.Context(), login, s.email(person), secret.NewText(password), authn.Client{}))
}

// assumes has staff begin a support session; pairs are further parameters.
func (s *stage) assumes(staff, staffTenant, person, tenant string, pairs ...string) (header, refusal string) {
	s.t.Helper()
	own, refusal := s.bearer(staff, staffTenant)
	if refusal != ok {
		return "", refusal
	}
	token, refusal := s.tokenOf(s.asksToken(stageClient, stageSecret, append([]string{
		"grant_type", oidc.GrantTokenExchange, "subject_token", strings.TrimPrefix(own, "Bearer "), "subject_token_type", oidc.TokenTypeAccess,
		"requested_subject", s.email(person), "tenant", tenant, "reason", "ticket 4711",
	}, pairs...)...))
	return "Bearer " + token, refusal
}

// pushes sends a SCIM request of the tenant's directory.
func (s *stage) pushes(method, tenant, path string, body, into any) string {
	s.t.Helper()
	token := "directory-of-" + tenant
	_, err := s.in.directory.SaveConnection(s.operator(), s.id(tenant), directory.ConnectionSpec{Name: "hr", Profile: directory.ProfileRFC, Token: secret.NewText(token)})
	s.check(err)
	r := call(s.t, s.handler, method, "/t/"+tenant+"/scim/v2"+path, "Bearer "+token, body, into)
	return answered(r)
}

// program makes an application token of a person and returns the header of a
// program that has it.
func (s *stage) program(person, tenant string) string {
	s.t.Helper()
	token := "program-of-" + person + "-at-" + tenant
	_, err := s.in.authn.PutApplicationToken(s.operator(), authn.ApplicationToken{Tenant: s.id(tenant), Name: person, Creator: s.user(person).ID}, secret.NewText(token))
	s.check(err)
	return "Bearer " + token
}

// browses is the verdict on a sign-in by an application that has no pages.
func (s *stage) browses(client string) string {
	s.t.Helper()
	answer := s.send(s.get("/oauth2/authorize?" + values("client_id", client, "redirect_uri", stageRedirect, "response_type", "code", "scope", "openid").Encode()))
	if answer.Code < http.StatusBadRequest {
		return ok
	}
	_, rest, _ := strings.Cut(answer.Body.String(), `<code id="error">`)
	code, _, _ := strings.Cut(rest, "<")
	return code
}

// requests has a person ask for something on behalf of a tenant.
func (s *stage) requests(actor, tenant, kind string) (request, v string) {
	s.t.Helper()
	var made struct{ ID string }
	v = s.api(actor, http.MethodPost, tenant, "/requests", map[string]any{"kind": kind}, &made)
	return made.ID, v
}

// answers has somebody approve or deny a request.
func (s *stage) answers(actor, tenant, request, how string, outcome map[string]any) string {
	s.t.Helper()
	return s.api(actor, http.MethodPost, tenant, "/requests/"+request+"/"+how, outcome, nil)
}

// links has the operator link a tenant to another.
func (s *stage) links(tenant, relation, parent string, overQuota bool) string {
	s.t.Helper()
	return s.api("operator", http.MethodPut, tenant, "/parents/"+relation, map[string]any{"parent": parent, "over_quota": overQuota}, nil)
}

func (s *stage) unlinks(tenant string) string {
	s.t.Helper()
	return s.api("operator", http.MethodDelete, tenant, "/parents/link", nil, nil)
}

// shares has somebody pass an entitlement on from one tenant to another.
func (s *stage) shares(actor, pair, key string, grantable bool) string {
	s.t.Helper()
	from, to, _ := strings.Cut(pair, ">")
	return s.api(actor, http.MethodPut, from, "/children/"+to+"/entitlements/"+key, map[string]any{"grantable": grantable}, nil)
}

// names has a person make a member the contact person.
func (s *stage) names(actor, person, tenant string) string {
	s.t.Helper()
	return s.api(actor, http.MethodPut, tenant, "/contact", map[string]any{"member": s.member(person, tenant).ID}, nil)
}

// contact checks who the contact person is.
func (s *stage) contact(tenant, want string) {
	s.t.Helper()
	if got := must[*directory.Tenant](s.t)(s.in.directory.Tenant(s.t.Context(), tenant)).Contact; got != s.member(want, tenant).ID {
		s.t.Errorf("the contact person of %s is %s, want %s", tenant, got, want)
	}
}

// events returns the audit trail of a tenant as text.
func (s *stage) events(tenant string) string {
	s.t.Helper()
	db := must[*sql.DB](s.t)(sql.Open(map[string]string{"sqlite": "sqlite", "postgres": "pgx"}[s.in.store.Dialect()], strings.TrimPrefix(s.in.config.DatabaseURL, "sqlite:")))
	defer func() { s.check(db.Close()) }()
	rows, err := db.QueryContext(s.t.Context(), "SELECT action, data FROM events WHERE tenant_id = $1 ORDER BY id", string(s.id(tenant)))
	s.check(err)
	defer func() { s.check(rows.Close()) }()
	var text strings.Builder
	for rows.Next() {
		var action, data string
		s.check(rows.Scan(&action, &data))
		text.WriteString(action + " " + data + "\n")
	}
	s.check(rows.Err())
	return text.String()
}

// robot has a person add a service account and returns its client credentials.
func (s *stage) robot(actor, tenant, role string) (client, password string) {
	s.t.Helper()
	var made struct {
		ClientID string `json:"client_id"`
		Secret   string `json:"client_secret"`
	}
	s.allows(s.api(actor, http.MethodPost, tenant, "/service-accounts", map[string]any{"name": "Robot", "roles": []string{role}}, &made))
	return made.ClientID, made.Secret
}

// logsIn signs a person in as far as the password leads, from a browser with
// that trusted device.
func (s *stage) logsIn(person, password string, device secret.Text) *authn.Login {
	s.t.Helper()
	if s.browser.Empty() {
		s.browser = secret.Random("")
	}
	login := must[*authn.Login](s.t)(s.in.authn.StartLogin(s.browser, authn.LoginRequest{Continue: "/me"}))
	s.check(s.in.authn.SubmitPassword(s.t.Context(), login, s.email(person), secret.NewText(password), authn.Client{Device: device}))
	return login
}

// letter returns the last one to the person that has not been sent: nothing is.
func (s *stage) letter(person string) mail.Waiting {
	s.t.Helper()
	waiting := must[[]mail.Waiting](s.t)(s.in.mail.Outbox(s.t.Context(), 100))
	for _, letter := range waiting {
		if letter.To == s.email(person) {
			return letter
		}
	}
	s.t.Fatalf("nothing was written to %s", person)
	return mail.Waiting{}
}
