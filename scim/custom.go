package scim

import (
	"context"
	"net/http"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// kinds are the types of resources that the tenant has: users, groups, and
// those of its own making.
func (h *Handler) kinds(ctx context.Context, tenant id.Tenant) ([]*kind, error) {
	registry, err := h.directory.Schemas(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if registry == h.schemas {
		return []*kind{h.users, h.groups}, nil
	}
	kinds := make([]*kind, 0, len(registry.ResourceTypes()))
	for _, t := range registry.ResourceTypes() {
		switch t.Name {
		case h.users.t.Name:
			kinds = append(kinds, h.users.with(t))
		case h.groups.t.Name:
			kinds = append(kinds, h.groups.with(t))
		default:
			kinds = append(kinds, custom(h.directory, t))
		}
	}
	return kinds, nil
}

// kindAt returns the type of resources that the tenant has at the endpoint, such
// as "/Users", in whatever case; nil if there is none.
func (h *Handler) kindAt(ctx context.Context, tenant id.Tenant, endpoint string) (*kind, error) {
	kinds, err := h.kinds(ctx, tenant)
	for _, k := range kinds {
		if strings.EqualFold(k.t.Endpoint, endpoint) {
			return k, err
		}
	}
	return nil, err
}

// with is the kind with the tenant's extensions.
func (k *kind) with(t *schema.ResourceType) *kind {
	extended := *k
	extended.t = t
	return &extended
}

// custom are the resources of a type that the tenant has made.
func custom(d *directory.Directory, t *schema.ResourceType) *kind {
	return &kind{
		t: t, noun: t.Name,
		create: func(ctx context.Context, tenant id.Tenant, doc map[string]any) (*entity, error) {
			return customOf(d.CreateCustomResource(ctx, tenant, t.Name, doc))
		},
		read: func(ctx context.Context, tenant id.Tenant, resource string) (*entity, error) {
			parsed, err := identifier[id.Resource](resource)
			if err != nil {
				return nil, err
			}
			return customOf(d.CustomResource(ctx, tenant, t.Name, parsed))
		},
		change: func(ctx context.Context, tenant id.Tenant, resource string, ifMatch int64, change changeFunc) (*entity, error) {
			parsed, err := identifier[id.Resource](resource)
			if err != nil {
				return nil, err
			}
			return customOf(d.ChangeCustomResource(ctx, tenant, t.Name, parsed, ifMatch, func(current map[string]any) (map[string]any, error) {
				next, _, err := change(current)
				return next, err
			}))
		},
		remove: func(ctx context.Context, tenant id.Tenant, resource string, ifMatch int64) error {
			parsed, err := identifier[id.Resource](resource)
			if err != nil {
				return err
			}
			return d.DeleteCustomResource(ctx, tenant, t.Name, parsed, ifMatch)
		},
		page: func(ctx context.Context, tenant id.Tenant, q directory.Query) (*directory.Page[*entity], error) {
			page, err := d.CustomResources(ctx, tenant, t, q)
			return pageOf(page, err, customEntity)
		},
	}
}

func customOf(r *directory.CustomResource, err error) (*entity, error) {
	if err != nil {
		return nil, err
	}
	return customEntity(r), nil
}

func customEntity(r *directory.CustomResource) *entity {
	return &entity{id: string(r.ID), version: r.Version, created: r.Created, modified: r.Modified, document: r.Document()}
}

// serveCustom answers below the endpoints of the tenant's own types, which no
// route can know; what is no such endpoint is misspelled or unknown.
func (h *Handler) serveCustom(r *request) error {
	endpoint := "/" + r.c.Param("id")
	k, err := h.kindAt(r.ctx(), r.tenant, endpoint)
	if err != nil {
		return err
	}
	if k == nil && r.profile.name == directory.ProfileOkta {
		if k, err = h.offered(r, endpoint); err != nil {
			return err
		}
	}
	if k == nil || k.t.Endpoint != endpoint {
		return h.misspeltEndpoint(r)
	}
	rest := strings.TrimSuffix(strings.TrimPrefix(r.c.Param("rest"), "/"), "/")
	switch method := r.c.Request.Method; {
	case k.create == nil && rest != ".search" && !strings.Contains(rest, "/"):
		return choose(r, method, map[string]func(*request) error{
			http.MethodGet: func(r *request) error {
				if rest == "" {
					return h.list(r, k)
				}
				return h.serve(r, k, rest)
			},
		})
	case rest == ".search":
		return choose(r, method, map[string]func(*request) error{
			http.MethodPost: func(r *request) error { return h.search(r, k) },
		})
	case rest == "":
		return choose(r, method, map[string]func(*request) error{
			http.MethodGet:  func(r *request) error { return h.list(r, k) },
			http.MethodPost: func(r *request) error { return h.serve(r, k, "") },
		})
	case !strings.Contains(rest, "/"):
		one := func(r *request) error { return h.serve(r, k, rest) }
		return choose(r, method, map[string]func(*request) error{
			http.MethodGet: one, http.MethodPut: one, http.MethodPatch: one, http.MethodDelete: one,
		})
	}
	return unknownEndpoint(r)
}

// choose serves the method, or refuses one that the address doesn't have.
func choose(r *request, method string, serve map[string]func(*request) error) error {
	if get, ok := serve[http.MethodGet]; ok {
		serve[http.MethodHead] = get // net/http leaves out the body
	}
	if f, ok := serve[method]; ok {
		return f(r)
	}
	return notAllowed(method, func(m string) bool { return serve[m] != nil })
}
