package authn

import (
	"context"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/mail"
)

// AskEmailChange implements directory.Credentials. The new address has not been
// proven: it learns neither the name nor the old one.
func (a *Authn) AskEmailChange(ctx context.Context, ask directory.EmailChangeAsked) error {
	if err := a.try(ctx, attemptKey("email-change", string(ask.User)), a.limits.Resets); err != nil {
		return err
	}
	person, err := a.store.User(ctx, ask.User)
	if err != nil {
		return err
	}
	hours := strconv.Itoa(int(ask.Expires.Sub(ask.Created) / time.Hour))
	toOld := mail.Letter{
		Kind: mail.EmailChangeOld, To: ask.Old, Name: person.Name.String(), Language: person.Locale,
		Link: a.link("/me/email", ask.ToOld), Args: []string{a.publicURL, ask.New, hours},
	}
	toNew := mail.Letter{Kind: mail.EmailChangeImpossible, To: ask.New, Language: person.Locale, Args: []string{a.publicURL}}
	if !ask.ToNew.Empty() {
		toNew.Kind, toNew.Link, toNew.Args = mail.EmailChangeNew, a.link("/me/email", ask.ToNew), []string{a.publicURL, hours}
	}
	return a.postAll(ctx, toOld, toNew)
}

// EmailChanged implements directory.Credentials. Links that went to the old address
// set no password any more, and no browser is trusted: the mailbox may have been
// the second factor there. Codes that were mailed need no ending: they are tied to
// the address (useMailCode). Sessions stay: what they were begun with is as it was.
func (a *Authn) EmailChanged(ctx context.Context, change directory.EmailChange) error {
	if err := a.store.DropPasswordLinks(ctx, change.User); err != nil {
		return err
	}
	if err := a.RemoveTrustedDevices(ctx, change.User, "email"); err != nil {
		return err
	}
	person, err := a.store.User(ctx, change.User)
	if err != nil {
		return err
	}
	notice := mail.Letter{Kind: mail.EmailChanged, To: change.Old, Name: person.Name.String(), Language: person.Locale, Args: []string{a.publicURL, change.New}}
	if change.By != "" {
		notice.Kind, notice.Args = mail.EmailChangedByTenant, append(notice.Args, change.By)
	}
	again := notice
	again.To = change.New
	return a.postAll(ctx, notice, again)
}

func (a *Authn) postAll(ctx context.Context, letters ...mail.Letter) error {
	for _, letter := range letters {
		if err := a.letters.Post(ctx, letter); err != nil {
			return err
		}
	}
	return nil
}
