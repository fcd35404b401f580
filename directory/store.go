package directory

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/scim/schema"
)

// Store is what the directory needs of a database. All methods join the
// transaction that InTx put in ctx, if there is one. A read of one object fails
// with fault.NotFound where there is none in that tenant.
type Store interface {
	// InTx runs fn in one transaction, which is rolled back if fn fails. A
	// call within fn joins the outer transaction.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// Attempt runs fn in the transaction in ctx so that, if fn fails, what it did
	// is taken back, locks included, and the transaction goes on.
	Attempt(ctx context.Context, fn func(ctx context.Context) error) error
	// AppendEvent writes an entry of the audit trail.
	AppendEvent(ctx context.Context, event audit.Event) error

	TenantStore
	UserStore
	EmailChangeStore
	BrandingStore
	MembershipStore
	DefaultStore
	GroupStore
	RoleStore
	ConnectionStore
	SchemaStore
	CustomResourceStore
	BlueprintStore
	RelationStore
	RequestStore
	ContactStore
	ReportStore
	BookmarkStore
	RightsStore
	AsyncStore
}

// TenantStore keeps tenants.
type TenantStore interface {
	// CreateTenant fails with fault.Conflict on slug.
	CreateTenant(ctx context.Context, t *Tenant) error
	// UpdateTenant loads the tenant under a lock, lets change modify it and
	// stores the result with the next Version.
	UpdateTenant(ctx context.Context, tenant id.Tenant, change func(*Tenant) error) (*Tenant, error)
	Tenant(ctx context.Context, tenant id.Tenant) (*Tenant, error)
	// TenantByName finds a tenant by its slug or its id.
	TenantByName(ctx context.Context, slugOrID string) (*Tenant, error)
	// LockTenant holds off every other change of who holds what in the tenant
	// until the transaction ends.
	LockTenant(ctx context.Context, tenant id.Tenant) error
	// LockTenantShared holds off LockTenant, but not others who share it. Whether
	// there is such a tenant it does not say.
	LockTenantShared(ctx context.Context, tenant id.Tenant) error
	// Addressee answers in one statement what linking asks about an address.
	Addressee(ctx context.Context, address, domain string) (*Addressee, error)
	// HasProvider reports whether people can sign in to the tenant by a provider of
	// its own.
	HasProvider(ctx context.Context, tenant id.Tenant) (bool, error)
	// DomainOwners returns the tenants that have verified the domain.
	DomainOwners(ctx context.Context, domain string) ([]id.Tenant, error)
}

// UserStore keeps users.
type UserStore interface {
	// CreateUser fails with fault.Conflict on email.
	CreateUser(ctx context.Context, u *User) error
	User(ctx context.Context, user id.User) (*User, error)
	// UserByEmail ignores case.
	UserByEmail(ctx context.Context, email string) (*User, error)
	UpdateUser(ctx context.Context, user id.User, change func(*User) error) (*User, error)
	// DeleteUser removes the user with all credentials and sessions. It fails
	// if memberships are left.
	DeleteUser(ctx context.Context, user id.User) error
}

