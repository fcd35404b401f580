package directory

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// statusPending is how role systems call somebody who has registered and waits
// for an administrator's word (SI-R16).
const statusPending Status = "pending"

// Bounds of a registration.
const (
	maxRegistrationDomains = 100
	maxTerms               = 500 // bytes of an address
)

// Registration says who may make themselves a member of a tenant.
type Registration struct {
	// Domains are the only domains, in lower case, whose addresses may; none: any,
	// which needs Approval.
	Domains []string `json:"domains,omitempty" yaml:"domains" doc:"The only mail domains whose people may register; none: any, which needs approval"`
	// DeniedDomains may not, whatever Domains says.
	DeniedDomains []string `json:"denied_domains,omitempty" yaml:"denied_domains" doc:"Mail domains whose people may not"`
	// Approval has who registers wait in the role system's status pending.
	Approval bool `json:"approval,omitempty" yaml:"approval" doc:"Who registers is pending until somebody approves"`
	// Role is what they begin with; empty: none.
	Role string `json:"role,omitempty" yaml:"role" doc:"The role that they begin with"`
	// Address has them give a postal address, which the member's profile holds.
	Address bool `json:"address,omitempty" yaml:"address" doc:"They have to give a postal address"`
	// Terms is the address of what they have to agree to; empty: nothing.
	Terms string `json:"terms,omitempty" yaml:"terms" doc:"An https address of terms that they have to agree to"`
}

// Admits reports whether somebody with that address may register.
func (r *Registration) Admits(email string) bool {
	domain := domainOf(email)
	return !slices.Contains(r.DeniedDomains, domain) && (len(r.Domains) == 0 || slices.Contains(r.Domains, domain))
}

func (r *Registration) validate() error {
	const field = "policy.registration"
	if r == nil {
		return nil
	}
	for name, domains := range map[string][]string{".domains": r.Domains, ".denied_domains": r.DeniedDomains} {
		if len(domains) > maxRegistrationDomains {
			return fault.Field(fault.Invalid, field+name, "must not be more than %d", maxRegistrationDomains)
		}
		for _, domain := range domains {
			if !domainForm.MatchString(domain) {
				return fault.Field(fault.Invalid, field+name, "%q is not a domain name in lower case", domain)
			}
		}
	}
	if len(r.Domains) == 0 && !r.Approval {
		return fault.Field(fault.Invalid, field+".domains", "name the domains whose people come in without approval, or ask for approval")
	}
	if r.Terms != "" {
		u, err := url.Parse(r.Terms)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(r.Terms) > maxTerms {
			return fault.Field(fault.Invalid, field+".terms", "%q is no https address", r.Terms)
		}
	}
	return nil
}

// fits checks a registration against the role system of its tenant.
func (r *Registration) fits(b *authz.Blueprint) error {
	const field = "policy.registration"
	if r == nil {
		return nil
	}
	if r.Approval {
		if status, err := b.Status(string(statusPending)); err != nil || status.SignIn || status.Final() {
			return fault.Field(fault.Invalid, field+".approval", "%s knows no status pending", b.Name())
		}
	}
	if r.Role == "" {
		if least, _ := b.RoleBounds(); least > 0 {
			return fault.Field(fault.Invalid, field+".role", "%s has no members without a role", b.Name())
		}
		return nil
	}
	return beginsWith(b, field+".role", r.Role)
}

// beginsWith fails with fault.Invalid on the field unless people whom nobody has
// looked at may be given the role.
func beginsWith(b *authz.Blueprint, field, key string) error {
	role, err := b.Role(key)
	switch {
	case err != nil:
		return fault.Field(fault.Invalid, field, "%s has no role %.100q", b.Name(), key)
	case role.Founder, role.Protected, role.Hidden, role.Implicit, role.Resource != "", role.Lifecycle != authz.Open, role.HoldersKind == authz.ServiceHolders:
		return fault.Field(fault.Invalid, field, "the role %q is not one that people begin with", key)
	}
	return nil
}

// admitRegistration fails unless the caller may add people with the role that a
// registration gives: whoever sets it gives that role to others.
func (d *Directory) admitRegistration(ctx context.Context, at *place, next *Registration) error {
	if next == nil || reflect.DeepEqual(next, at.tenant.Policy.Registration) {
		return nil
	}
	actor, err := d.rights.actor(ctx, at)
	if err != nil {
		return err
	}
	return d.mayInGeneral(at, actor, authz.OpCreate, next.Role)
}

