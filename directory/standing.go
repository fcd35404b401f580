package directory

import (
	"cmp"
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// maxReached bounds how many tenants are listed that somebody reaches without
// being a member; those beyond can be asked for by name.
const maxReached = 50

// maxHeld bounds how many tenants one statement is asked about.
const maxHeld = 200

// Standing returns what a user is in the tenant of that slug or id right now:
// by the membership there, or, where that can't be used, by roles that are held
// above and reach it. It fails with fault.NotFound for those who are neither.
func (r *Rights) Standing(ctx context.Context, tenant string, user id.User) (*Standing, error) {
	w, err := r.one(ctx, Bearer{User: user}, tenant)
	if err != nil {
		return nil, err
	}
	st := w.standing()
	if st == nil {
		return nil, errNoStanding()
	}
	return st, nil
}

func errNoStanding() error { return fault.New(fault.NotFound, "the user is no member of the tenant") }

// standing returns what the person is at the place, nil if nothing.
func (w *weighed) standing() *Standing {
	if w.held.User == nil {
		return nil
	}
	st := w.here()
	if st == nil || !st.SignIn {
		if home := w.reachedFrom(); home != nil {
			st = w.at.standing(w.held.User)
			st.Home, st.Membership, st.Status, st.UserName, st.SignIn = home.Tenant, home.Membership, home.Status, home.UserName, true
			st.Roles, st.Groups = []string{}, []string{}
		}
	}
	if st == nil {
		return nil
	}
	st.Permissions = w.permissions(authz.ChannelPortal)
	st.RolesAt = joined(st.Roles, w.at.blueprint.RolesAt(w.holders, w.at.view, authz.ChannelPortal))
	st.SecondFactor = w.secondFactor(false)
	st.ExemptBySSO = st.SecondFactor && !w.secondFactor(true)
	if st.Policy.MFA == MFARequired && !st.SecondFactor {
		st.SecondFactorFrom = st.Policy.MFAFrom
	}
	st.TrustedDevice = trustedDevice(st.Policy, w.at.blueprint.Document().MFA)
	st.MailCodes = mailCodes(st.Policy, w.at.blueprint.Document().MFA)
	return st
}

// here returns what the person is in the tenant itself, nil if no member.
func (w *weighed) here() *Standing {
	if here := w.held.At(w.at.tenant.ID); w.held.User != nil && here != nil && here.Membership != "" {
		return here.standing(w.at, w.held.User)
	}
	return nil
}

// reachedFrom returns the nearest membership above the place whose roles give a
// right there, nil if none does or the tenant lets nobody in.
func (w *weighed) reachedFrom() *HeldIn {
	b, at := w.at.blueprint, w.at
	if !at.view.SignIn() {
		return nil
	}
	for _, above := range at.above {
		for i := range w.holders {
			if w.holders[i].Home().ID() == above && !b.Effective(w.holders[i:i+1], at.view, authz.ChannelPortal).Empty() {
				return w.held.At(above)
			}
		}
	}
	return nil
}

// joined returns what is in either list, sorted and without duplicates.
func joined(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return append([]string{}, slices.Compact(all)...)
}

// Standings returns what a user is in every tenant that knows them, whatever
// the status, and in up to 50 others that their roles reach, by the tenants'
// names. SignIn says what can be used.
func (r *Rights) Standings(ctx context.Context, user id.User) ([]Standing, error) {
	all, err := r.store.Standings(ctx, user, Find{})
	if err != nil {
		return nil, err
	}
	if all, err = r.complete(ctx, user, all); err != nil {
		return nil, err
	}
	reached, err := r.beyond(ctx, user, all, Find{Most: maxReached})
	return byName(all, standingsOf(reached)), err
}

// SignIns returns the standings that can be used, at most so many: of more the
// oldest tenants in which the user is a member, then others. They come by the
// tenants' names. It reads no more than it needs, however many there are.
func (r *Rights) SignIns(ctx context.Context, user id.User, most int) ([]Standing, error) {
	var usable, all []Standing
	for skip := 0; len(usable) < most; skip += most {
		page, err := r.store.Standings(ctx, user, Find{Skip: skip, Most: most, ByAge: true})
		if err != nil {
			return nil, err
		}
		last := len(page) < most
		if page, err = r.complete(ctx, user, page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		for i := range page {
			if page[i].SignIn {
				usable = append(usable, page[i])
			}
		}
		if last {
			break
		}
	}
	if left := most - len(usable); left > 0 { // and all memberships are known
		reached, err := r.beyond(ctx, user, all, Find{Most: left})
		if err != nil {
			return nil, err
		}
		usable = append(usable, standingsOf(reached)...)
	}
	usable = usable[:min(most, len(usable))]
	sortByName(usable)
	return usable, nil
}

// weighSignIns is SignIns for what only a decision tells of a tenant. It reads what
// is held once, where SignIns and then a decision read it twice. standing of each is
// not nil.
func (r *Rights) weighSignIns(ctx context.Context, user id.User, most int) ([]weighed, error) {
	var usable []weighed
	var all []Standing
	for skip := 0; len(usable) < most; skip += most {
		page, err := r.store.Standings(ctx, user, Find{Skip: skip, Most: most, ByAge: true})
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		names := make([]string, len(page))
		for i := range page {
			names[i] = string(page[i].Tenant)
		}
		found, err := r.weigh(ctx, Bearer{User: user}, names...)
		if err != nil {
			return nil, err
		}
		for i := range found {
			st := found[i].here()
			if st == nil {
				continue // it has ended in between
			}
			if all = append(all, *st); st.SignIn {
				usable = append(usable, found[i])
			}
		}
		if len(page) < most {
			break
		}
	}
	if left := most - len(usable); left > 0 { // and all memberships are known
		reached, err := r.beyond(ctx, user, all, Find{Most: left})
		if err != nil {
			return nil, err
		}
		usable = append(usable, reached...)
	}
	return usable[:min(most, len(usable))], nil
}

// Search returns what a user is in tenants of which the name or the slug has the
// text in it, ignoring case, whether by a membership or by roles that reach
// them: at most so many, by the tenants' names. more says that there are others.
func (r *Rights) Search(ctx context.Context, user id.User, text string, most int) (found []Standing, more bool, err error) {
	find := Find{Text: text, Most: most + 1}
	members, err := r.store.Standings(ctx, user, find)
	if err != nil {
		return nil, false, err
	}
	more = len(members) > most
	if members, err = r.complete(ctx, user, members); err != nil {
		return nil, false, err
	}
	reached, err := r.reached(ctx, user, find)
	if err != nil {
		return nil, false, err
	}
	found = byName(members, standingsOf(reached))
	return found[:min(most, len(found))], more || len(found) > most, nil
}

func byName(memberships, reached []Standing) []Standing {
	all := slices.Concat(memberships, reached)
	sortByName(all)
	return all
}

func sortByName(all []Standing) {
	slices.SortFunc(all, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.TenantName, b.TenantName), cmp.Compare(a.Tenant, b.Tenant))
	})
}

