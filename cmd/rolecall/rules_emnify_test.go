package main

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

func TestRulesEmnify(t *testing.T) {
	t.Parallel()
	onStage(t, "emnify", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "main", Tier: "pro"})
		s.tenant(directory.TenantSpec{Slug: "berlin", Tier: "pro"}, "link", "main")
		s.tenant(directory.TenantSpec{Slug: "paris", Tier: "pro"}, "link", "main")
		s.tenant(directory.TenantSpec{Slug: "other", Tier: "pro"})
		s.tenant(directory.TenantSpec{Slug: "solo", Tier: "standard"})
		s.tenant(directory.TenantSpec{Slug: "trial", Tier: "trial"})
		s.tenant(directory.TenantSpec{Slug: "mno", Tier: "partner"})
		s.tenant(directory.TenantSpec{Slug: "reseller", Tier: "partner"}, "channel", "mno")
		s.tenant(directory.TenantSpec{Slug: "shop", Tier: "standard"}, "channel", "reseller")
		s.tenant(directory.TenantSpec{Slug: "shopoff", Tier: "standard"}, "channel", "reseller")
		for _, p := range [][]string{
			{"sa", "main", "superadmin"},
			{"adm", "main", "administrator"},
			{"badm", "berlin", "administrator"},
			{"badm2", "berlin", "administrator"},
			{"obs", "berlin", "observer"},
			{"usr", "berlin", "user"},
			{"usr", "paris", "observer"},
			{"padm", "paris", "administrator"},
			{"oadm", "other", "administrator"},
			{"sa", "other", "observer"},
			{"sadm", "solo", "administrator"},
			{"tadm", "trial", "administrator"},
			{"madm", "mno", "administrator"},
			{"sup", "reseller", "support"},
			{"radm", "reseller", "administrator"},
			{"cust", "shop", "administrator"},
			{"custX", "shopoff", "user"},
		} {
			s.person(p[0], p[1], p[2])
		}
		s.personIn(directory.StatusSuspended, "susp", "berlin", "user")
		s.personIn(directory.StatusInvited, "inv", "berlin", "user")
		s.personIn(directory.StatusSuspended, "custS", "shop", "user")
		must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), directory.TenantSpec{Slug: "shopoff", Status: "suspended"}))
		rulesEmnifyReach(s)
		rulesEmnifySignIn(s)
		rulesEmnifyAdministrators(s)
		rulesEmnifyFactors(s)
		rulesEmnifyDefault(s)
		rulesEmnifyTokens(s)
		rulesEmnifySupport(s)
		rulesEmnifyWorkspaces(s)
	})
}

func rulesEmnifyReach(s *stage) {
	s.rule("EM-R01", func() {
		for _, tenant := range []string{"main", "berlin", "paris"} {
			s.may("sa", tenant, "users.update", "users.list")
			s.allows(s.adds("sa", "by-sa-"+tenant, tenant, "user"), s.gives("sa", "by-sa-"+tenant, tenant, "observer"), s.removes("sa", "by-sa-"+tenant, tenant))
		}
	})
	s.rule("EM-R02", func() {
		s.may("sa", "other", "devices.read")
		s.mayNot(authz.StageNoRole, "sa", "other", "devices.update", "users.list")
		s.refuses("permission", s.adds("sa", "temp", "other", "user"))
	})
	s.rule("EM-R03", func() {
		s.may("usr", "berlin", "devices.update")
		s.mayNot(authz.StageNoRole, "usr", "paris", "devices.update")
		s.may("usr", "paris", "devices.read")
	})
	s.rule("EM-R04", func() {
		s.mayNot(authz.StageNoRole, "adm", "berlin", "users.list", "devices.read")
		s.refuses("login_required", s.adds("adm", "temp", "berlin", "user"))
		_, err := s.in.directory.AddMember(s.as("adm", "berlin"), s.id("berlin"), directory.MemberSpec{Email: s.email("temp"), Roles: []string{"user"}})
		s.refuses("permission", verdict(err))
	})
	s.rule("EM-R12", func() {
		for _, person := range []string{"badm", "obs", "usr"} {
			s.may(person, "berlin", "workspace.switch")
			s.allows(s.signs(person, "berlin"))
		}
		s.allows(s.signs("usr", "paris"), s.signs("sa", "berlin"), s.signs("sa", "other"))
		s.refuses("login_required", s.signs("obs", "paris"), s.signs("adm", "berlin"), s.signs("usr", "main"))
	})
	s.rule("EM-R20", func() {
		s.mayNot(authz.StageNoRole, "obs", "berlin", "users.events.read", "service_policies.sms_interfaces.list")
		s.may("badm", "berlin", "users.events.read", "service_policies.sms_interfaces.list")
		s.may("usr", "berlin", "service_policies.sms_interfaces.list")
	})
}

