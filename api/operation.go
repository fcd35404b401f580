package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
)

// basePath is where the operations are; their paths are below it.
const basePath = "/api/v1"

// operation is one thing that a program can do below basePath.
type operation struct {
	ID     string // camelCase, unique; a client generator makes a method of it
	Method string
	// Path is below the tenant. A parameter in one place has one name in all
	// paths, because the router wants it so.
	Path    string
	Tag     string // the resource that it belongs to
	Summary string
	About   string // what the summary doesn't say
	Status  int    // of success; default 200
}

// operationsOf returns what describes the operations of a resource: with its tag, at
// paths below its own.
func operationsOf(resource, tag string) func(id, method, path, summary, text string, status int) operation {
	return func(id, method, path, summary, text string, status int) operation {
		return operation{ID: id, Method: method, Path: resource + path, Tag: tag, Summary: summary, About: text, Status: status}
	}
}

// operations registers operations.
type operations struct {
	handler *Handler
	api     huma.API
}

// mountOperations registers what is below basePath: each resource in a file of
// its own, with a line here. The description is open, so that programs can be
// written before there is a credential.
func (h *Handler) mountOperations(r gin.IRouter) {
	group := r.Group(basePath, h.authenticate)
	api := humagin.NewWithGroup(nil, group, description())
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { next(refusals{ctx}) })
	o := &operations{handler: h, api: api}
	o.support()
	o.tenants()
	o.policy()
	o.branding()
	o.members()
	o.me()
	o.accounts()
	o.requests()
	o.applicationTokens()
	o.applications()
	o.connections()
	o.scimSchemas()
	o.eventStreams()
	o.logoutDeliveries()
	o.provisioningTargets()
	o.provisioningLog()
	o.identityProviders()
	delete(api.OpenAPI().Components.Schemas.Map(), "ErrorModel") // problem is in its place
	describe := sync.OnceValues(func() ([]byte, error) { return json.Marshal(api.OpenAPI()) })
	r.GET(basePath+"/openapi.json", func(c *gin.Context) {
		document, err := describe()
		if err != nil {
			h.fail(c, err)
			return
		}
		c.Data(http.StatusOK, "application/vnd.oai.openapi+json;version=3.1", document)
	})
}

// description is the OpenAPI document before any operation is in it.
func description() huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Rolecall", Version: "1",
				Description: "Administration of tenants. What a caller may do is decided by the role system of the tenant, " +
					"as it is at that moment; a refusal has the reason as code.",
			},
			Servers: []*huma.Server{{URL: basePath}},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", Description: "An application token, an access token with the scope api, or one of client credentials."},
					"basic":  {Type: "http", Scheme: "basic", Description: "client_id and client secret of an application."},
				},
			},
			Security: []map[string][]string{{"bearer": {}}, {"basic": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{transform},
	}
}

// inTenant registers an operation below /tenants/{tenant}, which is given to do
// if it is within the caller's reach; if not, it is not found. I is a struct with
// parameters (tags path, query, header) and a Body, O one with a Body; what they
// embed must be exported. Errors are faults.
func inTenant[I, O any](o *operations, op operation, do func(ctx context.Context, t *directory.Tenant, in *I) (*O, error)) {
	op.Path = "/tenants/{tenant}" + op.Path
	described := o.describe(op)
	described.Parameters = append(described.Parameters, &huma.Param{
		Name: "tenant", In: "path", Required: true, Description: "Slug or id of the tenant", Schema: &huma.Schema{Type: huma.TypeString},
	})
	described.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		next(huma.WithValue(ctx, tenantName{}, ctx.Param("tenant")))
	}}
	register(o, described, func(ctx context.Context, in *I) (*O, error) {
		name, _ := ctx.Value(tenantName{}).(string)
		t, err := o.handler.tenant(ctx, name)
		if err != nil {
			return nil, err
		}
		return do(ctx, t, in)
	})
}

