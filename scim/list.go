package scim

import (
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// list is GET on an endpoint, or on the root for all types (RFC 7644 §3.4.2).
func (h *Handler) list(r *request, kinds ...*kind) error {
	values, err := r.parameters()
	if err != nil {
		return err
	}
	q, err := queryOf(values)
	if err != nil {
		return err
	}
	return h.answer(r, q, kinds)
}

// search is POST to .search (RFC 7644 §3.4.3).
func (h *Handler) search(r *request, kinds ...*kind) error {
	q, err := r.readSearch()
	if err != nil {
		return err
	}
	return h.answer(r, q, kinds)
}

// answer sends a page of the resources of the kinds, one after the other.
func (h *Handler) answer(r *request, q query, kinds []*kind) error {
	if q.sortBy != nil && len(kinds) > 1 {
		return fault.Field(fault.Invalid, "sortBy", "expected no order for a query over several resource types")
	}
	var found []*resource
	total, skip := 0, q.startIndex-1
	for _, k := range kinds {
		p, err := k.t.Select(q.selection.attributes, q.selection.excluded)
		if err != nil {
			return err
		}
		own := q
		own.filter = onlyKnown(q.filter, k.t, kinds)
		own.count, own.startIndex = q.count-len(found), skip+1
		bound, err := own.bind(k.t, r.base+k.t.Endpoint+"/")
		if err != nil {
			return err
		}
		page, err := k.page(r.ctx(), r.tenant, bound)
		if err != nil {
			return err
		}
		resources, err := k.resources(r.ctx(), r.client, page.Items, p)
		if err != nil {
			return err
		}
		found = append(found, resources...)
		total, skip = total+page.Total, max(skip-page.Total, 0)
	}
	h.sendList(r.c, found, total, q.startIndex)
	return nil
}

// onlyKnown makes false what a filter over several types asks about attributes
// that this type doesn't have but another one does (RFC 7644 §3.4.2.1). What
// none has is left for Bind to refuse.
func onlyKnown(e filter.Expr, t *schema.ResourceType, kinds []*kind) filter.Expr {
	if e == nil || len(kinds) == 1 {
		return e
	}
	foreign := func(path filter.AttrPath) bool {
		if _, err := t.Resolve(path); err == nil {
			return false
		}
		return slices.ContainsFunc(kinds, func(k *kind) bool {
			_, err := k.t.Resolve(path)
			return err == nil
		})
	}
	all := func(operands []filter.Expr) []filter.Expr {
		known := make([]filter.Expr, len(operands))
		for i, operand := range operands {
			known[i] = onlyKnown(operand, t, kinds)
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
		return filter.Not{Operand: onlyKnown(e.Operand, t, kinds)}
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
