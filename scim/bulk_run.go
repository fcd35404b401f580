package scim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/schema"
)

// bulkRun carries out a bulk request.
type bulkRun struct {
	h       *Handler
	client  client
	req     *bulkRequest
	names   referenceNames
	results []*bulkResult // by position; nil: not processed
	parts   []*record     // by position; nil: not begun
	ids     map[string]string
	errors  int

	// keep writes results in the transaction of what they are about; nil: they
	// are only sent.
	keep func(ctx context.Context, results []*bulkResult) error
	// txn is what events of an operation have in common; nil: nothing.
	txn func(position int) string
}

func (h *Handler) newRun(c client, req *bulkRequest) *bulkRun {
	return &bulkRun{
		h: h, client: c, req: req, names: referenceNames{}, results: make([]*bulkResult, len(req.operations)), parts: make([]*record, len(req.operations)), ids: map[string]string{},
	}
}

// all carries out what has no result yet. It fails where the rest can't be
// carried out now, for reasons that are no operation's.
func (b *bulkRun) all(ctx context.Context) error {
	recordOf(ctx).parts = true
	for _, op := range b.req.operations {
		if op.err == nil {
			b.names.of(op.kind) // read only from here on
		}
	}
	for _, s := range b.req.plan(b.h.parallel) {
		if b.req.failOnErrors > 0 && b.errors >= b.req.failOnErrors {
			return nil
		}
		if err := b.step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// restore takes over the result of an operation that was carried out before.
func (b *bulkRun) restore(result *bulkResult) {
	b.results[result.position] = result
	if op := b.req.operations[result.position]; op.method == http.MethodPost && !result.failed() {
		b.ids[op.bulkID] = result.id
	}
	if result.failed() {
		b.errors++
	}
}

// step carries out a step. Its operations see the identifiers of the steps
// before, and are seen by those after it.
func (b *bulkRun) step(ctx context.Context, s step) error {
	open := s.operations[:0:0]
	for _, i := range s.operations {
		if b.results[i] == nil {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return nil
	}
	if s.circle && b.onlyMembers(open) {
		results, err := b.refuse(ctx, open, &Error{Status: http.StatusConflict, Detail: "groups can't be members of one another in a circle"})
		return b.take(results, err)
	}
	if s.circle || len(open) == 1 {
		results, err := b.attempt(ctx, open)
		return b.take(results, err)
	}
	results := make([][]*bulkResult, len(open))
	failures := make([]error, len(open))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(b.h.parallel, len(open)) {
		workers.Go(func() {
			for n := range next {
				results[n], failures[n] = b.attempt(ctx, open[n:n+1])
			}
		})
	}
	for n := range open {
		next <- n
	}
	close(next)
	workers.Wait()
	for n := range open {
		if err := b.take(results[n], failures[n]); err != nil {
			return err
		}
	}
	return nil
}

func (b *bulkRun) take(results []*bulkResult, err error) error {
	if err != nil {
		return err
	}
	for _, result := range results {
		b.restore(result)
	}
	return nil
}

// attempt carries out one operation, or those of a circle together, and returns
// their results. It fails where these can't be kept.
func (b *bulkRun) attempt(ctx context.Context, operations []int) ([]*bulkResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var results []*bulkResult
	work := func(ctx context.Context) error {
		return fault.Caught(func() (err error) {
			if results, err = b.carryOut(ctx, operations); err != nil || b.keep == nil {
				return err
			}
			return b.keep(ctx, results)
		})
	}
	var err error
	if b.keep != nil || len(operations) > 1 || b.refersToItself(operations[0]) {
		err = b.h.directory.Together(ctx, work)
	} else {
		err = work(ctx)
	}
	if err == nil {
		for n, i := range operations {
			b.parts[i].Status = results[n].status
			b.h.keep(ctx, b.parts[i])
		}
		return results, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return b.refuse(ctx, operations, err)
}

// refuse is the end of operations that have failed.
func (b *bulkRun) refuse(ctx context.Context, operations []int, err error) ([]*bulkResult, error) {
	results := b.failures(ctx, operations, err)
	if b.keep != nil {
		if err := b.h.directory.Together(ctx, func(ctx context.Context) error { return b.keep(ctx, results) }); err != nil {
			return nil, err
		}
	}
	for _, i := range operations {
		b.h.keep(ctx, b.parts[i])
	}
	return results, nil
}

// onlyMembers reports whether operations can refer to one another as members of
// groups only. That such a circle can't be is known without trying, which for a
// thousand groups within each other is dear.
func (b *bulkRun) onlyMembers(operations []int) bool {
	for _, i := range operations {
		op := b.req.operations[i]
		if op.err != nil || !op.kind.hasMembers || len(b.names[op.kind]) > 1 {
			return false
		}
	}
	return true
}

func (b *bulkRun) refersToItself(i int) bool {
	op := b.req.operations[i]
	for _, ref := range op.refs {
		if op.method == http.MethodPost && ref == op.bulkID {
			return true
		}
	}
	return false
}

// operationError is the failure of one operation among those of a circle.
type operationError struct {
	position int
	err      error
}

func (e *operationError) Error() string {
	return "operation " + strconv.Itoa(e.position) + ": " + e.err.Error()
}
func (e *operationError) Unwrap() error { return e.err }

// carryOut carries out operations in their order. A reference to one that comes
// later, in a circle, is left out at first and added at the end (RFC 7644
// §3.7.1).
func (b *bulkRun) carryOut(ctx context.Context, operations []int) ([]*bulkResult, error) {
	made := map[string]string{}
	resolve := func(bulkID string) (string, bool) {
		if id, ok := made[bulkID]; ok {
			return id, true
		}
		id, ok := b.ids[bulkID]
		return id, ok
	}
	results := make([]*bulkResult, 0, len(operations))
	var unfinished []*resolver
	for _, i := range operations {
		op, out, left, err := b.one(ctx, i, resolve)
		if err != nil {
			return nil, &operationError{i, err}
		}
		if op.method == http.MethodPost {
			made[b.req.operations[i].bulkID] = out.id
		}
		results = append(results, b.result(i, out))
		unfinished = append(unfinished, left)
	}
	for n, left := range unfinished {
		if left == nil || len(left.left) == 0 {
			continue
		}
		body, err := encode(left.amendment(resolve))
		if err != nil {
			return nil, err
		}
		out, err := b.h.carryOut(b.within(ctx, operations[n]), &operation{
			client: b.client, kind: left.kind, method: http.MethodPatch, id: results[n].id, body: body, bare: true,
		})
		if err != nil {
			e := errorOf(err)
			if e.Status < http.StatusInternalServerError {
				err = &Error{Status: http.StatusConflict, Detail: "the circular reference can't be made: " + e.Detail}
			}
			return nil, &operationError{operations[n], err}
		}
		results[n].Version = etag(out.version)
	}
	return results, nil
}

// one carries out an operation with what resolve knows in place of its
// references; left has what is not known yet.
func (b *bulkRun) one(ctx context.Context, i int, resolve func(string) (string, bool)) (op *operation, out *outcome, left *resolver, err error) {
	from := b.req.operations[i]
	b.parts[i] = b.h.partOf(ctx, b.client, from)
	if from.err != nil {
		return nil, nil, nil, from.err
	}
	op = &operation{client: b.client, kind: from.kind, method: from.method, id: from.id, ifMatch: from.version, bare: true}
	data := from.data
	if len(from.refs) > 0 {
		left = &resolver{names: b.names[from.kind], kind: from.kind, resolve: resolve}
		data = left.operation(from)
		if err := b.unresolved(from, resolve); err != nil {
			return nil, nil, nil, err
		}
		if from.target != "" {
			op.id, _ = resolve(from.target)
		}
	}
	if data != nil && op.method != http.MethodDelete {
		if op.body, err = encode(data); err != nil {
			return nil, nil, nil, err
		}
	}
	out, err = b.h.do(b.within(ctx, i), op)
	return op, out, left, err
}

// within is the context of what is done for an operation.
func (b *bulkRun) within(ctx context.Context, i int) context.Context {
	if b.txn != nil {
		ctx = directory.WithTxn(ctx, b.txn(i))
	}
	return b.parts[i].in(ctx)
}

// unresolved fails where an operation refers to one that has failed.
func (b *bulkRun) unresolved(op *bulkOperation, resolve func(string) (string, bool)) error {
	for _, ref := range op.refs {
		if _, ok := resolve(ref); ok {
			continue
		}
		for i, maker := range b.req.operations {
			if maker.method == http.MethodPost && maker.bulkID == ref && b.results[i] != nil {
				return &Error{Status: http.StatusConflict, Detail: fmt.Sprintf("the operation with the bulkId %s has failed", shorten(ref))}
			}
		}
	}
	return nil
}

func (b *bulkRun) result(i int, out *outcome) *bulkResult {
	op := b.req.operations[i]
	result := &bulkResult{Method: op.method, BulkID: op.bulkID, Location: out.location, Status: strconv.Itoa(out.status), status: out.status, position: i, id: out.id}
	if out.version != 0 {
		result.Version = etag(out.version)
	}
	return result
}

// failures are the results of operations that failed together.
func (b *bulkRun) failures(ctx context.Context, operations []int, err error) []*bulkResult {
	culprit := -1
	if at, ok := errors.AsType[*operationError](err); ok {
		culprit, err = at.position, at.err
	}
	results := make([]*bulkResult, len(operations))
	for n, i := range operations {
		e := errorOf(err)
		if e.Status == http.StatusInternalServerError {
			b.h.log.ErrorContext(ctx, "scim bulk operation failed", "tenant", b.client.tenant, "position", i, "error", err)
		} else if i != culprit && culprit >= 0 {
			e = &Error{Status: http.StatusConflict, Detail: fmt.Sprintf("it refers, in a circle, to operation %d, which has failed", culprit+1)}
		}
		op := b.req.operations[i]
		if b.parts[i] == nil {
			b.parts[i] = b.h.partOf(ctx, b.client, op)
		}
		if op.method == http.MethodPost {
			b.parts[i].Resource = "" // of another operation's failure it may have been made, and was rolled back
		}
		if i == culprit || culprit < 0 {
			b.parts[i].refused(ctx, err)
		} else {
			b.parts[i].refused(ctx, e)
		}
		results[n] = &bulkResult{Method: op.method, BulkID: op.bulkID, Status: strconv.Itoa(e.Status), Response: e, position: i}
		if op.kind != nil && op.id != "" {
			results[n].Location = b.client.base + op.kind.t.Endpoint + "/" + op.id
		}
	}
	return results
}

// attribute finds the definition of an attribute by its name or, for one of an
// extension, by its URI and name.
func (k *kind) attribute(path string) (*schema.Attribute, bool) {
	name := attributeOf(path)
	schemas := []*schema.Schema{k.t.Schema}
	for _, extension := range k.t.Extensions {
		schemas = append(schemas, extension.Schema)
	}
	for _, s := range schemas {
		for _, a := range s.Attributes {
			if attributeOf(a.Name) == name {
				return a, true
			}
		}
	}
	return nil, false
}
