package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
)

// mapping is a group role as the API spells it.
type mapping struct {
	Group    string `json:"group"`
	Role     string `json:"role"`
	Priority int    `json:"priority,omitempty"`
	Waiting  bool   `json:"waiting,omitempty"`
}

// mappingSet is all of a tenant's.
type mappingSet struct {
	Items       []mapping `json:"items"`
	DefaultRole string    `json:"default_role,omitempty"`
}

// foretold is the answer of a preview.
type foretold struct {
	Gain, Lose int
	Roles      []struct {
		Role       string
		Gain, Lose int
	}
	Refusals []struct {
		Code   string
		People int
	}
	Items []struct {
		UserName     string `json:"user_name"`
		Gains, Loses []struct {
			Role, Source, Group string
			Priority            int
		}
	}
	Next string
	Set  mappingSet
}

// pushed is what a directory has pushed, by name.
type pushed struct {
	*stage
	tenant string
	ids    map[string]string
}

func (p *pushed) person(name string) {
	p.t.Helper()
	var made struct{ ID string }
	address := p.email(name)
	p.allows(p.pushes(http.MethodPost, p.tenant, "/Users", map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": address,
		"emails": []any{map[string]any{"value": address, "type": "work", "primary": true}},
	}, &made))
	p.ids[name] = made.ID
}

func (p *pushed) group(name string, members ...string) {
	p.t.Helper()
	var made struct{ ID string }
	values := []any{}
	for _, member := range members {
		values = append(values, map[string]any{"value": p.ids[member]})
	}
	p.allows(p.pushes(http.MethodPost, p.tenant, "/Groups", map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": name, "members": values,
	}, &made))
	p.ids[name] = made.ID
}

// maps has somebody put a mapping.
func (p *pushed) maps(actor, group, role string, priority int) string {
	p.t.Helper()
	return p.api(actor, http.MethodPost, p.tenant, "/group-roles", mapping{Group: group, Role: role, Priority: priority}, nil)
}

