package directory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// maxRequestText is the length of a request's field or reason, in bytes.
const maxRequestText = 4000

// RequestStatus says where a request stands.
type RequestStatus string

// The statuses of requests. Only a pending one changes.
const (
	RequestPending   RequestStatus = "pending"
	RequestApproved  RequestStatus = "approved"
	RequestDenied    RequestStatus = "denied"
	RequestWithdrawn RequestStatus = "withdrawn"
)

// A Request is what a tenant asks for and may not do itself.
type Request struct {
	Tenant      id.Tenant
	ID          id.Request
	Kind        string            // of the blueprint
	Fields      map[string]string // by the names that the blueprint gives them
	Status      RequestStatus
	RequestedBy audit.Actor
	DecidedBy   audit.Actor // zero while it is pending
	Reason      string      // why it was decided so
	Created     time.Time
	Decided     time.Time // zero while it is pending
}

// RequestStore keeps requests.
type RequestStore interface {
	CreateRequest(ctx context.Context, r *Request) error
	// Request fails with fault.NotFound where the tenant has none of that id.
	Request(ctx context.Context, tenant id.Tenant, request id.Request) (*Request, error)
	// Requests returns the tenant's requests, the latest first: those before the
	// one given, if any, at most so many.
	Requests(ctx context.Context, tenant id.Tenant, before id.Request, most int) ([]Request, error)
	// CountPending counts the tenant's pending requests of a kind.
	CountPending(ctx context.Context, tenant id.Tenant, kind string) (int, error)
	// DecideRequest stores Status, DecidedBy, Reason and Decided. It reports false
	// where somebody else has decided before.
	DecideRequest(ctx context.Context, r *Request) (bool, error)
}

// Outcome is what whoever approves a request adds to it. What it needs depends
// on what the approval does, see authz.RequestEffect.
type Outcome struct {
	Slug      string        // create: of the new tenant
	Name      string        // create: default the slug
	Tier      string        // create: default that of the tenant that asked
	Tenant    string        // link: slug or id of the tenant to link
	OverQuota bool          // create and link: see Edge
	Holder    id.Membership // reassign: who gets the role
	From      id.Membership // reassign: who gives it up; may be empty if it has one holder at most
	Reason    string
}

// CreateRequest asks for something on behalf of the tenant. It fails with
// fault.Invalid for an unknown kind or field, and with fault.Denied and the Code
// permission where the caller lacks the kind's permission, or pending where the
// tenant has as many pending requests of the kind as it may.
func (d *Directory) CreateRequest(ctx context.Context, tenant id.Tenant, kind string, fields map[string]string) (*Request, error) {
	var made *Request
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, tenant)
		if err != nil {
			return err
		}
		rule, err := at.blueprint.Request(kind)
		if err != nil {
			return err
		}
		if err := d.mayRequest(ctx, at, rule); err != nil {
			return err
		}
		if err := checkRequestFields(rule, fields); err != nil {
			return err
		}
		pending, err := d.store.CountPending(ctx, tenant, kind)
		if err != nil {
			return err
		}
		if rule.PendingPerTenant > 0 && pending >= rule.PendingPerTenant {
			return fault.New(fault.Denied, "%d requests of this kind wait for an answer already", pending).WithCode("pending")
		}
		made = &Request{
			Tenant: tenant, ID: id.New[id.Request](), Kind: kind, Fields: maps.Clone(fields), Status: RequestPending,
			RequestedBy: requester(ctx), Created: d.now(),
		}
		if err := d.store.CreateRequest(ctx, made); err != nil {
			return err
		}
		return d.record(ctx, tenant, "request.create", "request", string(made.ID), map[string]any{"kind": kind})
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// mayRequest fails unless the caller has the kind's permission or, where it
// needs none, is one of the tenant's people.
func (d *Directory) mayRequest(ctx context.Context, at *place, rule authz.Request) error {
	if rule.Permission != nil {
		return d.rights.permitted(ctx, at, *rule.Permission)
	}
	actor, err := d.rights.actor(ctx, at)
	if err != nil || actor.Operator || len(at.blueprint.RolesAt(actor.Holders, at.view, actor.Channel)) > 0 {
		return err
	}
	return fault.New(fault.Denied, "only the tenant's people ask for this").WithCode("permission")
}