func rulesEmnifyAdministrators(s *stage) {
	s.rule("EM-R05", func() {
		s.refuses("self_roles", s.gives("badm", "badm", "berlin", "observer"), s.gives("sa", "sa", "main", "administrator"))
		for person, tenant := range map[string]string{"obs": "berlin", "usr": "berlin"} {
			s.refuses("permission", s.gives(person, person, tenant, "administrator"))
		}
	})
	s.rule("EM-R06", func() {
		s.refuses("protected", s.gives("adm", "sa", "main", "observer"), s.removes("adm", "sa", "main"), s.sets("adm", "sa", "main", "suspended"))
		s.person("sa", "berlin", "user") // a membership of his own in a linked Workspace is protected as well
		s.refuses("protected", s.gives("badm", "sa", "berlin", "observer"), s.removes("badm", "sa", "berlin"))
		s.refuses("protected", s.pushes(http.MethodDelete, "main", "/Users/"+string(s.member("sa", "main").ID), nil, nil))
		s.refuses("administers:superadmin", s.gives("sa", "adm", "main", "superadmin"), s.adds("adm", "temp", "main", "superadmin"), s.adds("sa", "temp", "main", "superadmin"))
		s.person("heir", "main", "administrator")
		r, v := s.requests("adm", "main", "superadmin_reassign")
		outcome := map[string]any{"holder": s.member("heir", "main").ID}
		s.allows(v)
		s.refuses("approver", s.answers("sa", "main", r, "approve", outcome), s.answers("adm", "main", r, "approve", outcome))
		s.allows(s.answers("operator", "main", r, "approve", outcome))
		s.has("heir", "main", "superadmin")
		s.allows(s.gives("operator", "heir", "main", "administrator"), s.gives("operator", "sa", "main", "superadmin"))
	})
	s.rule("EM-R07", func() {
		s.allows(s.gives("oadm", "sa", "other", "user"), s.gives("oadm", "sa", "other", "observer"), s.sets("oadm", "sa", "other", "suspended"), s.sets("oadm", "sa", "other", "active"))
		s.allows(s.removes("oadm", "sa", "other"))
		s.has("sa", "main", "superadmin")
		s.person("sa", "other", "observer")
	})
	s.rule("EM-R08", func() {
		for _, role := range []string{"administrator", "observer", "user"} {
			s.allows(s.adds("badm", "temp", "berlin", role), s.gives("badm", "temp", "berlin", "user"), s.gives("badm", "temp", "berlin", role), s.removes("badm", "temp", "berlin"))
			for _, actor := range []string{"obs", "usr"} {
				s.refuses("permission", s.adds(actor, "temp", "berlin", role))
			}
		}
		for _, actor := range []string{"obs", "usr"} {
			_, v := s.lists(actor, "berlin")
			s.refuses("permission", v, s.gives(actor, "badm2", "berlin", "user"), s.removes(actor, "badm2", "berlin"))
		}
	})
	s.rule("EM-R09", func() {
		s.person("leaver", "paris", "user")
		s.allows(s.removes("sa", "leaver", "paris"))
		s.refuses("login_required", s.signs("leaver", "paris"))
	})
	s.rule("EM-R19", func() {
		s.may("badm", "berlin", "users.mfa.keys.delete", "users.trusted_devices.delete", "users.trusted_devices.list")
		operations := s.offered("badm", "usr", "berlin").Operations
		if !slices.Contains(operations, "reset_mfa") || !slices.Contains(operations, "trusted_devices") {
			s.t.Errorf("on offer: %v", operations)
		}
		for _, person := range []string{"obs", "usr"} {
			s.mayNot(authz.StageNoRole, person, "berlin", "users.mfa.keys.delete", "users.trusted_devices.delete")
			s.may(person, "berlin", "me.mfa.keys.delete", "me.trusted_devices.delete")
		}
	})
	s.rule("EM-R21", func() {
		s.refuses("self_delete", s.removes("badm", "badm", "berlin"), s.removes("sadm", "sadm", "solo"))
	})
	s.rule("EM-R22", func() {
		s.refuses("min_roles", s.gives("badm", "usr", "berlin"), s.gives("operator", "usr", "berlin"))
		s.has("usr", "berlin", "user")
	})
	s.rule("EM-R23", func() {
		s.refuses("administers:support", s.gives("badm", "usr", "berlin", "support"), s.gives("radm", "sup", "reseller", "support", "user"), s.adds("radm", "temp", "reseller", "support"))
		if offer := s.offered("radm", "", "reseller"); slices.Contains(offer.Grant, "support") || len(offer.Grant) == 0 {
			s.t.Errorf("on offer: %v", offer.Grant)
		}
	})
	s.rule("EM-R26", func() {
		s.person("st", "berlin", "user")
		s.allows(s.sets("badm", "st", "berlin", "suspended"), s.sets("badm", "st", "berlin", "active"), s.sets("badm", "inv", "berlin", "suspended"))
		s.refuses("transition", s.sets("badm", "st", "berlin", "invited"))
		s.allows(s.sets("operator", "inv", "berlin", "invited"))
		m := s.member("st", "berlin")
		s.allows(s.removes("badm", "st", "berlin"))
		s.refuses("404", s.api("badm", http.MethodPut, "berlin", "/members/"+string(m.ID)+"/status", map[string]any{"status": "active"}, nil))
	})
}

