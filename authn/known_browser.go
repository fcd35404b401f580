package authn

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// KnownBrowserFor is for how long a browser is known after a person's last sign-in
// in it.
const KnownBrowserFor = 90 * 24 * time.Hour

// BrowserStore keeps in which browsers people have signed in, of whose cookies it
// has the hashes only.
type BrowserStore interface {
	// KnowBrowser makes the browser known until expires. It returns whether it was
	// known at now, and how many others of the user's were.
	KnowBrowser(ctx context.Context, user id.User, browser secret.Hash, now, expires time.Time) (known bool, others int, err error)
}

// noticeBrowser tells the login's person of a sign-in in a browser that they have
// not used for KnownBrowserFor, but for the first of all, in the transaction in
// ctx. The cookie by which it is known is no secret of the person's: who has it is
// not told of, and no more.
func (a *Authn) noticeBrowser(ctx context.Context, login *Login, client Client) error {
	login.KnownCookie = client.Known
	if login.KnownCookie.Empty() {
		login.KnownCookie = secret.Random("")
	}
	now := a.now()
	login.KnownExpires = now.Add(KnownBrowserFor)
	known, others, err := a.store.KnowBrowser(ctx, login.User, login.KnownCookie.Hash(), now, login.KnownExpires)
	if err != nil || known || others == 0 || login.device != "" {
		return err // a device that is trusted is known by that
	}
	return a.tell(ctx, login.User, mail.NewBrowser, a.publicURL, client.name(), client.Address, now.Format("2006-01-02 15:04 UTC"))
}
