package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// RightsStore is what Rights reads.
type RightsStore interface {
	Tenant(ctx context.Context, tenant id.Tenant) (*Tenant, error)
	// TenantByName finds a tenant by its slug or its id.
	TenantByName(ctx context.Context, slugOrID string) (*Tenant, error)
	User(ctx context.Context, user id.User) (*User, error)
	// UserByEmail ignores case.
	UserByEmail(ctx context.Context, email string) (*User, error)
	// Held returns in one statement what a person holds in those of the tenants
	// that there are, and the tenants' versions. For a bearer who is no person
	// there are only the latter.
	Held(ctx context.Context, who Bearer, tenants []id.Tenant) (*Held, error)
	// Standings returns the user's memberships with their tenants, but not what
	// is held by them, by tenant name.
	Standings(ctx context.Context, user id.User, find Find) ([]Standing, error)
	// RoleSystemsOf returns the role systems of the tenants in which the person of
	// that address is a member, whatever the status. It ignores case.
	RoleSystemsOf(ctx context.Context, email string) ([]RoleSystem, error)
	// Known reports whether the tenant manages the user, and of how many other
	// tenants they are a member, whatever the status.
	Known(ctx context.Context, tenant id.Tenant, user id.User) (managed bool, others int, err error)
	// AsksSSO reports whether a tenant in which the user is a member requires that
	// people sign in by its own provider.
	AsksSSO(ctx context.Context, user id.User) (bool, error)
	// StandingsAbove returns those in tenants that are the parent of others.
	StandingsAbove(ctx context.Context, user id.User) ([]Standing, error)
	// StandingsLimitingSessions returns those in tenants whose policy says something
	// of sessions.
	StandingsLimitingSessions(ctx context.Context, user id.User) ([]Standing, error)
	// Reached returns the tenants that lie below others as from says and in which
	// the user is no member, by name.
	Reached(ctx context.Context, user id.User, from []Reaching, find Find) ([]id.Tenant, error)
}

// A RoleSystem is a version of a blueprint.
type RoleSystem struct {
	Blueprint string
	Version   int
}

// Find says which of somebody's tenants are asked for. The zero value is all.
type Find struct {
	Text  string // part of the name or the slug, ignoring case
	Skip  int    // so many of the first
	Most  int    // at most so many; 0: any number
	ByAge bool   // the oldest tenants first, rather than by name
}

// Reaching is a way by which roles that are held in a tenant count below it.
type Reaching struct {
	Tenant id.Tenant
	authz.Reach
}

// Held is what a person holds in some tenants.
type Held struct {
	User    *User // nil: nobody, or no person
	Settled bool  // read outside of a transaction, so that nothing in it can be taken back
	In      []HeldIn
}

// At returns what is held in the tenant, nil if there is no such tenant.
func (h *Held) At(tenant id.Tenant) *HeldIn {
	for i := range h.In {
		if h.In[i].Tenant == tenant {
			return &h.In[i]
		}
	}
	return nil
}

// A HeldIn is what a person holds in one tenant.
type HeldIn struct {
	Tenant       id.Tenant
	Version      int64         // the tenant's
	Membership   id.Membership // empty: the person is no member
	Status       Status
	Default      bool
	UserName     string
	SecondFactor bool   // it is demanded of this member
	Pushed       bool   // by the tenant's directory
	Fallback     string // the tenant's default role, "" for none
	Roles        []HeldRole
	Groups       []string // display names, nested ones included
}

// A HeldRole is a role that a membership holds, and by what.
type HeldRole struct {
	Role     string
	Resource string
	Source   AssignmentSource
	Group    string // for AssignedGroup: the display name of the mapped group
	Priority int    // for AssignedGroup: that of the mapping
}

// AddRole takes over a role that the membership holds by itself.
func (h *HeldIn) AddRole(source AssignmentSource, role, resource string) {
	h.Roles = append(h.Roles, HeldRole{Role: role, Resource: resource, Source: source})
}

// AddGroup takes over a group that the member is in, with a role that it is
// mapped to, if any, and the priority of that mapping.
func (h *HeldIn) AddGroup(name, role string, priority int) {
	if !slices.Contains(h.Groups, name) {
		h.Groups = append(h.Groups, name)
	}
	if role != "" {
		h.Roles = append(h.Roles, HeldRole{Role: role, Source: AssignedGroup, Group: name, Priority: priority})
	}
}

// settle leaves of the roles that groups offer those that count in the role
// system, and adds the default role to who holds no other in the whole tenant.
func (h *HeldIn) settle(b *authz.Blueprint) {
	if h.Membership == "" {
		return
	}
	h.Roles = settled(b, h.Roles, func(r HeldRole) holding {
		return holding{r.Role, r.Resource, r.Source, r.Priority}
	})
	if h.Pushed && h.Fallback != "" && !slices.ContainsFunc(h.Roles, func(r HeldRole) bool { return r.Resource == "" }) {
		h.Roles = append(h.Roles, HeldRole{Role: h.Fallback, Source: AssignedDefault})
	}
}

// facts returns the holding as decisions see it. The status of somebody whose
// login is off is none that a role system knows.
func (h *HeldIn) facts(user *User) authz.MembershipFacts {
	facts := authz.MembershipFacts{Roles: make([]string, 0, len(h.Roles))}
	if !user.Disabled {
		facts.Status = string(h.Status)
	}
	for _, held := range h.Roles {
		if held.Resource != "" {
			facts.Resources = append(facts.Resources, authz.ResourceRole{Role: held.Role, Resource: held.Resource})
		} else if !slices.Contains(facts.Roles, held.Role) {
			facts.Roles = append(facts.Roles, held.Role)
		}
	}
	slices.Sort(facts.Roles)
	return facts
}

// standing returns the holding as what the person is at the place.
func (h *HeldIn) standing(at *place, user *User) *Standing {
	st := at.standing(user)
	h.fill(st, user)
	status, err := at.blueprint.Status(string(h.Status))
	st.SignIn = err == nil && status.SignIn && at.view.SignIn() && !user.Disabled
	return st
}

// fill says in st what is held.
func (h *HeldIn) fill(st *Standing, user *User) {
	facts := h.facts(user)
	st.User, st.Home, st.Membership, st.Status, st.Default, st.UserName = *user, h.Tenant, h.Membership, h.Status, h.Default, h.UserName
	st.Roles, st.Resources, st.Groups = facts.Roles, facts.Resources, append([]string{}, h.Groups...)
	slices.Sort(st.Groups)
}
