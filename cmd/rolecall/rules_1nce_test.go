package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

func TestRules1NCE(t *testing.T) {
	t.Parallel()
	onStage(t, "1nce", func(s *stage) {
		s.tenant(directory.TenantSpec{Slug: "master", Tier: "standard"})
		s.tenant(directory.TenantSpec{Slug: "sub", Tier: "standard"}, "sub", "master")
		s.tenant(directory.TenantSpec{Slug: "sub2", Tier: "standard"}, "sub", "master")
		s.tenant(directory.TenantSpec{Slug: "aws", Type: "aws_marketplace", Tier: "aws_marketplace"})
		for name, role := range map[string]string{
			"own": "owner", "own2": "owner", "adm": "admin", "adm2": "admin", "usr": "user", "usr2": "user", "ro": "read_only", "tp": "third_party",
		} {
			s.person(name, "master", role)
		}
		s.person("subown", "sub", "owner")
		s.person("awsown", "aws", "owner")
		rules1NCEPeople(s)
		rules1NCEPermissions(s)
		rules1NCESignIn(s)
	})
}

func rules1NCEPeople(s *stage) {
	below := []string{"user", "read_only", "third_party"}
	s.rule("1N-R01", func() {
		s.refuses("protected",
			s.gives("own", "own2", "master", "admin"), s.removes("own", "own2", "master"), s.edits("own", "own2", "master", map[string]any{"displayName": "X"}),
			s.gives("adm", "own2", "master", "user"), s.removes("adm", "own2", "master"), s.edits("adm", "own2", "master", map[string]any{"displayName": "X"}))
		// Who may open a service request asks for the change, and the operator makes it.
		_, v := s.requests("ro", "master", "owner_change")
		s.refuses("permission", v)
		r, v := s.requests("own", "master", "owner_change")
		outcome := map[string]any{"from": s.member("own2", "master").ID, "holder": s.member("usr2", "master").ID}
		s.allows(v)
		s.refuses("approver", s.answers("own", "master", r, "approve", outcome), s.answers("own2", "master", r, "approve", outcome))
		s.allows(s.answers("operator", "master", r, "approve", outcome))
		s.has("usr2", "master", "owner")
		s.allows(s.removes("operator", "usr2", "master"))
	})
	s.rule("1N-R02", func() {
		s.allows(s.adds("own", "own3", "master", "owner"))
		s.refuses("administers:owner", s.gives("own", "adm2", "master", "owner"), s.adds("adm", "own4", "master", "owner"), s.gives("adm", "usr", "master", "owner"))
	})
	s.rule("1N-R03", func() {
		s.allows(s.adds("own", "adm3", "master", "admin"), s.edits("own", "adm3", "master", map[string]any{"displayName": "Three"}))
		s.refuses("administers:admin",
			s.adds("adm", "adm4", "master", "admin"), s.edits("adm", "adm3", "master", map[string]any{"displayName": "X"}),
			s.gives("adm", "adm3", "master", "user"), s.removes("adm", "adm3", "master"))
		s.allows(s.gives("own", "adm3", "master", "user"), s.gives("own", "adm3", "master", "admin"), s.removes("own", "adm3", "master"))
	})
	s.rule("1N-R04", func() {
		for _, actor := range []string{"own", "adm"} {
			for _, role := range below {
				s.allows(s.adds(actor, "temp", "master", role), s.gives(actor, "temp", "master", "user"), s.gives(actor, "temp", "master", role), s.removes(actor, "temp", "master"))
			}
			s.refuses("holders_kind", s.adds(actor, "temp", "master", "api_user")) // theirs to give, but to no person
			var made struct {
				ClientID string `json:"client_id"`
			}
			s.allows(s.api(actor, http.MethodPost, "master", "/service-accounts", map[string]any{"name": "Robot", "roles": []string{"api_user"}}, &made),
				s.api(actor, http.MethodDelete, "master", "/service-accounts/"+made.ClientID, nil, nil))
		}
		s.refuses("administers:admin", s.gives("adm", "usr", "master", "admin"))
	})
	s.rule("1N-R05", func() {
		for _, actor := range []string{"usr", "ro", "tp"} {
			for _, role := range append(below, "owner", "admin", "api_user") {
				s.refuses("administers:"+role, s.adds(actor, "temp", "master", role))
			}
			if offer := s.offered(actor, "", "master"); len(offer.Grant)+len(offer.Operations) != 0 {
				s.t.Errorf("%s is offered %+v", actor, offer)
			}
		}
	})
	s.rule("1N-R06", func() {
		for _, actor := range []string{"own", "adm", "usr", "ro", "tp"} {
			s.may(actor, "master", "me.user.write", "me.data.write")
			s.allows(s.edits(actor, actor, "master", map[string]any{"displayName": "Myself"}))
			s.refuses("self_roles", s.gives(actor, actor, "master", "user", "read_only"))
		}
	})
	s.rule("1N-R14", func() {
		s.refuses("last_holder", s.removes("operator", "subown", "sub"))
		s.person("subown2", "sub", "owner")
		s.allows(s.removes("operator", "subown", "sub"))
	})
	s.rule("1N-R15", func() {
		s.allows(s.adds("adm", "mailed", "master", "user"))
		s.is("mailed", "master", "invited")
		_, token, _ := strings.Cut(s.letter("mailed").Link, "/login/invitation?token=")
		who, _, _, err := s.in.authn.CompleteInvitation(s.t.Context(), secret.NewText(token), secret.NewText("the first of many"), authn.Client{})
		s.check(err)
		if who.Email != s.email("mailed") {
			s.t.Errorf("the letter went to %s, and %s signs in", s.email("mailed"), who.Email)
		}
		s.allows(s.password("mailed", "the first of many"))
	})
	s.rule("1N-R18", func() {
		status := func() string {
			t, err := s.in.directory.Tenant(s.t.Context(), "sub2")
			s.check(err)
			return t.Status
		}
		if got := status(); got != "pending_owner" {
			s.t.Errorf("a new tenant below is %s", got)
		}
		s.allows(s.adds("operator", "sub2adm", "sub2", "admin"), s.adds("operator", "sub2own", "sub2", "owner"))
		for _, step := range []struct{ name, want string }{{"sub2adm", "pending_owner"}, {"sub2own", "enabled"}} {
			_, token, _ := strings.Cut(s.letter(step.name).Link, "/login/invitation?token=")
			_, _, _, err := s.in.authn.CompleteInvitation(s.t.Context(), secret.NewText(token), secret.NewText("the first of many"), authn.Client{})
			s.check(err)
			if got := status(); got != step.want {
				s.t.Errorf("with the password of %s it is %s, want %s", step.name, got, step.want)
			}
		}
	})
	s.rule("1N-R16", func() {
		s.refuses("400:email", s.api("adm", http.MethodPost, "master", "/members", map[string]any{"email": "", "roles": []string{"user"}}, nil))
		s.refuses("400:email", s.api("adm", http.MethodPost, "master", "/members", map[string]any{"roles": []string{"user"}}, nil))
		client, password := s.robot("own", "master", "api_user")
		_, v := s.tokenOf(s.asksToken(client, password, "grant_type", "client_credentials"))
		s.allows(v)
	})
	s.rule("1N-R17", func() {
		for _, actor := range []string{"own", "adm"} {
			s.refuses("field:password", s.edits(actor, "usr", "master", map[string]any{"password": "Chosen by another 1"}))
		}
		s.refuses("wrong_credentials", s.password("usr", "Chosen by another 1"))
		client, before := s.robot("own", "master", "api_user")
		var made struct {
			Secret string `json:"client_secret"`
		}
		s.allows(s.api("adm", http.MethodPost, "master", "/service-accounts/"+client+"/rotate", map[string]any{"overlap_seconds": 0}, &made))
		_, v := s.tokenOf(s.asksToken(client, made.Secret, "grant_type", "client_credentials"))
		s.allows(v)
		_, v = s.tokenOf(s.asksToken(client, before, "grant_type", "client_credentials"))
		s.refuses("invalid_client", v)
	})
	s.rule("1N-R20", func() {
		for _, actor := range []string{"usr", "ro"} {
			names, v := s.lists(actor, "master")
			s.allows(v)
			for _, name := range []string{"own", "adm", "usr", "ro", "tp"} {
				if !slices.Contains(names, s.email(name)) {
					s.t.Errorf("%s does not see %s among %v", actor, name, names)
				}
			}
		}
	})
}