// ofCaller registers an operation below /me, about the caller and no one tenant,
// under the rules of inTenant.
func ofCaller[I, O any](o *operations, op operation, do func(ctx context.Context, in *I) (*O, error)) {
	op.Path = "/me" + op.Path
	register(o, o.describe(op), do)
}

// register registers an operation whose errors are faults.
func register[I, O any](o *operations, described huma.Operation, do func(ctx context.Context, in *I) (*O, error)) {
	huma.Register(o.api, described, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, o.handler.problemOf(ctx, err)
		}
		return out, nil
	})
}

// tenantName is the context key of the tenant in the address.
type tenantName struct{}

func (o *operations) describe(op operation) huma.Operation {
	problems := o.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problem](), true, "Problem")
	return huma.Operation{
		OperationID: op.ID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.About,
		Tags: []string{op.Tag}, DefaultStatus: cmp.Or(op.Status, http.StatusOK), MaxBodyBytes: maxBody,
		Responses: map[string]*huma.Response{"default": {
			Description: "What went wrong (RFC 9457)",
			Content:     map[string]*huma.MediaType{problemType: {Schema: problems}},
		}},
	}
}

// refusals is a request whose refusal for its form has the status 400, as every
// other that is fault.Invalid; the library says 422.
type refusals struct{ humaContext }

// humaContext gives huma.Context a name under which it can be embedded, for it
// has a method Context.
type humaContext huma.Context

// SetStatus implements huma.Context.
func (r refusals) SetStatus(status int) { r.humaContext.SetStatus(statusOf(status)) }

func statusOf(status int) int {
	if status == http.StatusUnprocessableEntity {
		return http.StatusBadRequest
	}
	return status
}

// missing is what the library says of a member that is not there, at the place
// of the object that lacks it.
var missing = regexp.MustCompile(`^expected required property (\S+) to be present$`)

// transform brings what the library refuses by itself, because the request does
// not fit the description, into the form of every other problem. Values are
// left out: they may be secrets.
func transform(_ huma.Context, _ string, body any) (any, error) {
	m, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	status := statusOf(m.Status)
	p := &problem{Title: http.StatusText(status), Status: status, Detail: m.Detail}
	var details []string
	for _, e := range m.Errors {
		where := e.Location
		for _, place := range []string{"body.", "query.", "path.", "header."} {
			where = strings.TrimPrefix(where, place)
		}
		if name := missing.FindStringSubmatch(e.Message); name != nil {
			where = strings.TrimPrefix(strings.TrimPrefix(where, "body")+"."+name[1], ".")
		}
		if p.Field == "" {
			p.Field = where
		}
		details = append(details, strings.TrimPrefix(where+": "+e.Message, ": "))
	}
	if len(details) > 0 {
		p.Detail = strings.Join(details, "; ")
	}
	return p, nil
}

// Page is the part of a list that is asked for, to be embedded in the input. It
// is exported because the library passes over fields that are not.
type Page struct {
	Cursor string `query:"cursor" maxLength:"200" doc:"next of the page before; empty: the first page"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most so many items"`
}

// errCursor is the answer to a cursor that no page has given.
func errCursor() error {
	return fault.Field(fault.Invalid, "cursor", "this is not the cursor of a page")
}

// list is the body of a page.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one"`
}

// pageOf lists the first limit of what was found, each as body shows it. That one more
// was found than the page holds says that there is a next page, whose cursor is that of
// the last one shown.
func pageOf[T, B any](found []T, limit int, cursor func(*T) string, body func(*T) B) list[B] {
	shown := listOf(found[:min(limit, len(found))], body)
	if len(found) > limit {
		shown.Next = cursor(&found[limit-1])
	}
	return shown
}

// listOf lists all that there are, each as body shows it.
func listOf[T, B any](all []T, body func(*T) B) list[B] {
	shown := list[B]{Items: make([]B, 0, len(all))}
	for i := range all {
		shown.Items = append(shown.Items, body(&all[i]))
	}
	return shown
}
