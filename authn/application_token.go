package authn

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// An ApplicationToken is a long-lived secret for the API. It never allows more
// than its creator may do at that moment.
type ApplicationToken struct {
	ID          id.ApplicationToken
	Tenant      id.Tenant // empty: an operator's, for the whole instance
	Name        string    // unique in the tenant among tokens that are not revoked
	Description string
	Creator     id.User
	Created     time.Time
	Expires     time.Time      // zero: never
	Permissions []string       // the only ones that it gives, sorted; none: all that the creator has
	Networks    []netip.Prefix // the only ones that it is accepted from; none: from anywhere
	LastUsed    time.Time      // to a minute; zero: never
	Revoked     time.Time      // zero: it is not
	// PreviousUntil is how long the secret before the last rotation is accepted
	// beside the new one; zero: there is none.
	PreviousUntil time.Time
}

// A StoredToken is a token with what is kept of its secrets.
type StoredToken struct {
	ApplicationToken
	Hash     secret.Hash
	Previous secret.Hash // zero: none
}

// A LiveToken is a token with what decides whether it is accepted.
type LiveToken struct {
	ApplicationToken
	ByPrevious      bool // it was found by the secret before the last rotation
	CreatorDisabled bool
	CreatorOperator bool
}

// Rights is what the tenants and their role systems say about sign-ins and
// application tokens. It is directory's.
type Rights interface {
	// Blueprint returns the role system of the tenant.
	Blueprint(ctx context.Context, tenant id.Tenant) (*authz.Blueprint, error)
	// Reaches reports whether the user has any right at the tenant over the
	// channel, and the tenant lets people in.
	Reaches(ctx context.Context, tenant id.Tenant, user id.User, channel authz.Channel) (bool, error)
	// Permitted fails with fault.Denied unless the caller in ctx is an operator
	// or has the permission at the tenant.
	Permitted(ctx context.Context, tenant id.Tenant, permission string) error
	// SignInPolicy returns what the user's tenants ask of the sign-in.
	SignInPolicy(ctx context.Context, user id.User) (directory.SignInPolicy, error)
	// SessionLimits returns the strictest limits of the user's tenants.
	SessionLimits(ctx context.Context, user id.User) (directory.SessionLimits, error)
	// BoundElsewhere returns the tenants by whose own providers the user has to sign
	// in, if there is no other that they could sign in to.
	BoundElsewhere(ctx context.Context, user id.User) ([]directory.Standing, error)
	// ManagesAlone reports whether the tenant may do with the user's login as with its
	// own.
	ManagesAlone(ctx context.Context, tenant id.Tenant, user id.User) (bool, error)
	// Lockout returns when the account of an address closes after failed attempts,
	// with the same work whether it is anybody's or not. Attempts is 0 where it
	// never does.
	Lockout(ctx context.Context, email string) (authz.Lockout, error)
	// PasswordPolicy returns what the user's password has to meet, all of it.
	PasswordPolicy(ctx context.Context, user id.User) (directory.PasswordPolicy, error)
	// PasswordPolicyAt returns what the password of somebody has to meet who is
	// about to become a member of the tenant and of no other.
	PasswordPolicyAt(ctx context.Context, tenant id.Tenant) (directory.PasswordPolicy, error)
	// SecondFactorAt returns the tenants that demand a second factor
	// of the user, with what SignInPolicy does.
	SecondFactorAt(ctx context.Context, user id.User) ([]directory.SecondFactorDemand, directory.SignInPolicy, error)
}

// The longest texts of a token in characters, and the most that a list holds.
const (
	maxTokenName        = 100
	maxTokenDescription = 1000
	maxTokenNetworks    = 100
)

// ParseNetwork reads a network of [ApplicationToken.Networks] as a CIDR block
// (RFC 4632, RFC 4291 §2.3); an address alone is a block of one. It fails with
// fault.Invalid on cidrs.
func ParseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if address, alone := netip.ParseAddr(text); alone == nil && address.Zone() == "" {
		network, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	if err != nil || network.Addr().Is4In6() {
		return netip.Prefix{}, fault.Field(fault.Invalid, "cidrs", "%q is no network, such as 192.0.2.0/24 or 2001:db8::/32", text)
	}
	return network.Masked(), nil
}

// PutApplicationToken makes the tenant, or the instance, hold a token of that
// name and creator. A token given by the caller is taken as it is; without one,
// a token is made if there is none yet, and returned this once. What is so
// already, and what t leaves empty, stays as it is. It fails with fault.Invalid,
// and with fault.Denied if the token is one of the instance and the creator no
// operator.
func (a *Authn) PutApplicationToken(ctx context.Context, t ApplicationToken, given secret.Text) (made secret.Text, err error) {
	if mistyped(given) {
		return secret.Text{}, fault.Field(fault.Invalid, "token", "this looks like a token that Rolecall made, but its checksum is wrong: a character is missing or mistyped")
	}
	err = a.store.InTx(ctx, func(ctx context.Context) error {
		creator, err := a.store.User(ctx, t.Creator)
		if err != nil {
			return err
		}
		if t.Tenant == "" && !creator.Operator {
			return fault.Field(fault.Denied, "creator", "only an operator can have an application token for the whole instance").WithCode("not_operator")
		}
		current, err := a.store.ApplicationTokenByName(ctx, t.Tenant, t.Name)
		if errors.Is(err, fault.NotFound) {
			if given.Empty() {
				made = newApplicationToken()
				given = made
			}
			return a.addApplicationToken(ctx, &t, given)
		}
		if err != nil {
			return err
		}
		return a.putApplicationToken(ctx, current, t, given)
	})
	if err != nil {
		return secret.Text{}, err
	}
	return made, nil
}

