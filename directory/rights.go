package directory

import (
	"context"
	"slices"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// Rights answers what statuses and roles mean by the role system of a tenant:
// the facts are the directory's, the decision is authz's. It is the one path to
// every decision, explanation and claim, and safe for concurrent use.
//
// What a decision has to know of a tenant is kept compiled. The statement that
// reads what the bearer holds also reads the versions of the tenants, so that
// what is kept is used only while it is what the database says.
type Rights struct {
	store      RightsStore
	blueprints *Blueprints
	places     *otter.Cache[string, *place] // by slug or id, as they were asked for
}

const (
	maxPlaces  = 10_000 // kept compiled
	maxReloads = 3      // of a tenant that changes while it is looked at
)

// NewRights returns a Rights.
func NewRights(store RightsStore, blueprints *Blueprints) *Rights {
	return &Rights{store: store, blueprints: blueprints, places: otter.Must(&otter.Options[string, *place]{MaximumSize: maxPlaces})}
}

// A Bearer is somebody whose rights are asked for: a user by what they hold in
// every tenant, or a service account by its roles in one.
type Bearer struct {
	User   id.User   // empty for a service account, for nobody, and where Email is given
	Email  string    // instead of User: the user of this address, ignoring case
	Tenant id.Tenant // where a service account's roles are held; for a user: the only tenant to look at, if any
	Roles  []string  // a service account's
}

func (b *Bearer) person() bool { return b.User != "" || b.Email != "" }

// weighed is what a bearer brings to a decision at a place.
type weighed struct {
	at      *place
	held    *Held
	holders []authz.Holder
	now     time.Time
}

// weigh reads what the bearer holds where it can count at the tenants, in one
// statement for all of them if they are known and have not changed. It fails
// with fault.NotFound if there is none of that slug or id.
func (r *Rights) weigh(ctx context.Context, who Bearer, tenants ...string) ([]weighed, error) {
	places := make([]*place, len(tenants))
	held, err := r.find(ctx, who, tenants, places)
	if err != nil {
		return nil, err
	}
	all := make([]weighed, len(places))
	for i, p := range places {
		all[i] = weighed{at: p, held: held, holders: p.service(who), now: r.blueprints.now()}
		if who.person() {
			all[i].holders = slices.DeleteFunc(p.holders(held), func(h authz.Holder) bool {
				return who.Tenant != "" && h.Home().ID() != who.Tenant
			})
		}
	}
	return all, nil
}

// find fills in the places of the tenants and reads what the bearer holds there
// and above. Places that the statement shows to be out of date are loaded again.
func (r *Rights) find(ctx context.Context, who Bearer, tenants []string, places []*place) (*Held, error) {
	for i, name := range tenants {
		places[i], _ = r.places.GetIfPresent(name)
	}
	for attempt := 0; ; attempt++ {
		loaded, err := r.load(ctx, tenants, places)
		if err != nil {
			return nil, err
		}
		held, err := r.store.Held(ctx, who, allOf(places))
		if err != nil {
			return nil, err
		}
		stale := false
		for i, p := range places {
			switch current := p.current(held); {
			case !current && attempt < maxReloads:
				places[i], stale = nil, true
				r.places.Invalidate(tenants[i])
			case current && loaded[i] && held.Settled:
				r.places.Set(tenants[i], p)
			}
		}
		if !stale {
			for _, p := range places {
				p.settle(held)
			}
			return held, nil
		}
	}
}

// keep has the place of a tenant kept for the transaction that follows, which
// itself can't tell what of the tenant is there to stay.
func (r *Rights) keep(ctx context.Context, tenant id.Tenant) error {
	if _, kept := r.places.GetIfPresent(string(tenant)); kept {
		return nil
	}
	_, err := r.one(ctx, Bearer{}, string(tenant))
	return err
}

// load reads the places that are missing, and reports which those were.
func (r *Rights) load(ctx context.Context, tenants []string, places []*place) ([]bool, error) {
	loaded := make([]bool, len(places))
	for i, name := range tenants {
		if places[i] != nil {
			continue
		}
		t, err := r.store.TenantByName(ctx, name)
		if err != nil {
			return nil, err
		}
		if places[i], err = r.place(ctx, t); err != nil {
			return nil, err
		}
		loaded[i] = true
	}
	return loaded, nil
}

// allOf returns the tenants of the places and those above them.
func allOf(places []*place) []id.Tenant {
	var all []id.Tenant
	for _, p := range places {
		for _, tenant := range append([]id.Tenant{p.tenant.ID}, p.above...) {
			if !slices.Contains(all, tenant) {
				all = append(all, tenant)
			}
		}
	}
	return all
}

// one is weigh at one tenant.
func (r *Rights) one(ctx context.Context, who Bearer, tenant string) (*weighed, error) {
	all, err := r.weigh(ctx, who, tenant)
	if err != nil {
		return nil, err
	}
	return &all[0], nil
}

// holders returns what a user holds where it can count at a place that the
// caller has read itself, and the place's own membership apart: nil if there is
// none.
func (r *Rights) holders(ctx context.Context, at *place, user id.User) ([]authz.Holder, *Standing, error) {
	held, err := r.store.Held(ctx, Bearer{User: user}, append([]id.Tenant{at.tenant.ID}, at.above...))
	if err != nil || held.User == nil {
		return nil, nil, err
	}
	at.settle(held)
	w := weighed{at: at, held: held, holders: at.holders(held)}
	return w.holders, w.here(), nil
}

// Usable reports whether a membership of that status, in a tenant of that
// version of a blueprint and of that status, gives anything at all.
func (r *Rights) Usable(ctx context.Context, blueprint string, version int, tenantStatus string, status Status) (bool, error) {
	b, err := r.blueprints.Version(ctx, blueprint, version)
	if err != nil {
		return false, err
	}
	tenant, known := b.TenantStatus(tenantStatus)
	if !known || !tenant.SignIn {
		return false, nil
	}
	s, err := b.Status(string(status))
	return err == nil && s.SignIn, nil
}

// Permissions returns the keys of the permissions that a service account of the
// tenant has there by the roles, over the channel, sorted.
func (r *Rights) Permissions(ctx context.Context, tenant id.Tenant, roles []string, channel authz.Channel) ([]string, error) {
	w, err := r.one(ctx, Bearer{Tenant: tenant, Roles: roles}, string(tenant))
	if err != nil {
		return nil, err
	}
	return w.permissions(channel), nil
}

// permissions returns the keys of what the bearer may do, sorted.
func (w *weighed) permissions(channel authz.Channel) []string {
	b := w.at.blueprint
	keys := b.Keys(b.Effective(w.holders, w.at.view, channel))
	slices.Sort(keys)
	return keys
}

// A Presence is somebody in a tenant, as far as a statement that asks something
// else knows them anyway.
type Presence struct {
	User             id.User
	Tenant           id.Tenant
	Version          int64 // the tenant's
	Blueprint        string
	BlueprintVersion int
	SSO              bool // they have signed in by the tenant's own provider
}

// SecondFactor reports whether the role system demands a second factor of
// somebody in a tenant. Where neither roles nor members' flags have a say in it,
// it answers from memory.
func (r *Rights) SecondFactor(ctx context.Context, who Presence) (bool, error) {
	b, err := r.blueprints.Version(ctx, who.Blueprint, who.BlueprintVersion)
	if err != nil {
		return false, err
	}
	policy := b.Document().MFA
	if policy == nil || policy.RequiredWhen.Entitlement == "" && policy.RequiredWhen.Role == "" && policy.RequiredWhen.MembershipFlag == "" {
		return false, nil
	}
	if policy.RequiredWhen.Role == "" && policy.RequiredWhen.MembershipFlag == "" {
		if p, known := r.places.GetIfPresent(string(who.Tenant)); known && p.tenant.Version == who.Version {
			return policy.Required(authz.MFAFacts{At: p.view, SSO: who.SSO}), nil
		}
	}
	w, err := r.one(ctx, Bearer{User: who.User}, string(who.Tenant))
	if err != nil {
		return false, err
	}
	return w.secondFactor(who.SSO), nil
}

// secondFactor reports whether a second factor is demanded of the bearer, by
// the tenant's own word or by its role system. The strictest wins. A role system
// may exempt those who sign in by the tenant's own provider (EM-R25), which sso says.
func (w *weighed) secondFactor(sso bool) bool {
	own := w.at.tenant.Policy.RequiresSecondFactor(w.now)
	here := w.held.At(w.at.tenant.ID)
	return own || w.at.blueprint.Document().MFA.Required(authz.MFAFacts{
		At: w.at.view, SSO: sso, TenantSetting: own, MembershipFlag: here != nil && here.SecondFactor, Roles: w.at.blueprint.RolesAt(w.holders, w.at.view, authz.ChannelPortal),
	})
}
