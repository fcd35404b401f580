package outbound

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
)

// Store is what outbound provisioning needs of a database. All methods join the
// transaction that InTx put in ctx, if there is one. A read of one object fails
// with fault.NotFound where there is none in that tenant.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	AppendEvent(ctx context.Context, event audit.Event) error // of the audit trail
	LockTenant(ctx context.Context, tenant id.Tenant) error
	Membership(ctx context.Context, tenant id.Tenant, membership id.Membership) (*directory.Membership, error)
	Group(ctx context.Context, tenant id.Tenant, group id.Group) (*directory.Group, error)
	TargetStore
	QueueStore
	LinkStore
	MemberStore
	RunStore
}

// TargetStore keeps targets.
type TargetStore interface {
	// ProvisioningTargets are in the order of their names.
	ProvisioningTargets(ctx context.Context, tenant id.Tenant) ([]Target, error)
	ProvisioningTarget(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) (*Target, error)
	// CreateProvisioningTarget fails with fault.Conflict on name.
	CreateProvisioningTarget(ctx context.Context, t *Target) error
	// UpdateProvisioningTarget loads the target under a lock, lets change modify
	// it and stores the result, but for Claimed. It fails with fault.Conflict on
	// name.
	UpdateProvisioningTarget(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, change func(*Target) error) (*Target, error)
	// DeleteProvisioningTarget removes the target with all that is about it.
	DeleteProvisioningTarget(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) error
	// ClaimTarget returns a target of whatever tenant that has something to be
	// done, and gives it to the caller until lease. It fails with fault.NotFound
	// where there is none.
	ClaimTarget(ctx context.Context, now, lease time.Time) (*Target, error)
	// ExtendClaim moves the end of a claim. It reports false where the claim is
	// over and somebody else may have the target.
	ExtendClaim(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, lease, longer time.Time) (bool, error)
	// ReleaseTarget ends a claim.
	ReleaseTarget(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, lease time.Time) error
}

// An Item is a resource that has to be looked at for a target.
type Item struct {
	Tenant     id.Tenant
	Target     id.ProvisioningTarget
	Kind       Kind
	Resource   string
	Generation int64 // how often it has changed meanwhile
	Queued     time.Time
	Due        time.Time
	Attempts   int
	Dead       time.Time // when it was set aside; zero: it was not
	Reason     string    // of the last attempt that failed
}

// Counts are how many resources a target has.
type Counts struct {
	Waiting int // noted, and not yet looked at
	Failing int // those that have failed and will be tried again
	Dead    int // those that were set aside
	People  int // linked and live
	Groups  int
}

// QueueStore keeps what has to be looked at.
type QueueStore interface {
	// Note queues the resources for a target, or counts their generation up, and
	// has them tried at the time, whatever became of them before. It does nothing
	// where the target is gone.
	Note(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind Kind, resources []string, due time.Time) error
	// DueItems returns at most limit items of a kind that are due, in their order.
	DueItems(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind Kind, now time.Time, limit int) ([]Item, error)
	// SettleItem removes an item unless its generation has changed.
	SettleItem(ctx context.Context, item *Item) error
	// PostponeItem stores Attempts, Due, Dead and Reason, unless the generation
	// has changed.
	PostponeItem(ctx context.Context, item *Item) error
	// FailingItems returns items that have failed, by kind and resource, at most
	// limit that come after the given one.
	FailingItems(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, after Item, limit int) ([]Item, error)
	// RetryItems makes items that have failed due now, all or that of one
	// resource, and returns how many.
	RetryItems(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, resource string, now time.Time) (int, error)
	CountItems(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) (Counts, error)
	// NoteDifferences queues what the links say is not as it is here: resources
	// that are to be pushed and have no live link or another version, and links of
	// resources that are not to be pushed.
	NoteDifferences(ctx context.Context, t *Target, maxRoles int, now time.Time) error
	// NoteGroups queues the groups that are affected when a member comes, goes
	// or gets another id there: those that contain it here, and those that have
	// the remote ids there.
	NoteGroups(ctx context.Context, t *Target, member string, remotes []string, now time.Time) error
	// NoteReferring queues the people who refer to the given one.
	NoteReferring(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, resource string, now time.Time) error
	// NoteMissingMembers queues the people that are in the group, are to be
	// pushed, have no link and are not queued, and returns how many.
	NoteMissingMembers(ctx context.Context, t *Target, maxRoles int, group string, now time.Time) (int, error)
}

