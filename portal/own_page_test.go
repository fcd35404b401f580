package portal

import (
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/oidc"
)

// ownFixtures adds views of the pages of a person's own.
func ownFixtures(all map[string]render, p *pages, hostile string, berlin, munich, oslo, paris standingView) {
	now := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	areas := []directory.OwnArea{
		{Name: "Users", May: 1, Rows: []directory.OwnRight{{Name: "List and see users", Extent: directory.MayAll}, {Name: "Delete users", Extent: directory.MayNone}}},
		{Name: hostile, Rows: []directory.OwnRight{{Name: hostile, Extent: directory.MayPart}}},
	}
	roles := []roleView{
		{Name: "Administrator", About: "People, groups and applications.", Ways: []message{
			{Key: "roles.by.direct"},
			{Key: "roles.by.group", Args: []any{"Engineers"}},
			{Key: "roles.by.reach", Args: []any{"Head office"}},
			{Key: "roles.by.founder"},
			{Key: "roles.by.operator"},
			{Key: "roles.by.default"},
			{Key: "roles.by.implicit"},
			{Key: "roles.by.resource", Args: []any{hostile}},
		}},
		{Name: hostile, About: hostile},
	}
	add(all, p.tenants, "list", tenantsPage{Tenants: []standingView{berlin, munich, oslo}, Invitations: []standingView{paris}})
	add(all, p.tenants, "none", tenantsPage{})
	add(all, p.tenants, "left", tenantsPage{Tenants: []standingView{{Slug: "x", Name: hostile, Status: hostile}}, Done: "tenants.done.left"})
	add(all, p.tenants, "default", tenantsPage{Tenants: []standingView{berlin}, Done: "tenants.done.default"})
	add(all, p.roles, "registered", rolesPage{Slug: "berlin", Name: hostile, Status: "Active", Usable: true, Registered: true, Roles: roles})
	add(all, p.roles, "member", rolesPage{Slug: "berlin", Name: "Berlin", Status: "Active", Usable: true, Default: true, Groups: []string{"Engineers", hostile}, Roles: roles, Areas: areas, CanLeave: true})
	add(all, p.roles, "unsure", rolesPage{Slug: "berlin", Name: hostile, Status: "Active", Usable: true, CanDefault: true, Roles: roles, CanLeave: true, Problem: &problem{message{Key: "roles.leave.unsure"}, "confirm"}})
	var entries []activityView
	for _, action := range authn.Activities() {
		entries = append(entries, activityViewOf(&authn.Activity{Action: action, Name: hostile, At: now, Address: "192.0.2.1", UserAgent: "curl/8"}))
	}
	add(all, p.activity, "all", activityPage{Entries: entries, Next: "x"})
	add(all, p.activity, "few", activityPage{First: true, Entries: entries[:3]})
	add(all, p.activity, "none", activityPage{First: true})
	add(all, p.notMe, "begin", notMePage{Others: 2, Devices: 1, HasPassword: true, Applications: 3})
	add(all, p.notMe, "done", notMePage{Done: true})
	add(all, p.applications, "some", applicationsPage{Done: true, Applications: []connectedView{
		{oidc.ConnectedApplication{ClientID: "shop", Name: "Shop", Since: now, Latest: now, Offline: true, Tenants: []string{"Berlin", "München"}}, []message{{Key: "consent.scope.offline_access"}, {Key: "consent.scope.openid", Args: []any{"Berlin, München"}}}, nil},
		{oidc.ConnectedApplication{ClientID: "evil", Name: hostile, Since: now, Tenants: []string{hostile}}, []message{{Key: "consent.scope", Args: []any{hostile}}}, []string{hostile, "x"}},
	}})
	add(all, p.applications, "none", applicationsPage{})
	languages := []languageView{{Chosen: true}, {language.Language{Tag: "de", Name: "Deutsch"}, false}}
	add(all, p.profile, "plain", profilePage{Given: "Ann", Family: "Berg", Email: "ann@berlin.example", Languages: languages})
	add(all, p.profile, "locked", profilePage{
		Given: hostile, Family: hostile, Email: hostile, Languages: languages, Done: true,
		NameLock: lockViewOf(&directory.Lock{Reason: directory.LockDirectory, Tenant: "Acme", By: []string{"Entra ID"}}), EmailLock: lockViewOf(&directory.Lock{Reason: directory.LockDirectory, Tenant: hostile}),
	})
	add(all, p.profile, "fixed", profilePage{Languages: languages, EmailLock: lockViewOf(&directory.Lock{Reason: directory.LockRoles, Tenant: hostile}), Problem: &problem{message{Key: "profile.problem.given"}, "given"}})
	add(all, p.profile, "family", profilePage{Languages: languages, Problem: &problem{message{Key: "profile.problem.family"}, "family"}})
	add(all, p.profile, "zone", profilePage{Given: "Ann", Languages: languages, Zone: hostile, Zones: zones(), Problem: &problem{message{Key: "profile.problem.time_zone"}, "time_zone"}})
	add(all, p.profile, "zone_locked", profilePage{Given: "Ann", Languages: languages, Zone: "Europe/Berlin", ZoneLock: lockViewOf(&directory.Lock{Reason: directory.LockDirectory, Tenant: hostile})})
	add(all, p.profile, "denied", profilePage{Languages: languages, Problem: &problem{message{Key: "profile.problem.locked"}, ""}})
	for _, word := range []string{"sent", "waits", "changed", "refused", "canceled"} {
		add(all, p.profile, word, profilePage{Given: "Ann", Email: "ann@berlin.example", Languages: languages, Note: emailNote(word)})
	}
	add(all, p.profile, "pending", profilePage{Given: "Ann", Family: "Berg", Email: "ann@berlin.example", Languages: languages, Pending: &pendingEmail{New: "ann@oslo.example", Expires: now}})
	add(all, p.profile, "pending_old", profilePage{Email: hostile, Languages: languages, Pending: &pendingEmail{New: hostile, NewConfirmed: true, Expires: now}})
	add(all, p.profile, "pending_new", profilePage{Email: hostile, Languages: languages, Pending: &pendingEmail{New: "ann@oslo.example", OldConfirmed: true, Expires: now}})
	add(all, p.email, "plain", emailPage{Email: "ann@berlin.example", Hours: 24})
	domains := []domainsView{{"Berlin", "berlin.example, oslo.example"}, {hostile, hostile}}
	add(all, p.email, "domains", emailPage{Email: "ann@berlin.example", Hours: 24, Domains: domains})
	for _, key := range []string{"form", "same_email", "invite_domain"} {
		add(all, p.email, key, emailPage{Email: "ann@berlin.example", New: hostile, Hours: 24, Domains: domains, Problem: &problem{message{Key: "email.problem." + key}, "email"}})
	}
	add(all, p.emailLink, "mine", emailLinkPage{Old: "ann@berlin.example", New: "ann@oslo.example", Mine: true, Token: "x", Here: "/me/email?token=x"})
	add(all, p.emailLink, "nobody", emailLinkPage{New: hostile, Token: "x", SignIn: "/login?continue=x", Here: "/me/email?token=x"})
	add(all, p.emailLink, "other", emailLinkPage{Old: hostile, New: hostile, Token: hostile, Here: "/me/email?token=x"})
	add(all, p.emailLink, "gone", emailLinkPage{Gone: true})
	add(all, p.delete, "plain", deletePage{Email: "ann@berlin.example"})
	add(all, p.delete, "wrong", deletePage{Email: hostile, Problem: &problem{message{Key: "delete.problem.email"}, "email"}})
	add(all, p.delete, "operator", deletePage{Operator: true, Problem: &problem{message{Key: "delete.problem.tied"}, ""}})
	add(all, p.delete, "tied", deletePage{Ties: []tieView{{"berlin", "Berlin", message{Key: "roles.stay.last_holder"}}, {"x", hostile, message{Key: "roles.stay.others"}}}})
	token := tokenView{ID: "1", Slug: "berlin", Tenant: "Berlin", Name: "Nightly export", Description: "Copies the members to the warehouse", Created: now, Expires: now, LastUsed: now, Networks: []string{"192.0.2.0/24", "2001:db8::/32"}}
	evil := tokenView{ID: "2", Slug: "x", Tenant: hostile, Name: hostile, Description: hostile, Expired: true, Previous: now, Permissions: []string{"users.list", hostile}}
	add(all, p.tokens, "some", tokensPage{Tokens: []tokenView{token, evil}, Making: []tenantLink{{"berlin", "Berlin"}, {"x", hostile}}, Done: "tokens.done.revoked"})
	add(all, p.tokens, "none", tokensPage{})
	add(all, p.token, "plain", tokenPage{Token: token, Overlaps: []int{0, 1, 24}, Done: "tokens.done.changed"})
	add(all, p.token, "wrong", tokenPage{Token: evil, Form: tokenForm{Networks: hostile}, Problem: &problem{message{Key: "tokens.problem.cidrs", Args: []any{hostile}}, "networks"}})
	add(all, p.newToken, "plain", newTokenPage{Slug: "berlin", Tenant: "Berlin", Form: tokenFormOf(authz.AppTokenPolicy{}, 90), Permissions: permissionViews([]string{"users.list", "users.read"}, nil)})
	for key, field := range map[string]string{"name": "name", "taken": "name", "description": "description", "expires_at": "days", "networks": "networks", "permissions": ""} {
		add(all, p.newToken, key, newTokenPage{Slug: "berlin", Tenant: hostile, Form: tokenFormOf(authz.AppTokenPolicy{Expiry: "required", CIDR: "required"}, 90), Permissions: permissionViews([]string{"users.list"}, []string{"users.list"}), Problem: &problem{message{Key: "tokens.problem." + key}, field}})
	}
	add(all, p.madeToken, "new", madeTokenPage{Token: token, Secret: "rc_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO"})
	add(all, p.madeToken, "rotated", madeTokenPage{Token: evil, Secret: "rc_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO", Rotated: true})
	for _, code := range []string{"last_holder", "last_member", "directory_managed", "others"} {
		add(all, p.roles, code, rolesPage{Slug: "oslo", Name: "Oslo", Status: "Suspended", Roles: roles, Areas: areas, Stay: &message{Key: "roles.stay." + code}, Problem: &problem{message{Key: "roles.stay." + code}, ""}})
	}
}

// deviceFixtures adds views of the pages of the device flow.
func deviceFixtures(all map[string]render, p *pages, hostile string) {
	add(all, p.userCode, "empty", userCodePage{})
	add(all, p.userCode, "link", userCodePage{Code: hostile, Linked: true})
	add(all, p.userCode, "wrong", userCodePage{Code: "BDFH-KMPR", Problem: &problem{message{Key: "device.problem.unknown"}, "user_code"}})
	add(all, p.userCode, "wait", userCodePage{Problem: &problem{waitMessage(time.Hour), ""}})
	view := allowDevicePage{Application: hostile, Tenant: hostile, Person: hostile, Device: deviceOf("curl/8"), Address: hostile, Asked: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC), Restart: "/x"}
	for _, scope := range oidc.Scopes() {
		view.Scopes = append(view.Scopes, (&Portal{pages: p}).scopeInWords(scope, hostile))
	}
	add(all, p.allowDevice, "all", view)
	add(all, p.allowDevice, "unknown device", allowDevicePage{Application: "Box", Tenant: "Berlin"})
	add(all, p.deviceDone, "allowed", deviceDonePage{Allowed: true})
	add(all, p.deviceDone, "denied", deviceDonePage{})
}