// An OpenRegistration is what people learn of a tenant that they can register
// at.
type OpenRegistration struct {
	Registration
	Tenant id.Tenant
	Slug   string
	Name   string
}

// OpenRegistration returns how to register at the tenant of that slug or id. It
// fails with fault.NotFound and the Code registration_closed alike where there is
// no such tenant, where it lets nobody in and where people can't register.
func (d *Directory) OpenRegistration(ctx context.Context, slugOrID string) (*OpenRegistration, error) {
	t, err := d.store.TenantByName(ctx, slugOrID)
	if errors.Is(err, fault.NotFound) {
		return nil, errRegistrationClosed()
	}
	if err != nil {
		return nil, err
	}
	at, err := d.rights.place(ctx, t)
	if err != nil {
		return nil, err
	}
	return at.registration()
}

func (p *place) registration() (*OpenRegistration, error) {
	t := p.tenant
	if t.Policy.Registration == nil || !p.view.SignIn() {
		return nil, errRegistrationClosed()
	}
	return &OpenRegistration{Registration: *t.Policy.Registration, Tenant: t.ID, Slug: t.Slug, Name: t.Name}, nil
}

func errRegistrationClosed() error {
	return fault.New(fault.NotFound, "nobody registers there").WithCode("registration_closed")
}

// A RegistrantStage says what somebody who registers is written to about.
type RegistrantStage string

// The stages of a registration.
const (
	RegistrantConfirms RegistrantStage = "confirms" // the address has to be confirmed, by a link
	RegistrantIsMember RegistrantStage = "member"   // the address is a member's already
	RegistrantApproved RegistrantStage = "approved"
	RegistrantRefused  RegistrantStage = "refused"
)

// A RegistrantLetter is to somebody who registers, or has.
type RegistrantLetter struct {
	Stage    RegistrantStage
	Tenant   id.Tenant
	At       string // the tenant's name
	Email    string
	Name     string // of the person, where it is known
	Language string
	Request  id.AuthorizationRequest // the application's that led there; empty: none
}

// WriteToRegistrant writes what comes next to the owner of an address by which
// somebody wants to register: a link where nobody at the tenant has it, their
// invitation where one waits, and otherwise that they are a member. It tells
// nobody else. Of the letter it takes what is known: the tenant, the address, the
// request, and the language for want of the person's own.
func (d *Directory) WriteToRegistrant(ctx context.Context, letter RegistrantLetter) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		letter := letter // a transaction that is repeated begins anew
		t, err := d.store.Tenant(ctx, letter.Tenant)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if r := t.Policy.Registration; r == nil || !r.Admits(letter.Email) {
			return nil // switched off since
		}
		letter.Stage, letter.At = RegistrantConfirms, t.Name
		user, err := d.store.UserByEmail(ctx, letter.Email)
		if errors.Is(err, fault.NotFound) {
			return d.credentials.WriteToRegistrant(ctx, letter)
		}
		if err != nil || user.Disabled {
			return err
		}
		letter.Name = user.Name.String()
		if user.Locale != "" {
			letter.Language = user.Locale
		}
		m, err := d.store.MembershipOfUser(ctx, letter.Tenant, user.ID)
		switch {
		case errors.Is(err, fault.NotFound):
		case err != nil:
			return err
		case m.Status == StatusInvited:
			return d.invite(ctx, m)
		default:
			letter.Stage = RegistrantIsMember
		}
		return d.credentials.WriteToRegistrant(ctx, letter)
	})
}

// A Registrant is somebody who has shown that an address is theirs.
type Registrant struct {
	Tenant id.Tenant
	Email  string
	User   id.User // who has the address; empty: nobody yet
	// Name and Language, in which they are written to, are of somebody who is
	// nobody's user yet.
	Name     Name
	Language string // BCP 47, or empty
	// Address is theirs, where the tenant asks for one.
	Address PostalAddress
}