func rules1NCEPermissions(s *stage) {
	s.rule("1N-R08", func() {
		s.may("own", "master", "management_api.access")
		s.mayNot(authz.StageNoRole, "adm", "master", "management_api.access")
		s.mayNot(authz.StageNoRole, "usr", "master", "management_api.access")
		s.mayNot(authz.StageNoRole, "ro", "master", "management_api.access", "config.management_api.write")
		s.mayNot(authz.StageNoRole, "tp", "master", "management_api.access")
		for _, name := range []string{"own", "adm", "usr", "tp"} {
			s.may(name, "master", "config.management_api.write")
		}
		// An Owner's program works, an Admin gets none.
		s.allows(s.adds(s.program("own", "master"), "temp", "master", "user"))
		s.refuses("invalid_token", s.removes(s.program("adm", "master"), "temp", "master"))
		s.refuses("channel", s.api("adm", http.MethodPost, "master", "/application-tokens", map[string]any{"name": "mine"}, nil))
		s.allows(s.removes(s.program("own", "master"), "temp", "master"))
	})
	s.rule("1N-R09", func() {
		s.may("tp", "master", "config.breakout.write", "config.data_streams.write")
		s.mayNot(authz.StageNoRole, "usr", "master", "config.breakout.write", "config.data_streams.write")
	})
	s.rule("1N-R10", func() {
		s.may("ro", "master", "support.read")
		s.mayNot(authz.StageNoRole, "ro", "master", "support.requests.create")
		s.may("usr", "master", "support.requests.create")
	})
	s.rule("1N-R11", func() {
		for _, name := range []string{"own", "adm"} {
			s.may(name, "master", "organisation.create", "organisation.sims.transfer")
		}
		s.mayNot(authz.StageNoRole, "usr", "master", "organisation.create", "organisation.sims.transfer")
		s.mayNot(authz.StageEntitlement, "awsown", "aws", "organisation.create", "organisation.sims.transfer")
	})
	s.rule("1N-R12", func() {
		s.may("own", "master", "sims.read")
		s.mayNot(authz.StageNoRole, "own", "sub", "sims.read")
		s.refuses("login_required", s.signs("own", "sub"))
	})
	s.rule("1N-R19", func() {
		// SIMs move along an edge of the relation: master and sub-organizations
		// have one, two sub-organizations have none and can get none.
		children, err := s.in.directory.Children(s.operator(), s.id("master"))
		s.check(err)
		if len(children) != 2 || children[0].Slug != "sub" || children[1].Slug != "sub2" {
			s.t.Errorf("below the master are %+v", children)
		}
		if children, err = s.in.directory.Children(s.operator(), s.id("sub")); err != nil || len(children) != 0 {
			s.t.Errorf("below a sub-organization are %+v (%v)", children, err)
		}
		s.refuses("400:relations.sub", s.links("sub2", "sub", "sub", true))
	})
}