func rulesEmnifySignIn(s *stage) {
	s.rule("EM-R18", func() {
		s.refuses("login_required", s.signs("susp", "berlin"), s.signs("inv", "berlin"))
		s.mayNot(authz.StageStatus, "susp", "berlin", "devices.read")
		s.mayNot(authz.StageStatus, "inv", "berlin", "devices.read")
		s.allows(s.sets("badm", "susp", "berlin", "active"), s.signs("susp", "berlin"), s.sets("badm", "susp", "berlin", "suspended"))
	})
	s.rule("EM-R25", func() {
		s.refuses("interaction_required", s.signs1("sadm", "solo"), s.signs1("badm", "berlin"))
		s.allows(s.signs("sadm", "solo"), s.signs1("tadm", "trial"), s.signs("tadm", "trial"))
	})
	s.rule("EM-R32", func() {
		for _, person := range []string{"badm", "obs", "usr"} {
			s.refuses("field:email", s.edits(person, person, "berlin", map[string]any{"emails": []any{map[string]any{"value": "new@other.example"}}}))
			s.allows(s.edits(person, person, "berlin", map[string]any{"displayName": "Myself"}))
		}
		s.refuses("field:email", s.edits("badm", "usr", "berlin", map[string]any{"emails": []any{map[string]any{"value": "new@other.example"}}}))
	})
	s.rule("EM-R41", func() {
		s.personIn("invite_expired", "late", "berlin", "user")
		for person, want := range map[string]bool{"late": true, "usr": false, "inv": false} {
			if got := slices.Contains(s.offered("badm", person, "berlin").Statuses, "invited"); got != want {
				s.t.Errorf("another invitation of %s is on offer: %v, want %v", person, got, want)
			}
		}
		s.refuses("permission", s.sets("obs", "late", "berlin", directory.StatusInvited))
		s.allows(s.sets("badm", "late", "berlin", directory.StatusInvited))
		s.personIn("invite_expired", "later", "berlin", "user")
		again := func(actor, person string) string {
			return s.api(actor, http.MethodPost, "berlin", "/members/"+string(s.member(person, "berlin").ID)+"/invitation", nil, nil)
		}
		s.refuses("permission", again("obs", "later"))
		s.allows(again("badm", "later"), again("badm", "later"))
		s.is("later", "berlin", "invited")
		s.refuses("409:status", again("badm", "usr"))
	})
	s.rule("EM-R33", func() {
		s.refuses("400:email", s.api("badm", http.MethodPost, "berlin", "/members", map[string]any{"email": "", "roles": []string{"user"}}, nil))
		s.refuses("min_roles", s.adds("badm", "guest", "berlin"))
		s.allows(s.adds("badm", "guest", "berlin", "user"))
		s.refuses("not_accepted", s.adds("oadm", "guest", "other", "user"))
		s.check(s.in.directory.Accept(s.t.Context(), s.id("berlin"), s.user("guest").ID))
		s.allows(s.adds("oadm", "guest", "other", "user"))
	})
}

