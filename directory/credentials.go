package directory

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// Names of the operations on a member's credentials, where the blueprint has them.
const (
	opResetPassword  = "reset_password"
	opResetMFA       = "reset_mfa"
	opTrustedDevices = "trusted_devices"
)

// defaultInvitationTTL is for how long an invitation's link works where the role
// system does not say.
const defaultInvitationTTL = 7 * day

// Credentials is what administrators can cause to happen to what a member signs
// in with, without ever learning it. It is authn's, and joins the transaction in
// ctx.
type Credentials interface {
	// Invite writes to somebody that a tenant waits for them.
	Invite(ctx context.Context, i Invitation) error
	// SendPasswordReset sends somebody a link by which they choose a password.
	SendPasswordReset(ctx context.Context, user id.User) error
	// PreparePassword checks and hashes a password for somebody; an empty one is
	// generated. It fails with fault.Invalid and the field password.
	PreparePassword(ctx context.Context, user id.User, password secret.Text) (PreparedPassword, error)
	// RequirePasswordChange lets the user's password, if there is one, do nothing
	// but choose another one.
	RequirePasswordChange(ctx context.Context, user id.User) error
	// WriteToRegistrant writes to somebody who registers, with a link where the
	// address has to be confirmed.
	WriteToRegistrant(ctx context.Context, l RegistrantLetter) error
	// Instruct writes how to sign in.
	Instruct(ctx context.Context, i Instructions) error
	// AskEmailChange writes to both addresses of a change that was asked for. It
	// fails with fault.Throttled where the person asks too often.
	AskEmailChange(ctx context.Context, ask EmailChangeAsked) error
	// EmailChanged ends what depended on the old address and tells both, whoever
	// has changed it.
	EmailChanged(ctx context.Context, change EmailChange) error
	// RemoveSecondFactors takes the authenticator app and the passkeys. It fails
	// with fault.NotFound where the user has neither.
	RemoveSecondFactors(ctx context.Context, user id.User) error
	RemoveTrustedDevices(ctx context.Context, user id.User, reason string) error
	// HasSecondFactor reports whether the user has an app or a passkey.
	HasSecondFactor(ctx context.Context, user id.User) (bool, error)
	// ClosedUntil returns until when the user's account is closed after failed
	// sign-ins, the zero time where it is open.
	ClosedUntil(ctx context.Context, user id.User) (time.Time, error)
}

// statusInviteExpired is where role systems that tell it apart have who did not
// answer an invitation in time.
const statusInviteExpired Status = "invite_expired"

// An Invitation is to a member whose status is invited.
type Invitation struct {
	User   id.User
	Tenant id.Tenant
	Name   string        // of the tenant
	By     string        // who invites: a person's name, or the tenant's
	TTL    time.Duration // for which the link works
}

// SendPasswordReset has a link sent to a member, by which they choose a new
// password. It fails with fault.Denied where the caller may not reset the
// member's password, and with fault.Conflict and the Code no_address where there is
// nowhere to send it to.
func (d *Directory) SendPasswordReset(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	return d.onCredentials(ctx, tenant, membership, opResetPassword, func(ctx context.Context, m *Membership) error {
		if err := d.addressed(ctx, m); err != nil {
			return err
		}
		return d.credentials.SendPasswordReset(ctx, m.User)
	})
}

// addressed fails unless the member's login has an address to write to.
func (d *Directory) addressed(ctx context.Context, m *Membership) error {
	user, err := d.store.User(ctx, m.User)
	if err == nil && user.Email == "" {
		err = fault.Field(fault.Conflict, "member", "the member has no e-mail address to sign in with").WithCode("no_address")
	}
	return err
}

// ResetSecondFactor takes a member's authenticator app and passkeys, for one who
// has lost them. It fails with fault.Denied where the caller may not, or where the
// login is not this tenant's alone: other tenants rely on the second factor too.
// It fails with fault.NotFound where there is none.
func (d *Directory) ResetSecondFactor(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	return d.onCredentials(ctx, tenant, membership, opResetMFA, func(ctx context.Context, m *Membership) error {
		if err := d.ownLogin(ctx, m); err != nil {
			return err
		}
		return d.credentials.RemoveSecondFactors(ctx, m.User)
	})
}

// ForgetTrustedDevices has a member asked for the second factor in every browser
// again. It fails with fault.Denied where the caller may not.
func (d *Directory) ForgetTrustedDevices(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	return d.onCredentials(ctx, tenant, membership, opTrustedDevices, func(ctx context.Context, m *Membership) error {
		return d.credentials.RemoveTrustedDevices(ctx, m.User, "administrator")
	})
}

