package directory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// EmailChangeTTL is for how long an address that somebody wants instead of theirs
// can be confirmed.
const EmailChangeTTL = day

// An EmailChange is an address that a person wants instead of theirs. Nothing is
// changed until a link to each of the two has been followed.
type EmailChange struct {
	User         id.User
	Old, New     string // addresses
	OldConfirmed bool
	NewConfirmed bool
	By           string // the name of the tenant whose directory has changed it; empty: the person
	Created      time.Time
	Expires      time.Time
}

// EmailSide is one of the two addresses of a change.
type EmailSide string

// The sides.
const (
	OldAddress EmailSide = "old"
	NewAddress EmailSide = "new"
)

// EmailOutcome is what a confirmation has led to.
type EmailOutcome string

// The outcomes.
const (
	EmailWaits   EmailOutcome = "waits"   // for the other address
	EmailChanged EmailOutcome = "changed" // both have confirmed
	EmailRefused EmailOutcome = "refused" // both have, and the address can't be had, or no longer be changed
)

// EmailChangeStore keeps one change of address for each person who wants one. All
// that read fail with fault.NotFound where there is none, or it has expired at now.
type EmailChangeStore interface {
	// PutEmailChange stores a change with the hashes of its links, in place of
	// the user's one before.
	PutEmailChange(ctx context.Context, c EmailChange, toOld, toNew secret.Hash) error
	EmailChange(ctx context.Context, user id.User, now time.Time) (*EmailChange, error)
	// EmailChangeByLink finds the change with that unused link.
	EmailChangeByLink(ctx context.Context, link secret.Hash, now time.Time) (*EmailChange, EmailSide, error)
	// ConfirmEmailChange uses the link up if the change is the user's, and returns
	// the change with it. Of several callers with one link one succeeds; of two
	// with one each, the later sees both confirmed.
	ConfirmEmailChange(ctx context.Context, user id.User, link secret.Hash, now time.Time) (*EmailChange, EmailSide, error)
	DeleteEmailChange(ctx context.Context, user id.User) error
}

// EmailChangeAsked is what is to be written to the addresses of a change.
type EmailChangeAsked struct {
	EmailChange
	ToOld secret.Text // the token of the old address's link
	ToNew secret.Text // of the new one's; empty: it can't be had, which its owner alone learns
}

// RequestEmailChange asks both addresses whether the caller's is to be changed. It
// fails with fault.Denied where a tenant has the say in it, with fault.Invalid on
// email, and the Code same_email or invite_domain, and with fault.Throttled. An
// address that somebody else has, or whose domain a tenant has verified, gets the
// same answer as any other.
func (d *Directory) RequestEmailChange(ctx context.Context, address string) error {
	user, err := own(ctx)
	if err != nil {
		return err
	}
	address, ok := ParseEmail(strings.TrimSpace(address))
	if !ok {
		return fault.Field(fault.Invalid, "email", "this is not an e-mail address")
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		p, err := d.OwnProfile(ctx)
		if err != nil {
			return err
		}
		if err := p.takes(address); err != nil {
			return err
		}
		free, err := d.free(ctx, address)
		if err != nil {
			return err
		}
		now := d.now()
		ask := EmailChangeAsked{
			EmailChange: EmailChange{User: user, Old: p.Email, New: address, Created: now, Expires: now.Add(EmailChangeTTL)},
			ToOld:       secret.Random(""), ToNew: secret.Random(""),
		}
		if err := d.store.PutEmailChange(ctx, ask.EmailChange, ask.ToOld.Hash(), ask.ToNew.Hash()); err != nil {
			return err
		}
		if !free {
			ask.ToNew = secret.Text{}
		}
		if err := d.record(ctx, "", "user.email_request", "user", string(user), nil); err != nil {
			return err
		}
		return d.credentials.AskEmailChange(ctx, ask)
	})
}

// takes fails unless the person may change their address to this one, as far as
// they themselves and their tenants are concerned.
func (p *OwnProfile) takes(address string) error {
	if p.EmailLock != nil || p.Email == "" {
		return fault.Field(fault.Denied, "email", "others decide about the address").WithCode("field:email")
	}
	if Fold(address) == Fold(p.Email) {
		return fault.Field(fault.Invalid, "email", "this is the address already").WithCode("same_email")
	}
	for _, only := range p.EmailDomains {
		if !slices.Contains(only.Domains, domainOf(address)) {
			return fault.Field(fault.Invalid, "email", "%s takes addresses of %s only", only.Tenant, strings.Join(only.Domains, ", ")).WithCode("invite_domain")
		}
	}
	return nil
}

// free reports whether nobody has the address, and no tenant says who has those of
// its domain.
func (d *Directory) free(ctx context.Context, address string) (bool, error) {
	found, err := d.store.Addressee(ctx, address, domainOf(address))
	if err != nil {
		return false, err
	}
	return found.User == nil && len(found.Owners) == 0, nil
}

// PendingEmailChange returns the change of address that the caller has asked for,
// or nil.
func (d *Directory) PendingEmailChange(ctx context.Context) (*EmailChange, error) {
	user, err := own(ctx)
	if err != nil {
		return nil, err
	}
	c, err := d.store.EmailChange(ctx, user, d.now())
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return c, err
}

