package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
)

// errUndo ends a transaction whose outcome has been seen.
var errUndo = errors.New("undo")

// TestNobodyGainsWhatHeCouldNotGrant has somebody of each role of each role
// system try to give each role, in every way that there is to give one. What
// succeeds must be on offer, and be his to give by the tables of the role
// system, which the test reads for itself.
func TestNobodyGainsWhatHeCouldNotGrant(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		s := newStage(t, in, "")
		for _, name := range must[[]string](t)(in.blueprints.Names(t.Context())) {
			b := must[*authz.Blueprint](t)(in.blueprints.InForce(t.Context(), name))
			t.Run(name, func(t *testing.T) {
				s.t, s.portal = t, name
				e := newEscalation(s, b)
				for _, actor := range b.Roles() {
					for _, role := range b.Roles() {
						e.tries(actor, role)
					}
				}
				if e.given == 0 || e.refused == 0 {
					t.Errorf("%d were given and %d refused: one side was not tried", e.given, e.refused)
				}
				t.Logf("%d given, %d refused", e.given, e.refused)
			})
		}
	})
}

// escalation is one tenant with every entitlement and somebody of every role.
type escalation struct {
	*stage
	b              *authz.Blueprint
	tenant         string // slug
	base           []string
	groups         map[string]string // role to the group that gives it
	team           string            // the group that the target is in
	given, refused int
}

func newEscalation(s *stage, b *authz.Blueprint) *escalation {
	s.t.Helper()
	peopleOfEveryRole(s.t, s.in, b)
	e := &escalation{stage: s, b: b, tenant: "t-" + b.Name(), groups: map[string]string{}}
	for _, role := range b.Roles() { // the least of the roles that need no more than giving
		if role.Lifecycle == authz.Open && !role.Implicit && !role.HubOnly && !role.Hidden && role.Resource == "" && role.HoldersKind != authz.ServiceHolders {
			e.base = []string{role.Key}
		}
	}
	if least, _ := b.RoleBounds(); least == 0 {
		e.base = []string{}
	}
	s.person("target", e.tenant, e.base...)
	for _, role := range b.Roles() {
		if b.CheckMappable(role.Key) != nil {
			continue
		}
		var made struct{ ID string }
		s.allows(s.pushes(http.MethodPost, e.tenant, "/Groups", map[string]any{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": "Givers of " + role.Key,
		}, &made))
		s.check(s.in.directory.MapGroupRole(s.operator(), s.id(e.tenant), "Givers of "+role.Key, role.Key))
		e.groups[role.Key] = made.ID
	}
	var team struct{ ID string }
	s.allows(s.pushes(http.MethodPost, e.tenant, "/Groups", map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": "Team", "members": []map[string]any{{"value": s.member("target", e.tenant).ID}},
	}, &team))
	e.team = team.ID
	return e
}

// way is who acts, as the server sees him, and with which header over HTTP.
type way struct {
	name      string
	principal authz.Principal
	header    string
}

// ways returns how the holder of a role can act: in the portal, by application
// tokens with and without limit, or with client credentials.
func (e *escalation) ways(actor authz.Role) []way {
	e.t.Helper()
	name := strings.ReplaceAll(actor.Key, "_", "-") + "-" + e.b.Name()
	if actor.HoldersKind == authz.ServiceHolders {
		return []way{{"client credentials", authz.Principal{
			Kind: authz.AppPrincipal, Channel: authz.ChannelAPI, Tenant: e.id(e.tenant), Application: name, Roles: []string{actor.Key},
		}, ""}}
	}
	user := must[*directory.User](e.t)(e.in.directory.UserByName(e.t.Context(), name+"@example.com"))
	portal := authz.Principal{Kind: authz.UserPrincipal, Channel: authz.ChannelPortal, Tenant: e.id(e.tenant), User: user.ID}
	token := authz.Principal{Kind: authz.TokenPrincipal, Channel: authz.ChannelAPI, Tenant: e.id(e.tenant), User: user.ID}
	limited := token
	for _, op := range e.b.Document().AdminOps { // enough to administer, and nothing else
		limited.Permissions = append(limited.Permissions, op.Value)
	}
	limited.Permissions = slices.Compact(slices.Sorted(slices.Values(limited.Permissions)))
	reading := token
	list, _ := e.b.Document().AdminOps.Lookup(authz.OpList)
	reading.Permissions = []string{list}
	ways := []way{{"portal", portal, ""}, {"token", token, ""}, {"limited token", limited, ""}, {"reading token", reading, ""}}
	for i, w := range ways[1:] {
		text := "token-" + w.name + "-of-" + name
		_, err := e.in.authn.PutApplicationToken(e.operator(), authn.ApplicationToken{
			Tenant: e.id(e.tenant), Name: w.name, Creator: user.ID, Permissions: w.principal.Permissions,
		}, secret.NewText(text))
		e.check(err)
		ways[i+1].header = "Bearer " + text
	}
	return ways
}