// issued are the tokens of a sign-in.
type issued struct {
	stage   *pushed
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (p *pushed) signsIn(person string) *issued {
	p.t.Helper()
	answer, refusal := p.codeFlow(person, p.tenant, authn.ACR2)
	p.allows(refusal)
	tokens := &issued{stage: p}
	p.check(json.Unmarshal(answer.Body.Bytes(), tokens))
	return tokens
}

// refresh takes the next tokens, whose claims are those of now.
func (i *issued) refresh() {
	i.stage.t.Helper()
	answer := i.stage.asksToken(stageClient, stageSecret, "grant_type", "refresh_token", "refresh_token", i.Refresh)
	i.stage.check(json.Unmarshal(answer.Body.Bytes(), i))
}

// are checks the roles that introspection and userinfo tell of the access token,
// and those that are signed in it.
func (i *issued) are(now, signed []string) {
	s := i.stage
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, s.in.config.PublicURL+"/oauth2/introspect", strings.NewReader(values("token", i.Access).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(stageClient), url.QueryEscape(stageSecret))
	var introspected struct {
		Active bool
		Roles  []string
	}
	s.check(json.Unmarshal(s.send(r).Body.Bytes(), &introspected))
	code, info := userInfo(s.t, s.handler, i.Access)
	if !introspected.Active || code != http.StatusOK || !slices.Equal(introspected.Roles, now) || !slices.Equal(info.Roles, now) {
		s.t.Errorf("introspection says %+v, userinfo %d %v; want %v", introspected, code, info.Roles, now)
	}
	if got := payload(s.t, i.Access).Roles; !slices.Equal(got, signed) {
		s.t.Errorf("the token is signed with %v, want %v", got, signed)
	}
}

// source returns by what a member holds a role, as the API lists it.
func (p *pushed) source(person, role string) string {
	p.t.Helper()
	var member struct {
		Roles []struct{ Role, Source, Group string }
	}
	p.allows(p.api("operator", http.MethodGet, p.tenant, "/members/"+p.ids[person], nil, &member))
	for _, held := range member.Roles {
		if held.Role == role {
			return strings.TrimSuffix(held.Source+" "+held.Group, " ")
		}
	}
	return ""
}

func newPushed(s *stage) *pushed {
	const tenant = "org"
	s.tenant(directory.TenantSpec{Slug: tenant, Domains: []string{s.portal + ".example"}})
	return &pushed{s, tenant, map[string]string{}}
}

// TestGroupRolesByPriority plays mappings in a role system in which a member
// holds one role, over the API, with tokens that were issued before.
func TestGroupRolesByPriority(t *testing.T) {
	t.Parallel()
	onStage(t, "1nce", func(s *stage) {
		p := newPushed(s)
		s.person("olga", "org", "owner")
		p.person("ann")
		p.group("Admins", "ann")
		p.group("Readers", "ann")

		s.allows(p.maps("olga", "Admins", "admin", 10), p.maps("olga", "Readers", "read_only", 20), p.maps("olga", "Later", "user", 0))
		var set mappingSet
		s.allows(s.api("olga", http.MethodGet, "org", "/group-roles", nil, &set))
		want := []mapping{{"Admins", "admin", 10, false}, {"Later", "user", 100, true}, {"Readers", "read_only", 20, false}}
		if !slices.Equal(set.Items, want) {
			t.Errorf("the mappings are %+v, want %+v", set.Items, want)
		}
		s.has("ann", "org", "admin")
		s.may("ann", "org", "orders.create")
		tokens := p.signsIn("ann")
		tokens.are([]string{"admin"}, []string{"admin"})

		// What another order of priorities takes is gone at the next request.
		s.allows(p.maps("olga", "Readers", "read_only", 1))
		s.has("ann", "org", "read_only")
		s.mayNot(authz.StageNoRole, "ann", "org", "orders.create")
		tokens.are([]string{"read_only"}, []string{"admin"})
		tokens.refresh()
		tokens.are([]string{"read_only"}, []string{"read_only"})
		if got := p.source("ann", "read_only"); got != "group Readers" {
			t.Errorf("the list of members says %q", got)
		}
		// What is held directly comes before all groups.
		s.allows(s.gives("olga", "ann", "org", "user"))
		s.has("ann", "org", "user")
		tokens.are([]string{"user"}, []string{"read_only"})
		s.allows(s.gives("olga", "ann", "org"))
		s.has("ann", "org", "read_only")

		// Leaving the group lets the next mapping count.
		s.allows(p.pushes(http.MethodDelete, "org", "/Groups/"+p.ids["Readers"], nil, nil))
		s.has("ann", "org", "admin")
		tokens.refresh()
		tokens.are([]string{"admin"}, []string{"admin"})

		// A person can't leave somebody without the one role that a member has.
		s.refuses("min_roles", s.api("olga", http.MethodDelete, "org", "/group-roles?group=Admins&role=admin", nil, nil))
		s.allows(s.api("operator", http.MethodDelete, "org", "/group-roles?group=admins&role=admin", nil, nil))
		s.has("ann", "org")
		tokens.are([]string{}, []string{"admin"})
		s.refuses("404", s.api("operator", http.MethodDelete, "org", "/group-roles?group=Admins&role=admin", nil, nil))

		events := s.events("org")
		for _, part := range []string{
			`group_role.create {"people":1,"priority":10,"role":"admin"}`, `group_role.create {"people":0,"priority":100,"role":"user"}`,
			`group_role.update {"people":1,"priority":1,"role":"read_only"}`, `group_role.delete {"people":1,"role":"admin"}`,
		} {
			if !strings.Contains(events, part) {
				t.Errorf("no event %s in\n%s", part, events)
			}
		}
	})
}

// TestGroupRolesPassTheDoor: only who may give a role can map it, and take by a
// mapping only what they could take themselves.
func TestGroupRolesPassTheDoor(t *testing.T) {
	t.Parallel()
	onStage(t, "1nce", func(s *stage) {
		p := newPushed(s)
		s.person("olga", "org", "owner")
		s.person("adam", "org", "admin")
		s.person("uwe", "org", "user")
		p.person("ann")
		p.group("Admins", "ann")
		p.group("Readers", "ann")
		s.allows(p.maps("olga", "Admins", "admin", 10))
		s.refuses("administers:admin",
			p.maps("adam", "Readers", "admin", 0), p.maps("adam", "Nobody yet", "admin", 0), p.maps("adam", "Admins", "admin", 5),
			s.api("adam", http.MethodDelete, "org", "/group-roles?group=Admins&role=admin", nil, nil),
			// The mapping is one that adam can make, but it takes from ann what he can't.
			p.maps("adam", "Readers", "read_only", 1))
		s.allows(p.maps("adam", "Readers", "read_only", 11))
		s.refuses("protected", p.maps("operator", "Readers", "owner", 0))
		s.refuses("administers:read_only", p.maps("uwe", "Readers", "read_only", 2))
		s.has("ann", "org", "admin")
		// Another tenant's people find none of it.
		s.tenant(directory.TenantSpec{Slug: "other"})
		s.person("otto", "other", "owner")
		stranger, _ := s.bearer("otto", "other")
		for _, r := range []struct{ method, path string }{
			{http.MethodGet, "/group-roles"},
			{http.MethodPost, "/group-roles"},
			{http.MethodPut, "/group-roles"},
			{http.MethodDelete, "/group-roles?group=Admins&role=admin"},
			{http.MethodPut, "/group-roles/default"},
			{http.MethodPost, "/group-roles/preview"},
		} {
			body := map[string]any{"group": "Admins", "role": "admin"}
			switch {
			case r.method == http.MethodGet || r.method == http.MethodDelete:
				body = nil
			case r.path == "/group-roles/default":
				body = map[string]any{"role": "user"}
			case r.method == http.MethodPut || strings.HasSuffix(r.path, "preview"):
				body = map[string]any{"items": []any{}}
			}
			var sent any
			if body != nil {
				sent = body
			}
			refused(t, call(t, s.handler, r.method, "/api/v1/tenants/org"+r.path, stranger, sent, nil), http.StatusNotFound)
		}
		// What can be no mapping.
		for _, c := range []struct {
			body  map[string]any
			field string
		}{
			{map[string]any{"group": "Readers", "role": "nonsense"}, "role"},
			{map[string]any{"group": "Readers", "role": "api_user"}, "role"},
			{map[string]any{"group": " ", "role": "user"}, "group"},
			{map[string]any{"group": "Readers", "role": "user", "priority": 0}, "priority"},
			{map[string]any{"group": "Readers", "role": "user", "priority": 1_000_001}, "priority"},
		} {
			if got := refused(t, call(t, s.handler, http.MethodPost, "/api/v1/tenants/org/group-roles", "Bearer "+instanceToken, c.body, nil), http.StatusBadRequest); got.Field != c.field {
				t.Errorf("%v: the field is %q, want %q", c.body, got.Field, c.field)
			}
		}
		twice := map[string]any{"items": []any{map[string]any{"group": "A", "role": "user"}, map[string]any{"group": "a", "role": "user"}}}
		refused(t, call(t, s.handler, http.MethodPut, "/api/v1/tenants/org/group-roles", "Bearer "+instanceToken, twice, nil), http.StatusBadRequest)
	})
}

// TestGroupRolePreview shows who would change and why, and what would be
// refused, and changes nothing.
func TestGroupRolePreview(t *testing.T) {
	t.Parallel()
	onStage(t, "1nce", func(s *stage) {
		p := newPushed(s)
		s.person("olga", "org", "owner")
		for _, name := range []string{"ann", "ben", "cid"} {
			p.person(name)
		}
		p.group("Admins", "ann", "ben", "cid")
		p.group("Readers", "ann", "ben")
		p.group("Owners")
		p.group("Chiefs", "ann")
		s.allows(p.maps("olga", "Admins", "admin", 10), p.maps("olga", "Readers", "read_only", 20))

		swapped := mappingSet{Items: []mapping{{Group: "admins", Role: "admin", Priority: 30}, {Group: "Readers", Role: "read_only"}}}
		show := func(actor, page string, set mappingSet) foretold {
			t.Helper()
			var got foretold
			s.allows(s.api(actor, http.MethodPost, "org", "/group-roles/preview"+page, set, &got))
			return got
		}
		got := show("olga", "?limit=1", swapped)
		if got.Gain != 2 || got.Lose != 2 || len(got.Roles) != 2 || len(got.Refusals) != 0 || len(got.Items) != 1 || got.Next == "" {
			t.Fatalf("the preview says %+v", got)
		}
		ann := got.Items[0]
		if ann.UserName != s.email("ann") || len(ann.Gains) != 1 || ann.Gains[0].Group != "Readers" || ann.Gains[0].Priority != 20 ||
			len(ann.Loses) != 1 || ann.Loses[0].Role != "admin" || ann.Loses[0].Source != "group" {
			t.Errorf("of ann it says %+v", ann)
		}
		next := show("olga", "?limit=1&cursor="+got.Next, swapped)
		if len(next.Items) != 1 || next.Items[0].UserName != s.email("ben") || next.Next != "" {
			t.Errorf("the next page is %+v", next)
		}
		refused(t, call(t, s.handler, http.MethodPost, "/api/v1/tenants/org/group-roles/preview?cursor=nobody", "Bearer "+instanceToken, swapped, nil), http.StatusBadRequest)
		s.has("ann", "org", "admin")
		if events := s.events("org"); strings.Contains(events, "group_role.update") {
			t.Error("a preview is on record as a change")
		}
		s.allows(s.api("olga", http.MethodPut, "org", "/group-roles", swapped, nil))
		s.has("ann", "org", "read_only")
		s.has("cid", "org", "admin")

		// To who could not make the change it says so, and because of whom.
		s.person("adam", "org", "admin")
		got = show("adam", "", mappingSet{Items: []mapping{{Group: "Admins", Role: "user"}}})
		if len(got.Refusals) == 0 || got.Refusals[0].Code != "administers:admin" || got.Refusals[len(got.Refusals)-1].People != 1 {
			t.Errorf("to an admin the preview says %+v", got.Refusals)
		}
		s.person("uwe", "org", "user")
		if got = show("uwe", "", mappingSet{Items: []mapping{}}); len(got.Refusals) == 0 {
			t.Error("a user could change mappings, says the preview")
		}
	})
}

// TestGroupRolesKeepTheLastAdministrator: what would leave a tenant without is
// foretold, and refused in the transaction that would do it.
func TestGroupRolesKeepTheLastAdministrator(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		p := newPushed(s)
		s.person("olga", "org", "owner")
		p.person("ann")
		p.group("Owners", "ann")
		p.group("Chiefs", "ann")
		s.allows(p.maps("operator", "Owners", "owner", 0), s.gives("operator", "olga", "org", "admin"))
		var got foretold
		s.allows(s.api("operator", http.MethodPost, "org", "/group-roles/preview", mappingSet{Items: []mapping{}}, &got))
		if len(got.Refusals) != 1 || got.Refusals[0].Code != "last_holder" || got.Refusals[0].People != 1 {
			t.Errorf("without any owner the preview says %+v", got)
		}
		s.refuses("last_holder",
			s.api("operator", http.MethodPut, "org", "/group-roles", mappingSet{Items: []mapping{}}, nil),
			s.api("operator", http.MethodDelete, "org", "/group-roles?group=Owners&role=owner", nil, nil))
		s.has("ann", "org", "owner")
		// In one step the role passes on.
		s.allows(s.api("operator", http.MethodPut, "org", "/group-roles", mappingSet{Items: []mapping{{Group: "Chiefs", Role: "owner"}}}, nil))
		s.has("ann", "org", "owner")
	})
	onStage(t, "emnify", func(s *stage) {
		p := newPushed(s)
		p.person("ann")
		p.group("Admins", "ann")
		p.group("Readers", "ann")
		s.allows(p.maps("operator", "Admins", "administrator", 2), p.maps("operator", "Readers", "observer", 3))
		s.has("ann", "org", "administrator")
		// The only administrator would be an observer by another order.
		s.refuses("last_holder", p.maps("operator", "Readers", "observer", 1))
		s.has("ann", "org", "administrator")
		s.allows(p.maps("operator", "Admins", "administrator", 1))
	})
}