// A Link is what a resource is at a target.
type Link struct {
	Tenant   id.Tenant
	Target   id.ProvisioningTarget
	Kind     Kind
	Resource string
	Remote   string            // its id there
	Version  string            // its version there, "" if it is not known
	Sent     map[string]string // hashes of the values that were sent, by path
	Local    int64             // its version here when they were; 0: it has to be looked at
	RefersTo string            // a person whom it refers to
	Live     bool              // false: deactivated there, or just being made
}

// pendingMark begins the id there of what is just being made.
const pendingMark = "?"

// pending reports whether it is not known whether the resource is there: it is
// just being made, or whether that succeeded was never heard. Sent has then the
// externalId itself.
func (l *Link) pending() bool { return l.Remote == pendingMark+l.Resource }

// LinkStore keeps links.
type LinkStore interface {
	ProvisioningLink(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind Kind, resource string) (*Link, error)
	// LinksOfRemotes returns the links to resources there, by their ids there.
	LinksOfRemotes(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind Kind, remotes []string) (map[string]Link, error)
	// PutProvisioningLink stores a link. It fails with fault.Conflict where another resource
	// is linked to the same one there.
	PutProvisioningLink(ctx context.Context, l *Link) error
	// DeleteProvisioningLink removes a link; that of a group with what is known of its members.
	DeleteProvisioningLink(ctx context.Context, l *Link) error
	// LockReference makes the transaction wait for those that change the link of the
	// resource, of one that refers to it, or of whom it refers to, "" if nobody: of
	// two who come at the same time, one sees the other.
	LockReference(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, resource, refersTo string) error
	// ForgetSent makes all links of a target be looked at again; with values, as
	// if nothing of them had been sent.
	ForgetSent(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, values bool) error
	// MarkSeen says that a run has seen the resources there.
	MarkSeen(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind Kind, run id.ProvisioningRun, remotes []string) error
	// UnseenLinks returns at most limit links that the run has not seen, behind
	// the resource, in their order.
	UnseenLinks(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, kind Kind, run id.ProvisioningRun, after string, limit int) ([]Link, error)
	// Unlinked returns at most limit resources behind the given one that are to
	// be pushed and have no link, in their order.
	Unlinked(ctx context.Context, t *Target, maxRoles int, kind Kind, after string, limit int) ([]string, error)
	// UnlinkedNamed returns those of them whose userName or displayName is the
	// given one, ignoring case.
	UnlinkedNamed(ctx context.Context, t *Target, maxRoles int, kind Kind, name string) ([]string, error)
	// UnlinkedExternal is the same by externalId.
	UnlinkedExternal(ctx context.Context, t *Target, maxRoles int, kind Kind, externalID string) ([]string, error)
	// Wanted reports whether a resource is to be pushed.
	Wanted(ctx context.Context, t *Target, maxRoles int, kind Kind, resource string) (bool, error)
}

// MemberStore keeps the members that groups have at targets. Members are ids there.
type MemberStore interface {
	// LackingMembers returns at most limit members that a group should have and
	// does not.
	LackingMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, limit int) ([]string, error)
	// SurplusMembers returns at most limit members that it has and should not;
	// one that is not live should have none.
	SurplusMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, live bool, limit int) ([]string, error)
	// RightMembers returns all that it should have.
	RightMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string) ([]string, error)
	AddKnownMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, members []string) error
	RemoveKnownMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, members []string) error
	// ReplaceKnownMembers makes these be what the group has there.
	ReplaceKnownMembers(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, group string, members []string) error
	// ForgetMember removes one that is gone there from all groups.
	ForgetMember(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, member string) error
}