// complete reads what is held by the memberships, and judges them.
func (r *Rights) complete(ctx context.Context, user id.User, all []Standing) ([]Standing, error) {
	complete := make([]Standing, 0, len(all))
	for page := range slices.Chunk(all, maxHeld) {
		tenants := make([]id.Tenant, len(page))
		for i := range page {
			tenants[i] = page[i].Tenant
		}
		held, err := r.store.Held(ctx, Bearer{User: user}, tenants)
		if err != nil {
			return nil, err
		}
		for _, st := range page {
			h := held.At(st.Tenant)
			if held.User == nil || h == nil || h.Membership != st.Membership {
				continue // it has ended in between
			}
			usable, err := r.Usable(ctx, st.Blueprint, st.BlueprintVersion, st.TenantStatus, h.Status)
			if err != nil {
				return nil, err
			}
			b, err := r.blueprints.Version(ctx, st.Blueprint, st.BlueprintVersion)
			if err != nil {
				return nil, err
			}
			h.settle(b)
			h.fill(&st, held.User)
			st.SignIn, st.RolesAt = usable && !st.User.Disabled, st.Roles
			st.TrustedDevice, st.MailCodes = trustedDevice(st.Policy, b.Document().MFA), mailCodes(st.Policy, b.Document().MFA)
			complete = append(complete, st)
		}
	}
	return complete, nil
}

// beyond is reached for a user of whom all memberships are known. For most people
// it asks nothing: no role of theirs counts anywhere else.
func (r *Rights) beyond(ctx context.Context, user id.User, memberships []Standing, find Find) ([]weighed, error) {
	if from, err := r.reaching(ctx, memberships); err != nil || len(from) == 0 {
		return nil, err
	}
	return r.reached(ctx, user, find)
}

// reached returns what the user brings to tenants that their roles reach and in
// which they are no member. Which tenants those are is asked only if there is a
// role that reaches on. standing of each is not nil.
func (r *Rights) reached(ctx context.Context, user id.User, find Find) ([]weighed, error) {
	homes, err := r.store.StandingsAbove(ctx, user)
	if err != nil || len(homes) == 0 {
		return nil, err
	}
	if homes, err = r.complete(ctx, user, homes); err != nil {
		return nil, err
	}
	from, err := r.reaching(ctx, homes)
	if err != nil || len(from) == 0 {
		return nil, err
	}
	below, err := r.store.Reached(ctx, user, from, find)
	if err != nil || len(below) == 0 {
		return nil, err
	}
	names := make([]string, len(below))
	for i, tenant := range below {
		names[i] = string(tenant)
	}
	all, err := r.weigh(ctx, Bearer{User: user}, names...)
	return slices.DeleteFunc(all, func(w weighed) bool {
		st := w.standing()
		return st == nil || !st.SignIn
	}), err
}

// standingsOf returns the standings of those that have one.
func standingsOf(all []weighed) []Standing {
	standings := make([]Standing, len(all))
	for i := range all {
		standings[i] = *all[i].standing()
	}
	return standings
}

// reaching returns what the roles held at these homes count for elsewhere.
func (r *Rights) reaching(ctx context.Context, homes []Standing) ([]Reaching, error) {
	var from []Reaching
	for i := range homes {
		b, err := r.blueprints.Version(ctx, homes[i].Blueprint, homes[i].BlueprintVersion)
		if err != nil {
			return nil, err
		}
		for _, reach := range b.Reaches(homes[i].Roles) {
			from = append(from, Reaching{homes[i].Tenant, reach})
		}
	}
	return from, nil
}

// Standing returns what a user is in a tenant right now, whatever the status;
// SignIn says whether it may be used. It fails with fault.NotFound for those
// who are no member and whose roles don't reach it.
func (d *Directory) Standing(ctx context.Context, tenant id.Tenant, user id.User) (*Standing, error) {
	return d.rights.Standing(ctx, string(tenant), user)
}

// Standings returns what a user is in every tenant that knows them, and in up
// to 50 others that their roles reach, by the tenants' names.
func (d *Directory) Standings(ctx context.Context, user id.User) ([]Standing, error) {
	return d.rights.Standings(ctx, user)
}

// Tenant finds a tenant by its slug or its id.
func (d *Directory) Tenant(ctx context.Context, slugOrID string) (*Tenant, error) {
	return d.store.TenantByName(ctx, slugOrID)
}
