package scim

import (
	"context"
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/directory"
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

// listing is a page of resources of several types, one type after the other.
type listing struct {
	client
	sections []section
}

// section is what a list asks of one type.
type section struct {
	kind  *kind
	query directory.Query
	p     schema.Projection
}

// page is what one request gets of a list.
type page struct {
	resources  []*resource
	last       directory.Place // of the last resource, where there are any
	more       bool            // behind it there are others
	total      int             // -1: not known
	startIndex int             // 0: the page was asked for by a cursor
	nextCursor string
}

// answer sends a page.
func (h *Handler) answer(r *request, q query, kinds []*kind) error {
	if q.sortBy != nil && len(kinds) > 1 {
		return fault.Field(fault.Invalid, "sortBy", "expected no order for a query over several resource types")
	}
	recordOf(r.ctx()).asksFor(q.filter, kinds)
	l := listing{client: r.client}
	for _, k := range kinds {
		s, err := l.section(k, q, kinds)
		if err != nil {
			return err
		}
		l.sections = append(l.sections, s)
	}
	walk := q.walk(r.ctx(), kinds)
	byMethod := h.byIndex
	if q.cursor != nil {
		byMethod = h.byCursor
	}
	p, err := byMethod(r.ctx(), l, q, walk)
	if err != nil {
		return err
	}
	return h.sendList(r.c, p)
}

// section binds the query to a type.
func (l *listing) section(k *kind, q query, kinds []*kind) (section, error) {
	p, err := k.t.Select(q.selection.attributes, q.selection.excluded)
	if err != nil {
		return section{}, err
	}
	q.filter = onlyKnown(q.filter, k.t, kinds)
	bound, err := q.bind(k.t, l.base+k.t.Endpoint+"/")
	return section{kind: k, query: bound, p: p}, err
}

// byCursor answers with the page that a cursor leads to (RFC 9865 §2). The total
// is told on the first page, and only where it needs no counting.
func (h *Handler) byCursor(ctx context.Context, l listing, q query, walk directory.Walk) (*page, error) {
	var from *directory.Place
	if *q.cursor != "" {
		c, err := h.cursors.open(l.tenant, walk, *q.cursor)
		if err != nil {
			return nil, err
		}
		if q.counted && q.count != c.Count {
			return nil, badRequest(invalidCount, "count: expected %d as for the first page", c.Count)
		}
		q.count, from = c.Count, &directory.Place{Kind: c.Kind, Position: directory.Position{Key: c.Key, ID: c.ID}}
	}
	if q.count == 0 {
		total, err := l.total(ctx)
		return &page{total: total}, err
	}
	p, err := l.behind(ctx, from, q.count)
	if err != nil {
		return nil, err
	}
	p.total = -1
	switch {
	case p.more:
		p.nextCursor, err = h.cursors.seal(l.tenant, walk, p.last, q.count)
	case from == nil:
		p.total = len(p.resources)
	}
	if err == nil && from == nil && p.more && q.filter == nil {
		p.total, err = l.total(ctx)
	}
	return p, err
}

// byIndex answers with the page from a number on (RFC 7644 §3.4.2.4). For a
// client that walks from page to page it begins where the page before ended, so
// that what comes and goes meanwhile moves nothing from one page to another.
// Who jumps gets what has the number now.
func (h *Handler) byIndex(ctx context.Context, l listing, q query, walk directory.Walk) (p *page, err error) {
	if q.count == 0 {
		total, err := l.total(ctx)
		return &page{total: total, startIndex: q.startIndex}, err
	}
	var from *directory.Place
	if q.startIndex > 1 {
		if from, err = h.directory.Bookmark(ctx, l.tenant, walk, q.startIndex); err != nil {
			return nil, err
		}
	}
	if q.startIndex > 1 && from == nil {
		p, err = l.at(ctx, q.startIndex, q.count)
	} else {
		p, err = l.behind(ctx, from, q.count)
		if err == nil && p.more {
			p.total, err = l.total(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	p.startIndex = q.startIndex
	next := q.startIndex + len(p.resources)
	switch {
	case p.more:
		// A client stops at the total: it is never less than what the walk gives.
		p.total = max(p.total, next)
		if err := h.directory.SaveBookmark(ctx, l.tenant, walk, next, p.last); err != nil {
			// The next page goes by numbers then, as a jump does.
			h.log.WarnContext(ctx, "scim bookmark not saved", "tenant", l.tenant, "error", err)
		}
	case q.startIndex == 1 || from != nil:
		p.total = next - 1
	}
	return p, nil
}

// total is how many resources match.
func (l *listing) total(ctx context.Context) (int, error) {
	total := 0
	for _, s := range l.sections {
		s.query.Count = 0
		found, err := s.kind.page(ctx, l.tenant, s.query)
		if err != nil {
			return 0, err
		}
		total += found.Total
	}
	return total, nil
}

// behind reads the page that begins behind a place; nil: the first page. It does
// not count.
func (l *listing) behind(ctx context.Context, from *directory.Place, count int) (*page, error) {
	sections := slices.Clone(l.sections)
	if from != nil {
		i := slices.IndexFunc(sections, func(s section) bool { return s.kind.t.Name == from.Kind })
		if i < 0 {
			return nil, fmt.Errorf("scim: a place among the resources of type %s, which are not listed", from.Kind)
		}
		sections = sections[i:]
		sections[0].query.After = &from.Position
	}
	p := &page{}
	for _, s := range sections {
		s.query.Uncounted, s.query.Count = true, count-len(p.resources)
		found, err := l.read(ctx, p, s)
		if err != nil {
			return nil, err
		}
		if p.more = found.More; p.more {
			break
		}
	}
	return p, nil
}

// at reads the page from a number on, and counts.
func (l *listing) at(ctx context.Context, startIndex, count int) (*page, error) {
	p, skip := &page{}, startIndex-1
	for _, s := range l.sections {
		s.query.StartIndex, s.query.Count = skip+1, count-len(p.resources)
		found, err := l.read(ctx, p, s)
		if err != nil {
			return nil, err
		}
		p.more = p.more || found.More || s.query.Count == 0 && found.Total > 0
		p.total, skip = p.total+found.Total, max(skip-found.Total, 0)
	}
	return p, nil
}

// read adds to the page what a type contributes.
func (l *listing) read(ctx context.Context, p *page, s section) (*directory.Page[*entity], error) {
	found, err := s.kind.page(ctx, l.tenant, s.query)
	if err != nil {
		return nil, err
	}
	resources, err := s.kind.resources(ctx, l.client, found.Items, s.p)
	if err != nil {
		return nil, err
	}
	p.resources = append(p.resources, resources...)
	if len(resources) > 0 {
		p.last = directory.Place{Kind: s.kind.t.Name, Position: found.Last}
	}
	return found, nil
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