func rulesEmnifyDefault(s *stage) {
	// lands is the Workspace in which a sign-in ends that names none.
	lands := func(person string) string {
		s.t.Helper()
		token, refusal := s.signIn(person, "", authn.ACR2)
		if refusal != ok {
			return refusal
		}
		return payload(s.t, token).Tenant
	}
	at := func(person, want string) {
		s.t.Helper()
		if got := lands(person); got != want {
			s.t.Errorf("%s lands in %s, want %s", person, got, want)
		}
	}
	chooses := func(person, from, tenant string) string {
		s.t.Helper()
		header, refusal := s.bearer(person, from)
		s.allows(refusal)
		return answered(call(s.t, s.handler, http.MethodPut, "/api/v1/me/default-tenant", header, map[string]any{"tenant": tenant}, nil))
	}
	s.rule("EM-R34", func() {
		s.personIn(directory.StatusInvited, "roamer", "paris", "observer") // listed first, joined second
		s.person("roamer", "berlin", "observer")
		s.person("roamer", "other", "user")
		s.allows(s.sets("operator", "roamer", "paris", "active"))
		at("roamer", "berlin")
		s.allows(s.signs("roamer", "other"), s.signs("roamer", "paris")) // and switches from there
		// The next active one, by how long the person is in it.
		s.allows(s.sets("badm", "roamer", "berlin", "suspended"))
		at("roamer", "paris")
		s.allows(s.sets("badm", "roamer", "berlin", "active"))
		at("roamer", "paris")
		s.allows(s.removes("padm", "roamer", "paris"))
		at("roamer", "berlin")
		// The person's own choice.
		s.allows(chooses("roamer", "berlin", "other"))
		at("roamer", "other")
		s.allows(chooses("roamer", "berlin", "other"), chooses("roamer", "other", string(s.id("berlin"))))
		at("roamer", "berlin")
		s.person("roamer", "solo", "observer")
		s.allows(s.sets("sadm", "roamer", "solo", "suspended"))
		for _, foreign := range []string{"paris", "main", "solo", "nowhere", ""} {
			s.refuses("tenant", chooses("roamer", "berlin", foreign))
		}
		s.refuses("not_person", answered(call(s.t, s.handler, http.MethodPut, "/api/v1/me/default-tenant", s.program("roamer", "berlin"), map[string]any{"tenant": "other"}, nil)),
			answered(call(s.t, s.handler, http.MethodPut, "/api/v1/me/default-tenant", "Bearer "+instanceToken, map[string]any{"tenant": "other"}, nil)))
		// What the directory of one Workspace pushes counts the same, and so does the Workspace's own status.
		s.allows(s.pushes(http.MethodDelete, "berlin", "/Users/"+string(s.member("roamer", "berlin").ID), nil, nil))
		at("roamer", "other")
		s.person("roamer", "trial", "observer")
		status := func(tenant, status string) {
			must[*directory.Tenant](s.t)(s.in.directory.SaveTenant(s.operator(), directory.TenantSpec{Slug: tenant, Status: status}))
		}
		status("other", "suspended")
		at("roamer", "trial")
		status("other", "enabled")
		at("roamer", "trial")
		// While none can be used, the default waits.
		s.allows(s.sets("oadm", "roamer", "other", "suspended"), s.sets("tadm", "roamer", "trial", "suspended"))
		at("roamer", "login_required")
		s.allows(s.sets("tadm", "roamer", "trial", "active"))
		at("roamer", "trial")
	})
}