func checkRequestFields(rule authz.Request, fields map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(rule.Fields, name) {
			return fault.Field(fault.Invalid, "fields."+name, "a request of the kind %s has no field %q", rule.Kind, name)
		}
		if len(fields[name]) > maxRequestText {
			return fault.Field(fault.Invalid, "fields."+name, "must not be longer than %d bytes", maxRequestText)
		}
	}
	return nil
}

// requester is who asks, by what he can be known by later.
func requester(ctx context.Context) audit.Actor {
	switch p := authz.FromContext(ctx); p.Kind {
	case authz.UserPrincipal, authz.TokenPrincipal:
		return audit.Actor{Kind: audit.ActorUser, ID: string(p.User)}
	case authz.AppPrincipal:
		return audit.Actor{Kind: audit.ActorApplication, ID: p.Application}
	case authz.Anonymous, authz.ConnectionPrincipal, authz.OperatorPrincipal:
	}
	return audit.ActorFrom(ctx)
}

// Requests returns a page of the tenant's requests, the latest first: those
// before the one given, if any, at most so many. Operators see all of them, and
// so does whoever can approve one of the kinds or has the permission to ask for
// it; others see their own.
func (d *Directory) Requests(ctx context.Context, tenant id.Tenant, before id.Request, most int) ([]Request, error) {
	at, actor, err := d.placeOf(ctx, tenant)
	if err != nil {
		return nil, err
	}
	mine := requester(ctx)
	visible := func(r Request) bool { return r.RequestedBy == mine || d.seesRequests(at, actor, r.Kind) }
	var seen []Request
	for len(seen) < most {
		page, err := d.store.Requests(ctx, tenant, before, most)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			before = r.ID
			if visible(r) && len(seen) < most {
				seen = append(seen, r)
			}
		}
		if len(page) < most {
			break
		}
	}
	return seen, nil
}

// placeOf returns a tenant as decisions see it, unlocked, and the caller there.
func (d *Directory) placeOf(ctx context.Context, tenant id.Tenant) (*place, authz.Actor, error) {
	t, err := d.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, authz.Actor{}, err
	}
	at, err := d.rights.place(ctx, t)
	if err != nil {
		return nil, authz.Actor{}, err
	}
	actor, err := d.rights.actor(ctx, at)
	return at, actor, err
}

func (d *Directory) seesRequests(at *place, actor authz.Actor, kind string) bool {
	if actor.Operator {
		return true
	}
	rule, err := at.blueprint.Request(kind)
	if err != nil { // an upgrade removed the kind
		return false
	}
	return approves(at, actor, rule) || rule.Permission != nil && allowed(at, actor, *rule.Permission)
}

// allowed reports whether the actor has the permission, within the limit of the
// credential.
func allowed(at *place, actor authz.Actor, permission string) bool {
	p, known := at.blueprint.Permission(permission)
	return known && actor.Holders != nil && at.blueprint.Can(actor.Holders, at.view, actor.Channel, permission) &&
		(actor.Limit == nil || actor.Limit.Has(p))
}

// approves reports whether the actor decides about requests of the kind.
func approves(at *place, actor authz.Actor, rule authz.Request) bool {
	return actor.Operator || actor.Limit == nil && slices.Contains(at.blueprint.RolesAt(actor.Holders, at.view, actor.Channel), rule.Approver)
}

// WithdrawRequest takes back a pending request. Only who made it may, and an
// operator. It fails with fault.Conflict and the Code decided where it is not
// pending any more.
func (d *Directory) WithdrawRequest(ctx context.Context, tenant id.Tenant, request id.Request) (*Request, error) {
	return d.decide(ctx, tenant, request, RequestWithdrawn, "", func(_ *place, actor authz.Actor, r *Request, _ authz.Request) error {
		if !actor.Operator && r.RequestedBy != requester(ctx) {
			return fault.New(fault.Denied, "only who made the request takes it back").WithCode("requester")
		}
		return nil
	}, nil)
}

