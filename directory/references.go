package directory

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// reference is what a document says to be a resource of the tenant.
type reference struct {
	attribute string   // as clients spell it
	types     []string // names of resource types
	value     string   // an id, or an address that ends with endpoint and id
}

// checkReferences fails with fault.Invalid where a document refers to a resource
// that the tenant does not have, by an attribute of the tenant's own schemas that
// says which types it refers to (RFC 7643 §7, referenceTypes). What the document
// before, nil for none, refers to already is let be: resources go without those
// being asked who refer to them.
func (d *Directory) checkReferences(ctx context.Context, tenant id.Tenant, t *schema.ResourceType, before, after map[string]any) error {
	c, err := d.schemas.of(ctx, tenant)
	if err != nil || c.version == 0 || t == nil {
		return err
	}
	known := d.references(t, before)
	wanted := slices.DeleteFunc(d.references(t, after), func(r reference) bool {
		return slices.ContainsFunc(known, func(k reference) bool { return k.attribute == r.attribute && k.value == r.value })
	})
	if len(wanted) == 0 {
		return nil
	}
	var ids []string
	for _, r := range wanted {
		_, named := r.place()
		ids = append(ids, named)
	}
	members, err := d.store.MemberKinds(ctx, tenant, ids)
	if err != nil {
		return err
	}
	for _, r := range wanted {
		found, err := d.refers(ctx, tenant, c.registry, r, members)
		if err != nil {
			return err
		}
		if !found {
			return fault.Field(fault.Invalid, r.attribute, "expected the id of a %s of this tenant, not %q", strings.Join(r.types, " or "), r.value)
		}
	}
	return nil
}

// place is the endpoint that a reference names, empty for none, and the id.
func (r reference) place() (endpoint, named string) {
	at := strings.LastIndexByte(r.value, '/')
	if at < 0 {
		return "", r.value
	}
	endpoint = r.value[:at]
	return "/" + endpoint[strings.LastIndexByte(endpoint, '/')+1:], r.value[at+1:]
}

func (d *Directory) refers(ctx context.Context, tenant id.Tenant, registry *schema.Registry, r reference, members map[string]MemberKind) (bool, error) {
	endpoint, named := r.place()
	for _, name := range r.types {
		t, ok := registry.ResourceType(name)
		if !ok || endpoint != "" && !strings.EqualFold(endpoint, t.Endpoint) {
			continue
		}
		kind, isMember := members[named]
		switch t.Name {
		case typeUser, typeGroup:
			if isMember && (kind == MemberGroup) == (t.Name == typeGroup) {
				return true, nil
			}
		default:
			resource, err := id.Parse[id.Resource](named)
			if err != nil {
				continue
			}
			if _, err = d.store.CustomResource(ctx, tenant, t.Name, resource); err == nil {
				return true, nil
			}
			if !errors.Is(err, fault.NotFound) {
				return false, err
			}
		}
	}
	return false, nil
}

// references are those of a document by attributes of the tenant's own schemas.
func (d *Directory) references(t *schema.ResourceType, document map[string]any) []reference {
	var all []reference
	collect := func(s *schema.Schema, values map[string]any, prefix string) {
		if _, core := d.schemas.core.Schema(s.ID); core || values == nil {
			return
		}
		for _, a := range s.Attributes {
			for _, value := range several(values[a.Name]) {
				all = appendReference(all, a, prefix+a.Name, value)
				parts, _ := value.(map[string]any)
				for _, sub := range a.SubAttributes {
					for _, value := range several(parts[sub.Name]) {
						all = appendReference(all, sub, prefix+a.Name+"."+sub.Name, value)
					}
				}
			}
		}
	}
	collect(t.Schema, document, "")
	for _, e := range t.Extensions {
		values, _ := document[e.Schema.ID].(map[string]any)
		collect(e.Schema, values, e.Schema.ID+":")
	}
	return all
}

func several(value any) []any {
	if list, ok := value.([]any); ok {
		return list
	}
	return []any{value}
}

// appendReference adds a value of an attribute that refers to resources only.
func appendReference(all []reference, a *schema.Attribute, name string, value any) []reference {
	text, ok := value.(string)
	elsewhere := slices.ContainsFunc(a.ReferenceTypes, func(t string) bool { return strings.EqualFold(t, "external") || strings.EqualFold(t, "uri") })
	if !ok || text == "" || a.Type != schema.Reference || len(a.ReferenceTypes) == 0 || elsewhere {
		return all
	}
	return append(all, reference{name, a.ReferenceTypes, text})
}
