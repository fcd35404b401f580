package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// history is an instance to which random things happen.
type history struct {
	t       *testing.T
	in      *instance
	handler http.Handler
	tenants []id.Tenant
	people  []*directory.User
	upgrades
	done counts
}

// counts says how often each thing was done, to see that not all is refused.
type counts struct {
	mu sync.Mutex
	n  map[int]int
}

func (c *counts) add(what int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.n[what]++
	}
}

// upgrades counts the versions of the blueprint that is upgraded on the way.
type upgrades struct {
	mu   sync.Mutex
	next int
}

const historyTenants = `
tenants:
- {slug: reseller, blueprint: emnify, tier: partner, type: reseller}
- {slug: hub, blueprint: emnify, tier: pro, relations: {channel: reseller}}
- {slug: spoke-a, blueprint: emnify, tier: pro, relations: {link: hub}}
- {slug: spoke-b, blueprint: emnify, tier: standard, relations: {channel: reseller}}
- {slug: plain, blueprint: default}
- {slug: partner, blueprint: timextender, entitlements: [partner, data_estate]}
- {slug: customer, blueprint: timextender, relations: {supply: partner}}
- {slug: orders, blueprint: 1nce}
- {slug: resale, blueprint: streamone}
- {slug: account, blueprint: ingenuity}
`