// addApplicationToken checks and stores a new token.
func (a *Authn) addApplicationToken(ctx context.Context, t *ApplicationToken, token secret.Text) error {
	t.ID, t.Created = id.New[id.ApplicationToken](), a.now()
	if err := a.checkApplicationToken(ctx, t); err != nil {
		return err
	}
	if !t.Expires.IsZero() && !t.Expires.After(t.Created) {
		return fault.Field(fault.Invalid, "expires_at", "this is in the past")
	}
	err := a.store.CreateApplicationToken(ctx, &StoredToken{ApplicationToken: *t, Hash: token.Hash()})
	if errors.Is(err, fault.Conflict) {
		return &fault.Error{Kind: fault.Conflict, Field: "token", Detail: "this value is in use, or belonged to a token that was revoked: give another one, or none to have one made", Err: err}
	}
	if err != nil {
		return err
	}
	return a.applicationTokenEvent(ctx, "application_token.create", *t)
}

func (a *Authn) putApplicationToken(ctx context.Context, current *StoredToken, t ApplicationToken, given secret.Text) error {
	next := *current
	next.Creator, t.Expires = t.Creator, stored(t.Expires)
	if t.Description != "" {
		next.Description = t.Description
	}
	if !t.Expires.IsZero() {
		next.Expires = t.Expires
	}
	if t.Permissions != nil {
		next.Permissions = t.Permissions
	}
	if t.Networks != nil {
		next.Networks = t.Networks
	}
	if !given.Empty() && !given.Hash().Equal(current.Hash) {
		next.Hash, next.Previous, next.PreviousUntil = given.Hash(), secret.Hash{}, time.Time{}
	}
	if err := a.checkApplicationToken(ctx, &next.ApplicationToken); err != nil {
		return err
	}
	if next.same(current) {
		return nil
	}
	if err := a.store.ReplaceApplicationToken(ctx, &next); err != nil {
		return err
	}
	return a.applicationTokenEvent(ctx, "application_token.change", next.ApplicationToken)
}

// same reports whether storing s in place of o would change anything.
func (s *StoredToken) same(o *StoredToken) bool {
	return s.Creator == o.Creator && s.Description == o.Description && s.Expires.Equal(o.Expires) &&
		slices.Equal(s.Permissions, o.Permissions) && slices.Equal(s.Networks, o.Networks) &&
		s.Hash.Equal(o.Hash) && s.Previous.Equal(o.Previous) && s.PreviousUntil.Equal(o.PreviousUntil) && s.Revoked.Equal(o.Revoked)
}

// checkApplicationToken brings a token into its normal form, and fails with
// fault.Invalid where it is not what the tenant's role system asks for.
func (a *Authn) checkApplicationToken(ctx context.Context, t *ApplicationToken) error {
	t.Name, t.Description = strings.TrimSpace(t.Name), strings.TrimSpace(t.Description)
	switch {
	case t.Name == "":
		return fault.Field(fault.Invalid, "name", "an application token needs a name")
	case utf8.RuneCountInString(t.Name) > maxTokenName:
		return fault.Field(fault.Invalid, "name", "must not be longer than %d characters", maxTokenName)
	case utf8.RuneCountInString(t.Description) > maxTokenDescription:
		return fault.Field(fault.Invalid, "description", "must not be longer than %d characters", maxTokenDescription)
	case len(t.Networks) > maxTokenNetworks:
		return fault.Field(fault.Invalid, "cidrs", "must not be more than %d", maxTokenNetworks)
	}
	slices.SortFunc(t.Networks, netip.Prefix.Compare)
	t.Networks = slices.Compact(t.Networks)
	slices.Sort(t.Permissions)
	t.Permissions = slices.Compact(t.Permissions)
	if t.Tenant == "" {
		if len(t.Permissions) > 0 {
			return fault.Field(fault.Invalid, "permissions", "a token for the whole instance is of no one role system, and can't be limited to permissions")
		}
		return nil
	}
	b, err := a.rights.Blueprint(ctx, t.Tenant)
	if err != nil {
		return err
	}
	policy := b.AppTokens()
	if t.Expires.IsZero() && policy.Expiry == "required" {
		return fault.Field(fault.Invalid, "expires_at", "the role system asks for an expiry")
	}
	if len(t.Networks) == 0 && policy.CIDR == "required" {
		return fault.Field(fault.Invalid, "cidrs", "the role system asks for the networks that the token is used from")
	}
	for _, key := range t.Permissions {
		if _, known := b.Permission(key); !known {
			return fault.Field(fault.Invalid, "permissions", "the role system has no permission %q", key)
		}
	}
	return nil
}

