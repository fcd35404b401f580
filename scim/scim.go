package scim

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/provisioning"
	"github.com/rolecall/rolecall/scim/schema"
)

// Handler serves the SCIM endpoints of all tenants. Make one with New; it is
// safe for concurrent use.
type Handler struct {
	directory *directory.Directory
	authn     *authn.Authn
	oidc      *oidc.OIDC
	limits    *limits
	schemas   *schema.Registry
	users     *kind
	groups    *kind
	cursors   cursors
	publicURL string
	log       *slog.Logger
	trail     *provisioning.Log
	now       func() time.Time

	keyring  *secret.Keyring
	parallel int
	wake     chan struct{} // tells Run that there is work

	rehearsals func() *gin.Engine // made when it is first needed
}

// Deps is what a Handler works with. All fields are required but Parallel.
type Deps struct {
	Directory *directory.Directory
	Authn     *authn.Authn
	OIDC      *oidc.OIDC
	Schemas   *schema.Registry // the one that Directory works with
	Keyring   *secret.Keyring  // of the instance: its cursors, and requests for later, hold on every node
	Now       func() time.Time
	PublicURL string // the server's address as clients know it, the base of every location
	Log       *slog.Logger
	Trail     *provisioning.Log // learns of every request

	Parallel int // operations of a bulk request that are carried out at a time; 0: one
}

// New returns a Handler.
func New(d Deps) (*Handler, error) {
	user, hasUser := d.Schemas.ResourceType("User")
	group, hasGroup := d.Schemas.ResourceType("Group")
	if !hasUser || !hasGroup {
		return nil, fmt.Errorf("scim: the schemas lack the resource type User or Group")
	}
	limits, err := newLimits(d.Now)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		directory: d.Directory, authn: d.Authn, oidc: d.OIDC, limits: limits, schemas: d.Schemas,
		users: users(d.Directory, user), groups: groups(d.Directory, group),
		cursors:   newCursors(d.Keyring, d.Now),
		publicURL: strings.TrimRight(d.PublicURL, "/"), log: d.Log,
		trail: d.Trail, now: d.Now,
		keyring: d.Keyring, parallel: max(d.Parallel, 1), wake: make(chan struct{}, asyncWorkers),
	}
	h.rehearsals = sync.OnceValue(h.newRehearsals)
	return h, nil
}

// methods is what can be done at an address, by HTTP method.
type methods map[string]gin.HandlerFunc

// Mount registers the endpoints of RFC 7644 §3.2 for every tenant, and answers
// in SCIM's form for whatever else is asked for below /t/{tenant}/scim.
func (h *Handler) Mount(r gin.IRouter) {
	r = r.Group("/t/:tenant/scim")
	h.mountDiscovery(r)
	h.mountKind(r, h.users)
	h.mountKind(r, h.groups)
	all := func(do func(r *request, kinds ...*kind) error) gin.HandlerFunc {
		return h.protect(func(r *request) error {
			kinds, err := h.kinds(r.ctx(), r.tenant)
			if err != nil {
				return err
			}
			return do(r, kinds...)
		})
	}
	h.mount(r, "/v2", methods{http.MethodGet: all(h.list)})
	h.mount(r, "/v2/.search", methods{http.MethodPost: all(h.search)})
	h.mount(r, "/v2/Bulk", methods{http.MethodPost: h.protect(h.bulk)})
	h.mountMe(r)
	h.mountAsync(r)
	h.mountUnknown(r)
}

// mountKind registers the endpoint of a kind of resources that every tenant has.
func (h *Handler) mountKind(r gin.IRouter, core *kind) {
	extended := func(do func(r *request, k *kind) error) gin.HandlerFunc {
		return h.protect(func(r *request) error {
			k, err := h.kindAt(r.ctx(), r.tenant, core.t.Endpoint)
			if err != nil {
				return err
			}
			return do(r, k)
		})
	}
	path := "/v2" + core.t.Endpoint
	one := extended(func(r *request, k *kind) error { return h.serve(r, k, r.c.Param("id")) })
	h.mount(r, path, methods{http.MethodGet: extended(func(r *request, k *kind) error { return h.list(r, k) }), http.MethodPost: one})
	h.mount(r, path+"/.search", methods{http.MethodPost: extended(func(r *request, k *kind) error { return h.search(r, k) })})
	h.mount(r, path+"/:id", methods{http.MethodGet: one, http.MethodPut: one, http.MethodPatch: one, http.MethodDelete: one})
}