// DenyRequest answers a pending request with no. It fails like ApproveRequest.
func (d *Directory) DenyRequest(ctx context.Context, tenant id.Tenant, request id.Request, reason string) (*Request, error) {
	return d.decide(ctx, tenant, request, RequestDenied, reason, mayDecide(ctx), nil)
}

// ApproveRequest answers a pending request with yes and does, in the same
// transaction, what the kind says. It fails with fault.Denied and the Code
// approver where the caller is not the kind's approver or asked himself, and
// with fault.Conflict and the Code decided where the request is not pending any
// more. What it does fails as that does for an operator.
func (d *Directory) ApproveRequest(ctx context.Context, tenant id.Tenant, request id.Request, outcome Outcome) (*Request, error) {
	return d.decide(ctx, tenant, request, RequestApproved, outcome.Reason, mayDecide(ctx), func(ctx context.Context, at *place, rule authz.Request) error {
		switch rule.Effect {
		case authz.EffectCreate:
			return d.createLinked(ctx, at, rule, outcome)
		case authz.EffectLink:
			return d.linkAsked(ctx, at, rule, outcome)
		case authz.EffectReassign:
			return d.reassign(ctx, at, rule, outcome)
		case authz.EffectNothing:
		}
		return nil
	})
}

// mayDecide is who answers requests: their approver, who does not answer his own.
func mayDecide(ctx context.Context) func(*place, authz.Actor, *Request, authz.Request) error {
	return func(at *place, actor authz.Actor, r *Request, rule authz.Request) error {
		if !approves(at, actor, rule) || !actor.Operator && r.RequestedBy == requester(ctx) {
			return fault.New(fault.Denied, "requests of the kind %s are answered by: %s", rule.Kind, rule.Approver).WithCode("approver")
		}
		return nil
	}
}

// decide ends a pending request and does what follows from it.
func (d *Directory) decide(
	ctx context.Context, tenant id.Tenant, request id.Request, status RequestStatus, reason string,
	may func(*place, authz.Actor, *Request, authz.Request) error, effect func(context.Context, *place, authz.Request) error,
) (*Request, error) {
	if len(reason) > maxRequestText {
		return nil, fault.Field(fault.Invalid, "reason", "must not be longer than %d bytes", maxRequestText)
	}
	var decided *Request
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.store.LockRelations(ctx); err != nil { // what follows may need it before any other lock
			return err
		}
		at, actor, err := d.placeOf(ctx, tenant)
		if err != nil {
			return err
		}
		r, err := d.store.Request(ctx, tenant, request)
		if err != nil {
			return err
		}
		rule, err := at.blueprint.Request(r.Kind)
		if err != nil {
			if status == RequestApproved {
				return err
			}
			rule = authz.Request{Kind: r.Kind} // an upgrade removed the kind: it can only be ended
		}
		if err := may(at, actor, r, rule); err != nil {
			return err
		}
		r.Status, r.DecidedBy, r.Reason, r.Decided = status, requester(ctx), strings.TrimSpace(reason), d.now()
		won, err := d.store.DecideRequest(ctx, r)
		if err != nil {
			return err
		}
		if !won {
			return fault.New(fault.Conflict, "the request was decided already").WithCode("decided")
		}
		decided = r
		if effect != nil {
			if err := effect(ctx, at, rule); err != nil {
				return err
			}
		}
		verb := map[RequestStatus]string{RequestApproved: "approve", RequestDenied: "deny", RequestWithdrawn: "withdraw"}[status]
		return d.record(ctx, tenant, "request."+verb, "request", string(r.ID), map[string]any{"kind": r.Kind})
	})
	if err != nil {
		return nil, err
	}
	return decided, nil
}