func rules1NCESignIn(s *stage) {
	s.rule("1N-R07", func() {
		client, password := s.robot("adm", "master", "api_user")
		_, v := s.tokenOf(s.asksToken(client, password, "grant_type", "client_credentials"))
		s.allows(v)
		if allowed, e := s.asks("application", client, "api.access", "master", "api"); !allowed {
			s.t.Errorf("an API user may not use the API: %+v", e.RemovedBy)
		}
		if allowed, _ := s.asks("application", client, "api.access", "master", "portal"); allowed {
			s.t.Error("an API user may use the portal")
		}
		s.refuses("invalid_request", s.browses(client))                              // no redirect URI, so no page
		for _, role := range []string{"admin", "user", "read_only", "third_party"} { // the other roles count in the portal alone
			_, err := s.in.oidc.PutApplication(s.operator(), oidc.ApplicationSpec{ClientID: "false-robot", Type: oidc.Machine, Tenant: s.id("master"), Roles: []string{role}, Secret: secret.NewText("another s3cret")})
			if err == nil {
				for _, permission := range []string{"api.access", "sims.read", "users.list"} {
					if allowed, _ := s.asks("application", "false-robot", permission, "master", "api"); allowed {
						s.t.Errorf("%s by client credentials may %s", role, permission)
					}
				}
			}
		}
		s.refuses("invalid_token", s.adds(s.program("adm", "master"), "temp", "master", "user"))
	})
	s.rule("1N-R13", func() {
		s.allows(s.adds("adm", "newbie", "master", "user"))
		s.is("newbie", "master", directory.StatusInvited)
		s.refuses("wrong_credentials", s.password("newbie", "any password at all"))
		s.refuses("login_required", s.signs("newbie", "master"))
		s.check(s.in.directory.Accept(s.t.Context(), s.id("master"), s.user("newbie").ID))
		s.allows(s.signs("newbie", "master"))
	})
}
