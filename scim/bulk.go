package scim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

const (
	bulkRequestURN  = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	bulkResponseURN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"

	// maxBulkOperations and maxBulkBody are the limits of a bulk request
	// (RFC 7644 §3.7.4).
	maxBulkOperations = 1000
	maxBulkBody       = 4 << 20
)

// bulkRequest is the message of RFC 7644 §3.7.
type bulkRequest struct {
	failOnErrors int  // 0: go on whatever fails
	single       bool // it was no bulk request
	operations   []*bulkOperation
}

// bulkOperation is one operation of a bulk request, as far as it could be read.
type bulkOperation struct {
	method  string
	bulkID  string
	path    string
	version string
	data    map[string]any // of POST, PUT and PATCH

	kind   *kind
	id     string // what the path names; empty for POST
	target string // the bulkId that the path names in place of an id
	refs   []string
	err    error // why it can't be carried out, whatever the others do
}

// bulkResult is an operation of a bulk response (RFC 7644 §3.7.3).
type bulkResult struct {
	Location string `json:"location,omitempty"`
	Method   string `json:"method"`
	BulkID   string `json:"bulkId,omitempty"`
	Version  string `json:"version,omitempty"`
	Status   string `json:"status"`
	Response *Error `json:"response,omitempty"` // of a failure

	status   int    // of an operation that was carried out now
	position int    // of the operation
	id       string // of the resource, where the operation succeeded
}

func (r *bulkResult) failed() bool { return r.Response != nil }

// bulk is POST to /Bulk (RFC 7644 §3.7).
func (h *Handler) bulk(r *request) error {
	body, err := readUpTo(r.c, maxBulkBody)
	if err != nil {
		return err
	}
	req, err := h.parseBulk(r.ctx(), r.client, body, false)
	if err != nil {
		return err
	}
	if r.limited != nil {
		if err := h.limits.admitMore(r.limited, len(req.operations)); err != nil {
			return err
		}
	}
	if accepted, err := h.later(r, &asyncJob{body: body, operations: len(req.operations)}); accepted || err != nil {
		return err
	}
	run := h.newRun(r.client, req)
	if err := run.all(r.ctx()); err != nil {
		return err
	}
	return h.sendBulk(r, run.results)
}

// sendBulk answers with a BulkResponse. The status of the operations does not
// matter: the request as a whole was processed.
func (h *Handler) sendBulk(r *request, results []*bulkResult) error {
	return h.stream(r.c, http.StatusOK, func(w *bufio.Writer) error {
		_, _ = w.WriteString(`{"schemas":["` + bulkResponseURN + `"],"Operations":[`)
		separator := ""
		for _, result := range results {
			if result == nil { // not processed
				continue
			}
			text, err := encode(result)
			if err != nil {
				return err
			}
			_, _ = w.WriteString(separator)
			_, _ = w.Write(text)
			separator = ","
		}
		_, err := w.WriteString("]}")
		return err
	})
}

// parseBulk reads a bulk request. What is wrong with a single operation is kept
// with it, because the others don't depend on it (RFC 7644 §3.7.3). A single
// request that was made a bulk request has no bulkId.
func (h *Handler) parseBulk(ctx context.Context, c client, body []byte, single bool) (*bulkRequest, error) {
	message, err := decodeObject(body)
	if err != nil {
		return nil, err
	}
	if err := checkMessage(message, bulkRequestURN); err != nil {
		return nil, err
	}
	req := &bulkRequest{single: single}
	if limit := member(message, "failOnErrors"); limit != nil {
		n, ok := limit.(json.Number)
		if req.failOnErrors, err = strconv.Atoi(n.String()); !ok || err != nil || req.failOnErrors < 0 {
			return nil, fault.Field(fault.Invalid, "failOnErrors", "expected a number of errors, not %s", shorten(limit))
		}
	}
	operations, _ := member(message, "Operations").([]any)
	if len(operations) == 0 {
		return nil, badRequest(invalidSyntax, "Operations: expected an array of at least one operation")
	}
	if len(operations) > maxBulkOperations {
		return nil, fault.New(fault.TooLarge, "the request has %d operations; the limit is %d", len(operations), maxBulkOperations)
	}
	for i, operation := range operations {
		object, ok := operation.(map[string]any)
		if !ok {
			return nil, badRequest(invalidSyntax, "Operations[%d]: expected an object with method, path, bulkId and data", i)
		}
		req.operations = append(req.operations, h.parseBulkOperation(ctx, c, object))
	}
	req.link()
	return req, nil
}