// TestDefaultRole gives a role to people whom the directory pushes and to whom
// nothing else gives one.
func TestDefaultRole(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		p := newPushed(s)
		s.person("olga", "org", "owner")
		s.person("bare", "org")
		p.person("ann")
		p.person("ben")
		p.group("Admins", "ben")
		setsDefault := func(actor, role string) string {
			return s.api(actor, http.MethodPut, "org", "/group-roles/default", map[string]string{"role": role}, nil)
		}
		s.allows(p.maps("olga", "Admins", "admin", 0))
		s.has("ann", "org")
		var got foretold
		s.allows(s.api("olga", http.MethodPost, "org", "/group-roles/preview", mappingSet{Items: []mapping{{Group: "Admins", Role: "admin"}}, DefaultRole: "viewer"}, &got))
		if got.Gain != 1 || got.Lose != 0 || got.Items[0].UserName != s.email("ann") || got.Items[0].Gains[0].Source != "default" {
			t.Errorf("the preview says %+v", got)
		}
		s.has("ann", "org")
		s.allows(setsDefault("olga", "viewer"))
		s.has("ann", "org", "viewer")
		s.has("ben", "org", "admin")
		s.has("bare", "org") // nobody's directory pushed them
		if source := p.source("ann", "viewer"); source != "default" {
			t.Errorf("ann holds it by %q", source)
		}
		tokens := p.signsIn("ann")
		tokens.are([]string{"viewer"}, []string{"viewer"})
		p.person("cid") // min_roles: 1 is kept from the beginning
		s.has("cid", "org", "viewer")
		s.allows(s.gives("olga", "ann", "org", "member"))
		s.has("ann", "org", "member")
		tokens.are([]string{"member"}, []string{"viewer"})
		s.allows(s.gives("olga", "ann", "org"))
		s.has("ann", "org", "viewer")

		s.refuses("counted", setsDefault("operator", "owner"))
		s.refuses("service_only", setsDefault("operator", "api"))
		s.refuses("unknown_role", setsDefault("operator", "nonsense"))
		s.person("vera", "org", "viewer")
		s.refuses("permission", setsDefault("vera", "admin"), setsDefault("vera", ""))
		s.refuses("min_roles", setsDefault("olga", ""))
		s.allows(setsDefault("operator", ""))
		s.has("ann", "org")
		tokens.are([]string{}, []string{"viewer"})
		if events := s.events("org"); !strings.Contains(events, `tenant.default_role {"people":1,"role":"viewer"}`) {
			t.Errorf("no event of the default role in\n%s", events)
		}
	})
}

