package outbound

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/cache"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// The permissions that targets need are those of connections: who makes a target
// sees what a directory sees.
const (
	permissionRead   = "connections.read"
	permissionCreate = "connections.create"
	permissionUpdate = "connections.update"
	permissionDelete = "connections.delete"
)

// keptRuns is how many runs of a target are kept.
const keptRuns = 20

// manage runs change in a transaction that has locked the tenant, if the caller
// has the permission, and makes this node read targets anew.
func (o *Outbound) manage(ctx context.Context, tenant id.Tenant, permission string, change func(ctx context.Context) error) error {
	// Whatever comes of it: what was read while it went on is not kept.
	defer o.targets.Changed()
	return o.Store.InTx(ctx, func(ctx context.Context) error {
		if err := o.Store.LockTenant(ctx, tenant); err != nil {
			return err
		}
		if err := o.Rights.Permitted(ctx, tenant, permission); err != nil {
			return err
		}
		return change(ctx)
	})
}

func (o *Outbound) record(ctx context.Context, t *Target, action string, more map[string]any) error {
	data := map[string]any{"name": t.Name, "base_url": t.BaseURL, "status": t.Status, "people": t.People.Scope, "groups": t.Groups.Scope, "on_removal": t.OnRemoval}
	maps.Copy(data, more)
	return o.Store.AppendEvent(ctx, audit.New(ctx, o.now(), t.Tenant, action, "provisioning_target", string(t.ID), data))
}

func noTarget(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "there is no such provisioning target")
	}
	return err
}

// Targets returns the targets of a tenant by name.
func (o *Outbound) Targets(ctx context.Context, tenant id.Tenant) ([]Target, error) {
	if err := o.Rights.Permitted(ctx, tenant, permissionRead); err != nil {
		return nil, err
	}
	return o.Store.ProvisioningTargets(ctx, tenant)
}

// Target returns a target. It fails with fault.NotFound.
func (o *Outbound) Target(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) (*Target, error) {
	if err := o.Rights.Permitted(ctx, tenant, permissionRead); err != nil {
		return nil, err
	}
	t, err := o.Store.ProvisioningTarget(ctx, tenant, target)
	return t, noTarget(err)
}

// Standing returns how many resources the target has and how many wait.
func (o *Outbound) Standing(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) (Counts, error) {
	if _, err := o.Target(ctx, tenant, target); err != nil {
		return Counts{}, err
	}
	return o.Store.CountItems(ctx, tenant, target)
}