// MembershipStore keeps memberships.
type MembershipStore interface {
	// CreatePerson stores a user, its first membership and the event of it, all
	// or nothing. It fails with fault.Conflict on email or userName.
	CreatePerson(ctx context.Context, u *User, m *Membership, event audit.Event) error
	// CreateMembership fails with fault.Conflict on userName.
	CreateMembership(ctx context.Context, m *Membership) error
	Membership(ctx context.Context, tenant id.Tenant, membership id.Membership) (*Membership, error)
	MembershipOfUser(ctx context.Context, tenant id.Tenant, user id.User) (*Membership, error)
	MembershipByUserName(ctx context.Context, tenant id.Tenant, userName string) (*Membership, error)
	// UpdateMembership loads the membership under a lock, lets change modify
	// it and stores the result with the next Version. Where change returns
	// ErrUnchanged nothing is stored and the membership is returned as it is.
	UpdateMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, change func(*Membership) error) (*Membership, error)
	// ManageDomain makes the tenant manage those of its members whose address
	// is in the domain, operators excepted; those who were invited are active.
	ManageDomain(ctx context.Context, tenant id.Tenant, domain string, now time.Time) error
	// DeleteMembership removes it with its assignments and group memberships.
	DeleteMembership(ctx context.Context, tenant id.Tenant, membership id.Membership) error
	// Memberships leaves out those that are retired.
	Memberships(ctx context.Context, tenant id.Tenant, query Query) (*Page[Membership], error)
	// RetiredMembership finds the one that was retired last of those that are and
	// have the externalId.
	RetiredMembership(ctx context.Context, tenant id.Tenant, externalID string) (*Membership, error)
	// LeaveGroups takes the membership out of all groups.
	LeaveGroups(ctx context.Context, tenant id.Tenant, membership id.Membership) error
	// MembershipsAfter returns at most limit memberships whose ID comes after the
	// given one, in their order.
	MembershipsAfter(ctx context.Context, tenant id.Tenant, after id.Membership, limit int) ([]Membership, error)
	// MembershipsOfUser returns the memberships in all tenants.
	MembershipsOfUser(ctx context.Context, user id.User) ([]Membership, error)
}

// GroupStore keeps groups and their members.
type GroupStore interface {
	CreateGroup(ctx context.Context, g *Group) error
	Group(ctx context.Context, tenant id.Tenant, group id.Group) (*Group, error)
	// UpdateGroup works as UpdateMembership does; ctx is the transaction's, for
	// the members.
	UpdateGroup(ctx context.Context, tenant id.Tenant, group id.Group, change func(ctx context.Context, g *Group) error) (*Group, error)
	DeleteGroup(ctx context.Context, tenant id.Tenant, group id.Group) error
	Groups(ctx context.Context, tenant id.Tenant, query Query) (*Page[Group], error)
	// MemberKinds says what each of the ids is in the tenant; strangers and
	// retired memberships are left out.
	MemberKinds(ctx context.Context, tenant id.Tenant, ids []string) (map[string]MemberKind, error)
	// AddMembers, RemoveMembers and ReplaceMembers return how many rows they
	// changed. Their cost depends on len(members), not on the group's size;
	// that of ReplaceMembers on the difference.
	AddMembers(ctx context.Context, tenant id.Tenant, group id.Group, members []Member) (int, error)
	RemoveMembers(ctx context.Context, tenant id.Tenant, group id.Group, ids []string) (int, error)
	ReplaceMembers(ctx context.Context, tenant id.Tenant, group id.Group, members []Member) (int, error)
	// Members returns at most limit direct members of the groups with their
	// names, ordered by group and id, whose id comes after the given one.
	Members(ctx context.Context, tenant id.Tenant, groups []id.Group, after string, limit int) ([]GroupMember, error)
	// GroupsOf returns for each membership the groups that it is in.
	GroupsOf(ctx context.Context, tenant id.Tenant, memberships []id.Membership) (map[id.Membership][]GroupRef, error)
	// GroupsAround returns the groups that the group is nested in, at any depth.
	GroupsAround(ctx context.Context, tenant id.Tenant, group id.Group) ([]id.Group, error)
}

