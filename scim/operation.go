package scim

import (
	"context"
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/patch"
	"github.com/rolecall/rolecall/scim/schema"
)

// client is who sends a request, as far as the answer depends on it.
type client struct {
	tenant  id.Tenant
	profile profile
	base    string // the address of the tenant's endpoints, without a slash at its end
}

// operation is one request on a resource (RFC 7644 §3): by itself, or one of a
// bulk request. It knows nothing of HTTP but the words of the RFC.
type operation struct {
	client
	kind      *kind
	method    string // POST, GET, PUT, PATCH or DELETE
	id        string // as the client wrote it; empty for POST
	body      []byte // of POST, PUT and PATCH
	selection selection
	bare      bool // the resource itself is not wanted, only what became of it

	ifMatch, ifNoneMatch string // headers; of a bulk operation its version
}

// outcome is what an operation led to.
type outcome struct {
	status   int
	id       string
	version  int64     // of the resource as it is now; 0: there is none any more
	location string    // of the resource
	resource *resource // nil: the answer has no body
}

// do carries out an operation, in one transaction, and notes in the record of
// ctx what it is about.
func (h *Handler) do(ctx context.Context, op *operation) (*outcome, error) {
	out, err := h.carryOut(ctx, op)
	recordOf(ctx).about(op, out, err)
	return out, err
}

func (h *Handler) carryOut(ctx context.Context, op *operation) (*outcome, error) {
	p, err := op.kind.t.Select(op.selection.attributes, op.selection.excluded)
	if err != nil {
		return nil, err
	}
	switch op.method {
	case http.MethodPost:
		return h.create(ctx, op, p)
	case http.MethodPut:
		return h.replace(ctx, op, p)
	case http.MethodPatch:
		return h.patch(ctx, op, p)
	case http.MethodDelete:
		return h.remove(ctx, op)
	default:
		return h.read(ctx, op, p)
	}
}

// create is POST (RFC 7644 §3.3).
func (h *Handler) create(ctx context.Context, op *operation, p schema.Projection) (*outcome, error) {
	body, err := decodeObject(op.body)
	if err != nil {
		return nil, err
	}
	if err := op.profile.checkSchemas(op.kind.t, body); err != nil {
		return nil, err
	}
	body, ignored, err := op.mapDocument(body)
	h.warn(ctx, op, ignored)
	if err != nil {
		return nil, err
	}
	doc, warnings, err := op.kind.t.ValidateCreate(body, op.profile.schema)
	h.warn(ctx, op, warnings)
	if err != nil {
		return nil, err
	}
	e, err := op.kind.create(ctx, op.tenant, doc)
	if err != nil {
		return nil, err
	}
	return h.outcome(ctx, op, http.StatusCreated, e, p)
}

// read is GET of one resource (RFC 7644 §3.4.1).
func (h *Handler) read(ctx context.Context, op *operation, p schema.Projection) (*outcome, error) {
	e, err := op.kind.read(ctx, op.tenant, op.id)
	if err != nil {
		return nil, op.named(err)
	}
	if notModified(op.ifNoneMatch, e.version) {
		return &outcome{status: http.StatusNotModified, id: e.id, version: e.version}, nil
	}
	return h.outcome(ctx, op, http.StatusOK, e, p)
}

// replace is PUT (RFC 7644 §3.5.1). Members of a group that the client leaves
// out are no members any more.
func (h *Handler) replace(ctx context.Context, op *operation, p schema.Projection) (*outcome, error) {
	body, err := decodeObject(op.body)
	if err != nil {
		return nil, err
	}
	var warnings []schema.Warning
	e, err := op.change(directory.Replacing(ctx), func(current map[string]any) (map[string]any, []directory.MemberChange, error) {
		if err := op.profile.checkSchemas(op.kind.t, body); err != nil {
			return nil, nil, err
		}
		body, unmapped, err := op.mapDocument(body)
		if err != nil {
			return nil, nil, err
		}
		next, ignored, err := op.kind.t.ValidateReplace(current, body, op.profile.schema)
		warnings = append(unmapped, ignored...)
		if err != nil || !op.kind.hasMembers {
			return next, nil, err
		}
		return next, []directory.MemberChange{{Op: directory.ReplaceMembers, IDs: takeMembers(next)}}, nil
	})
	h.warn(ctx, op, warnings)
	if err != nil {
		return nil, err
	}
	return h.outcome(ctx, op, http.StatusOK, e, p)
}