// EmailChangeOf returns the change that a link is about, and to which address it
// went. It asks for no caller, and uses nothing up. It fails with fault.NotFound
// and the Code email_link_gone.
func (d *Directory) EmailChangeOf(ctx context.Context, link secret.Text) (*EmailChange, EmailSide, error) {
	c, side, err := d.store.EmailChangeByLink(ctx, link.Hash(), d.now())
	return c, side, noEmailLinkIfNotFound(err)
}

func noEmailLinkIfNotFound(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "this link is not valid: it was used, replaced by a newer one, or has expired").WithCode("email_link_gone")
	}
	return err
}

// ConfirmEmailChange confirms the caller's change for the address that the link
// went to. The second confirmation changes the address of the login, and of those
// of the memberships that have the old one, each through the door; no directory
// describes them, or it would have the say. It fails as EmailChangeOf does, also
// for a link of somebody else.
func (d *Directory) ConfirmEmailChange(ctx context.Context, link secret.Text) (EmailOutcome, error) {
	user, err := own(ctx)
	if err != nil {
		return "", err
	}
	outcome := EmailWaits
	err = d.store.InTx(ctx, func(ctx context.Context) error {
		c, side, err := d.store.ConfirmEmailChange(ctx, user, link.Hash(), d.now())
		if err != nil {
			return noEmailLinkIfNotFound(err)
		}
		if err := d.record(ctx, "", "user.email_confirm", "user", string(user), map[string]any{"address": string(side)}); err != nil {
			return err
		}
		if !c.OldConfirmed || !c.NewConfirmed {
			return nil
		}
		if err := d.store.DeleteEmailChange(ctx, user); err != nil {
			return err
		}
		outcome = EmailChanged
		err = d.store.Attempt(ctx, func(ctx context.Context) error { return d.changeEmail(ctx, *c) })
		switch why := fault.As(err); {
		case err == nil:
			return nil
		case why.Kind == fault.Conflict || why.Kind == fault.Denied || why.Kind == fault.Invalid:
			outcome = EmailRefused
			return d.record(ctx, "", "user.email_refuse", "user", string(user), map[string]any{"reason": why.Code, "field": why.Field})
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return outcome, nil
}

// changeEmail makes a change that both addresses have confirmed. It fails with
// fault.Conflict, fault.Denied and fault.Invalid where by now it can't be.
func (d *Directory) changeEmail(ctx context.Context, c EmailChange) error {
	p, err := d.OwnProfile(ctx)
	if err != nil {
		return err
	}
	if Fold(p.Email) != Fold(c.Old) {
		return fault.Field(fault.Conflict, "email", "the address was changed in between").WithCode("changed")
	}
	if err := p.takes(c.New); err != nil {
		return err
	}
	if free, err := d.free(ctx, c.New); err != nil {
		return err
	} else if !free {
		return fault.Field(fault.Conflict, "email", "the address can't be had").WithCode("taken")
	}
	if err := d.readdressMemberships(ctx, c); err != nil {
		return err
	}
	_, err = d.store.UpdateUser(ctx, c.User, func(u *User) error {
		u.Email, u.EmailVerified, u.Modified = c.New, true, d.now()
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.record(ctx, "", "user.email", "user", string(c.User), nil); err != nil {
		return err
	}
	return d.credentials.EmailChanged(ctx, c)
}

// readdressMemberships carries a new address over to the memberships that can be
// used and that no directory describes, where they have the old one.
func (d *Directory) readdressMemberships(ctx context.Context, c EmailChange) error {
	return d.eachOwnMembership(ctx, c.User, func(doc map[string]any) (map[string]any, error) {
		if name, _ := doc[attrUserName].(string); Fold(name) == Fold(c.Old) {
			doc[attrUserName] = c.New
		}
		emails, _ := doc["emails"].([]any)
		emails = slices.Clone(emails)
		for i := range emails {
			email, _ := emails[i].(map[string]any)
			if value, _ := email["value"].(string); value == "" || Fold(value) != Fold(c.Old) {
				continue
			}
			email = maps.Clone(email)
			email["value"] = c.New
			delete(email, "display") // it was the old address (RFC 7643 §2.4)
			emails[i] = email
		}
		if len(emails) > 0 {
			doc["emails"] = emails
		}
		return doc, nil
	})
}

// CancelEmailChange drops the change that the link is about. Whoever got the link
// may, signed in or not: it may have been somebody else who asked. It fails as
// EmailChangeOf does.
func (d *Directory) CancelEmailChange(ctx context.Context, link secret.Text) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		c, side, err := d.EmailChangeOf(ctx, link)
		if err != nil {
			return err
		}
		if err := d.store.DeleteEmailChange(ctx, c.User); err != nil {
			return err
		}
		return d.record(ctx, "", "user.email_cancel", "user", string(c.User), map[string]any{"address": string(side)})
	})
}

// CancelOwnEmailChange drops the change that the caller has asked for, if there is
// one.
func (d *Directory) CancelOwnEmailChange(ctx context.Context) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		c, err := d.PendingEmailChange(ctx)
		if err != nil || c == nil {
			return err
		}
		if err := d.store.DeleteEmailChange(ctx, c.User); err != nil {
			return err
		}
		return d.record(ctx, "", "user.email_cancel", "user", string(c.User), nil)
	})
}
