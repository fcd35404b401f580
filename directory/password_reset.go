package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// How an administrator resets a password, as role systems call it.
const (
	resetGenerates = "generate_and_mail"
	resetTyped     = "set_by_admin"
)

// What an administrator may choose, as role systems call it.
const (
	optionCopy       = "copy_to_me"
	optionMustChange = "must_change"
)

// Names of what role systems say of invitations.
const (
	byInstructions = "sign_in_instructions"
	toAnyAddress   = "any_address"
)

// A PreparedPassword is one that may be set, and is hashed.
type PreparedPassword struct {
	Text secret.Text
	// Put sets it, in the transaction in ctx.
	Put func(ctx context.Context, mustChange bool) error
}

// Instructions tell somebody how to sign in.
type Instructions struct {
	User     id.User
	Tenant   id.Tenant
	Name     string      // of the tenant
	Password secret.Text // that was just set; empty: the person has one
	To       string      // address; empty: the person's own
	CopyTo   id.User     // who gets a copy, without the password; empty: nobody
}

// A PasswordReset is how an administrator replaces a member's password.
type PasswordReset struct {
	Password   secret.Text // empty: one is generated and mailed to the member
	Again      secret.Text // what was typed the second time
	MustChange bool        // the member has to choose another one first of all
	CopyToMe   bool        // of the letter with a generated one, without it
}

// ResetPassword replaces a member's password and signs them out everywhere. A
// generated one has to be changed: it was in a letter. It fails with fault.Denied
// where the caller may not, where the role system does not have it so (reset_mode),
// and where the login is not the tenant's to manage (login_not_managed); with
// fault.Invalid on password, password_again, must_change and copy_to_me.
func (d *Directory) ResetPassword(ctx context.Context, tenant id.Tenant, membership id.Membership, reset PasswordReset) error {
	if _, err := d.store.Membership(ctx, tenant, membership); err != nil {
		return err
	}
	mode := resetGenerates
	if !reset.Password.Empty() {
		mode = resetTyped
	}
	b, err := d.blueprint(ctx, tenant)
	if err != nil {
		return err
	}
	policy := b.Document().PasswordReset
	if policy == nil || !slices.Contains(policy.Modes, mode) {
		return fault.New(fault.Denied, "the role system has no reset of the mode %s; send a link", mode).WithCode("reset_mode")
	}
	copyTo, err := chosen(ctx, policy.Options, reset.CopyToMe, reset.MustChange)
	if err != nil {
		return err
	}
	if !reset.Password.Equal(reset.Again) {
		return fault.Field(fault.Invalid, "password_again", "the two passwords are not the same")
	}
	if mode == resetTyped && copyTo != "" {
		return fault.Field(fault.Invalid, "copy_to_me", "nothing is mailed of a password that was typed")
	}
	prepared, name, err := d.prepareFor(ctx, tenant, membership, opResetPassword, reset.Password)
	if err != nil {
		return err
	}
	mustChange := reset.MustChange || mode == resetGenerates
	data := map[string]any{"mode": mode, optionMustChange: mustChange}
	return d.onCredentialsWith(ctx, tenant, membership, opResetPassword, data, func(ctx context.Context, m *Membership) error {
		if err := d.manages(ctx, m); err != nil {
			return err
		}
		if err := d.holdings.EndLogin(ctx, m.User); err != nil {
			return err
		}
		if err := prepared.Put(ctx, mustChange); err != nil || mode == resetTyped {
			return err
		}
		return d.credentials.Instruct(ctx, Instructions{User: m.User, Tenant: m.Tenant, Name: name, Password: prepared.Text, CopyTo: copyTo})
	})
}

// A SignInLetter is how an administrator has a member told how to sign in.
type SignInLetter struct {
	To         string // address; empty: the member's own
	CopyToMe   bool
	MustChange bool // of the password, first of all
}