// patch is PATCH (RFC 7644 §3.5.2). On a group it costs what the operations
// name, whatever the group's size: the members are not loaded, nor sent unless
// the client asks for them.
func (h *Handler) patch(ctx context.Context, op *operation, p schema.Projection) (*outcome, error) {
	if _, err := decodeObject(op.body); err != nil { // the strict decoder goes first
		return nil, err
	}
	operations, err := patch.Parse(op.body)
	if err != nil {
		return nil, err
	}
	var warnings []schema.Warning
	e, err := op.change(ctx, func(current map[string]any) (map[string]any, []directory.MemberChange, error) {
		current["id"] = op.id // clients repeat it
		result, err := patch.Apply(op.kind.t, current, operations, op.profile.schema)
		if err != nil {
			return nil, nil, err
		}
		warnings = result.Warnings
		next, err := op.mapPatched(current, result.Document)
		if err != nil {
			return nil, nil, err
		}
		changes, err := memberChanges(result.Members)
		return next, changes, err
	})
	h.warn(ctx, op, warnings)
	if err != nil {
		return nil, err
	}
	if op.kind.hasMembers && op.selection.empty() {
		return &outcome{status: http.StatusNoContent, id: e.id, version: e.version, location: op.location(e.id)}, nil
	}
	return h.outcome(ctx, op, http.StatusOK, e, p)
}

// remove is DELETE (RFC 7644 §3.6).
func (h *Handler) remove(ctx context.Context, op *operation) (*outcome, error) {
	ifMatch, err := op.precondition(ctx)
	if err != nil {
		return nil, err
	}
	if err := op.kind.remove(ctx, op.tenant, op.id, ifMatch); err != nil {
		return nil, op.named(err)
	}
	return &outcome{status: http.StatusNoContent, id: op.id, location: op.location(op.id)}, nil
}

// change carries out a PUT or PATCH under the operation's preconditions.
func (op *operation) change(ctx context.Context, change changeFunc) (*entity, error) {
	ifMatch, err := op.precondition(ctx)
	if err != nil {
		return nil, err
	}
	e, err := op.kind.change(ctx, op.tenant, op.id, ifMatch, change)
	return e, op.named(err)
}

// precondition returns the version that a change must be based on, 0 for any.
func (op *operation) precondition(ctx context.Context) (int64, error) {
	version, err := precondition(op.ifMatch, op.ifNoneMatch, func() (int64, error) {
		e, err := op.kind.read(ctx, op.tenant, op.id)
		if err != nil {
			return 0, err
		}
		return e.version, nil
	})
	return version, op.named(err)
}

func (op *operation) location(id string) string { return op.base + op.kind.t.Endpoint + "/" + id }

// named says in words what was not found.
func (op *operation) named(err error) error {
	if f := fault.As(err); err != nil && f.Kind == fault.NotFound && f.Detail == "" {
		return fault.New(fault.NotFound, "there is no %s with the id %s", op.kind.noun, shorten(op.id))
	}
	return err
}

// outcome is the answer that shows the resource.
func (h *Handler) outcome(ctx context.Context, op *operation, status int, e *entity, p schema.Projection) (*outcome, error) {
	recordOf(ctx).named(e.document)
	if op.bare {
		return &outcome{status: status, id: e.id, version: e.version, location: op.location(e.id)}, nil
	}
	entities := []*entity{e}
	if op.kind.complete != nil && (status != http.StatusCreated || op.kind.hasMembers) { // a new user is in no group
		if err := op.kind.complete(ctx, op.client, p, entities); err != nil {
			return nil, err
		}
	}
	res, err := op.kind.resource(op.client, e, p)
	if err != nil {
		return nil, err
	}
	return &outcome{status: status, id: e.id, version: e.version, location: res.location, resource: res}, nil
}

// warn logs what a profile forgave: the names, never the values.
func (h *Handler) warn(ctx context.Context, op *operation, warnings []schema.Warning) {
	for _, w := range warnings {
		h.log.WarnContext(ctx, "scim attribute ignored", "tenant", op.tenant, "attribute", w.Path, "reason", w.Detail)
	}
}

// memberChanges are the steps of a PATCH in the directory's terms.
func memberChanges(steps []patch.MemberChange) ([]directory.MemberChange, error) {
	changes := make([]directory.MemberChange, 0, len(steps))
	for _, step := range steps {
		change := directory.MemberChange{IDs: make([]string, len(step.Members))}
		for i, m := range step.Members {
			change.IDs[i] = m.Value
		}
		switch step.Op {
		case patch.AddMembers:
			change.Op = directory.AddMembers
		case patch.RemoveMembers:
			change.Op = directory.RemoveMembers
		case patch.ReplaceMembers:
			change.Op = directory.ReplaceMembers
		case patch.RemoveAllMembers:
			change.Op = directory.ClearMembers
		case patch.RemoveMatching:
			return nil, fault.Field(fault.Invalid, attrMembers,
				`expected a filter such as members[value eq "…"], or several of these joined by "or"`).WithCode(invalidFilter)
		}
		changes = append(changes, change)
	}
	return changes, nil
}