// RoleStore keeps assignments and group roles.
type RoleStore interface {
	// Assign stores an assignment; one that is there stays as it is.
	Assign(ctx context.Context, a Assignment, now time.Time) error
	Unassign(ctx context.Context, a Assignment) error
	// Assignments returns what the membership holds, directly and by groups.
	Assignments(ctx context.Context, tenant id.Tenant, membership id.Membership) ([]Assignment, error)
	// AssignmentsOf is Assignments for several memberships, by membership.
	AssignmentsOf(ctx context.Context, tenant id.Tenant, memberships []id.Membership) ([]Assignment, error)
	// MapGroupRole stores a mapping and binds it to the group of that name, as
	// GroupsNamed says; of one that there is already it changes the priority.
	MapGroupRole(ctx context.Context, m GroupRole) error
	// GroupsNamed returns for each of the names the group to which a mapping of
	// that name is bound: that of other mappings of the name, else the oldest
	// group that is called so. Names without a group are left out.
	GroupsNamed(ctx context.Context, tenant id.Tenant, names []string) (map[string]id.Group, error)
	// SetDefaultRole stores the tenant's default role, "" for none, and counts up
	// the tenant's version.
	SetDefaultRole(ctx context.Context, tenant id.Tenant, role string, now time.Time) error
	// Candidates returns the members to whom a change of mappings can matter.
	Candidates(ctx context.Context, tenant id.Tenant, query CandidateQuery) ([]Candidate, error)
	GroupRoles(ctx context.Context, tenant id.Tenant) ([]GroupRole, error)
	// BindGroupRoles ties the mappings that wait for a group of this name to
	// the group, and returns their roles.
	BindGroupRoles(ctx context.Context, tenant id.Tenant, group id.Group, name string) ([]string, error)
	// WaitingRoles returns the roles of the mappings that wait for a group of
	// this name.
	WaitingRoles(ctx context.Context, tenant id.Tenant, name string) ([]string, error)
	// RolesThrough returns the roles that being in the group gives, by itself
	// or by the groups that it is nested in.
	RolesThrough(ctx context.Context, tenant id.Tenant, group id.Group) ([]string, error)
	// TallyHolders counts the memberships that hold one of the roles, default
	// roles aside, or all of them where there are no roles: those of a status
	// that is not among Final, and of these the ones of a status among Able
	// whose login is on.
	TallyHolders(ctx context.Context, tenant id.Tenant, of HoldersOf) (authz.Tally, error)
	// MembershipsBelow returns the memberships in the group, nested groups included.
	MembershipsBelow(ctx context.Context, tenant id.Tenant, group id.Group) ([]id.Membership, error)
	// UnmapGroupRole removes a mapping. It reports false where there is none.
	UnmapGroupRole(ctx context.Context, tenant id.Tenant, groupName, role string) (bool, error)
}

// HoldersOf says whose holders TallyHolders counts.
type HoldersOf struct {
	Roles       []string
	MaxRoles    int      // that a member can have, 0 for no bound
	Able, Final []string // statuses
}

