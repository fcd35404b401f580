package authn_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// A link may be on its way to the old mailbox just while the address changes, when
// what ends such links has been and gone: it is of no use there.
func TestLinksAreOfTheAddressTheyWentTo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f *fixture) {
		letters := f.withPasskeys(t, asks{})
		move := func(user id.User, address string) {
			t.Helper()
			_, err := f.store.UpdateUser(t.Context(), user, func(u *directory.User) error {
				u.Email = address
				return nil
			})
			must(t, err)
		}
		token := func() secret.Text {
			t.Helper()
			_, token, ok := strings.Cut(letters.letters[len(letters.letters)-1].Link, "?token=")
			if !ok {
				t.Fatal("no link was mailed")
			}
			return secret.NewText(token)
		}
		must(t, f.SendPasswordReset(t.Context(), f.ann))
		reset := token()
		if user, err := f.CheckPasswordReset(t.Context(), reset); err != nil || user != f.ann {
			t.Fatalf("the link is of %s (%v)", user, err)
		}
		move(f.ann, "anna@berlin.example")
		_, err := f.CheckPasswordReset(t.Context(), reset)
		wantFault(t, err, fault.NotFound, "link_gone")
		taken := f.store.InTx(t.Context(), func(ctx context.Context) error { return f.TakePasswordReset(ctx, reset) })
		wantFault(t, taken, fault.NotFound, "link_gone")
		move(f.ann, strings.ToUpper(annEmail)) // the same mailbox, and what was refused has used nothing up
		must(t, f.store.InTx(t.Context(), func(ctx context.Context) error { return f.TakePasswordReset(ctx, reset) }))

		bob := f.addUser(t, "bob@berlin.example")
		must(t, f.Invite(t.Context(), directory.Invitation{User: bob, Name: "Berlin", By: "Berlin", TTL: time.Hour}))
		invitation := token()
		if who, err := f.CheckInvitation(t.Context(), invitation); err != nil || who.User != bob {
			t.Fatalf("the invitation is of %+v (%v)", who, err)
		}
		move(bob, "robert@berlin.example")
		_, err = f.CheckInvitation(t.Context(), invitation)
		wantFault(t, err, fault.NotFound, "link_gone")
		_, _, _, err = f.CompleteInvitation(t.Context(), invitation, secret.NewText("a password of his own"), client)
		wantFault(t, err, fault.NotFound, "link_gone")
	})
}