// createLinked makes the tenant that was asked for, under the one that asked.
func (d *Directory) createLinked(ctx context.Context, at *place, rule authz.Request, outcome Outcome) error {
	if _, err := d.store.TenantByName(ctx, outcome.Slug); err == nil {
		return fault.Field(fault.Conflict, "slug", "there is a tenant %q already", outcome.Slug)
	} else if !errors.Is(err, fault.NotFound) {
		return err
	}
	spec := TenantSpec{Slug: outcome.Slug, Name: outcome.Name, Blueprint: at.tenant.Blueprint, Tier: outcome.Tier}
	if spec.Tier == "" {
		spec.Tier = at.tenant.Tier
	}
	made, err := d.createTenant(ctx, spec)
	if err != nil {
		return err
	}
	over := outcome.OverQuota && operatorOnly(ctx) == nil
	return d.relate(ctx, Edge{Tenant: made.ID, Relation: rule.Relation, Parent: string(at.tenant.ID), OverQuota: over})
}

// linkAsked puts a tenant that exists under the one that asked.
func (d *Directory) linkAsked(ctx context.Context, at *place, rule authz.Request, outcome Outcome) error {
	if err := operatorOnly(ctx); err != nil { // an approver of the hub could take any tenant otherwise
		return err
	}
	spoke, err := d.store.TenantByName(ctx, outcome.Tenant)
	if errors.Is(err, fault.NotFound) {
		return fault.Field(fault.Invalid, "tenant", "there is no tenant %q", outcome.Tenant)
	} else if err != nil {
		return err
	}
	if parent, related := spoke.Relations[rule.Relation]; related && parent != at.tenant.ID {
		return fault.Field(fault.Conflict, "tenant", "%s is linked to another tenant", spoke.Slug)
	}
	return d.relate(ctx, Edge{Tenant: spoke.ID, Relation: rule.Relation, Parent: string(at.tenant.ID), OverQuota: outcome.OverQuota})
}

// reassign gives a role to another member in its holder's place, who gets what
// on_unlink would give, or else the roles of whom he changes places with.
func (d *Directory) reassign(ctx context.Context, at *place, rule authz.Request, outcome Outcome) error {
	tenant := at.tenant.ID
	if outcome.Holder == "" {
		return fault.Field(fault.Invalid, "holder", "the member who gets the role %s must be named", rule.Role)
	}
	if _, err := d.store.Membership(ctx, tenant, outcome.Holder); err != nil {
		return fault.Field(fault.Invalid, "holder", "the tenant has no such member")
	}
	if role, err := at.blueprint.Role(rule.Role); err != nil || role.HubOnly && !at.view.Hub() {
		return fault.New(fault.Denied, "the role %s is held in a hub only", rule.Role).WithCode("held_at")
	}
	_, most := at.blueprint.RoleBounds()
	return d.keepingRules(ctx, []id.Tenant{tenant}, func(ctx context.Context) error {
		holders, err := d.store.RoleHolders(ctx, tenant, []string{rule.Role}, most)
		if err != nil {
			return err
		}
		own, _, err := d.rolesBySource(ctx, tenant, outcome.Holder)
		if err != nil || slices.Contains(own, rule.Role) {
			return err
		}
		from, err := outcome.from(holders, rule.Role)
		if err != nil {
			return err
		}
		after := append(slices.Clone(own), rule.Role)
		if most == 1 {
			after = []string{rule.Role}
		}
		if from != nil {
			left := without(from.Roles, []string{rule.Role})
			if replaced := without(at.blueprint.RolesAfterUnlink([]string{rule.Role}, from.Roles), []string{rule.Role}); len(replaced) > len(left) {
				left = replaced
			}
			if least, _ := at.blueprint.RoleBounds(); len(left) < least {
				left = own
			}
			if err := d.replaceRoles(ctx, tenant, from.Membership, from.Roles, left); err != nil {
				return err
			}
		}
		return d.replaceRoles(ctx, tenant, outcome.Holder, own, after)
	})
}

// from returns who gives the role up, nil if nobody holds it.
func (o Outcome) from(holders []RoleHolder, role string) (*RoleHolder, error) {
	if o.From == "" && len(holders) > 1 {
		return nil, fault.Field(fault.Invalid, "from", "%d members hold the role %s: name the one who gives it up", len(holders), role)
	}
	for i, h := range holders {
		if o.From == "" || o.From == h.Membership {
			return &holders[i], nil
		}
	}
	if o.From != "" {
		return nil, fault.Field(fault.Invalid, "from", "this member does not hold the role %s", role)
	}
	return nil, nil
}
