package directory

import (
	"context"
	"errors"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// This file is the one door: whatever changes who is what in a tenant, by
// whichever protocol, is asked here, under the tenant's lock and in the
// transaction that writes it. The caller is the Principal of the context; where
// there is none, there is no right either.

// actor returns who acts in ctx, as decisions at a place see them.
func (r *Rights) actor(ctx context.Context, at *place) (authz.Actor, error) {
	p := authz.FromContext(ctx)
	actor := authz.Actor{User: p.User, Channel: p.Channel}
	var err error
	switch p.Kind {
	case authz.OperatorPrincipal:
		actor.Operator = true
		return actor, nil
	case authz.ConnectionPrincipal:
		actor.System = p.Tenant == at.tenant.ID
		return actor, nil
	case authz.AppPrincipal:
		actor.User = ""
		actor.Holders = at.service(Bearer{Tenant: p.Tenant, Roles: p.Roles})
	case authz.UserPrincipal, authz.TokenPrincipal:
		if p.Tenant == "" || p.Tenant == at.tenant.ID { // a token is bound to its tenant
			actor.Holders, _, err = r.holders(ctx, at, p.User)
		}
	case authz.Anonymous:
	}
	if err != nil {
		return authz.Actor{}, err
	}
	if p.Support != nil {
		limit := at.blueprint.SupportRights(actor.Holders, at.view, p.Channel, p.Support.Override)
		actor.Holders, actor.Limit = at.blueprint.SupportHolders(actor.Holders, at.view, p.Support.Override), &limit
	}
	if p.Permissions != nil {
		limit := known(at.blueprint, p.Permissions)
		if actor.Limit != nil {
			limit = limit.Intersect(*actor.Limit)
		}
		actor.Limit = &limit
	}
	return actor, nil
}

// known returns those of the permissions that the role system still has.
func known(b *authz.Blueprint, keys []string) authz.Set {
	var set authz.Set
	for _, key := range keys {
		if one, err := b.PermissionSet(key); err == nil {
			set = set.Union(one)
		}
	}
	return set
}

// lock holds the tenant until the transaction in ctx ends, and returns it as
// it is now.
func (d *Directory) lock(ctx context.Context, tenant id.Tenant) (*place, error) {
	if err := d.store.LockTenant(ctx, tenant); err != nil {
		return nil, err
	}
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return d.rights.place(ctx, t)
}

// operatorOnly fails with fault.Denied unless the operator acts in ctx.
func operatorOnly(ctx context.Context) error {
	if authz.FromContext(ctx).Kind == authz.OperatorPrincipal {
		return nil
	}
	return fault.New(fault.Denied, "only the operator does this").WithCode("operator")
}

// fromDirectory reports whether the tenant's own directory acts in ctx. What it
// says of people without touching roles or status needs no leave, and neither
// does adding people without roles: nothing that May weighs could refuse it. A
// push of a hundred thousand people so need not wait for the tenant's lock.
func fromDirectory(ctx context.Context, tenant id.Tenant) bool {
	p := authz.FromContext(ctx)
	return p.Kind == authz.ConnectionPrincipal && p.Tenant == tenant
}

// A memberChange is a change of one membership that has yet to be written.
type memberChange struct {
	tenant    id.Tenant
	user      id.User // whose membership it is, or will be
	operation string  // empty: the one that the change comes under
	// after turns the membership as it is, nil if there is none, into what it
	// will be, nil if it will be gone. It must not modify its argument.
	after  func(before *authz.MembershipFacts) *authz.MembershipFacts
	fields func(b *authz.Blueprint, self bool) []string // the profile fields that change; nil: none
}

// admit locks the tenant and fails, with fault.Denied and the reason as Code,
// unless the caller may make the change and the tenant can bear it. ctx is that
// of the transaction which writes the change next, and has locked the membership
// if there is one.
func (d *Directory) admit(ctx context.Context, change memberChange) error {
	if beside, _ := ctx.Value(besideKey{}).(bool); beside {
		return d.admitBeside(ctx, change)
	}
	at, err := d.lock(ctx, change.tenant)
	if err != nil {
		return err
	}
	act, disabled, err := d.act(ctx, at, change.user)
	if err != nil {
		return err
	}
	if change.to(at.blueprint, &act) {
		if act.Tallies, err = d.tallies(ctx, at); err != nil {
			return err
		}
		if disabled {
			act.Tallies = counted(at.blueprint, act.Tallies, *act.Target.Before)
		}
		act.Untallied = false
	}
	return at.blueprint.May(act).Err()
}

// besideKey is the context key of a bool: whether the transaction in ctx may have
// the tenant beside others, and is done anew if that does not do.
type besideKey struct{}

// errTallied ends a transaction that has to have the tenant alone.
var errTallied = errors.New("directory: moves a tally")

// inTx runs fn, which admits a change of one member before it writes anything,
// in a transaction. A directory's change of somebody who counts for no rule over
// holders has the tenant beside others of the kind: what they come to does not
// depend on one another, and a directory that switches thousands of people off
// sends as many requests at a time as it likes. Whoever might make such a holder
// of somebody has the tenant alone. fn may run twice.
func (d *Directory) inTx(ctx context.Context, tenant id.Tenant, fn func(ctx context.Context) error) error {
	if _, within := ctx.Value(besideKey{}).(bool); within || !fromDirectory(ctx, tenant) {
		return d.store.InTx(ctx, fn)
	}
	if err := d.rights.keep(ctx, tenant); err != nil {
		return err
	}
	err := d.store.InTx(context.WithValue(ctx, besideKey{}, true), fn)
	if errors.Is(err, errTallied) {
		err = d.store.InTx(context.WithValue(ctx, besideKey{}, false), fn)
	}
	return err
}

// admitBeside is admit in a transaction that may have the tenant beside others.
// It fails with errTallied where that has to be done anew.
func (d *Directory) admitBeside(ctx context.Context, change memberChange) error {
	if err := d.store.LockTenantShared(ctx, change.tenant); err != nil {
		return err
	}
	w, err := d.rights.one(ctx, Bearer{User: change.user}, string(change.tenant))
	if err != nil {
		return err
	}
	act, _ := actOn(w.at, change.user, w.holders, w.here())
	if act.Actor, err = d.rights.actor(ctx, w.at); err != nil {
		return err
	}
	if change.to(w.at.blueprint, &act) {
		return errTallied
	}
	return w.at.blueprint.May(act).Err()
}

// admitRegistered is admit for somebody who makes themselves a member as the
// tenant's policy lets them: they have no rights to ask for, are given no more than
// a directory could give, and the tenant can bear it. It fails with the Code
// registration_closed: a stranger learns no reason. The tenant must be locked.
func (d *Directory) admitRegistered(ctx context.Context, at *place, m *Membership, roles []string) error {
	act, _, err := d.act(ctx, at, m.User)
	if err != nil {
		return err
	}
	if act.Tallies, err = d.tallies(ctx, at); err != nil {
		return err
	}
	act.Actor, act.Untallied = authz.Actor{System: true}, false
	act.Operation, act.After = authz.OpCreate, &authz.MembershipFacts{Status: string(m.Status), Roles: roles}
	if !at.blueprint.May(act).Allowed {
		return errRegistrationClosed()
	}
	return nil
}

// to completes what is known of the member by the change, and reports whether
// that moves the tally of any rule over holders.
func (change *memberChange) to(b *authz.Blueprint, act *authz.Act) (tallied bool) {
	before := act.Target.Before
	act.After = change.after(before)
	act.Operation = change.operation
	if act.Operation == "" {
		act.Operation = b.OperationFor(before, act.After)
	}
	if change.fields != nil {
		act.Fields = change.fields(b, act.Actor.User != "" && act.Actor.User == change.user)
	}
	return b.Tallied(before, act.After)
}

// act returns what is known of the caller and of one member, or somebody who
// is none yet, before anything changes. disabled says that the member's login
// is off, whatever the status.
func (d *Directory) act(ctx context.Context, at *place, user id.User) (act authz.Act, disabled bool, err error) {
	if user == "" {
		act, _ = actOn(at, user, nil, nil)
	} else {
		holders, here, err := d.rights.holders(ctx, at, user)
		if err != nil {
			return act, false, err
		}
		act, disabled = actOn(at, user, holders, here)
	}
	act.Actor, err = d.rights.actor(ctx, at)
	return act, disabled, err
}

// actOn is act without the caller, from what the user holds and is there.
func actOn(at *place, user id.User, holders []authz.Holder, here *Standing) (act authz.Act, disabled bool) {
	act = authz.Act{At: at.view, Target: authz.Target{User: user, Kind: authz.HumanHolders, Holders: holders}, Untallied: true}
	if here != nil {
		act.Target.Before = &authz.MembershipFacts{Status: string(here.Status), Roles: here.Roles, Resources: here.Resources}
		disabled = here.User.Disabled
	}
	return act, disabled
}

// counted adds a member whose login is off to the tallies of those who can sign
// in, because what leaves a tally must have been in it.
func counted(b *authz.Blueprint, tallies []authz.Tally, m authz.MembershipFacts) []authz.Tally {
	if s, err := b.Status(m.Status); err != nil || !s.SignIn {
		return tallies
	}
	for i, rule := range b.HolderRules() {
		if len(rule.Roles) == 0 || slices.ContainsFunc(rule.Roles, func(role string) bool { return slices.Contains(m.Roles, role) }) {
			tallies[i].Able++
		}
	}
	return tallies
}

// tallies counts the members that the blueprint's rules over holders ask for.
func (d *Directory) tallies(ctx context.Context, at *place) ([]authz.Tally, error) {
	tallies := []authz.Tally{}
	_, most := at.blueprint.RoleBounds()
	for _, rule := range at.blueprint.HolderRules() {
		tally, err := d.store.TallyHolders(ctx, at.tenant.ID, HoldersOf{
			Roles: rule.Roles, MaxRoles: most, Able: at.blueprint.AbleStatuses(), Final: at.blueprint.FinalStatuses(),
		})
		if err != nil {
			return nil, err
		}
		tallies = append(tallies, tally)
	}
	return tallies, nil
}

// A massChange changes at once what many members hold, by way of groups.
type massChange struct {
	tenant id.Tenant
	// operation is what a person needs even if nobody's roles change.
	operation string
	roles     []string // those that the change offers or no longer does
	// affected returns whom the change concerns, before and after it is written.
	affected func(ctx context.Context) ([]id.Membership, error)
	// joining returns whom the change brings to the roles; nil: nobody.
	joining func(ctx context.Context) ([]id.Membership, error)
	write   func(ctx context.Context) error
}

// admitMany locks the tenant, writes the change, and fails unless the caller may
// do so and the tenant can bear what came of it. Of a person each member is
// asked about; the operator and the tenant's directory, whose mappings somebody
// else has made, are bound by the rules over holders alone, so that a group of
// a hundred thousand costs two counts.
func (d *Directory) admitMany(ctx context.Context, change massChange) error {
	at, err := d.lock(ctx, change.tenant)
	if err != nil {
		return err
	}
	actor, err := d.rights.actor(ctx, at)
	if err != nil {
		return err
	}
	person := !actor.Operator && !actor.System
	if person {
		if err := d.mayInGeneral(at, actor, change.operation, ""); err != nil {
			return err
		}
	}
	if len(change.roles) == 0 {
		return change.write(ctx)
	}
	tallies, err := d.tallies(ctx, at)
	if err != nil {
		return err
	}
	before := map[id.Membership]*authz.Target{}
	if person {
		if err := d.targets(ctx, at, change, before); err != nil {
			return err
		}
		if err := d.reviewJoining(ctx, at, actor, change, before); err != nil {
			return err
		}
	}
	if err := change.write(ctx); err != nil {
		return err
	}
	if person {
		if err := d.reviewMany(ctx, at, actor, change, before); err != nil {
			return err
		}
	}
	after, err := d.tallies(ctx, at)
	if err != nil {
		return err
	}
	return at.blueprint.CheckTallies(tallies, after)
}

// mayInGeneral fails unless the actor may use an operation on somebody who has
// no other role than the one, if any, that is to be given or taken.
func (d *Directory) mayInGeneral(at *place, actor authz.Actor, operation, role string) error {
	nobody := authz.MembershipFacts{Status: at.blueprint.FirstStatus()}
	before, after := nobody, nobody
	if role != "" && operation == authz.OpRevoke {
		before.Roles = []string{role}
	} else if role != "" {
		after.Roles = []string{role}
	}
	decision := at.blueprint.May(authz.Act{
		Operation: operation, At: at.view, Actor: actor, Target: authz.Target{Kind: authz.HumanHolders, Before: &before}, After: &after, Untallied: true,
	})
	if decision.Code == "min_roles" { // of the somebody, who has none
		return nil
	}
	return decision.Err()
}

// targets adds the members whom the change affects as they are now, those that
// are there already aside.
func (d *Directory) targets(ctx context.Context, at *place, change massChange, known map[id.Membership]*authz.Target) error {
	affected, err := change.affected(ctx)
	if err != nil {
		return err
	}
	for _, membership := range affected {
		if known[membership] != nil {
			continue
		}
		m, err := d.store.Membership(ctx, at.tenant.ID, membership)
		if err != nil {
			return err
		}
		act, _, err := d.act(ctx, at, m.User)
		if err != nil {
			return err
		}
		known[membership] = &act.Target
	}
	return nil
}

// reviewMany asks May about each member whom a written change has affected.
func (d *Directory) reviewMany(ctx context.Context, at *place, actor authz.Actor, change massChange, before map[id.Membership]*authz.Target) error {
	after := map[id.Membership]*authz.Target{}
	if err := d.targets(ctx, at, change, after); err != nil {
		return err
	}
	for membership := range before {
		if after[membership] == nil { // no longer below the group
			if err := d.targets(ctx, at, massChange{affected: one(membership)}, after); err != nil {
				return err
			}
		}
	}
	for membership, is := range after {
		was := before[membership]
		if was == nil { // not below the group before: without the roles that it now gives, or with them by other ways
			facts := *is.Before
			facts.Roles = slices.DeleteFunc(slices.Clone(facts.Roles), func(role string) bool { return slices.Contains(change.roles, role) })
			was = &authz.Target{User: is.User, Kind: is.Kind, Holders: is.Holders, Before: &facts}
		}
		if slices.Equal(was.Before.Roles, is.Before.Roles) {
			continue
		}
		act := authz.Act{At: at.view, Actor: actor, Target: *was, After: is.Before, Untallied: true}
		act.Operation = at.blueprint.OperationFor(was.Before, is.Before)
		if err := at.blueprint.May(act).Err(); err != nil {
			return err
		}
	}
	return nil
}

// reviewJoining asks May whether each of those who come to the roles may be
// given them, even where a role that counts before keeps them from it today: the
// day that one is taken, the others are there.
func (d *Directory) reviewJoining(ctx context.Context, at *place, actor authz.Actor, change massChange, known map[id.Membership]*authz.Target) error {
	if change.joining == nil {
		return nil
	}
	joining, err := change.joining(ctx)
	if err != nil {
		return err
	}
	_, most := at.blueprint.RoleBounds()
	for _, membership := range joining {
		target := *known[membership]
		before := *target.Before
		before.Roles = slices.DeleteFunc(slices.Clone(before.Roles), func(role string) bool { return slices.Contains(change.roles, role) })
		target.Before = &before
		for _, role := range change.roles {
			after := before
			if after.Roles = append(slices.Clone(before.Roles), role); most == 1 {
				after.Roles = []string{role}
			}
			act := authz.Act{At: at.view, Actor: actor, Target: target, After: &after, Untallied: true, Operation: at.blueprint.OperationFor(&before, &after)}
			if err := at.blueprint.May(act).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

func one(membership id.Membership) func(context.Context) ([]id.Membership, error) {
	return func(context.Context) ([]id.Membership, error) { return []id.Membership{membership}, nil }
}

// permitted fails with fault.Denied and the Code permission unless the caller
// is an operator or has the permission at the tenant.
func (r *Rights) permitted(ctx context.Context, at *place, permission string) error {
	actor, err := r.actor(ctx, at)
	if err != nil || actor.Operator {
		return err
	}
	if p, known := at.blueprint.Permission(permission); known {
		held := at.blueprint.Effective(actor.Holders, at.view, actor.Channel)
		if actor.Limit != nil {
			held = held.Intersect(*actor.Limit)
		}
		if held.Has(p) {
			return nil
		}
	}
	return fault.New(fault.Denied, "the permission %s is missing", permission).WithCode("permission")
}

// Permitted fails with fault.Denied and the Code permission unless the caller in
// ctx is an operator or has the permission at the tenant.
func (d *Directory) Permitted(ctx context.Context, tenant id.Tenant, permission string) error {
	return d.rights.Permitted(ctx, tenant, permission)
}

// Permitted is Directory.Permitted.
func (r *Rights) Permitted(ctx context.Context, tenant id.Tenant, permission string) error {
	t, err := r.store.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	at, err := r.place(ctx, t)
	if err != nil {
		return err
	}
	return r.permitted(ctx, at, permission)
}

// Offer returns what the caller in ctx may do with a member of the tenant, or,
// for an empty membership, whom to add. The answers are those that the changes
// themselves would get now.
func (d *Directory) Offer(ctx context.Context, tenant id.Tenant, membership id.Membership) (authz.Offer, error) {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return authz.Offer{}, err
	}
	at, err := d.rights.place(ctx, t)
	if err != nil {
		return authz.Offer{}, err
	}
	var user id.User
	if membership != "" {
		m, err := d.store.Membership(ctx, tenant, membership)
		if err != nil {
			return authz.Offer{}, err
		}
		user = m.User
	}
	act, disabled, err := d.act(ctx, at, user)
	if err != nil {
		return authz.Offer{}, err
	}
	if act.Tallies, err = d.tallies(ctx, at); err != nil {
		return authz.Offer{}, err
	}
	act.Untallied = false
	if disabled {
		act.Tallies = counted(at.blueprint, act.Tallies, *act.Target.Before)
	}
	return at.blueprint.Offer(act), nil
}