func newHistory(t *testing.T, in *instance) *history {
	t.Helper()
	h := &history{t: t, in: in, handler: handlerOf(t, in), upgrades: upgrades{next: 2}, done: counts{n: map[int]int{}}}
	ctx := operator(t.Context())
	report := must[*applyReport](t)(in.apply(ctx, parse(t, historyTenants+`
applications:
- {client_id: shop, name: Shop, type: native, redirect_uris: ["http://127.0.0.1/callback"]}
`)))
	for i := range 8 {
		u := must[*directory.User](t)(in.directory.SaveUser(ctx, directory.UserSpec{Email: fmt.Sprintf("person%d@example.com", i)}))
		// With a password a person stays when the last membership goes.
		if err := in.authn.SetPassword(ctx, u.ID, secret.NewText("a password of some length")); err != nil {
			t.Fatal(err)
		}
		h.people = append(h.people, u)
	}
	for i, tenant := range report.Tenants {
		h.tenants = append(h.tenants, tenant.ID)
		b := h.blueprint(tenant.ID)
		// Two of those who must not run out, and one of each other role.
		first, _ := b.Founder()
		if first == "" {
			first = b.Roles()[0].Key
		}
		roles := []string{first, first}
		for _, rule := range b.HolderRules() {
			if rule.Rule == authz.MinHolders && !slices.Contains(rule.Roles, first) {
				roles = append(roles, rule.Roles[0], rule.Roles[0])
			}
		}
		for j, role := range roles {
			person := h.people[(i+j)%len(h.people)]
			_, err := in.directory.SaveMembership(ctx, tenant.ID, person, directory.MembershipSpec{Roles: []string{role}})
			h.tolerate("set up", err)
		}
		if _, err := in.directory.CreateGroup(ctx, tenant.ID, map[string]any{"displayName": "Staff"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *history) blueprint(tenant id.Tenant) *authz.Blueprint {
	t := must[*directory.Tenant](h.t)(h.in.directory.Tenant(h.t.Context(), string(tenant)))
	return must[*authz.Blueprint](h.t)(h.in.blueprints.Version(h.t.Context(), t.Blueprint, t.BlueprintVersion))
}

// tolerate fails the test on an error that no caller should see.
func (h *history) tolerate(what string, err error) {
	h.t.Helper()
	for _, kind := range []fault.Kind{fault.Denied, fault.Invalid, fault.NotFound, fault.Conflict} {
		if errors.Is(err, kind) {
			return
		}
	}
	if err != nil {
		h.t.Errorf("%s: %v", what, err)
	}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// actor is the operator, the tenant's directory, or anybody.
func (h *history) actor(r *rand.Rand, tenant id.Tenant) (context.Context, string) {
	ctx := h.t.Context()
	switch n := r.IntN(10); {
	case n < 3:
		return operator(ctx), "operator"
	case n < 5:
		return authz.NewContext(ctx, authz.Principal{Kind: authz.ConnectionPrincipal, Channel: authz.ChannelAPI, Tenant: tenant, Connection: id.New[id.Connection]()}), "directory"
	default:
		u := pick(r, h.people)
		return authz.NewContext(ctx, authz.Principal{Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, User: u.ID, Tenant: tenant}), u.Email
	}
}

// step does one thing at random. Most are refused; what counts is what holds
// after those that are not.
func (h *history) step(r *rand.Rand) {
	d := h.in.directory
	tenant := pick(r, h.tenants)
	ctx, who := h.actor(r, tenant)
	b := h.blueprint(tenant)
	members := must[[]directory.Membership](h.t)(h.in.store.MembershipsAfter(ctx, tenant, "", 100))
	member := directory.Membership{ID: id.New[id.Membership]()}
	if len(members) > 0 {
		member = pick(r, members)
	}
	roles := []string{pick(r, b.Roles()).Key}
	if r.IntN(4) == 0 {
		roles = append(roles, pick(r, b.Roles()).Key)
	}
	var err error
	n := r.IntN(24)
	switch {
	case n < 6:
		err = d.SetRoles(ctx, tenant, member.ID, roles)
	case n < 8:
		_, err = d.Suspend(ctx, tenant, member.ID)
	case n < 10:
		_, err = d.Reactivate(ctx, tenant, member.ID)
	case n < 11:
		_, err = d.SetStatus(ctx, tenant, member.ID, directory.Status(pick(r, b.Statuses()).Key))
	case n < 13:
		_, err = d.AddMember(ctx, tenant, directory.MemberSpec{Email: pick(r, h.people).Email, Roles: roles[:1]})
	case n < 14:
		err = d.Accept(ctx, tenant, pick(r, h.people).ID)
	case n < 16:
		err = d.DeleteMembership(ctx, tenant, member.ID, 0)
	case n < 18:
		err = h.changeGroup(ctx, r, tenant, member.ID)
	case n < 19:
		err = d.MapGroupRole(ctx, tenant, "Staff", roles[0])
	case n < 20:
		err = d.UnmapGroupRole(ctx, tenant, "Staff", roles[0])
	case n < 21:
		err = d.Link(operator(ctx), directory.Edge{Tenant: pick(r, h.tenants[1:4]), Relation: "link", Parent: "hub"})
	case n < 22:
		err = d.Unlink(operator(ctx), pick(r, h.tenants[1:4]), "link")
	case n < 23:
		if entitlements := b.Document().Entitlements.Keys(); len(entitlements) > 0 {
			if key := pick(r, entitlements); r.IntN(2) == 0 {
				err = d.Entitle(ctx, tenant, key, r.IntN(2) == 0)
			} else {
				err = d.Disentitle(ctx, tenant, key)
			}
		}
	default:
		err = h.upgrade(operator(ctx))
	}
	h.done.add(n, err)
	h.tolerate(fmt.Sprintf("%s does %d in %s", who, n, b.Name()), err)
}

func (h *history) changeGroup(ctx context.Context, r *rand.Rand, tenant id.Tenant, member id.Membership) error {
	groups, err := h.in.directory.Groups(ctx, tenant, directory.Query{StartIndex: 1, Count: 10})
	if err != nil || len(groups.Items) == 0 {
		return err
	}
	op := pick(r, []directory.MemberOp{directory.AddMembers, directory.RemoveMembers})
	_, err = h.in.directory.ChangeGroup(ctx, tenant, groups.Items[0].ID, 0, func(doc map[string]any) (map[string]any, []directory.MemberChange, error) {
		return doc, []directory.MemberChange{{Op: op, IDs: []string{string(member)}}}, nil
	})
	return err
}

// upgrade brings emnify's tenants to a version in which observers see one thing
// less, or again as much as before.
func (h *history) upgrade(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	source, err := authz.ShippedSource("emnify")
	if err != nil {
		return err
	}
	source = bytes.Replace(source, []byte("version: 1\n"), fmt.Appendf(nil, "version: %d\n", h.next), 1)
	if h.next%2 == 0 {
		source = bytes.Replace(source, []byte("cells: YYYY"), []byte("cells: YY-Y"), 1)
	}
	if _, err := h.in.directory.Upgrade(ctx, source, nil); err != nil {
		return err
	}
	h.next++
	return nil
}

// tallies counts, member by member, who holds what the rules are about: those
// of every tenant in the order of its rules.
func (h *history) tallies() map[string]authz.Tally {
	ctx := h.t.Context()
	tallies := map[string]authz.Tally{}
	for _, tenant := range h.tenants {
		b := h.blueprint(tenant)
		memberships := must[[]directory.Membership](h.t)(h.in.store.MembershipsAfter(ctx, tenant, "", 100))
		for _, m := range memberships {
			roles := map[string]bool{}
			for _, a := range must[*directory.TenantMember](h.t)(h.in.directory.Member(operator(ctx), tenant, m.ID)).Assignments {
				roles[a.Role] = roles[a.Role] || a.Resource == ""
			}
			user := must[*directory.User](h.t)(h.in.store.User(ctx, m.User))
			able := slices.Contains(b.AbleStatuses(), string(m.Status)) && !user.Disabled
			for _, rule := range b.HolderRules() {
				if len(rule.Roles) == 0 || slices.ContainsFunc(rule.Roles, func(role string) bool { return roles[role] }) {
					key := fmt.Sprintf("%s %s %v %d", tenant, rule.Rule, rule.Roles, rule.N)
					tally := tallies[key]
					tally.Held++
					if able {
						tally.Able++
					}
					tallies[key] = tally
				}
			}
		}
	}
	return tallies
}

// keep fails the test if a rule that held before does not hold now.
func (h *history) keep(before map[string]authz.Tally) map[string]authz.Tally {
	h.t.Helper()
	now := h.tallies()
	for _, tenant := range h.tenants {
		for _, rule := range h.blueprint(tenant).HolderRules() {
			key := fmt.Sprintf("%s %s %v %d", tenant, rule.Rule, rule.Roles, rule.N)
			was, is := before[key], now[key]
			switch {
			case rule.Rule == authz.MinHolders && was.Able >= rule.N && is.Able < rule.N,
				rule.Rule == authz.MinMembers && was.Held >= rule.N && is.Held < rule.N,
				rule.Rule == authz.MaxHolders && was.Held <= rule.N && is.Held > rule.N:
				h.t.Errorf("%s is broken: %+v was %+v", key, is, was)
			}
		}
	}
	return now
}

// agree asks in each way what a person may do in a tenant.
func (h *history) agree(r *rand.Rand) {
	h.t.Helper()
	ctx := h.t.Context()
	tenant, person := pick(r, h.tenants), pick(r, h.people)
	b := h.blueprint(tenant)
	keys := b.Permissions()
	var questions []map[string]any
	for _, key := range keys {
		questions = append(questions, map[string]any{"action": map[string]string{"name": key}})
	}
	var answers struct {
		Evaluations []struct {
			Decision bool
			Context  authz.Explanation
		}
	}
	recorder := call(h.t, h.handler, http.MethodPost, "/access/v1/evaluations", "Bearer "+instanceToken, map[string]any{
		"subject": map[string]string{"type": "user", "id": person.Email}, "resource": map[string]string{"type": "tenant", "id": string(tenant)},
		"context": map[string]any{"channel": "portal", "explain": true}, "evaluations": questions,
	}, &answers)
	if len(answers.Evaluations) != len(keys) {
		h.t.Fatalf("AuthZEN: %d %s", recorder.Code, recorder.Body)
	}
	var allowed []string
	for i, answer := range answers.Evaluations {
		if answer.Decision != answer.Context.Allowed || answer.Decision == (answer.Context.RemovedBy != nil) {
			h.t.Errorf("%s %s in %s: decision %v, explanation %+v", person.Email, keys[i], b.Name(), answer.Decision, answer.Context)
		}
		if answer.Decision {
			allowed = append(allowed, keys[i])
		}
		direct := must[*directory.Answer](h.t)(h.in.directory.Explain(ctx, directory.Bearer{User: person.ID}, string(tenant), keys[i], authz.ChannelPortal))
		if direct.Allowed != answer.Decision {
			h.t.Errorf("%s %s in %s: AuthZEN says %v, the directory %v", person.Email, keys[i], b.Name(), answer.Decision, direct.Allowed)
		}
	}
	slices.Sort(allowed)
	claims, err := h.token(person, tenant)
	switch {
	case err != nil && len(allowed) > 0:
		h.t.Errorf("%s has rights in %s but gets no token: %v", person.Email, b.Name(), err)
	case err == nil && !slices.Equal(claims.Permissions, allowed):
		h.t.Errorf("%s in %s: the token says\n%v\nAuthZEN says\n%v", person.Email, b.Name(), claims.Permissions, allowed)
	}
}

// token gets an access token for the person in the tenant by the code flow,
// after a sign-in with two factors.
func (h *history) token(person *directory.User, tenant id.Tenant) (*oidc.AccessClaims, error) {
	ctx := h.t.Context()
	verifier := secret.Random("").Reveal()
	sum := sha256.Sum256([]byte(verifier))
	now := h.in.now()
	session := &authn.Session{
		ID: id.New[id.Session](), User: person.ID, AuthTime: now, ACR: authn.ACR2, AMR: []string{authn.AMRPassword, authn.AMROneTimeCode, authn.AMRMultiFactor},
		Created: now, LastSeen: now, Expires: now.Add(time.Hour),
	}
	if err := h.in.store.CreateSession(ctx, session, secret.Random("").Hash()); err != nil {
		h.t.Fatal(err)
	}
	const callback = "http://127.0.0.1/callback"
	request := h.in.oidc.NewRequest("shop", secret.Random(""), oidc.Parameters{
		RedirectURI: callback, Scopes: []string{oidc.ScopeOpenID, oidc.ScopePermissions}, TenantName: string(tenant),
		Challenge: base64.RawURLEncoding.EncodeToString(sum[:]),
	})
	request.Tenant = tenant
	code, err := h.in.oidc.Authorize(ctx, request, session, false)
	if err != nil {
		return nil, err
	}
	application := must[*oidc.Application](h.t)(h.in.oidc.Application(ctx, "shop"))
	tokens, err := h.in.oidc.Exchange(ctx, application, code, callback, verifier, oidc.Terms{})
	if err != nil {
		return nil, err
	}
	payload := must[[]byte](h.t)(base64.RawURLEncoding.DecodeString(strings.Split(tokens.Access, ".")[1]))
	claims := &oidc.AccessClaims{}
	return claims, json.Unmarshal(payload, claims)
}

// TestRandomHistories lets random people, directories and the operator change
// roles, statuses, groups, mappings, relations, entitlements and blueprint
// versions. At every step the rules over holders keep holding, and decision,
// explanation, AuthZEN and token say the same.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 1))
		h := newHistory(t, in)
		tallies := h.tallies()
		for i := range 60 {
			h.step(r)
			tallies = h.keep(tallies)
			h.agree(r)
			if t.Failed() {
				t.Fatalf("after step %d of seed %d", i, seed)
			}
		}
		// Writers at once: each round is checked when all of it is done.
		for round := range 8 {
			var writers sync.WaitGroup
			for w := range 4 {
				own := rand.New(rand.NewPCG(seed, uint64(100*round+w)))
				writers.Go(func() {
					for range 5 {
						h.step(own)
					}
				})
			}
			writers.Wait()
			tallies = h.keep(tallies)
			h.agree(r)
			if t.Failed() {
				t.Fatalf("after round %d of seed %d", round, seed)
			}
		}
		missed := func() (missed [][]int) {
			for _, kinds := range [][]int{{0, 1, 2, 3, 4, 5}, {6, 7}, {11, 12}, {14, 15}, {16, 17}, {20, 21}, {23}} {
				if !slices.ContainsFunc(kinds, func(kind int) bool { return h.done.n[kind] > 0 }) {
					missed = append(missed, kinds)
				}
			}
			return missed
		}
		// A history in which something was never allowed goes on until it was.
		for more := 0; more < 600 && len(missed()) > 0; more++ {
			h.step(r)
		}
		h.keep(tallies)
		t.Logf("done, by kind of step: %v", h.done.n)
		if kinds := missed(); len(kinds) > 0 {
			t.Errorf("none of the steps of kind %v was ever allowed", kinds)
		}
	})
}
