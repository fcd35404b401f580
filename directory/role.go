package directory

import (
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// AssignmentSource says by what a role is held.
type AssignmentSource string

// The sources of assignments.
const (
	AssignedDirect   AssignmentSource = "direct"
	AssignedGroup    AssignmentSource = "group" // derived from a group role, never stored
	AssignedFounder  AssignmentSource = "founder"
	AssignedOperator AssignmentSource = "operator"
	AssignedDefault  AssignmentSource = "default" // the tenant's default role, never stored
)

// An Assignment is a role that a membership holds.
type Assignment struct {
	Tenant     id.Tenant
	Membership id.Membership
	Role       string // a role of the tenant's blueprint
	Resource   string // for roles that are granted on one resource; else empty
	Comment    string // why, for a role on a resource
	Source     AssignmentSource
	Group      id.Group // for AssignedGroup: the mapped group, its name, and the priority of the mapping
	GroupName  string
	Priority   int
}

// A GroupRole maps a group to a role of the tenant.
type GroupRole struct {
	Tenant    id.Tenant
	GroupName string   // as it was named when the mapping was made
	Group     id.Group // empty until the directory pushes a group of that name
	Role      string
	// Priority decides in a role system that bounds how many roles a member has:
	// from 1, which comes first, to authz.MaxPriority.
	Priority int
	Created  time.Time
}

// A Standing is what a person is in one tenant right now: the base of every
// claim. The lists are sorted and without duplicates. Of a tenant that is only
// reached, Membership, Status and UserName are those in Home, and nothing is
// held in the tenant itself.
type Standing struct {
	Tenant           id.Tenant
	Home             id.Tenant // of Membership: Tenant, or one above it
	Slug             string
	TenantName       string
	TenantStatus     string
	Blueprint        string
	BlueprintVersion int
	Policy           Policy
	User             User
	Membership       id.Membership
	Status           Status
	Default          bool
	Roles            []string
	Resources        []authz.ResourceRole // roles that are held on one resource only
	Groups           []string             // display names, nested ones included
	UserName         string
	SignIn           bool // the membership's and the tenant's status and the login all allow it now

	// RolesAt are Roles and those that reach the tenant, or are acted as there.
	RolesAt []string
	// Permissions are what the person may do there in the portal. They and
	// SecondFactor are not read where standings are listed.
	Permissions  []string
	SecondFactor bool // the tenant or its role system demands a second factor
	// ExemptBySSO: who signs in by the tenant's own provider needs none.
	ExemptBySSO bool
	// SecondFactorFrom is when the tenant begins to; the zero time where it does by
	// now, or does not.
	SecondFactorFrom time.Time
	// TrustedDevice is for how long a browser that the person trusts stands in for
	// the second factor there; 0: never.
	TrustedDevice time.Duration
	MailCodes     bool // codes by mail are taken for a second factor there
}
