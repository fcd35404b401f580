package scim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/scim/schema"
)

// step is what is carried out at a time: some operations beside each other, or
// those that refer to one another in a circle.
type step struct {
	operations []int
	circle     bool
}

// plan orders the operations: as the client has them, but that one which is
// referred to comes before those that refer to it. beside is how many may be
// carried out at once, where their order can't matter.
func (req *bulkRequest) plan(beside int) []step {
	p := &planner{req: req, makers: map[string]int{}, index: make([]int, len(req.operations)), low: make([]int, len(req.operations)), onStack: make([]bool, len(req.operations))}
	for i, op := range req.operations {
		if _, twice := p.makers[op.bulkID]; op.method == http.MethodPost && !twice {
			p.makers[op.bulkID] = i // one that fails too: those that refer to it come after it
		}
	}
	for i := range req.operations {
		if p.index[i] == 0 {
			p.visit(i)
		}
	}
	if beside <= 1 || req.failOnErrors > 0 { // what comes after the last error must not be done
		return p.steps
	}
	return req.merge(p.steps)
}

// planner finds the strongly connected components of the references by Tarjan's
// algorithm, which yields them in the order of their dependencies.
type planner struct {
	req        *bulkRequest
	makers     map[string]int // by bulkId
	next       int
	index, low []int // from 1; 0: not visited
	stack      []int
	onStack    []bool
	steps      []step
}

func (p *planner) visit(i int) {
	p.next++
	p.index[i], p.low[i] = p.next, p.next
	p.stack, p.onStack[i] = append(p.stack, i), true
	self := false
	for _, ref := range p.req.operations[i].refs {
		j, ok := p.makers[ref]
		switch {
		case !ok:
		case p.index[j] == 0:
			p.visit(j) // no deeper than there are operations
			p.low[i] = min(p.low[i], p.low[j])
		case p.onStack[j]:
			p.low[i] = min(p.low[i], p.index[j])
		}
		self = self || ok && j == i
	}
	if p.low[i] != p.index[i] {
		return
	}
	at := slices.Index(p.stack, i)
	component := slices.Sorted(slices.Values(p.stack[at:]))
	p.stack = p.stack[:at]
	for _, j := range component {
		p.onStack[j] = false
	}
	p.steps = append(p.steps, step{operations: component, circle: self || len(component) > 1})
}

// merge joins creations that follow each other, know nothing of each other and
// want nothing that is unique in common.
func (req *bulkRequest) merge(steps []step) []step {
	var merged []step
	open := false // the last step takes more
	taken, made := map[string]bool{}, map[string]bool{}
	for _, s := range steps {
		op := req.operations[s.operations[0]]
		if s.circle || op.method != http.MethodPost || op.err != nil {
			merged, open = append(merged, s), false
			continue
		}
		wants := op.wants()
		clash := slices.ContainsFunc(wants, func(w string) bool { return taken[w] }) ||
			slices.ContainsFunc(op.refs, func(ref string) bool { return made[ref] })
		if !open || clash {
			merged, open = append(merged, step{}), true
			clear(taken)
			clear(made)
		}
		last := &merged[len(merged)-1]
		last.operations = append(last.operations, s.operations...)
		made[op.bulkID] = true
		for _, w := range wants {
			taken[w] = true
		}
	}
	return merged
}

// wants returns what no other resource may have at the same time, or what the
// first of several gets: unique values, the name of a group, the addresses that
// a person signs in with.
func (op *bulkOperation) wants() []string {
	var wants []string
	add := func(value any) {
		if text, ok := value.(string); ok {
			wants = append(wants, schema.Fold(text))
		}
	}
	collect := func(s *schema.Schema, object map[string]any) {
		for _, a := range s.Attributes {
			if a.Uniqueness != schema.NotUnique || strings.EqualFold(a.Name, "displayName") {
				add(member(object, a.Name))
			}
		}
	}
	collect(op.kind.t.Schema, op.data)
	for _, extension := range op.kind.t.Extensions {
		if object, ok := member(op.data, extension.Schema.ID).(map[string]any); ok {
			collect(extension.Schema, object)
		}
	}
	addresses, _ := member(op.data, "emails").([]any)
	for _, address := range addresses {
		if object, ok := address.(map[string]any); ok {
			add(member(object, "value"))
		}
	}
	return wants
}