// Register makes somebody a member as the tenant's policy lets them, in the
// transaction in ctx, with the role that it names and, where it asks for approval,
// in the status pending. It fails with fault.NotFound and the Code
// registration_closed where the policy does not let them or the role system has no
// room for them, with fault.Invalid on the part of the address that the policy asks
// for, and with fault.Conflict where the address is a member's already,
// or no longer who it was of.
func (d *Directory) Register(ctx context.Context, r Registrant) (*Membership, error) {
	now := d.now()
	m := &Membership{
		Tenant: r.Tenant, ID: id.New[id.Membership](), Source: SourceSelf, UserName: r.Email,
		Profile: operatorProfile(&User{Email: r.Email, Name: r.Name}), Created: now, Modified: now,
	}
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, r.Tenant)
		if err != nil {
			return err
		}
		open, err := at.registration()
		if err != nil {
			return err
		}
		if !open.Admits(r.Email) {
			return errRegistrationClosed()
		}
		made, err := d.linkAddressed(ctx, m, r, open.Address)
		if err != nil {
			return err
		}
		ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(m.User)})
		m.Accepted, m.Status = true, StatusActive
		if open.Approval {
			m.Status = statusPending
		}
		var roles []string
		if open.Role != "" {
			roles = []string{open.Role}
		}
		if err := d.admitRegistered(ctx, at, m, roles); err != nil {
			return err
		}
		t, err := d.heldType(ctx, r.Tenant, typeUser)
		if err != nil {
			return err
		}
		m.Search, m.Keys = derive(t, nil, m.Profile)
		if err := d.createMember(ctx, m, made); err != nil {
			return err
		}
		if err := d.giveFirst(ctx, m, roles, AssignedDirect); err != nil {
			return err
		}
		if err := d.changedFrom(ctx, typeUser, nil, m.snapshot(), nil); err != nil {
			return err
		}
		return d.record(ctx, r.Tenant, "membership.register", "membership", string(m.ID), map[string]any{"status": m.Status, "terms": open.Terms})
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// linkAddressed is linkRegistrant for somebody who may be asked for a postal address.
func (d *Directory) linkAddressed(ctx context.Context, m *Membership, r Registrant, asked bool) (made *User, err error) {
	if !asked {
		return d.linkRegistrant(ctx, m, r)
	}
	if err := r.Address.validate(); err != nil {
		return nil, err
	}
	made, err = d.linkRegistrant(ctx, m, r)
	if err == nil {
		m.Profile["addresses"] = r.Address.attributes()
	}
	return made, err
}

// linkRegistrant is link for somebody who has shown that the address is theirs.
func (d *Directory) linkRegistrant(ctx context.Context, m *Membership, r Registrant) (made *User, err error) {
	made, err = d.link(ctx, m)
	switch {
	case err != nil:
		return nil, err
	case made != nil && made.Email == "", made != nil && r.User != "", made == nil && m.User != r.User:
		return nil, fault.Field(fault.Conflict, "email", "the address is somebody else's, or a member's, by now")
	case made != nil:
		made.EmailVerified, made.Locale = true, r.Language
		return made, nil
	}
	user, err := d.store.User(ctx, m.User)
	if err != nil {
		return nil, err
	}
	if user.Disabled {
		return nil, errRegistrationClosed()
	}
	m.Profile = operatorProfile(&User{Email: r.Email, Name: user.Name})
	return nil, nil
}

// tellApproved writes to somebody who waited for approval, and may sign in now.
func (d *Directory) tellApproved(ctx context.Context, b *authz.Blueprint, was Status, m *Membership) error {
	if was != statusPending || m.Status == StatusSuspended || !accepted(b, m.Status) {
		return nil
	}
	return d.tellRegistrant(ctx, m, RegistrantApproved)
}

// tellRegistrant writes to somebody who waits for approval that there is a
// decision.
func (d *Directory) tellRegistrant(ctx context.Context, m *Membership, stage RegistrantStage) error {
	if m.Source != SourceSelf {
		return nil
	}
	t, err := d.store.Tenant(ctx, m.Tenant)
	if err != nil {
		return err
	}
	user, err := d.store.User(ctx, m.User)
	if err != nil || user.Email == "" {
		return err
	}
	return d.credentials.WriteToRegistrant(ctx, RegistrantLetter{
		Stage: stage, Tenant: m.Tenant, At: t.Name, Email: user.Email, Name: user.Name.String(), Language: user.Locale,
	})
}

// Waits reports whether a membership waits for an administrator's word.
func (s *Standing) Waits() bool { return s.Status == statusPending }
