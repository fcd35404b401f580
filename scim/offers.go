package scim

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// Okta reads from two lists what it may show its administrators of an
// application: roles and entitlements. It finds them by their schemas.
const (
	oktaRoleURN        = "urn:okta:scim:schemas:core:1.0:Role"
	oktaEntitlementURN = "urn:okta:scim:schemas:core:1.0:Entitlement"

	maxOfferText = 1000 // characters of a description that Okta takes
)

// offerTypes are the names of the resource types and their endpoints and schemas.
func offerTypes() []schema.Definition {
	return []schema.Definition{
		{Name: "Role", Description: "A role that a group of the tenant can give.", Endpoint: "/Roles", Schema: oktaRoleURN},
		{Name: "Entitlement", Description: "What the tenant is entitled to.", Endpoint: "/Entitlements", Schema: oktaEntitlementURN},
	}
}

// offersIn is the registry with these types. It fails where a tenant has made
// something of the same name; that comes first.
func offersIn(registry *schema.Registry) (*schema.Registry, error) {
	text := func(name, about string, required bool) *schema.Attribute {
		return &schema.Attribute{
			Name: name, Type: schema.String, Description: about, Required: required,
			Mutability: schema.ReadOnly, Returned: schema.Default, Uniqueness: schema.NotUnique,
		}
	}
	var schemas []*schema.Schema
	for _, d := range offerTypes() {
		schemas = append(schemas, &schema.Schema{ID: d.Schema, Name: d.Name, Description: d.Description, Attributes: []*schema.Attribute{
			text("displayName", "Its name, for display.", true),
			text("type", "What it is.", true),
			text("description", "What it is for.", false),
		}})
	}
	return registry.Extend(schemas, offerTypes())
}

// offered is the list at the endpoint, nil if there is none.
func (h *Handler) offered(r *request, endpoint string) (*kind, error) {
	if !slices.ContainsFunc(offerTypes(), func(d schema.Definition) bool { return strings.EqualFold(d.Endpoint, endpoint) }) {
		return nil, nil
	}
	registry, err := h.directory.Schemas(r.ctx(), r.tenant)
	if err != nil {
		return nil, err
	}
	if registry, err = offersIn(registry); err != nil {
		return nil, nil //nolint:nilerr // the tenant has something of that name, and no such list
	}
	for _, d := range offerTypes() {
		if t, ok := registry.ResourceType(d.Name); ok && strings.EqualFold(d.Endpoint, endpoint) {
			return h.offers(t), nil
		}
	}
	return nil, nil
}

// offers are the resources of one of the lists. There are few of them: queries
// are answered in memory.
func (h *Handler) offers(t *schema.ResourceType) *kind {
	all := func(ctx context.Context, tenant id.Tenant) ([]*entity, error) {
		offers, err := h.directory.Offers(ctx, tenant)
		if err != nil {
			return nil, err
		}
		var entities []*entity
		add := func(key, label, about string) {
			document := map[string]any{"schemas": []any{t.Schema.ID}, "displayName": cmp.Or(label, key), "type": strings.ToLower(t.Name)}
			if about != "" {
				runes := []rune(about)
				document["description"] = string(runes[:min(len(runes), maxOfferText)])
			}
			entities = append(entities, &entity{id: key, version: offers.Tenant.Version, created: offers.Tenant.Created, modified: offers.Tenant.Modified, document: document})
		}
		if t.Schema.ID == oktaRoleURN {
			for _, role := range offers.Roles {
				add(role.Key, role.Label, role.About)
			}
			return entities, nil
		}
		for _, key := range offers.Entitlements {
			add(key, "", "")
		}
		return entities, nil
	}
	return &kind{
		t: t, noun: t.Name,
		read: func(ctx context.Context, tenant id.Tenant, resource string) (*entity, error) {
			entities, err := all(ctx, tenant)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(entities, func(e *entity) bool { return e.id == resource })
			if i < 0 {
				return nil, &fault.Error{Kind: fault.NotFound}
			}
			return entities[i], nil
		},
		page: func(ctx context.Context, tenant id.Tenant, q directory.Query) (*directory.Page[*entity], error) {
			entities, err := all(ctx, tenant)
			if err != nil {
				return nil, err
			}
			return pageInMemory(t, entities, q), nil
		},
	}
}

// pageInMemory answers a query on resources that are all at hand.
func pageInMemory(t *schema.ResourceType, entities []*entity, q directory.Query) *directory.Page[*entity] {
	documents := map[*entity]map[string]any{}
	for _, e := range entities {
		whole := map[string]any{"id": e.id, "meta": meta(t, e.created, e.modified, "", e.version)}
		maps.Copy(whole, e.document)
		documents[e] = t.SearchDocument(whole)
	}
	found := slices.DeleteFunc(slices.Clone(entities), func(e *entity) bool { return q.Filter != nil && !schema.Match(q.Filter, documents[e]) })
	keyOf := func(e *entity) *string {
		if q.SortBy == nil {
			return nil
		}
		var value any = documents[e]
		for _, name := range q.SortBy.Attr.Path {
			object, _ := value.(map[string]any)
			value = object[name]
		}
		if value == nil {
			return nil
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil
		}
		key := string(text)
		return &key
	}
	slices.SortStableFunc(found, func(a, b *entity) int {
		x, y := keyOf(a), keyOf(b)
		order := 0
		switch {
		case x != nil && y != nil:
			order = cmp.Compare(*x, *y)
		case x != nil:
			order = -1 // what has none comes last
		case y != nil:
			order = 1
		}
		if q.Descending {
			order = -order
		}
		return order
	})
	p := &directory.Page[*entity]{Total: len(found)}
	first := max(q.StartIndex-1, 0)
	if q.After != nil {
		first = slices.IndexFunc(found, func(e *entity) bool { return e.id == q.After.ID }) + 1
	}
	first = min(first, len(found))
	last := min(first+q.Count, len(found))
	p.Items, p.More = found[first:last], last < len(found) && q.Count > 0
	if n := len(p.Items); n > 0 {
		p.Last = directory.Position{Key: keyOf(p.Items[n-1]), ID: p.Items[n-1].id}
	}
	return p
}