// Create makes a target. What the settings leave out is: all people, no groups,
// all attributes, deactivate, a run each day, active. The first push is a run,
// which begins at once. It fails with fault.Invalid, and with fault.Conflict on name and where
// there are too many.
func (o *Outbound) Create(ctx context.Context, tenant id.Tenant, s Settings) (*Target, error) {
	var t *Target
	err := o.manage(ctx, tenant, permissionCreate, func(ctx context.Context) error {
		var err error
		t, err = o.create(ctx, tenant, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (o *Outbound) create(ctx context.Context, tenant id.Tenant, s Settings) (*Target, error) {
	all, err := o.Store.ProvisioningTargets(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if len(all) >= maxTargets {
		return nil, fault.New(fault.Conflict, "the tenant has %d provisioning targets: delete some first", len(all)).WithCode("too_many")
	}
	now := o.now()
	t := &Target{
		Tenant: tenant, ID: id.New[id.ProvisioningTarget](), Auth: Auth{Method: Bearer}, People: People{Scope: AllPeople}, Groups: Groups{Scope: NoGroups},
		Attributes: Attributes{ExternalID: OwnID}, OnRemoval: Deactivate, RunEvery: defaultRunEvery, Status: Active,
		Due: now, Claimed: now, Created: now, Modified: now,
	}
	if s.Secret == nil || s.Secret.Empty() {
		return nil, fault.Field(fault.Invalid, "secret", "the token, or the client secret, is needed")
	}
	if err := o.bring(ctx, t, s); err != nil {
		return nil, err
	}
	t.schedule(now)
	if err := o.Store.CreateProvisioningTarget(ctx, t); err != nil {
		return nil, err
	}
	if err := o.firstRun(ctx, t); err != nil {
		return nil, err
	}
	return t, o.record(ctx, t, "provisioning_target.create", nil)
}

// firstRun has everything compared with a target to which nothing was sent yet.
func (o *Outbound) firstRun(ctx context.Context, t *Target) error {
	if t.Status != Active || !t.Succeeded.IsZero() {
		return nil
	}
	open, err := o.Store.OpenRuns(ctx, t.Tenant, t.ID)
	if err != nil || slices.ContainsFunc(open, func(r Run) bool { return !r.Dry }) {
		return err
	}
	return o.Store.CreateRun(ctx, newRun(t, o.now()))
}

// rescan has all that is here compared with the links.
func (o *Outbound) rescan(ctx context.Context, t *Target) error {
	return o.Store.Note(ctx, t.Tenant, t.ID, Scan, []string{""}, o.now())
}

// schedule says when the next run is due, and another scan: by then every node
// knows the target as it is now, and notes changes for it.
func (t *Target) schedule(now time.Time) {
	t.RunAt, t.ScanAt = time.Time{}, now.Add(cache.Lifetime+time.Second)
	if t.RunEvery > 0 {
		t.RunAt = now.Add(t.RunEvery)
	}
}

// bring applies settings, checks what they name and seals the secret.
func (o *Outbound) bring(ctx context.Context, t *Target, s Settings) error {
	before := *t
	if err := t.apply(s, o.Private); err != nil {
		return err
	}
	if err := o.checkChosen(ctx, t.Tenant, s); err != nil {
		return err
	}
	if s.Secret == nil {
		if before.BaseURL != t.BaseURL || before.Auth.TokenURL != t.Auth.TokenURL || before.Auth.Method != t.Auth.Method {
			return fault.Field(fault.Invalid, "secret", "it is bound to the address and the method: give it anew with them")
		}
		return nil
	}
	text := s.Secret.Reveal()
	if text == "" || len(text) > maxSecret || strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) }) {
		return fault.Field(fault.Invalid, "secret", "must be text of ASCII of 1 to %d characters", maxSecret)
	}
	var err error
	t.Secret, err = o.Keyring.Seal([]byte(text), t.place())
	return err
}

// checkChosen fails with fault.Invalid where a group or role that the settings
// choose is none of the tenant's. Those chosen earlier may be gone by now.
func (o *Outbound) checkChosen(ctx context.Context, tenant id.Tenant, s Settings) error {
	if s.People != nil {
		if err := o.checkGroups(ctx, tenant, "people.groups", s.People.Groups); err != nil {
			return err
		}
	}
	if s.Groups != nil {
		if err := o.checkGroups(ctx, tenant, "groups.groups", s.Groups.Groups); err != nil {
			return err
		}
	}
	if s.People == nil || len(s.People.Roles) == 0 {
		return nil
	}
	blueprint, err := o.Rights.Blueprint(ctx, tenant)
	if err != nil {
		return err
	}
	for _, role := range s.People.Roles {
		if _, err := blueprint.Role(role); err != nil {
			return fault.Field(fault.Invalid, "people.roles", "%.100q is no role of %s", role, blueprint.Name())
		}
	}
	return nil
}

func (o *Outbound) checkGroups(ctx context.Context, tenant id.Tenant, field string, groups []id.Group) error {
	for _, group := range groups {
		if _, err := o.Store.Group(ctx, tenant, group); errors.Is(err, fault.NotFound) {
			return fault.Field(fault.Invalid, field, "the tenant has no group %.100q", string(group))
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Change brings a target to the settings. Active lets one go on at once that was
// backing off. It fails as Create does, and with fault.NotFound.
func (o *Outbound) Change(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, s Settings) (*Target, error) {
	var t *Target
	err := o.manage(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		var err error
		t, err = o.change(ctx, tenant, target, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (o *Outbound) change(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, s Settings) (*Target, error) {
	moved := false
	t, err := o.Store.UpdateProvisioningTarget(ctx, tenant, target, func(t *Target) error {
		before, now := t.BaseURL, o.now()
		if err := o.bring(ctx, t, s); err != nil {
			return err
		}
		if moved = t.BaseURL != before; moved {
			t.Capabilities = nil
		}
		t.Modified, t.Failures, t.LastError, t.Due = now, 0, "", now
		if t.schedule(now); moved && t.RunEvery > 0 {
			t.RunAt = now
		}
		return nil
	})
	if err != nil {
		return nil, noTarget(err)
	}
	// What was sent may have been less than what is wanted now. The links stay
	// when the address changes: a server that moves keeps its ids, and another
	// one does not know them, so that everything is made anew there.
	if s.Attributes != nil || moved {
		if err := o.Store.ForgetSent(ctx, tenant, target, moved); err != nil {
			return nil, err
		}
	}
	if err := o.rescan(ctx, t); err != nil {
		return nil, err
	}
	if err := o.firstRun(ctx, t); err != nil {
		return nil, err
	}
	return t, o.record(ctx, t, "provisioning_target.update", nil)
}

// Delete removes a target with its links. Nothing changes there. It fails with
// fault.NotFound.
func (o *Outbound) Delete(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) error {
	return o.manage(ctx, tenant, permissionDelete, func(ctx context.Context) error {
		t, err := o.Store.ProvisioningTarget(ctx, tenant, target)
		if err != nil {
			return noTarget(err)
		}
		if err := o.Store.DeleteProvisioningTarget(ctx, tenant, target); err != nil {
			return err
		}
		return o.record(ctx, t, "provisioning_target.delete", nil)
	})
}

// A Probe is what came of trying a target.
type Probe struct {
	OK           bool
	Problem      string // why it is not; empty: it is
	Capabilities *Capabilities
}

// Test asks the target what it can do, and for one of its people, and changes
// nothing there. That the target does not do it is no error.
func (o *Outbound) Test(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget) (*Probe, error) {
	if err := o.Rights.Permitted(ctx, tenant, permissionUpdate); err != nil {
		return nil, err
	}
	t, err := o.Store.ProvisioningTarget(ctx, tenant, target)
	if err != nil {
		return nil, noTarget(err)
	}
	remote, err := o.dial(t)
	if err != nil {
		return nil, err
	}
	probe := &Probe{}
	probe.Capabilities, err = remote.Capabilities(ctx)
	if err == nil {
		_, err = remote.List(ctx, User, Position{})
	}
	var failure *Failure
	switch {
	case errors.As(err, &failure):
		probe.Problem = failure.Error()
		return probe, nil
	case err != nil:
		return nil, err
	}
	probe.OK = true
	return probe, nil
}

// dial opens the target's secret.
func (o *Outbound) dial(t *Target) (Remote, error) {
	credential, err := o.Keyring.Open(t.Secret, t.place())
	if err != nil {
		return nil, err
	}
	return o.Dial(t, secret.NewText(string(credential))), nil
}

// Start has a run made as soon as possible. One that is dry may be made of a
// target that is paused. It fails with fault.NotFound, and with fault.Conflict
// where one is under way or the target is paused.
func (o *Outbound) Start(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, dry bool) (*Run, error) {
	var r *Run
	err := o.manage(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		t, err := o.Store.ProvisioningTarget(ctx, tenant, target)
		if err != nil {
			return noTarget(err)
		}
		if t.Status == Paused && !dry {
			return fault.New(fault.Conflict, "the target is paused: only a dry run is possible").WithCode("paused")
		}
		open, err := o.Store.OpenRuns(ctx, tenant, target)
		if err != nil {
			return err
		}
		if len(open) > 0 {
			return fault.New(fault.Conflict, "the run %s has not ended", open[0].ID).WithCode("under_way")
		}
		now := o.now()
		r = &Run{Tenant: tenant, ID: id.At[id.ProvisioningRun](now), Target: target, Dry: dry, State: RunWaiting, Requested: now}
		if err := o.Store.CreateRun(ctx, r); err != nil {
			return err
		}
		if _, err := o.Store.UpdateProvisioningTarget(ctx, tenant, target, func(t *Target) error {
			t.Due = now
			return nil
		}); err != nil {
			return err
		}
		if err := o.Store.TrimRuns(ctx, tenant, target, keptRuns); err != nil {
			return err
		}
		return o.record(ctx, t, "provisioning_target.run", map[string]any{"run": r.ID, "dry": dry})
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Runs returns runs of a target before the given one, the newest first, without
// their items.
func (o *Outbound) Runs(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, before id.ProvisioningRun, limit int) ([]Run, error) {
	if _, err := o.Target(ctx, tenant, target); err != nil {
		return nil, err
	}
	return o.Store.ProvisioningRuns(ctx, tenant, target, before, limit)
}

// OneRun returns a run with its items. It fails with fault.NotFound.
func (o *Outbound) OneRun(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, run id.ProvisioningRun) (*Run, error) {
	if _, err := o.Target(ctx, tenant, target); err != nil {
		return nil, err
	}
	r, err := o.Store.ProvisioningRun(ctx, tenant, target, run)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "there is no such run")
	}
	return r, err
}

// Errors returns what could not be pushed, by kind and resource: at most limit
// items behind the given one.
func (o *Outbound) Errors(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, after Item, limit int) ([]Item, error) {
	if _, err := o.Target(ctx, tenant, target); err != nil {
		return nil, err
	}
	return o.Store.FailingItems(ctx, tenant, target, after, limit)
}

// Retry has what could not be pushed tried at once, of one resource or, where
// that is empty, of all, and returns how many it are.
func (o *Outbound) Retry(ctx context.Context, tenant id.Tenant, target id.ProvisioningTarget, resource string) (int, error) {
	count := 0
	err := o.manage(ctx, tenant, permissionUpdate, func(ctx context.Context) error {
		now := o.now()
		t, err := o.Store.UpdateProvisioningTarget(ctx, tenant, target, func(t *Target) error {
			t.Due = now
			return nil
		})
		if err != nil {
			return noTarget(err)
		}
		if count, err = o.Store.RetryItems(ctx, tenant, target, resource, now); err != nil || count == 0 {
			return err
		}
		return o.record(ctx, t, "provisioning_target.retry", map[string]any{"items": count})
	})
	return count, err
}

// Save makes the tenant have a target of the name, for the operator. Describing
// the same twice changes nothing the second time.
func (o *Outbound) Save(ctx context.Context, tenant id.Tenant, s Settings) error {
	if authz.FromContext(ctx).Kind != authz.OperatorPrincipal {
		return fault.New(fault.Denied, "only the operator does this").WithCode("operator")
	}
	return o.manage(ctx, tenant, permissionCreate, func(ctx context.Context) error {
		all, err := o.Store.ProvisioningTargets(ctx, tenant)
		if err != nil {
			return err
		}
		for i := range all {
			if s.Name == nil || all[i].Name != strings.TrimSpace(*s.Name) {
				continue
			}
			same, err := o.same(&all[i], s)
			if err != nil || same {
				return err
			}
			_, err = o.change(ctx, tenant, all[i].ID, s)
			return err
		}
		_, err = o.create(ctx, tenant, s)
		return err
	})
}

// same reports whether the settings would change nothing.
func (o *Outbound) same(t *Target, s Settings) (bool, error) {
	after := *t
	if err := after.apply(s, o.Private); err != nil {
		return false, err
	}
	if s.Secret != nil {
		credential, err := o.Keyring.Open(t.Secret, t.place())
		if err != nil || !secret.NewText(string(credential)).Equal(*s.Secret) {
			return false, err
		}
	}
	return equalSettings(t, &after), nil
}