// ClosedUntil returns until when a member's account is closed after failed
// sign-ins, the zero time where it is open. It asks for no leave: the caller has
// been shown the member.
func (d *Directory) ClosedUntil(ctx context.Context, m *TenantMember) (time.Time, error) {
	return d.credentials.ClosedUntil(ctx, m.User)
}

// Invite sends the invitation of a member who has not accepted it again; a link
// of before no longer works. Where the role system lets it be sent from another
// status, the member is invited from then on. It fails with fault.Conflict for a
// member in a status from which it does not go, or without an address (no_address),
// and with fault.Denied where the caller may not.
func (d *Directory) Invite(ctx context.Context, tenant id.Tenant, membership id.Membership) error {
	return d.onCredentials(ctx, tenant, membership, authz.OpResendInvite, func(ctx context.Context, m *Membership) error {
		if err := d.addressed(ctx, m); err != nil {
			return err
		}
		if m.Status == StatusInvited {
			return d.invite(ctx, m)
		}
		b, err := d.blueprint(ctx, tenant)
		if err != nil {
			return err
		}
		if policy := b.Document().Invitation; policy == nil || !slices.Contains(policy.Resend, string(m.Status)) {
			return fault.Field(fault.Conflict, "status", "the member is %s and waits for no invitation", m.Status)
		}
		_, err = d.SetStatus(ctx, tenant, membership, StatusInvited)
		return err
	})
}

// InviteAgain sends anew the invitations that somebody has let expire, where the
// role systems let them be sent from that status, and reports whether there was
// one. It is for who asks for it by their own address. Only the operator calls it.
func (d *Directory) InviteAgain(ctx context.Context, user id.User) (bool, error) {
	if err := operatorOnly(ctx); err != nil {
		return false, err
	}
	memberships, err := d.store.MembershipsOfUser(ctx, user)
	if err != nil {
		return false, err
	}
	invited := false
	for i := range memberships {
		m := &memberships[i]
		if m.Status != statusInviteExpired {
			continue
		}
		err := d.Invite(ctx, m.Tenant, m.ID)
		if kind := fault.As(err).Kind; kind == fault.Conflict || kind == fault.Denied {
			continue // there it is for the administrators to say
		}
		if err != nil {
			return false, err
		}
		invited = true
	}
	return invited, nil
}

// InvitationExpired moves somebody who still waits for an invitation that is over
// to the status that the role system has for that. Where it has none, or the
// person waits no more, nothing happens. Only the operator calls it.
func (d *Directory) InvitationExpired(ctx context.Context, tenant id.Tenant, user id.User) error {
	if err := operatorOnly(ctx); err != nil {
		return err
	}
	m, err := d.store.MembershipOfUser(ctx, tenant, user)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || m.Status != StatusInvited {
		return err
	}
	b, err := d.blueprint(ctx, tenant)
	if err != nil {
		return err
	}
	if _, err := b.Status(string(statusInviteExpired)); err != nil {
		return nil //nolint:nilerr // the role system doesn't know it
	}
	_, err = d.SetStatus(ctx, tenant, m.ID, statusInviteExpired)
	return err
}

// onCredentials does what the caller may do by the operation to a member, with
// its entry in the tenant's trail.
func (d *Directory) onCredentials(ctx context.Context, tenant id.Tenant, membership id.Membership, operation string, do func(ctx context.Context, m *Membership) error) error {
	return d.onCredentialsWith(ctx, tenant, membership, operation, nil, do)
}

// onCredentialsWith is onCredentials with what the trail says beside the operation.
func (d *Directory) onCredentialsWith(ctx context.Context, tenant id.Tenant, membership id.Membership, operation string, data map[string]any, do func(ctx context.Context, m *Membership) error) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.Membership(ctx, tenant, membership)
		if err != nil {
			return err
		}
		if operation == authz.OpResendInvite {
			if operation, err = d.invitingOperation(ctx, tenant); err != nil {
				return err
			}
		}
		same := func(before *authz.MembershipFacts) *authz.MembershipFacts { return before }
		if err := d.admit(ctx, memberChange{tenant: tenant, user: m.User, operation: operation, after: same}); err != nil {
			return err
		}
		if err := do(ctx, m); err != nil {
			return err
		}
		return d.record(ctx, tenant, "membership."+operation, "membership", string(m.ID), data)
	})
}

