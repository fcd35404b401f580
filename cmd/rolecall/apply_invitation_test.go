package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

// TestApplyInvitesWhoHasNoPassword: design's contract, the file of apply: "password:
// optional; else invited". One letter for each person, the first time, and not in
// a role system without invitations.
func TestApplyInvitesWhoHasNoPassword(t *testing.T) {
	const file = `
tenants: [{slug: berlin, name: Berlin}, {slug: oslo}, {slug: streams, blueprint: streamone}]
users:
- email: invited@berlin.example
  memberships: [{tenant: berlin, roles: [admin]}, {tenant: oslo}]
- email: known@berlin.example
  password: a password of her own
  memberships: [{tenant: berlin}]
- email: nowhere@berlin.example
- email: suspended@berlin.example
  memberships: [{tenant: berlin, status: suspended}]
- email: told@streams.example
  memberships: [{tenant: streams}]
`
	eachInstance(t, func(t *testing.T, in *instance) {
		ctx := operator(t.Context())
		for range 2 {
			must[*applyReport](t)(in.apply(ctx, parse(t, file)))
		}
		letters := must[[]mail.Waiting](t)(in.mail.Outbox(ctx, 10))
		if len(letters) != 1 || letters[0].To != "invited@berlin.example" || !strings.Contains(letters[0].Text, "Berlin") {
			t.Fatalf("letters %+v", letters)
		}
		_, token, _ := strings.Cut(letters[0].Link, "/login/invitation?token=")
		who, session, _, err := in.authn.CompleteInvitation(ctx, secret.NewText(token), secret.NewText("the first of many"), authn.Client{})
		if err != nil || who.Email != "invited@berlin.example" || session == nil {
			t.Errorf("the link: %+v %v", who, err)
		}
	})
}

// TestInvitationExpires: EM-R41 and the statuses of the role systems. Whoever did
// not answer in time is in the status for that, if there is one, and can be
// invited again; whoever did is not.
func TestInvitationExpires(t *testing.T) {
	const file = `
tenants: [{slug: iot, blueprint: emnify}, {slug: plain}]
users:
- email: late@iot.example
  memberships: [{tenant: iot, roles: [administrator], status: invited}]
- email: prompt@iot.example
  memberships: [{tenant: iot, roles: [administrator], status: invited}]
- email: late@plain.example
  memberships: [{tenant: plain, roles: [member], status: invited}]
`
	eachInstance(t, func(t *testing.T, in *instance) {
		clock := in.now()
		in.now = func() time.Time { return clock }
		if err := in.wire(); err != nil {
			t.Fatal(err)
		}
		ctx := operator(t.Context())
		must[*applyReport](t)(in.apply(ctx, parse(t, file)))
		status := func(person, tenant string) directory.Status {
			user := must[*directory.User](t)(in.store.UserByEmail(ctx, person))
			of := must[*directory.Tenant](t)(in.directory.Tenant(ctx, tenant))
			return must[*directory.Membership](t)(in.store.MembershipOfUser(ctx, of.ID, user.ID)).Status
		}
		for _, letter := range must[[]mail.Waiting](t)(in.mail.Outbox(ctx, 10)) {
			if letter.To == "prompt@iot.example" {
				_, token, _ := strings.Cut(letter.Link, "token=")
				who, _, _, err := in.authn.CompleteInvitation(ctx, secret.NewText(token), secret.NewText("the first of many"), authn.Client{})
				if err == nil {
					err = in.directory.Accept(ctx, who.Tenant, who.User)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, after := range []struct {
			time.Duration
			late directory.Status
		}{{167 * time.Hour, "invited"}, {2 * time.Hour, "invite_expired"}} {
			clock = clock.Add(after.Duration)
			must[int](t)(in.authn.Sweep(ctx)) // which must not lose it
			if err := in.expireInvitations(t.Context()); err != nil {
				t.Fatal(err)
			}
			for person, want := range map[string]directory.Status{"late@iot.example": after.late, "prompt@iot.example": "active"} {
				if got := status(person, "iot"); got != want {
					t.Errorf("%s is %s after %v, want %s", person, got, after.Duration, want)
				}
			}
			if got := status("late@plain.example", "plain"); got != "invited" {
				t.Errorf("a role system without the status has %s", got)
			}
		}
		// Who asks by their address is invited again, and told so alone; the time
		// begins again. Where the invitation waits as it did, they get a password.
		asked := map[string]mail.Kind{"late@iot.example": mail.Invitation, "late@plain.example": mail.PasswordReset, "nobody@iot.example": ""}
		for person := range asked {
			if err := in.authn.RequestPasswordReset(ctx, person, authn.Client{Address: "192.0.2.1"}); err != nil {
				t.Fatal(err)
			}
		}
		before := len(must[[]mail.Waiting](t)(in.mail.Outbox(ctx, 100)))
		for _, d := range must[[]outbox.Delivery](t)(in.store.ClaimDeliveries(ctx, in.now(), in.now().Add(time.Minute), outbox.Claim{Most: 100, Each: 100})) {
			if d.Kind == outbox.PasswordReset {
				if err := in.deliverPasswordReset(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
		}
		letters := must[[]mail.Waiting](t)(in.mail.Outbox(ctx, 100))
		if len(letters) != before+2 {
			t.Errorf("%d letters were written, want 2", len(letters)-before)
		}
		for _, letter := range letters[:2] {
			want := map[mail.Kind]string{mail.Invitation: "/login/invitation?", mail.PasswordReset: "/login/reset?"}[asked[letter.To]]
			if want == "" || !strings.Contains(letter.Link, want) {
				t.Errorf("%s got %s, want %s", letter.To, letter.Link, want)
			}
		}
		if err := in.expireInvitations(t.Context()); err != nil || status("late@iot.example", "iot") != "invited" {
			t.Errorf("the second invitation is over at once: %v", err)
		}
	})
}
