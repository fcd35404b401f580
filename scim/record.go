package scim

import (
	"context"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/provisioning"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// record is what a request, or an operation of a bulk request, becomes in the
// provisioning log. It travels in the context of what is done for it.
type record struct {
	provisioning.Record
	parts bool // there are records of its operations

	expired bool // the token is one of the tenant's, and has expired
}

type recordKey struct{}

// recordOf returns the record that what is done in ctx belongs to. Where nothing
// is recorded it is one that nobody reads.
func recordOf(ctx context.Context) *record {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok {
		return rec
	}
	return &record{}
}

// in returns ctx with the record, which learns what changes under it.
func (rec *record) in(ctx context.Context) context.Context {
	return directory.WithObserver(context.WithValue(ctx, recordKey{}, rec), func(change *directory.ResourceChange) {
		rec.Happened = append(rec.Happened, change)
	})
}

// recorded serves a request and hands what came of it to the provisioning log.
func (h *Handler) recorded(f func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		rec := &record{Record: provisioning.Record{
			TenantName: c.Param("tenant"), Address: c.Request.URL.Path, RawQuery: c.Request.URL.RawQuery,
			Entry: provisioning.Entry{
				Time: h.now(), Method: c.Request.Method, Request: audit.RequestFrom(c.Request.Context()), IfMatch: c.GetHeader("If-Match"),
			},
		}}
		c.Request = c.Request.WithContext(rec.in(c.Request.Context()))
		served := false
		defer func() {
			if !served { // a programmer's mistake, which somebody above recovers from
				rec.Status, rec.Code = http.StatusInternalServerError, provisioning.CodePanic
			}
			rec.close(c)
			h.keep(c.Request.Context(), rec)
		}()
		if err := f(c); err != nil {
			rec.refused(c.Request.Context(), err)
			h.writeError(c, err)
		} else {
			rec.Status = c.Writer.Status()
		}
		served = true
	}
}

// partOf begins the record of an operation of the bulk request in ctx.
func (h *Handler) partOf(ctx context.Context, c client, op *bulkOperation) *record {
	whole := recordOf(ctx)
	path, _ := strings.CutPrefix(op.path, c.base)
	part := &record{Record: provisioning.Record{
		Address: strings.TrimPrefix(c.base, h.publicURL) + path, Entry: provisioning.Entry{
			Time: h.now(), Tenant: c.tenant, Method: op.method, Request: whole.Request, IfMatch: op.version,
			Connection: whole.Connection, Actor: whole.Actor,
		},
	}}
	if op.kind == nil { // of what it is about, nobody knows which attributes are secret
		return part
	}
	part.Type, part.Resource, part.NeverShown = op.kind.t.Name, op.id, neverShown(op.kind.t)
	if op.data != nil {
		part.named(op.data)
		if body, err := encode(op.data); err == nil {
			part.RawBody = body
		}
	}
	return part
}

// keep hands a record over.
func (h *Handler) keep(ctx context.Context, rec *record) {
	rec.Duration = h.now().Sub(rec.Time)
	if rec.Status < http.StatusBadRequest && (rec.parts || isRead(rec)) {
		rec.RawBody = nil
	}
	if r := rehearsalOf(ctx); r != nil {
		r.record = rec // of parts comes the whole at last
		return
	}
	h.trail.Add(&rec.Record)
}

func isRead(rec *record) bool {
	return rec.Method == http.MethodGet || rec.Method == http.MethodHead || strings.HasSuffix(rec.Address, "/.search")
}

// refused notes why a request led to nothing.
func (rec *record) refused(ctx context.Context, err error) {
	e := errorOf(err)
	rec.Status, rec.SCIMType, rec.Detail = e.Status, e.SCIMType, e.Detail
	if e.Status != http.StatusInternalServerError {
		rec.Code = fault.As(err).Code
	} else if ctx.Err() != nil {
		rec.Code = provisioning.CodeCanceled
	}
	rec.Happened = nil // it was rolled back
	if answer, err := encode(e); err == nil {
		rec.ErrorAnswer = answer
	}
}

// by notes who has proven to ask.
func (rec *record) by(tenant id.Tenant, connection id.Connection, actor audit.Actor) {
	rec.Tenant, rec.Connection, rec.Actor = tenant, connection, actor
}

// byConnection is by for a connection, by one of its tokens or its application.
func (rec *record) byConnection(c *directory.Connection) {
	actor := audit.Actor{Kind: audit.ActorApplication, ID: c.Application}
	if c.Token != nil {
		actor = audit.Actor{Kind: provisioning.ActorConnectionToken, ID: string(c.Token.ID)}
	}
	rec.by(c.Tenant, c.ID, actor)
}

// close adds what only the address or the header says.
func (rec *record) close(c *gin.Context) {
	if rec.Status == http.StatusUnauthorized {
		if rec.expired {
			rec.Code = provisioning.CodeExpiredToken
			return
		}
		rec.Code = tokenProblem(c.Request.Header)
		return
	}
	if rec.Resource == "" {
		if named, err := id.Parse[string](c.Param("id")); err == nil {
			rec.Resource = named
		}
	}
}

// tokenProblem says why a credential was not accepted, as far as the request
// shows it.
func tokenProblem(header http.Header) string {
	values := header.Values("Authorization")
	switch {
	case len(values) == 0 || strings.TrimSpace(values[0]) == "":
		return provisioning.CodeNoToken
	case bearer(values).Empty():
		return provisioning.CodeTokenScheme
	default:
		return provisioning.CodeUnknownToken
	}
}

// about notes which resource an operation is about.
func (rec *record) about(op *operation, out *outcome, err error) {
	rec.Type, rec.Resource, rec.RawBody = op.kind.t.Name, op.id, op.body
	rec.NeverShown = neverShown(op.kind.t)
	if out != nil {
		rec.Resource = out.id
	}
	if err == nil || op.body == nil {
		return
	}
	// What was refused may be nothing yet that has a name.
	if body, failed := decodeObject(op.body); failed == nil {
		rec.named(body)
	}
}

// named takes the names from a document of the resource.
func (rec *record) named(document map[string]any) {
	for _, attribute := range []string{"displayName", "userName"} {
		if name, ok := member(document, attribute).(string); ok {
			rec.Name = name
		}
	}
	if external, ok := member(document, "externalId").(string); ok {
		rec.ExternalID = external
	}
}

// asksFor notes what a list is of, and whom a look-up is for.
func (rec *record) asksFor(e filter.Expr, kinds []*kind) {
	if len(kinds) == 1 {
		rec.Type = kinds[0].t.Name
	}
	compare, ok := e.(filter.Compare)
	if !ok || compare.Op != filter.Eq {
		return
	}
	value, ok := compare.Value.(string)
	if !ok {
		return
	}
	switch strings.ToLower(compare.Attr.Name) {
	case "username", "displayname":
		rec.Name = value
	case "externalid":
		rec.ExternalID = value
	case "id":
		rec.Resource = value
	}
}

// neverShown are the names of the attributes of a type that no answer has, in
// lower case.
func neverShown(t *schema.ResourceType) []string {
	names := hidden(nil, t.Schema.Attributes)
	for _, extension := range t.Extensions {
		names = hidden(names, extension.Schema.Attributes)
	}
	return names
}

func hidden(names []string, attributes []*schema.Attribute) []string {
	for _, a := range attributes {
		if a.Returned == schema.Never {
			names = append(names, strings.ToLower(a.Name))
		}
		names = hidden(names, a.SubAttributes)
	}
	return names
}