// invitingOperation is what an invitation that is sent again comes under: not
// every role system tells it from the first one, or from adding a member.
func (d *Directory) invitingOperation(ctx context.Context, tenant id.Tenant) (string, error) {
	b, err := d.blueprint(ctx, tenant)
	if err != nil {
		return "", err
	}
	for _, op := range []string{authz.OpResendInvite, authz.OpInvite} {
		if _, known := b.Document().AdminOps.Lookup(op); known {
			return op, nil
		}
	}
	return authz.OpCreate, nil
}

// ownLogin fails unless the login is this tenant's alone: managed by it, or known
// to no other tenant and no operator's.
func (d *Directory) ownLogin(ctx context.Context, m *Membership) error {
	if m.Managed {
		return nil
	}
	user, err := d.store.User(ctx, m.User)
	if err != nil {
		return err
	}
	all, err := d.store.MembershipsOfUser(ctx, m.User)
	if err != nil {
		return err
	}
	if user.Operator || len(all) > 1 {
		return fault.New(fault.Denied, "the member signs in to other tenants with the same second factor").WithCode("login_shared")
	}
	return nil
}

// Welcome writes to somebody who has just been made with a membership and without
// a password: by the link they choose one. Nothing is sent in role systems without
// invitations, and to who may not sign in yet. Only the operator calls it.
func (d *Directory) Welcome(ctx context.Context, m *Membership) error {
	if err := operatorOnly(ctx); err != nil {
		return err
	}
	b, err := d.blueprint(ctx, m.Tenant)
	if err != nil {
		return err
	}
	if policy := b.Document().Invitation; policy == nil || policy.By == byInstructions { // which somebody sends
		return nil
	}
	if status, err := b.Status(string(m.Status)); m.Status != StatusInvited && (err != nil || !status.SignIn) {
		return nil //nolint:nilerr // a status that the role system has no more lets nobody in
	}
	return d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.invite(ctx, m); err != nil {
			return err
		}
		return d.record(ctx, m.Tenant, "membership."+authz.OpInvite, "membership", string(m.ID), nil)
	})
}

// inviteIfWaiting writes to a member whose status has just been set, if it is that
// of those who wait for it.
func (d *Directory) inviteIfWaiting(ctx context.Context, m *Membership) error {
	if m.Status != StatusInvited {
		return nil
	}
	return d.invite(ctx, m)
}

// invite writes to a member whose status is invited.
func (d *Directory) invite(ctx context.Context, m *Membership) error {
	t, err := d.store.Tenant(ctx, m.Tenant)
	if err != nil {
		return err
	}
	b, err := d.blueprint(ctx, m.Tenant)
	if err != nil {
		return err
	}
	i := Invitation{User: m.User, Tenant: m.Tenant, Name: t.Name, By: t.Name, TTL: defaultInvitationTTL}
	if policy := b.Document().Invitation; policy != nil && policy.TTL > 0 {
		i.TTL = policy.TTL
	}
	if actor := audit.ActorFrom(ctx); actor.Kind == audit.ActorUser {
		inviter, err := d.store.User(ctx, id.User(actor.ID))
		if err != nil {
			return err
		}
		if name := inviter.Name.String(); name != "" {
			i.By = name
		}
	}
	return d.credentials.Invite(ctx, i)
}

// noCredentials is for an instance without sign-in, as tests of other things have.
type noCredentials struct{}

func (noCredentials) Invite(context.Context, Invitation) error { return nil }

func (noCredentials) WriteToRegistrant(context.Context, RegistrantLetter) error { return nil }

func (noCredentials) SendPasswordReset(context.Context, id.User) error { return errNoSignIn() }

func (noCredentials) PreparePassword(context.Context, id.User, secret.Text) (PreparedPassword, error) {
	return PreparedPassword{}, errNoSignIn()
}

func (noCredentials) RequirePasswordChange(context.Context, id.User) error { return errNoSignIn() }

func (noCredentials) Instruct(context.Context, Instructions) error { return errNoSignIn() }

func (noCredentials) AskEmailChange(context.Context, EmailChangeAsked) error { return errNoSignIn() }

func (noCredentials) EmailChanged(context.Context, EmailChange) error { return nil }

func (noCredentials) RemoveSecondFactors(context.Context, id.User) error { return errNoSignIn() }

func (noCredentials) HasSecondFactor(context.Context, id.User) (bool, error) { return false, nil }

func (noCredentials) ClosedUntil(context.Context, id.User) (time.Time, error) {
	return time.Time{}, nil
}

func (noCredentials) RemoveTrustedDevices(context.Context, id.User, string) error {
	return errNoSignIn()
}

func errNoSignIn() error { return fault.New(fault.Unsupported, "nobody signs in here") }