// serve carries out the operation that a request is; id is the resource that its
// address names, if any.
func (h *Handler) serve(r *request, k *kind, id string) error {
	op, err := r.operation(k, id)
	if err != nil {
		return err
	}
	if accepted, err := h.laterOne(r, op); accepted || err != nil {
		return err
	}
	out, err := h.do(r.ctx(), op)
	if err != nil {
		return err
	}
	return h.send(r.c, out)
}

// operation reads the request on a resource of the kind, or on a new one.
func (r *request) operation(k *kind, id string) (*operation, error) {
	values, err := r.parameters()
	if err != nil {
		return nil, err
	}
	op := &operation{
		client: r.client, kind: k, method: r.c.Request.Method, id: id, selection: selectionOf(values),
		ifMatch: r.c.GetHeader("If-Match"), ifNoneMatch: r.c.GetHeader("If-None-Match"),
	}
	switch op.method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		op.body, err = readBody(r.c)
	}
	return op, err
}

// everyMethod is what an address is registered for, so that the answer for a
// method that it doesn't have is SCIM's as well.
func everyMethod() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
	}
}

// mount registers an address, with and without a slash at its end, and what
// lies below a resource, where nothing is.
func (h *Handler) mount(r gin.IRouter, path string, m methods) {
	if get, ok := m[http.MethodGet]; ok {
		m[http.MethodHead] = get // net/http leaves out the body
	}
	refuse := h.handle(func(c *gin.Context) error {
		return notAllowed(c.Request.Method, func(method string) bool { return m[method] != nil })
	})
	for _, method := range everyMethod() {
		serve := m[method]
		if serve == nil {
			serve = refuse
		}
		r.Handle(method, path, serve)
		if strings.HasSuffix(path, "/:id") {
			r.Handle(method, path+"/*rest", h.protect(unknownEndpoint))
		} else {
			r.Handle(method, path+"/", serve)
		}
	}
}

// notAllowed refuses a method where others are possible.
func notAllowed(method string, possible func(method string) bool) error {
	allow := strings.Join(slices.DeleteFunc(everyMethod(), func(m string) bool { return !possible(m) }), ", ")
	return &Error{
		Status: http.StatusMethodNotAllowed, Allow: allow,
		Detail: fmt.Sprintf("%s is not possible here; expected one of %s", method, allow),
	}
}

// mountUnknown answers for addresses that no other route has: those of the
// tenants' own types, and those that there are not.
func (h *Handler) mountUnknown(r gin.IRouter) {
	for _, method := range everyMethod() {
		r.Handle(method, "/v2/:id", h.protect(h.serveCustom))
		r.Handle(method, "/v2/:id/*rest", h.protect(h.serveCustom))
		r.Handle(method, "/:version", h.protect(unknownVersion))
		r.Handle(method, "/:version/*rest", h.protect(unknownVersion))
	}
}

// misspeltEndpoint sends those on who write an endpoint in another case, as
// Microsoft's tests do.
func (h *Handler) misspeltEndpoint(r *request) error {
	name := r.c.Param("id")
	kinds, err := h.kinds(r.ctx(), r.tenant)
	if err != nil {
		return err
	}
	endpoints := []string{"ServiceProviderConfig", "ResourceTypes", "Schemas", "Bulk", "Me"}
	for _, k := range kinds {
		endpoints = append(endpoints, strings.TrimPrefix(k.t.Endpoint, "/"))
	}
	for _, endpoint := range endpoints {
		if name != endpoint && strings.EqualFold(name, endpoint) {
			address := *r.c.Request.URL
			address.RawPath = ""
			address.Path = strings.TrimSuffix(address.Path, name+r.c.Param("rest")) + endpoint + r.c.Param("rest")
			r.c.Redirect(http.StatusPermanentRedirect, address.RequestURI())
			return nil
		}
	}
	return unknownEndpoint(r)
}

func unknownEndpoint(r *request) error {
	return fault.New(fault.NotFound, "there is no endpoint %s", shorten(r.c.Request.URL.Path))
}

// unknownVersion refuses another version of the protocol (RFC 7644 §3.13).
func unknownVersion(r *request) error {
	return badRequest(invalidVers, "there is no version %s of this service; expected v2", shorten(r.c.Param("version")))
}

// base is the address of a tenant's endpoints, without a slash at its end.
func (h *Handler) base(tenant string) string {
	return h.publicURL + "/t/" + url.PathEscape(tenant) + "/scim/v2"
}
