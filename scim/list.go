package scim

import (
	"slices"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// collection is all resources of one type.
type collection struct {
	resourceType *schema.ResourceType
	page         func(r *request, q directory.Query, p schema.Projection) (resources []*resource, total int, err error)
}

func (h *Handler) users() collection  { return collection{h.user, h.pageOfUsers} }
func (h *Handler) groups() collection { return collection{h.group, h.pageOfGroups} }

func (h *Handler) listUsers(r *request) error    { return h.list(r, h.users()) }
func (h *Handler) listGroups(r *request) error   { return h.list(r, h.groups()) }
func (h *Handler) listAll(r *request) error      { return h.list(r, h.users(), h.groups()) }
func (h *Handler) searchUsers(r *request) error  { return h.search(r, h.users()) }
func (h *Handler) searchGroups(r *request) error { return h.search(r, h.groups()) }
func (h *Handler) searchAll(r *request) error    { return h.search(r, h.users(), h.groups()) }

// list is GET on an endpoint, or on the root for all types (RFC 7644 §3.4.2).
func (h *Handler) list(r *request, collections ...collection) error {
	values, err := r.parameters()
	if err != nil {
		return err
	}
	q, err := queryOf(values)
	if err != nil {
		return err
	}
	return h.answer(r, q, collections)
}

// search is POST to .search (RFC 7644 §3.4.3).
func (h *Handler) search(r *request, collections ...collection) error {
	q, err := r.readSearch()
	if err != nil {
		return err
	}
	return h.answer(r, q, collections)
}

// answer sends a page of the collections, one after the other.
func (h *Handler) answer(r *request, q query, collections []collection) error {
	if q.sortBy != nil && len(collections) > 1 {
		return fault.Field(fault.Invalid, "sortBy", "expected no order for a query over several resource types")
	}
	var found []*resource
	total, skip := 0, q.startIndex-1
	for _, c := range collections {
		p, err := c.resourceType.Select(q.selection.attributes, q.selection.excluded)
		if err != nil {
			return err
		}
		own := q
		own.filter = onlyKnown(q.filter, c.resourceType, collections)
		own.count, own.startIndex = q.count-len(found), skip+1
		bound, err := own.bind(c.resourceType, r.base+c.resourceType.Endpoint+"/")
		if err != nil {
			return err
		}
		resources, n, err := c.page(r, bound, p)
		if err != nil {
			return err
		}
		found = append(found, resources...)
		total, skip = total+n, max(skip-n, 0)
	}
	h.sendList(r.c, found, total, q.startIndex)
	return nil
}

// onlyKnown makes false what a filter over several types asks about attributes
// that this type doesn't have but another one does (RFC 7644 §3.4.2.1). What
// none has is left for Bind to refuse.
func onlyKnown(e filter.Expr, t *schema.ResourceType, collections []collection) filter.Expr {
	if e == nil || len(collections) == 1 {
		return e
	}
	foreign := func(path filter.AttrPath) bool {
		if _, err := t.Resolve(path); err == nil {
			return false
		}
		return slices.ContainsFunc(collections, func(c collection) bool {
			_, err := c.resourceType.Resolve(path)
			return err == nil
		})
	}
	all := func(operands []filter.Expr) []filter.Expr {
		known := make([]filter.Expr, len(operands))
		for i, operand := range operands {
			known[i] = onlyKnown(operand, t, collections)
		}
		return known
	}
	var path filter.AttrPath
	switch e := e.(type) {
	case filter.And:
		return filter.And{Operands: all(e.Operands)}
	case filter.Or:
		return filter.Or{Operands: all(e.Operands)}
	case filter.Not:
		return filter.Not{Operand: onlyKnown(e.Operand, t, collections)}
	case filter.Compare:
		path = e.Attr
	case filter.Present:
		path = e.Attr
	case filter.ValuePath:
		path = e.Attr
	}
	if foreign(path) {
		return filter.Or{} // of nothing: false
	}
	return e
}

func (h *Handler) pageOfUsers(r *request, q directory.Query, p schema.Projection) ([]*resource, int, error) {
	page, err := h.directory.Memberships(r.ctx(), r.tenant, q)
	if err != nil {
		return nil, 0, err
	}
	var groups map[id.Membership][]directory.GroupRef
	if p.Shows("groups") && len(page.Items) > 0 {
		ids := make([]id.Membership, len(page.Items))
		for i := range page.Items {
			ids[i] = page.Items[i].ID
		}
		if groups, err = h.directory.GroupsOf(r.ctx(), r.tenant, ids); err != nil {
			return nil, 0, err
		}
	}
	resources := make([]*resource, len(page.Items))
	for i := range page.Items {
		m := &page.Items[i]
		if resources[i], err = h.userResource(r, m, groups[m.ID], p); err != nil {
			return nil, 0, err
		}
	}
	return resources, page.Total, nil
}

func (h *Handler) pageOfGroups(r *request, q directory.Query, p schema.Projection) ([]*resource, int, error) {
	page, err := h.directory.Groups(r.ctx(), r.tenant, q)
	if err != nil {
		return nil, 0, err
	}
	var members map[id.Group][]directory.Member
	if p.Shows(attrMembers) && len(page.Items) > 0 {
		ids := make([]id.Group, len(page.Items))
		for i := range page.Items {
			ids[i] = page.Items[i].ID
		}
		if members, err = h.directory.Members(r.ctx(), r.tenant, ids); err != nil {
			return nil, 0, err
		}
	}
	resources := make([]*resource, len(page.Items))
	for i := range page.Items {
		g := &page.Items[i]
		if resources[i], err = h.groupResource(r, g, members[g.ID], p); err != nil {
			return nil, 0, err
		}
	}
	return resources, page.Total, nil
}