func rulesEmnifyTokens(s *stage) {
	create := func(person, tenant string, body map[string]any) (id, header, v string) {
		var made struct{ ID, Token string }
		v = s.api(person, http.MethodPost, tenant, "/application-tokens", body, &made)
		return made.ID, "Bearer " + made.Token, v
	}
	s.rule("EM-R16", func() {
		for _, person := range []string{"obs", "usr"} {
			token, _, v := create(person, "berlin", map[string]any{"name": "mine-" + person})
			s.allows(v, s.api(person, http.MethodGet, "berlin", "/application-tokens", nil, nil))
			s.refuses("permission",
				s.api(person, http.MethodPatch, "berlin", "/application-tokens/"+token, map[string]any{"description": "x"}, nil),
				s.api(person, http.MethodDelete, "berlin", "/application-tokens/"+token, nil, nil))
			// An administrator revokes it; whoever edits no tokens does not see those of others.
			for _, other := range []string{"obs", "usr"} {
				if other != person {
					s.refuses("404", s.api(other, http.MethodDelete, "berlin", "/application-tokens/"+token, nil, nil))
				}
			}
			s.refuses("404", s.api("padm", http.MethodDelete, "paris", "/application-tokens/"+token, nil, nil))
			s.allows(s.api("badm", http.MethodDelete, "berlin", "/application-tokens/"+token, nil, nil))
			var shown struct{ Status string }
			s.allows(s.api(person, http.MethodGet, "berlin", "/application-tokens/"+token, nil, &shown))
			if shown.Status != "revoked" {
				s.t.Errorf("the token is %s", shown.Status)
			}
		}
		token, _, v := create("badm", "berlin", map[string]any{"name": "admins"})
		s.allows(v, s.api("badm", http.MethodPatch, "berlin", "/application-tokens/"+token, map[string]any{"description": "x"}, nil),
			s.api("badm", http.MethodDelete, "berlin", "/application-tokens/"+token, nil, nil))
	})
	s.rule("EM-R17", func() {
		s.person("maker", "berlin", "administrator")
		s.person("maker", "paris", "administrator")
		token, header, v := create("maker", "berlin", map[string]any{"name": "ci"})
		_, listed := s.lists(header, "berlin")
		s.allows(v, listed)
		_, elsewhere := s.lists(header, "paris")
		s.refuses("404", elsewhere)
		s.allows(s.gives("badm", "maker", "berlin", "user")) // what he may not any more, it may not
		_, listed = s.lists(header, "berlin")
		s.refuses("permission", listed)
		s.allows(s.gives("badm", "maker", "berlin", "administrator"))
		_, listed = s.lists(header, "berlin")
		s.allows(listed)
		s.allows(s.api("maker", http.MethodDelete, "berlin", "/application-tokens/"+token, nil, nil))
		_, listed = s.lists(header, "berlin")
		s.refuses("invalid_token", listed)
		_, header, v = create("maker", "berlin", map[string]any{"name": "ci"})
		s.allows(v, s.sets("badm", "maker", "berlin", "suspended"))
		_, listed = s.lists(header, "berlin")
		s.refuses("invalid_token", listed)
	})
	s.rule("EM-R40", func() {
		s.person("maker2", "berlin", "administrator")
		id, _, v := create("maker2", "berlin", map[string]any{"name": "bare"})
		var shown map[string]any
		s.allows(v, s.api("maker2", http.MethodGet, "berlin", "/application-tokens/"+id, nil, &shown))
		if _, secret := shown["token"]; secret {
			s.t.Error("the secret is shown again")
		}
		id, far, v := create("maker2", "berlin", map[string]any{"name": "full", "description": "ci", "expires_at": s.in.now().AddDate(0, 0, 1), "cidrs": []string{"203.0.113.0/24"}})
		_, listed := s.lists(far, "berlin") // not from there
		s.allows(v)
		s.refuses("invalid_token", listed)
		s.allows(s.api("maker2", http.MethodPatch, "berlin", "/application-tokens/"+id, map[string]any{"cidrs": nil}, nil))
		_, listed = s.lists(far, "berlin")
		s.allows(listed)
	})
}