// tries has holders of one role try to give another in every way.
func (e *escalation) tries(actor, role authz.Role) {
	e.t.Helper()
	target := e.member("target", e.tenant)
	for _, w := range e.ways(actor) {
		ctx := authz.NewContext(e.t.Context(), w.principal)
		toTarget := must[authz.Offer](e.t)(e.in.directory.Offer(ctx, target.Tenant, target.ID)).Grant
		held := slices.Contains(e.base, role.Key) // nothing to gain, nothing on offer
		toNew := must[authz.Offer](e.t)(e.in.directory.Offer(ctx, target.Tenant, "")).Grant
		after := append(slices.Clone(e.base), role.Key)
		if _, most := e.b.RoleBounds(); most == 1 {
			after = []string{role.Key}
		}
		if !held {
			direct := e.undone(ctx, func(ctx context.Context) error { return e.in.directory.SetRoles(ctx, target.Tenant, target.ID, after) })
			e.judge(w, actor, role, "directly", authz.OpGrant, direct, slices.Contains(toTarget, role.Key), true)
		}
		created := e.undone(ctx, func(ctx context.Context) error {
			_, err := e.in.directory.AddMember(ctx, target.Tenant, directory.MemberSpec{Email: "new@new.example", Roles: []string{role.Key}})
			return err
		})
		e.judge(w, actor, role, "to somebody new", authz.OpCreate, created, slices.Contains(toNew, role.Key), true)
		machine := e.undone(ctx, func(ctx context.Context) error {
			_, _, err := e.in.directory.AddServiceAccount(ctx, target.Tenant, "Robot", []string{role.Key})
			return err
		})
		e.judge(w, actor, role, "to a service account", authz.OpCreate, machine, machine == ok, false)
		waiting := e.undone(ctx, func(ctx context.Context) error {
			return e.in.directory.MapGroupRole(ctx, target.Tenant, "To come", role.Key)
		})
		e.judge(w, actor, role, "by a group to come", authz.OpGrant, waiting, waiting == ok, false)
		mapped := e.undone(ctx, func(ctx context.Context) error {
			return e.in.directory.MapGroupRole(ctx, target.Tenant, "Team", role.Key)
		})
		e.judge(w, actor, role, "by a group's mapping", authz.OpGrant, mapped, held || slices.Contains(toTarget, role.Key), false)
		if w.header != "" && e.groups[role.Key] != "" {
			offered := held || slices.Contains(toTarget, role.Key)
			e.judge(w, actor, role, "by membership over SCIM", authz.OpGrant, e.joins(w, role.Key, string(target.ID)), offered, false)
			e.judge(w, actor, role, "by a nested group over SCIM", authz.OpGrant, e.joins(w, role.Key, e.team), offered, false)
		}
	}
	e.has("target", e.tenant, slices.Clone(e.base)...)
}

// undone is the verdict on a change that is rolled back.
func (e *escalation) undone(ctx context.Context, change func(ctx context.Context) error) string {
	e.t.Helper()
	var outcome error
	err := e.in.store.InTx(ctx, func(ctx context.Context) error {
		outcome = change(ctx)
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		e.t.Fatal(err)
	}
	return verdict(outcome)
}

// joins puts the target, or the group that it is in, into the group that gives a
// role, and out of it again.
func (e *escalation) joins(w way, role, member string) string {
	e.t.Helper()
	patch := func(header string, operation map[string]any) string {
		return answered(call(e.t, e.handler, http.MethodPatch, "/t/"+e.tenant+"/scim/v2/Groups/"+e.groups[role], header, map[string]any{
			"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []any{operation},
		}, nil))
	}
	v := patch(w.header, map[string]any{"op": "add", "path": "members", "value": []any{map[string]any{"value": member}}})
	if v == ok {
		e.allows(patch("Bearer directory-of-"+e.tenant, map[string]any{"op": "remove", "path": "members"}))
	}
	return v
}

// judge compares the outcome of a try with what was on offer and with the tables.
// Exact says that the offer is about this very try, so that both must agree.
func (e *escalation) judge(w way, actor, role authz.Role, how, operation, outcome string, offered, exact bool) {
	e.t.Helper()
	if outcome != ok {
		e.refused++
		if exact && offered {
			e.t.Errorf("%s by %s gives %s %s: is on offer, and refused: %s", actor.Key, w.name, role.Key, how, outcome)
		}
		return
	}
	e.given++
	if !offered {
		e.t.Errorf("%s by %s gives %s %s: is not on offer, and done", actor.Key, w.name, role.Key, how)
	}
	if code := e.forbidden(w, actor, role, operation); code != "" {
		e.t.Errorf("%s by %s gives %s %s, against the tables: %s", actor.Key, w.name, role.Key, how, code)
	}
}

// forbidden says what in the tables of the role system stands against the grant.
func (e *escalation) forbidden(w way, actor, role authz.Role, operation string) string {
	e.t.Helper()
	key, _ := e.b.Document().AdminOps.Lookup(operation)
	view := e.b.Tenant(authz.TenantFacts{ID: e.id(e.tenant), Status: "enabled", Entitlements: e.b.Document().Entitlements.Keys()})
	gives := func(role string) []string { // over both channels
		h := e.b.Holder(view, authz.MembershipFacts{Status: e.b.FirstStatus(), Roles: []string{role}})
		return e.b.Keys(e.b.Effective([]authz.Holder{h}, view, authz.ChannelPortal).Union(e.b.Effective([]authz.Holder{h}, view, authz.ChannelAPI)))
	}
	switch {
	case !e.b.Administers(actor.Key, operation, role.Key):
		return "does not administer it"
	case !slices.Contains(gives(actor.Key), key):
		return "lacks " + key
	case actor.Channels&w.principal.Channel == 0:
		return "has no rights over this channel"
	case role.Lifecycle != authz.Open || role.Hidden || role.Implicit || role.Resource != "":
		return "it is no role to give"
	}
	if w.principal.Permissions != nil {
		if !slices.Contains(w.principal.Permissions, key) {
			return "the token lacks " + key
		}
		for _, permission := range gives(role.Key) {
			if !slices.Contains(w.principal.Permissions, permission) {
				return "gives " + permission + ", which the token lacks"
			}
		}
	}
	return ""
}