// TestApplyGroupRoles: the file may leave out the priority and the default role,
// which then stay as they are.
func TestApplyGroupRoles(t *testing.T) {
	t.Parallel()
	onStage(t, "default", func(s *stage) {
		apply := func(text string) error {
			_, err := s.in.apply(s.operator(), parse(t, text))
			return err
		}
		s.check(apply(`
tenants:
- slug: org
  group_roles: [{group: Admins, role: admin, priority: 7}, {group: Staff, role: member}]
  default_role: viewer
`))
		s.check(apply(`
tenants:
- slug: org
  group_roles: [{group: Admins, role: admin}]
`))
		var set mappingSet
		s.allows(s.api("operator", http.MethodGet, "org", "/group-roles", nil, &set))
		want := []mapping{{"Admins", "admin", 7, true}, {"Staff", "member", 100, true}}
		if !slices.Equal(set.Items, want) || set.DefaultRole != "viewer" {
			t.Errorf("the set is %+v", set)
		}
		if err := apply("tenants:\n- {slug: org, default_role: owner}\n"); err == nil || !strings.Contains(err.Error(), "default_role") {
			t.Errorf("an owner by default: %v", err)
		}
		s.check(apply("tenants:\n- {slug: org, default_role: ''}\n"))
		set = mappingSet{}
		s.allows(s.api("operator", http.MethodGet, "org", "/group-roles", nil, &set))
		if set.DefaultRole != "" {
			t.Errorf("the default role is still %q", set.DefaultRole)
		}
	})
}