// SendInstructions has a member told how to sign in. Who has no password gets a
// generated one in the letter. It fails with fault.Denied as ResetPassword does,
// with the Code no_instructions where the role system has none, and with
// fault.Invalid on to, copy_to_me and must_change.
func (d *Directory) SendInstructions(ctx context.Context, tenant id.Tenant, membership id.Membership, letter SignInLetter) error {
	m, err := d.store.Membership(ctx, tenant, membership)
	if err != nil {
		return err
	}
	b, err := d.blueprint(ctx, tenant)
	if err != nil {
		return err
	}
	policy := b.Document().Invitation
	if policy == nil || policy.By != byInstructions {
		return fault.New(fault.Denied, "the role system has no sign-in instructions; send an invitation").WithCode("no_instructions")
	}
	if letter.To != "" {
		if _, ok := ParseEmail(letter.To); !ok || policy.To != toAnyAddress {
			return fault.Field(fault.Invalid, "to", "want an e-mail address, where the role system lets instructions go to others than the member's")
		}
	}
	copyTo, err := chosen(ctx, policy.Options, letter.CopyToMe, letter.MustChange)
	if err != nil {
		return err
	}
	operation, err := d.invitingOperation(ctx, tenant)
	if err != nil {
		return err
	}
	has, err := d.passwords.HasPassword(ctx, m.User)
	if err != nil {
		return err
	}
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	var prepared PreparedPassword
	if !has {
		if prepared, _, err = d.prepareFor(ctx, tenant, membership, operation, secret.Text{}); err != nil {
			return err
		}
	}
	data := map[string]any{"to": letter.To, optionMustChange: letter.MustChange}
	return d.onCredentialsWith(ctx, tenant, membership, operation, data, func(ctx context.Context, m *Membership) error {
		if err := d.manages(ctx, m); err != nil {
			return err
		}
		now, err := d.passwords.HasPassword(ctx, m.User)
		switch {
		case err == nil && now != has:
			err = fault.New(fault.Conflict, "the member has just chosen a password; try again").WithCode("password_chosen")
		case err != nil:
		case !has:
			err = prepared.Put(ctx, letter.MustChange)
		case letter.MustChange:
			err = d.credentials.RequirePasswordChange(ctx, m.User)
		}
		if err != nil {
			return err
		}
		return d.credentials.Instruct(ctx, Instructions{User: m.User, Tenant: m.Tenant, Name: t.Name, Password: prepared.Text, To: letter.To, CopyTo: copyTo})
	})
}

// chosen fails with fault.Invalid where an option is chosen that is not offered,
// and returns who gets the copy.
func chosen(ctx context.Context, offered []string, copyToMe, mustChange bool) (copyTo id.User, err error) {
	for option, wanted := range map[string]bool{optionCopy: copyToMe, optionMustChange: mustChange} {
		if wanted && !slices.Contains(offered, option) {
			return "", fault.Field(fault.Invalid, option, "the role system does not have this option here")
		}
	}
	actor := audit.ActorFrom(ctx)
	switch {
	case !copyToMe:
		return "", nil
	case actor.Kind != audit.ActorUser:
		return "", fault.Field(fault.Invalid, optionCopy, "only a person gets a copy")
	}
	return id.User(actor.ID), nil
}

// prepareFor hashes a password for a member by whom the operation is allowed, so
// that nobody else has the server compute it, and no lock is held meanwhile. It
// returns the tenant's name too.
func (d *Directory) prepareFor(ctx context.Context, tenant id.Tenant, membership id.Membership, operation string, password secret.Text) (PreparedPassword, string, error) {
	m, err := d.store.Membership(ctx, tenant, membership)
	if err != nil {
		return PreparedPassword{}, "", err
	}
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return PreparedPassword{}, "", err
	}
	same := func(before *authz.MembershipFacts) *authz.MembershipFacts { return before }
	err = d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.admit(ctx, memberChange{tenant: tenant, user: m.User, operation: operation, after: same}); err != nil {
			return err
		}
		return d.manages(ctx, m)
	})
	if err != nil {
		return PreparedPassword{}, "", err
	}
	prepared, err := d.credentials.PreparePassword(ctx, m.User, password)
	return prepared, t.Name, err
}

// manages fails unless the tenant may know a member's password: it has verified
// the domain of the address, and the login is no operator's. The operator may
// know each that is no operator's.
func (d *Directory) manages(ctx context.Context, m *Membership) error {
	user, err := d.store.User(ctx, m.User)
	if err != nil {
		return err
	}
	if user.Operator || !m.Managed && authz.FromContext(ctx).Kind != authz.OperatorPrincipal {
		return fault.New(fault.Denied, "the tenant does not manage this login; send a link by which the member chooses a password").WithCode("login_not_managed")
	}
	return nil
}
