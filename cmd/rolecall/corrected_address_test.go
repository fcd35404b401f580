package main

import (
	"net/http"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// TestCorrectedAddress: a directory that has verified no domain has mistyped
// somebody's address, and corrects it. While the login is nobody's yet, the mailbox
// of the mistake, which may be a stranger's, has no part in it any more.
func TestCorrectedAddress(t *testing.T) {
	t.Parallel()
	onMailboxes(t, func(m *mailbox) {
		m.tenant(directory.TenantSpec{Slug: "own", Name: "Own", Domains: []string{"own.example"}})
		name := map[string]any{"givenName": "Eve", "familyName": "Adams"}
		push := func(method, path, address string) *directory.Membership {
			m.t.Helper()
			var pushed struct{ ID string }
			m.allows(m.pushes(method, "acme", "/Users"+path, map[string]any{
				"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": "eve-" + path, "emails": []map[string]any{{"value": address}},
				"name": name,
			}, &pushed))
			return must[*directory.Membership](m.t)(m.in.store.Membership(m.t.Context(), m.id("acme"), id.Membership(pushed.ID)))
		}
		login := func(member *directory.Membership) *directory.User {
			m.t.Helper()
			return must[*directory.User](m.t)(m.in.store.User(m.t.Context(), member.User))
		}
		corrects := func(member *directory.Membership, address, want string) {
			m.t.Helper()
			push(http.MethodPut, "/"+string(member.ID), address)
			if got := login(member).Email; got != want {
				m.t.Fatalf("corrected to %s the login has %q, want %q", address, got, want)
			}
		}
		written := func(address string) (letters int) {
			for _, letter := range must[[]mail.Waiting](m.t)(m.in.mail.Outbox(m.t.Context(), 1000)) {
				if letter.To == address {
					letters++
				}
			}
			return letters
		}

		member := push(http.MethodPost, "", "eve@typo.example")
		m.check(m.in.authn.SendPasswordReset(m.t.Context(), member.User))
		reset := m.token("eve@typo.example")
		must[*directory.Membership](m.t)(m.in.directory.SetStatus(m.operator(), member.Tenant, member.ID, directory.StatusInvited))
		invitation, before := m.token("eve@typo.example"), written("eve@typo.example")
		m.shows(m.browse("", http.MethodGet, "/login/invitation?token="+invitation), 200)
		corrects(member, "EVE@typo.example", "eve@typo.example") // the same mailbox
		m.shows(m.browse("", http.MethodGet, "/login/invitation?token="+invitation), 200)
		name = nil // and says no name this time
		corrects(member, "eve@right.example", "eve@right.example")
		if got := login(member).Name.Given; got != "Eve" {
			m.t.Errorf("with the address the name became %q", got)
		}
		m.shows(m.browse("", http.MethodGet, "/login/invitation?token="+invitation), 404)
		m.shows(m.browse("", http.MethodGet, "/login/reset?token="+reset), 404)
		m.shows(m.browse("", http.MethodGet, "/login/invitation?token="+m.token("eve@right.example")), 200, "Acme")
		if after := written("eve@typo.example"); after != before {
			m.t.Errorf("the stranger was written to: %d letters, then %d", before, after)
		}
		corrects(member, "eve@again.example", "eve@again.example") // nobody has used the link

		// An administrator changes a profile, and no login.
		_, err := m.in.directory.ChangeMembership(m.operator(), member.Tenant, member.ID, 0, func(doc map[string]any) (map[string]any, error) {
			doc["emails"] = []any{map[string]any{"value": "boss@grabs.example"}}
			return doc, nil
		})
		m.check(err)
		if got := login(member).Email; got != "eve@again.example" {
			m.t.Fatalf("an administrator's word gives the login the address %s", got)
		}
		push(http.MethodPut, "/"+string(member.ID), "eve@again.example")

		// What somebody else has, or may only be given by another tenant, it does not get.
		boss := m.user("boss").ID
		corrects(member, m.email("boss"), "")
		if m.user("boss").ID != boss {
			m.t.Error("the address is another login's")
		}
		foreign := push(http.MethodPost, "", "finn@typo.example")
		corrects(foreign, "finn@own.example", "")

		// In a domain that the tenant has verified by now the login is its own.
		mine := push(http.MethodPost, "", "mia@typo.example")
		must[*directory.Tenant](m.t)(m.in.directory.SaveTenant(m.operator(), directory.TenantSpec{Slug: "acme", Name: "Acme", Blueprint: "1nce", Domains: []string{"acme.example"}}))
		corrects(mine, "mia@acme.example", "mia@acme.example")
		if got := must[*directory.Membership](m.t)(m.in.store.Membership(m.t.Context(), mine.Tenant, mine.ID)); !got.Managed || !login(mine).EmailVerified {
			m.t.Errorf("the member is %+v", got)
		}

		// A login that is somebody's keeps its address.
		for name, use := range map[string]func(member *directory.Membership){
			"with-a-password": func(member *directory.Membership) {
				m.check(m.in.authn.SetPassword(m.operator(), member.User, secret.NewText("correct horse battery")))
			},
			"of-two-tenants": func(member *directory.Membership) {
				m.allows(m.pushes(http.MethodPost, "own", "/Users", map[string]any{
					"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": login(member).Email,
				}, nil))
			},
			"an-operators": func(member *directory.Membership) {
				_, err := m.in.store.UpdateUser(m.t.Context(), member.User, func(u *directory.User) error { u.Operator = true; return nil })
				m.check(err)
			},
			"verified": func(member *directory.Membership) {
				_, err := m.in.store.UpdateUser(m.t.Context(), member.User, func(u *directory.User) error { u.EmailVerified = true; return nil })
				m.check(err)
			},
		} {
			address := name + "@elsewhere.example"
			used := push(http.MethodPost, "", address)
			use(used)
			corrects(used, "other-"+address, address)
		}
	})
}