// checkMessage fails unless "schemas" names the message (RFC 7644 §3.1).
func checkMessage(message map[string]any, urn string) error {
	schemas, _ := member(message, "schemas").([]any)
	for _, s := range schemas {
		if text, ok := s.(string); ok && strings.EqualFold(text, urn) {
			return nil
		}
	}
	return badRequest(invalidSyntax, "schemas: expected an array with %s", urn)
}

func (h *Handler) parseBulkOperation(ctx context.Context, c client, object map[string]any) *bulkOperation {
	op := &bulkOperation{}
	texts := []struct {
		name string
		into *string
	}{{"method", &op.method}, {"bulkId", &op.bulkID}, {"path", &op.path}, {"version", &op.version}}
	for _, text := range texts {
		value := member(object, text.name)
		s, ok := value.(string)
		if !ok && value != nil {
			op.err = fault.Field(fault.Invalid, text.name, "expected a string")
		}
		*text.into = s
	}
	op.method = strings.ToUpper(op.method)
	op.data, _ = member(object, "data").(map[string]any)
	if op.err == nil {
		op.err = h.locate(ctx, c, op)
	}
	return op
}

// locate finds what the operation is about: the kind of its path, and the
// resource or the bulkId in place of it.
func (h *Handler) locate(ctx context.Context, c client, op *bulkOperation) error {
	switch op.method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return fault.Field(fault.Invalid, "method", "expected POST, PUT, PATCH or DELETE, not %s", shorten(op.method))
	}
	if op.data == nil && op.method != http.MethodDelete {
		return fault.Field(fault.Invalid, "data", "expected the JSON object that a %s to the path would have for its body", op.method)
	}
	path, _ := strings.CutPrefix(op.path, c.base)
	endpoint, resource, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	k, err := h.kindAt(ctx, c.tenant, "/"+endpoint)
	if err != nil {
		return err
	}
	if k == nil {
		return fault.New(fault.NotFound, "path: expected the endpoint of a resource type, such as /Users, not %s", shorten(op.path))
	}
	op.kind = k
	if target, ok := strings.CutPrefix(resource, bulkIDPrefix); ok {
		op.target = target
	} else if op.id, err = url.PathUnescape(resource); err != nil || strings.ContainsAny(resource, "/?#") {
		return fault.New(fault.NotFound, "path: expected an endpoint and an id, not %s", shorten(op.path))
	}
	switch isPost, isCollection := op.method == http.MethodPost, resource == ""; {
	case isPost && !isCollection:
		return &Error{Status: http.StatusMethodNotAllowed, Detail: fmt.Sprintf("path: POST is for an endpoint, not for a resource such as %s", shorten(op.path))}
	case !isPost && isCollection:
		return &Error{Status: http.StatusMethodNotAllowed, Detail: fmt.Sprintf("path: %s is for a resource, not for the endpoint %s", op.method, shorten(op.path))}
	}
	return nil
}

// link finds the bulkIds that the operations refer to, and what is wrong with
// them: POST needs one of its own (RFC 7644 §3.7).
func (req *bulkRequest) link() {
	known := map[string]bool{}
	references := referenceNames{}
	for _, op := range req.operations {
		switch {
		case op.method != http.MethodPost:
		case op.bulkID == "" && (req.single || op.err != nil):
		case op.bulkID == "":
			op.err = fault.Field(fault.Invalid, "bulkId", "POST needs one within a bulk request")
		case known[op.bulkID]:
			op.err = fault.Field(fault.Invalid, "bulkId", "%s is there twice; expected one of its own for each operation", shorten(op.bulkID))
		default:
			known[op.bulkID] = true
		}
	}
	for _, op := range req.operations {
		if op.err != nil {
			continue
		}
		op.refs = references.in(op)
		for _, ref := range op.refs {
			if !known[ref] {
				op.err = &Error{Status: http.StatusConflict, Detail: fmt.Sprintf("no POST of this bulk request has the bulkId %s", shorten(ref))}
			}
		}
	}
}