// ConnectionStore keeps SCIM connections and the hashes of their tokens.
type ConnectionStore interface {
	// CreateConnection fails with fault.Conflict on name and application.
	CreateConnection(ctx context.Context, c *Connection) error
	ConnectionByID(ctx context.Context, tenant id.Tenant, connection id.Connection) (*Connection, error)
	ConnectionByName(ctx context.Context, tenant id.Tenant, name string) (*Connection, error)
	// Connections returns at most limit connections whose name comes after the
	// given one, by name.
	Connections(ctx context.Context, tenant id.Tenant, after string, limit int) ([]Connection, error)
	// UpdateConnection works as UpdateMembership does. It fails with
	// fault.Conflict on name and application.
	UpdateConnection(ctx context.Context, tenant id.Tenant, connection id.Connection, change func(*Connection) error) (*Connection, error)
	// DeleteConnection removes it with its tokens.
	DeleteConnection(ctx context.Context, tenant id.Tenant, connection id.Connection) error
	// ConnectionByToken finds the connection of the tenant of that slug or id
	// whose token is valid now, with that token; now is zero: or has expired.
	ConnectionByToken(ctx context.Context, tenant string, token secret.Hash, now time.Time) (*Connection, error)
	// ConnectionByApplication finds the connection of the tenant of that slug or
	// id as which the application may act.
	ConnectionByApplication(ctx context.Context, tenant, clientID string) (*Connection, error)

	// AddConnectionToken fails with fault.Conflict on a token that is in use.
	AddConnectionToken(ctx context.Context, t *ConnectionToken, token secret.Hash) error
	// ConnectionTokens returns all tokens, the newest first.
	ConnectionTokens(ctx context.Context, tenant id.Tenant, connection id.Connection) ([]ConnectionToken, error)
	// ExpireConnectionTokens makes all tokens that would live longer end at a
	// time, and returns how many.
	ExpireConnectionTokens(ctx context.Context, tenant id.Tenant, connection id.Connection, end time.Time) (int, error)
	// ForgetConnectionTokens removes those that ended before.
	ForgetConnectionTokens(ctx context.Context, tenant id.Tenant, connection id.Connection, before time.Time) error
	DeleteConnectionToken(ctx context.Context, tenant id.Tenant, connection id.Connection, token id.ConnectionToken) error
	// SeeConnectionToken stores the last use.
	SeeConnectionToken(ctx context.Context, t *ConnectionToken, used time.Time) error

	// SwitchedOff returns how many members other than the given one the connection
	// has switched off since, and how many people were active before, 0 where that
	// was counted with none of them.
	SwitchedOff(ctx context.Context, tenant id.Tenant, connection id.Connection, since time.Time, other id.Membership) (off, people int, err error)
	// AddSwitchOff stores one, in the place of an earlier one of the same member,
	// and forgets the connection's that were before.
	AddSwitchOff(ctx context.Context, s SwitchOff, forget time.Time) error
	// CountActive counts the tenant's memberships that are not suspended.
	CountActive(ctx context.Context, tenant id.Tenant) (int, error)
}

// ErrUnchanged is what a change returns when there is nothing to store.
var ErrUnchanged = errors.New("unchanged")

// Holdings ends what a person holds. It is oidc's and authn's part of a
// lock-out and joins the transaction in ctx.
type Holdings interface {
	// EndMembership revokes what was granted by way of the membership: grants,
	// codes, refresh tokens, application tokens; and tells the applications.
	EndMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, user id.User) error
	// EndReach revokes what was granted in the tenant by way of memberships in
	// tenants other than those named, and application tokens of people who are a
	// member of none of them.
	EndReach(ctx context.Context, tenant id.Tenant, homes []id.Tenant) error
	// EndSupport ends the support sessions in the tenant; reason goes on record.
	EndSupport(ctx context.Context, tenant id.Tenant, reason string) error
	// EndLogin ends every session of the user and what depends on them.
	EndLogin(ctx context.Context, user id.User) error
}

// Passwords sets passwords. It is authn's part of creating a managed user.
type Passwords interface {
	HasPassword(ctx context.Context, user id.User) (bool, error)
	// SetPassword fails with fault.Invalid where the password is too weak.
	SetPassword(ctx context.Context, user id.User, password secret.Text) error
}

// Addressee is who an address belongs to.
type Addressee struct {
	User   *User       // whose login it is; nil: nobody's
	Owners []id.Tenant // the tenants that have verified its domain
}

// Query asks for one page of a list.
type Query struct {
	Filter     schema.Condition // nil: all
	SortBy     *schema.SortKey  // nil: by creation
	Descending bool
	StartIndex int       // from 1 (RFC 7644 §3.4.2.4)
	After      *Position // the page begins behind it, whatever StartIndex says
	Count      int       // at most; 0 asks for the total only
	Uncounted  bool      // the total is not wanted
}

// Position is the place of a resource in the order of a list. What is behind it
// does not depend on what comes and goes before it.
type Position struct {
	Key *string // the value sorted by, in the store's notation; nil: there is none
	ID  string
}

// Page is an answer to a Query.
type Page[T any] struct {
	Items []T
	Last  Position // of the last item, where there are items
	More  bool     // behind the last item there are others
	Total int      // of all that match; 0 where that was not wanted
}