func rulesEmnifySupport(s *stage) {
	s.rule("EM-R13", func() {
		for person, tenant := range map[string]string{"sa": "main", "badm": "berlin", "obs": "berlin", "usr": "berlin", "radm": "reseller"} {
			s.mayNot(authz.StageNoRole, person, tenant, "support_tokens.create")
			_, refusal := s.assumes(person, tenant, "cust", "shop")
			s.refuses("permission", refusal)
		}
	})
	s.rule("EM-R14", func() {
		for _, c := range []struct{ person, tenant, role, want string }{
			{"cust", "shop", "", ok},
			{"cust", "shop", "observer", ok},
			{"cust", "shop", "administrator", ok},
			{"cust", "shop", "user", "role_override"},
			{"cust", "shop", "superadmin", "role_override"},
			{"sup", "reseller", "", "self"},
			{"madm", "mno", "", "permission"},
			{"sa", "main", "", "permission"},
			{"custS", "shop", "", "target_status"},
			{"custX", "shopoff", "", "tenant_status"},
		} {
			var pairs []string
			if c.role != "" {
				pairs = []string{"role", c.role}
			}
			_, refusal := s.assumes("sup", "reseller", c.person, c.tenant, pairs...)
			if refusal != c.want {
				s.t.Errorf("%+v: got %s", c, refusal)
			}
		}
	})
	s.rule("EM-R15", func() {
		s.person("target", "shop", "user")
		own, refusal := s.assumes("sup", "reseller", "cust", "shop")
		s.allows(refusal)
		_, listed := s.lists(own, "shop")
		s.allows(listed)
		s.refuses("permission", s.gives(own, "target", "shop", "observer"))
		s.refuses("support_session", s.api(own, http.MethodPost, "shop", "/application-tokens", map[string]any{"name": "x"}, nil))
		narrowed, refusal := s.assumes("sup", "reseller", "cust", "shop", "role", "observer")
		s.allows(refusal)
		_, listed = s.lists(narrowed, "shop")
		s.refuses("permission", listed)
		_, listed = s.lists("cust", "shop") // the person is what he was
		s.allows(listed)
	})
	s.rule("EM-R38", func() {
		_, refusal := s.assumes("sup", "reseller", "cust", "shop")
		s.allows(refusal)
		var list struct {
			Items []struct {
				User  string
				Staff struct{ User, Tenant string }
			}
		}
		s.allows(s.api("cust", http.MethodGet, "shop", "/support-sessions", nil, &list))
		want := struct{ User, Tenant string }{string(s.user("sup").ID), string(s.id("reseller"))}
		if len(list.Items) == 0 || list.Items[0].Staff != want || list.Items[0].User != string(s.user("cust").ID) {
			s.t.Errorf("the target organization sees %+v", list.Items)
		}
		for _, part := range []string{"support_access", string(s.user("sup").ID), string(s.id("reseller")), string(s.user("cust").ID)} {
			if trail := s.events("shop"); !strings.Contains(trail, part) {
				s.t.Errorf("%s is missing in the target organisation's trail:\n%s", part, trail)
			}
		}
		if trail := s.events("reseller"); strings.Contains(trail, "support_access") {
			s.t.Errorf("the organization of the staff has the event:\n%s", trail)
		}
	})
}