// RunStore keeps runs.
type RunStore interface {
	CreateRun(ctx context.Context, r *Run) error
	ProvisioningRun(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, run id.ProvisioningRun) (*Run, error)
	// ProvisioningRuns returns at most limit runs before the given one, the
	// newest first, without their items.
	ProvisioningRuns(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, before id.ProvisioningRun, limit int) ([]Run, error)
	// OpenRuns returns those that have not ended, the oldest first.
	OpenRuns(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) ([]Run, error)
	UpdateRun(ctx context.Context, r *Run) error
	// TrimRuns leaves the newest of the target's runs.
	TrimRuns(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, keep int) error
}

// A Run compares all that a target should have with what it has.
type Run struct {
	Tenant    id.Tenant
	ID        id.ProvisioningRun
	Target    id.ProvisioningTarget
	Dry       bool // says what it would do, and does nothing
	State     RunState
	Counts    RunCounts
	Items     []RunItem // what it did or would do, at most MaxRunItems
	Error     string    // why it has failed, or is not getting on
	Progress  Progress  // how far it has come
	Requested time.Time
	Started   time.Time // zero: it has not
	Ended     time.Time // zero: it has not
}

// Progress is how far a run has come. One that is interrupted, as by a target
// that wants a pause, goes on from there.
type Progress struct {
	Step     int      `json:"step,omitempty"`    // steps that are done
	Position Position `json:"position,omitzero"` // the page there of the step that is not
	Done     int      `json:"done,omitempty"`    // how many of that page are dealt with
	After    string   `json:"after,omitempty"`   // the last resource here of the step that is not
}

// RunState says how far a run is.
type RunState string

// The states of a run.
const (
	RunWaiting RunState = "waiting"
	RunRunning RunState = "running"
	RunDone    RunState = "done"
	RunFailed  RunState = "failed"
)

// RunCounts are what a run found: how many resources it has, or would have,
// dealt with in which way. One that is adopted counts as that alone.
type RunCounts struct {
	Created     int `json:"created"`
	Updated     int `json:"updated"`
	Deleted     int `json:"deleted"`
	Deactivated int `json:"deactivated"`
	Released    int `json:"released"` // left as they are, and strangers from then on
	Adopted     int `json:"adopted"`
	Unchanged   int `json:"unchanged"`
	Failed      int `json:"failed"`
	Strangers   int `json:"strangers"` // resources there that are not ours
}

// A RunItem is one thing that a run did or would do.
type RunItem struct {
	Action     Action   `json:"action"`
	Kind       Kind     `json:"kind"`
	Resource   string   `json:"resource"`
	Name       string   `json:"name,omitempty"`
	Remote     string   `json:"remote,omitempty"`
	Attributes []string `json:"attributes,omitempty"` // paths that differ
	Added      int      `json:"added,omitempty"`      // members
	Removed    int      `json:"removed,omitempty"`
	Reason     string   `json:"reason,omitempty"`
}

// MaxRunItems is how many items a run keeps.
const MaxRunItems = 1000

// Action is what is done to a resource there.
type Action string

// The actions.
const (
	Created     Action = "created"
	Updated     Action = "updated"
	Deleted     Action = "deleted"
	Deactivated Action = "deactivated"
	Released    Action = "released"
	Adopted     Action = "adopted"
	Unchanged   Action = "unchanged"
	Failed      Action = "failed"
)

// count adds one action.
func (c *RunCounts) count(a Action) {
	for action, counter := range map[Action]*int{
		Created: &c.Created, Updated: &c.Updated, Deleted: &c.Deleted, Deactivated: &c.Deactivated, Released: &c.Released,
		Adopted: &c.Adopted, Unchanged: &c.Unchanged, Failed: &c.Failed,
	} {
		if action == a {
			*counter++
		}
	}
}
