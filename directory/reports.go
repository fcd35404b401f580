package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// permissionReports is the permission of reports with data from several tenants,
// as blueprints call it that have one. In others it is that of listing members.
const permissionReports = "reports.central.view"

// ReportStore counts.
type ReportStore interface {
	// CountByRole counts the members of the tenants by role and status, in one
	// statement. Who holds several roles is counted with each, who holds none
	// with the empty one. A member can have at most so many roles, 0 for no bound.
	CountByRole(ctx context.Context, tenants []id.Tenant, most int) ([]MemberCount, error)
}

// A MemberCount is how many members of a tenant have a role and a status.
type MemberCount struct {
	Tenant  id.Tenant
	Slug    string
	Name    string
	Role    string // empty: no role
	Status  Status
	Members int
}

// ReportMembers counts members by role and status, in the tenant and those of
// the tenants below it that the caller reaches with the permission of such
// reports. It fails with fault.Denied and the Code permission where the caller
// lacks it in the tenant itself. Below, the tenant's own entitlements don't
// count: the package is the hub's. Hidden roles are for the operator alone.
func (d *Directory) ReportMembers(ctx context.Context, tenant id.Tenant) ([]MemberCount, error) {
	at, actor, err := d.placeOf(ctx, tenant)
	if err != nil {
		return nil, err
	}
	permission := permissionReports
	if _, known := at.blueprint.Permission(permission); !known {
		permission, _ = at.blueprint.Document().AdminOps.Lookup(authz.OpList)
	}
	if !actor.Operator && !allowed(at, actor, permission) {
		return nil, fault.New(fault.Denied, "the permission %q is missing", permission).WithCode("permission")
	}
	below, err := d.store.TenantsBelow(ctx, tenant)
	if err != nil {
		return nil, err
	}
	reached, err := d.reached(ctx, below, func(w *weighed) bool {
		e := w.at.blueprint.Explain(w.holders, w.at.view, authz.FromContext(ctx).Channel, permission)
		return e.Allowed || e.RemovedBy.Stage == authz.StageEntitlement
	})
	if err != nil {
		return nil, err
	}
	_, most := at.blueprint.RoleBounds()
	counts, err := d.store.CountByRole(ctx, append(reached, tenant), most)
	if err != nil || actor.Operator {
		return counts, err
	}
	return slices.DeleteFunc(counts, func(c MemberCount) bool {
		role, err := at.blueprint.Role(c.Role)
		return err == nil && role.Hidden
	}), nil
}

// Children returns the tenants directly below a tenant that the caller reaches,
// by slug: those where he has some right, all of them for an operator.
func (d *Directory) Children(ctx context.Context, tenant id.Tenant) ([]Child, error) {
	children, err := d.store.Children(ctx, tenant)
	if err != nil {
		return nil, err
	}
	below := make([]id.Tenant, len(children))
	for i, child := range children {
		below[i] = child.ID
	}
	reached, err := d.reached(ctx, below, func(w *weighed) bool {
		return !w.at.blueprint.Effective(w.holders, w.at.view, authz.FromContext(ctx).Channel).Empty()
	})
	return slices.DeleteFunc(children, func(c Child) bool { return !slices.Contains(reached, c.ID) }), err
}

// reached returns those of the tenants, none of them the one that the caller's
// credential is for, about which what the caller holds there decides yes; an
// operator reaches all. Application tokens and support sessions are bound to
// one tenant and reach no other.
func (d *Directory) reached(ctx context.Context, tenants []id.Tenant, decide func(w *weighed) bool) ([]id.Tenant, error) {
	p := authz.FromContext(ctx)
	var who Bearer
	switch {
	case p.Kind == authz.OperatorPrincipal || len(tenants) == 0:
		return tenants, nil
	case p.Kind == authz.UserPrincipal && p.Support == nil && p.Permissions == nil:
		who = Bearer{User: p.User}
	case p.Kind == authz.AppPrincipal:
		who = Bearer{Tenant: p.Tenant, Roles: p.Roles}
	default:
		return nil, nil
	}
	names := make([]string, len(tenants))
	for i, tenant := range tenants {
		names[i] = string(tenant)
	}
	weighed, err := d.rights.weigh(ctx, who, names...)
	if err != nil {
		return nil, err
	}
	var reached []id.Tenant
	for i := range weighed {
		if decide(&weighed[i]) {
			reached = append(reached, tenants[i])
		}
	}
	return reached, nil
}