func rulesEmnifyWorkspaces(s *stage) {
	request := func(person, tenant, kind string) string {
		_, v := s.requests(person, tenant, kind)
		return v
	}
	s.rule("EM-R10", func() {
		s.may("adm", "main", "workspaces.request_create", "workspaces.request_link")
		s.may("sa", "main", "workspaces.request_create")
		s.mayNot(authz.StageNoRole, "badm", "berlin", "workspaces.request_create", "workspaces.request_link")
		s.refuses("permission", request("badm", "berlin", "workspace_create"), request("badm", "berlin", "workspace_link"), request("obs", "berlin", "workspace_create"))
		s.allows(request("adm", "main", "workspace_create"), request("sa", "main", "workspace_link"))
	})
	s.rule("EM-R36", func() {
		s.refuses("pending", request("adm", "main", "workspace_create"), request("sa", "main", "workspace_create"), request("adm", "main", "workspace_link"))
		var all struct {
			Items []struct{ ID, Kind, Status string }
		}
		s.allows(s.api("operator", http.MethodGet, "main", "/requests", nil, &all))
		for _, r := range all.Items {
			if r.Status == "pending" && r.Kind == "workspace_create" {
				s.allows(s.answers("operator", "main", r.ID, "deny", map[string]any{"reason": "not now"}))
			}
		}
		s.allows(request("adm", "main", "workspace_create"))
	})
	s.rule("EM-R11", func() {
		s.mayNot(authz.StageEntitlement, "sadm", "solo", "workspaces.request_create", "workspaces.request_link")
		s.refuses("permission", request("sadm", "solo", "workspace_create"), request("sadm", "solo", "workspace_link"), request("tadm", "trial", "workspace_create"))
	})
	s.rule("EM-R37", func() {
		for _, slug := range []string{"third", "fourth"} {
			s.tenant(directory.TenantSpec{Slug: slug, Tier: "standard"})
		}
		s.allows(s.links("third", "link", "main", false))
		s.refuses("quota", s.links("fourth", "link", "main", false))
		s.allows(s.links("fourth", "link", "main", true), s.unlinks("third"), s.unlinks("fourth"))
	})
	s.rule("EM-R39", func() {
		s.tenant(directory.TenantSpec{Slug: "hub", Tier: "pro"})
		s.person("oldest", "hub", "administrator")
		s.person("younger", "hub", "administrator")
		s.tenant(directory.TenantSpec{Slug: "spoke", Tier: "standard"})
		s.person("lone", "spoke", "administrator")
		s.allows(s.links("spoke", "link", "hub", false))
		s.has("oldest", "hub", "superadmin")
		s.has("younger", "hub", "administrator")
		s.has("lone", "spoke", "administrator")
		s.refuses("max_holders", s.gives("operator", "younger", "hub", "superadmin"))
		s.refuses("held_at", s.gives("operator", "lone", "spoke", "superadmin"))
	})
	s.rule("EM-R24", func() {
		s.person("oldest", "spoke", "user")
		s.may("oldest", "spoke", "users.update")
		s.tenant(directory.TenantSpec{Slug: "spoke2", Tier: "standard"}, "link", "hub")
		s.person("lone2", "spoke2", "administrator")
		s.allows(s.signs("oldest", "spoke2"))
		s.allows(s.unlinks("spoke"))
		s.has("oldest", "spoke", "administrator") // he had access of his own
		s.has("lone", "spoke", "administrator")
		s.has("oldest", "hub", "superadmin") // as long as there is a Workspace left
		s.allows(s.unlinks("spoke2"))
		s.has("oldest", "hub", "administrator")
		s.mayNot(authz.StageNoRole, "oldest", "spoke2", "devices.read")
		s.refuses("login_required", s.signs("oldest", "spoke2"))
		s.has("lone2", "spoke2", "administrator")
		s.has("younger", "hub", "administrator")
	})
}