// ApplicationToken returns the token that the secret stands for, for a request
// that comes from the address. It fails with fault.Unauthenticated alike for one
// that is unknown, expired, revoked or not for that address, and one whose
// creator is disabled or has no right at the tenant.
func (a *Authn) ApplicationToken(ctx context.Context, token secret.Text, from netip.Addr) (*ApplicationToken, error) {
	t, err := a.InspectApplicationToken(ctx, token)
	if err != nil {
		return nil, err
	}
	if !t.acceptedFrom(from) {
		return nil, errApplicationToken()
	}
	a.touchApplicationToken(ctx, t)
	return t, nil
}

// InspectApplicationToken is ApplicationToken for those who only want to know
// what a token is: it is no use of it, and from where is not looked at.
func (a *Authn) InspectApplicationToken(ctx context.Context, token secret.Text) (*ApplicationToken, error) {
	if mistyped(token) {
		return nil, errApplicationToken()
	}
	found, err := a.store.ApplicationTokenByHash(ctx, token.Hash())
	if errors.Is(err, fault.NotFound) {
		return nil, errApplicationToken()
	}
	if err != nil {
		return nil, err
	}
	if ok, err := a.inForce(ctx, found); err != nil || !ok {
		return nil, errors.Join(err, errApplicationToken())
	}
	return &found.ApplicationToken, nil
}

// errApplicationToken is the one answer for every reason not to accept a token.
func errApplicationToken() error {
	return fault.New(fault.Unauthenticated, "the application token is not valid")
}

// ApplicationTokenInForce reports whether a token would be accepted now, if it
// came from the right address. One that is unknown is not in force.
func (a *Authn) ApplicationTokenInForce(ctx context.Context, tenant id.Tenant, token id.ApplicationToken) (bool, error) {
	found, err := a.store.ApplicationTokenByID(ctx, tenant, token)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return a.inForce(ctx, found)
}

// inForce decides whether a token is accepted: by itself, and because its
// creator still is somebody at its tenant.
func (a *Authn) inForce(ctx context.Context, t *LiveToken) (bool, error) {
	now := a.now()
	switch {
	case !t.Revoked.IsZero(), t.CreatorDisabled,
		!t.Expires.IsZero() && !now.Before(t.Expires),
		t.ByPrevious && !now.Before(t.PreviousUntil):
		return false, nil
	case t.CreatorOperator: // who stands outside of all tenants
		return true, nil
	case t.Tenant == "":
		return false, nil
	}
	return a.rights.Reaches(ctx, t.Tenant, t.Creator, authz.ChannelAPI)
}

// acceptedFrom reports whether a request from the address may use the token.
func (t *ApplicationToken) acceptedFrom(from netip.Addr) bool {
	return len(t.Networks) == 0 || slices.ContainsFunc(t.Networks, func(n netip.Prefix) bool { return n.Contains(from.Unmap()) })
}

// touchApplicationToken writes down that the token is in use, at most once a
// minute. The request does not fail with it.
func (a *Authn) touchApplicationToken(ctx context.Context, t *ApplicationToken) {
	now := a.now()
	if now.Sub(t.LastUsed) < seenResolution {
		return
	}
	if err := a.store.TouchApplicationToken(ctx, t.Tenant, t.ID, now); err != nil {
		a.logger.WarnContext(ctx, "the use of an application token was not recorded", "application_token", t.ID, "error", err)
	}
}

// Principal returns who calls with the token: its creator at its tenant, or an
// operator.
func (t *ApplicationToken) Principal() authz.Principal {
	p := authz.Principal{
		Kind: authz.TokenPrincipal, Channel: authz.ChannelAPI, Tenant: t.Tenant, User: t.Creator, ApplicationToken: t.ID,
		Permissions: t.Permissions,
	}
	if t.Tenant == "" {
		p.Kind = authz.OperatorPrincipal
	}
	return p
}

// RevokeApplicationTokens revokes the tokens that a person made in a tenant, in
// the transaction in ctx: it is part of a lock-out.
func (a *Authn) RevokeApplicationTokens(ctx context.Context, tenant id.Tenant, creator id.User) error {
	return a.store.InTx(ctx, func(ctx context.Context) error {
		revoked, err := a.store.RevokeApplicationTokens(ctx, tenant, creator, a.now())
		if err != nil {
			return err
		}
		for _, t := range revoked {
			if err := a.applicationTokenEvent(ctx, "application_token.revoke", t); err != nil {
				return err
			}
		}
		return nil
	})
}

// applicationTokenEvent appends what happened to a token, with its limits as
// they are now.
func (a *Authn) applicationTokenEvent(ctx context.Context, action string, t ApplicationToken) error {
	data := map[string]any{"name": t.Name, "creator": t.Creator}
	if !t.Expires.IsZero() {
		data["expires_at"] = t.Expires
	}
	if len(t.Permissions) > 0 {
		data["permissions"] = t.Permissions
	}
	if len(t.Networks) > 0 {
		data["cidrs"] = t.Networks
	}
	return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), t.Tenant, action, "application_token", string(t.ID), data))
}