func rulesEmnifyFactors(s *stage) {
	const password, next = "a password of her own", "another one of hers"
	s.person("dev", "berlin", "user")
	dev := s.user("dev").ID
	s.check(s.in.authn.SetPassword(s.operator(), dev, secret.NewText(password)))
	var key secret.Text
	code := func(step int) string {
		code, err := totp.GenerateCode(key.Reveal(), s.in.now().Add(time.Duration(step)*30*time.Second))
		s.check(err)
		return code
	}
	s.rule("EM-R29", func() {
		var err error
		key, err = s.in.authn.BeginTOTP(s.t.Context(), dev)
		s.check(err)
		login := s.logsIn("dev", password, secret.Text{})
		if ways := must[[]authn.Way](s.t)(s.in.authn.Ways(s.t.Context(), login)); !slices.Equal(ways, []authn.Way{authn.WayMail}) {
			s.t.Errorf("with a key that is pending, %v are asked for", ways)
		}
		if _, err := s.in.authn.ActivateTOTP(s.t.Context(), dev, "000000"); !errors.Is(err, fault.Unauthenticated) {
			s.t.Errorf("a wrong code: %v", err)
		}
		_, err = s.in.authn.ActivateTOTP(s.t.Context(), dev, code(-1))
		s.check(err)
		if _, err := s.in.authn.ActivateTOTP(s.t.Context(), dev, code(0)); fault.As(err).Code != "no_pending_totp" {
			s.t.Errorf("a second activation: %v", err)
		}
	})
	s.rule("EM-R27", func() {
		login := s.logsIn("dev", password, secret.Text{})
		if want := 90 * 24 * time.Hour; login.Step != authn.StepCode || login.TrustFor != want {
			s.t.Fatalf("the sign-in waits at %s, and may be spared for %v, want %v", login.Step, login.TrustFor, want)
		}
		done := must[*authn.Login](s.t)(s.in.authn.SubmitCode(s.t.Context(), login.ID, s.browser, code(0), true, authn.Client{}))
		if again := s.logsIn("dev", password, done.DeviceCookie); again.Step != authn.StepDone {
			s.t.Errorf("the same browser waits at %s", again.Step)
		} else {
			done = again
		}
		if other := s.logsIn("dev", password, secret.Text{}); other.Step != authn.StepCode {
			s.t.Errorf("another browser is at %s", other.Step)
		}
		s.check(s.in.authn.SetPassword(s.operator(), dev, secret.NewText(next)))
		if changed := s.logsIn("dev", next, done.DeviceCookie); changed.Step != authn.StepCode {
			s.t.Errorf("after a change of the password the browser is at %s", changed.Step)
		}
	})
	s.rule("EM-R31", func() {
		s.person("ops", "berlin", "user")
		ops := s.user("ops").ID
		s.check(s.in.authn.SetPassword(s.operator(), ops, secret.NewText(password)))
		here, there := s.logsInByMail("ops", password), s.logsInByMail("ops", password)
		change := func(current string) (*authn.Session, error) {
			session, _, err := s.in.oidc.ChangePassword(s.t.Context(), here.Session, secret.NewText(current), secret.NewText(next), authn.Client{})
			return session, err
		}
		if _, err := change("wrong"); fault.As(err).Field != "current_password" {
			s.t.Errorf("without the current password: %v", err)
		}
		if _, err := change(password); err != nil {
			s.t.Error(err)
		}
		if _, err := s.in.authn.Session(s.t.Context(), there.Cookie); !errors.Is(err, fault.Unauthenticated) {
			s.t.Errorf("another session goes on: %v", err)
		}
	})
}
