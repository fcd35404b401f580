package directory

import (
	"context"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// What a tenant may add.
const (
	maxSchemas    = 50
	maxTypes      = 20
	maxAttributes = 200     // of a schema, with sub-attributes
	maxIndexed    = 20      // attributes that are indexed or unique
	maxReindexed  = 100_000 // resources that one change brings up to date

	reindexPage = 500
)

// schemaURN is the form of the URI of a tenant's own schema: one that fits into
// one part of an address.
var schemaURN = regexp.MustCompile(`^urn:[A-Za-z0-9][A-Za-z0-9-]{0,31}(:[A-Za-z0-9._-]+)+$`)

// reservedEndpoints are what the server has below the address of every tenant.
var reservedEndpoints = []string{"/Bulk", "/Me", "/Schemas", "/ResourceTypes", "/ServiceProviderConfig", "/AsyncRequests"} //nolint:gochecknoglobals // a constant

// SchemaSet returns what the tenant has added to the schemas of SCIM.
func (d *Directory) SchemaSet(ctx context.Context, tenant id.Tenant) (*SchemaSet, error) {
	if err := d.Permitted(ctx, tenant, permissionRead); err != nil {
		return nil, err
	}
	set, err := d.store.SchemaSet(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for i, own := range set.Types {
		if core, ok := d.schemas.core.ResourceType(own.Name); ok {
			set.Types[i].Description, set.Types[i].Endpoint, set.Types[i].Schema = core.Description, core.Endpoint, core.Schema.ID
		}
	}
	return set, nil
}

// PutSchemas makes the tenant have the schemas and resource types, each new or
// in the place of the one of that URI or name; a type User or Group stands for
// the extensions of people or groups. It fails with fault.Invalid for what is
// no such definition, and with fault.Conflict, which says how many, where
// resources have values that the change would make meaningless. Values that come
// to compare in another way, or to be unique, are brought up to date with it.
func (d *Directory) PutSchemas(ctx context.Context, tenant id.Tenant, schemas []*schema.Schema, types []schema.Definition) error {
	return d.changeSchemas(ctx, tenant, permissionUpdate, "schemas.put", func(set *SchemaSet) error {
		for _, s := range schemas {
			if !schemaURN.MatchString(s.ID) {
				return fault.Field(fault.Invalid, "id", "expected a URN such as urn:example:schemas:2.0:Device")
			}
			i := slices.IndexFunc(set.Schemas, func(have *schema.Schema) bool { return strings.EqualFold(have.ID, s.ID) })
			if i < 0 {
				set.Schemas = append(set.Schemas, s)
				continue
			}
			kept := *s
			kept.ID = set.Schemas[i].ID
			set.Schemas[i] = &kept
		}
		for _, t := range types {
			own, err := d.ownDefinition(t)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(set.Types, func(have schema.Definition) bool { return strings.EqualFold(have.Name, own.Name) })
			if i < 0 {
				set.Types = append(set.Types, own)
				continue
			}
			own.Name = set.Types[i].Name
			set.Types[i] = own
		}
		return nil
	})
}

// ownDefinition is what a tenant says of a type; of User and Group only the
// extensions are its own.
func (d *Directory) ownDefinition(t schema.Definition) (schema.Definition, error) {
	core, ok := d.schemas.core.ResourceType(t.Name)
	if !ok {
		if slices.ContainsFunc(reservedEndpoints, func(e string) bool { return strings.EqualFold(e, t.Endpoint) }) {
			return t, fault.Field(fault.Invalid, "endpoint", "expected an endpoint that isn't taken")
		}
		return t, nil
	}
	if t.Endpoint != "" && t.Endpoint != core.Endpoint {
		return t, fault.Field(fault.Invalid, "endpoint", "expected %s, the endpoint of every tenant's %s", core.Endpoint, core.Name)
	}
	own := schema.Definition{Name: core.Name, Schema: t.Schema}
	for _, e := range t.Extensions {
		if !slices.ContainsFunc(core.Extensions, func(c schema.Extension) bool { return strings.EqualFold(c.Schema.ID, e.Schema) }) {
			own.Extensions = append(own.Extensions, e)
		}
	}
	return own, nil
}

// DeleteSchema removes a schema of the tenant's own that no resource type uses.
func (d *Directory) DeleteSchema(ctx context.Context, tenant id.Tenant, uri string) error {
	return d.changeSchemas(ctx, tenant, permissionDelete, "schemas.delete", func(set *SchemaSet) error {
		for _, t := range set.Types {
			uses := strings.EqualFold(t.Schema, uri) || slices.ContainsFunc(t.Extensions, func(e schema.ExtensionDefinition) bool { return strings.EqualFold(e.Schema, uri) })
			if uses {
				return fault.New(fault.Conflict, "the resource type %s uses the schema", t.Name)
			}
		}
		count := len(set.Schemas)
		set.Schemas = slices.DeleteFunc(set.Schemas, func(s *schema.Schema) bool { return strings.EqualFold(s.ID, uri) })
		if len(set.Schemas) == count {
			return fault.New(fault.NotFound, "the tenant has no schema of its own with that URI")
		}
		return nil
	})
}

// DeleteResourceType removes a resource type of the tenant's own, which must be
// empty; of User and Group it removes the tenant's extensions.
func (d *Directory) DeleteResourceType(ctx context.Context, tenant id.Tenant, name string) error {
	return d.changeSchemas(ctx, tenant, permissionDelete, "resource_types.delete", func(set *SchemaSet) error {
		count := len(set.Types)
		set.Types = slices.DeleteFunc(set.Types, func(t schema.Definition) bool { return strings.EqualFold(t.Name, name) })
		if len(set.Types) == count {
			return fault.New(fault.NotFound, "the tenant has no resource type of its own with that name")
		}
		return nil
	})
}

// changeSchemas brings what the tenant has added to what edit makes of it. No
// resource of the tenant is written meanwhile: whoever writes one holds the
// version, before any row. So nothing else is locked before the version here.
func (d *Directory) changeSchemas(ctx context.Context, tenant id.Tenant, permission, action string, edit func(set *SchemaSet) error) error {
	defer d.schemas.forget(tenant)
	return d.store.InTx(ctx, func(ctx context.Context) error {
		if err := d.Permitted(ctx, tenant, permission); err != nil {
			return err
		}
		old, next, err := d.edited(ctx, tenant, edit)
		if err != nil || reflect.DeepEqual(old, next) {
			return err
		}
		if err := d.store.AdvanceSchemas(ctx, tenant); err != nil {
			return err
		}
		// Once more, since nobody else changes it now.
		if old, next, err = d.edited(ctx, tenant, edit); err != nil {
			return err
		}
		if err := d.replaceSchemas(ctx, tenant, old, next); err != nil {
			return err
		}
		return d.record(ctx, tenant, action, "tenant", string(tenant), map[string]any{"schemas": changedSchemas(old, next), "resource_types": changedTypes(old, next)})
	})
}

// edited returns what the tenant has added, and what edit makes of it.
func (d *Directory) edited(ctx context.Context, tenant id.Tenant, edit func(set *SchemaSet) error) (old, next *SchemaSet, err error) {
	if old, err = d.store.SchemaSet(ctx, tenant); err != nil {
		return nil, nil, err
	}
	next = &SchemaSet{Version: old.Version, Schemas: slices.Clone(old.Schemas), Types: slices.Clone(old.Types)}
	return old, next, edit(next)
}

// replaceSchemas checks the new set, brings resources up to date and stores what
// differs.
func (d *Directory) replaceSchemas(ctx context.Context, tenant id.Tenant, old, next *SchemaSet) error {
	before, err := d.schemas.core.Extend(old.Schemas, old.Types)
	if err != nil {
		return err
	}
	after, err := d.schemas.core.Extend(next.Schemas, next.Types)
	if err != nil {
		return invalidSchema(err)
	}
	if err := checkLimits(next); err != nil {
		return err
	}
	for _, t := range before.ResourceTypes() {
		if err := d.migrate(ctx, tenant, t, after); err != nil {
			return err
		}
	}
	if err := d.keepMappings(ctx, tenant, after); err != nil {
		return err
	}
	changedURIs, changedNames := changedSchemas(old, next), changedTypes(old, next)
	for _, uri := range changedURIs {
		if s := find(next.Schemas, uri); s != nil {
			err = d.store.PutSchema(ctx, tenant, s, d.now())
		} else {
			err = d.store.DeleteSchema(ctx, tenant, uri)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range changedNames {
		i := slices.IndexFunc(next.Types, func(t schema.Definition) bool { return t.Name == name })
		if i >= 0 {
			err = d.store.PutResourceType(ctx, tenant, next.Types[i], d.now())
		} else {
			err = d.store.DeleteResourceType(ctx, tenant, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func find(schemas []*schema.Schema, uri string) *schema.Schema {
	for _, s := range schemas {
		if s.ID == uri {
			return s
		}
	}
	return nil
}

func changedSchemas(old, next *SchemaSet) []string {
	uris := []string{}
	for _, s := range slices.Concat(old.Schemas, next.Schemas) {
		if !slices.Contains(uris, s.ID) && !reflect.DeepEqual(find(old.Schemas, s.ID), find(next.Schemas, s.ID)) {
			uris = append(uris, s.ID)
		}
	}
	return uris
}

func changedTypes(old, next *SchemaSet) []string {
	names := []string{}
	of := func(set *SchemaSet, name string) *schema.Definition {
		for i := range set.Types {
			if set.Types[i].Name == name {
				return &set.Types[i]
			}
		}
		return nil
	}
	for _, t := range slices.Concat(old.Types, next.Types) {
		if !slices.Contains(names, t.Name) && !reflect.DeepEqual(of(old, t.Name), of(next, t.Name)) {
			names = append(names, t.Name)
		}
	}
	return names
}

// invalidSchema is an error of scim/schema in the form of the domain.
func invalidSchema(err error) error {
	if e, ok := errors.AsType[*schema.Error](err); ok {
		return fault.Field(fault.Invalid, e.Path, "%s", e.Detail)
	}
	return err
}

func checkLimits(set *SchemaSet) error {
	if len(set.Schemas) > maxSchemas || len(set.Types) > maxTypes {
		return fault.New(fault.Invalid, "a tenant has at most %d schemas and %d resource types of its own", maxSchemas, maxTypes)
	}
	keyed := 0
	for _, s := range set.Schemas {
		count := 0
		for _, a := range s.Attributes {
			for _, a := range append([]*schema.Attribute{a}, a.SubAttributes...) {
				count++
				if a.Indexed || a.Uniqueness != schema.NotUnique {
					keyed++
				}
			}
		}
		if count > maxAttributes {
			return fault.Field(fault.Invalid, "attributes", "a schema has at most %d attributes; %s has %d", maxAttributes, s.ID, count)
		}
	}
	if keyed > maxIndexed {
		return fault.Field(fault.Invalid, "attributes", "at most %d attributes of a tenant are indexed or unique, not %d", maxIndexed, keyed)
	}
	return nil
}

// A place is where a schema puts an attribute in a profile.
type attributePlace struct {
	path []string // the keys of objects on the way
	name string   // as clients spell it
}

// migrate brings the resources of a type from its old definition to the new one,
// or refuses to.
func (d *Directory) migrate(ctx context.Context, tenant id.Tenant, old *schema.ResourceType, after *schema.Registry) error {
	next, there := after.ResourceType(old.Name)
	if !there || next.Schema.ID != old.Schema.ID || next.Endpoint != old.Endpoint {
		return d.refuseValues(ctx, tenant, old, attributePlace{name: "the resource type " + old.Name})
	}
	var gone, changed []attributePlace
	compareAttributes(old.Schema, next.Schema, nil, &gone, &changed)
	for _, e := range old.Extensions {
		i := slices.IndexFunc(next.Extensions, func(n schema.Extension) bool { return n.Schema.ID == e.Schema.ID })
		if i < 0 {
			gone = append(gone, attributePlace{path: []string{e.Schema.ID}, name: e.Schema.ID})
			continue
		}
		compareAttributes(e.Schema, next.Extensions[i].Schema, []string{e.Schema.ID}, &gone, &changed)
	}
	for _, place := range gone {
		if err := d.refuseValues(ctx, tenant, old, place); err != nil {
			return err
		}
	}
	return d.reindex(ctx, tenant, next, changed)
}

// compareAttributes collects the attributes that are gone or have become
// something else, and those whose values are found in another way.
func compareAttributes(old, next *schema.Schema, below []string, gone, changed *[]attributePlace) {
	if old == next {
		return
	}
	prefix := ""
	if len(below) > 0 {
		prefix = old.ID + ":"
	}
	var compare func(old, next []*schema.Attribute, below []string, prefix string)
	compare = func(old, next []*schema.Attribute, below []string, prefix string) {
		for _, a := range old {
			place := attributePlace{path: append(slices.Clone(below), a.Name), name: prefix + a.Name}
			i := slices.IndexFunc(next, func(n *schema.Attribute) bool { return n.Name == a.Name })
			switch {
			case i < 0 || next[i].Type != a.Type || next[i].MultiValued != a.MultiValued:
				*gone = append(*gone, place)
				continue
			case soughtOtherwise(a, next[i]):
				*changed = append(*changed, place)
			}
			compare(a.SubAttributes, next[i].SubAttributes, place.path, place.name+".")
		}
	}
	compare(old.Attributes, next.Attributes, below, prefix)
}

func soughtOtherwise(a, b *schema.Attribute) bool {
	return a.CaseExact != b.CaseExact || a.Indexed != b.Indexed ||
		(a.Returned == schema.Never) != (b.Returned == schema.Never) ||
		(a.Uniqueness == schema.NotUnique) != (b.Uniqueness == schema.NotUnique)
}

// refuseValues fails with fault.Conflict if resources have values at the place.
func (d *Directory) refuseValues(ctx context.Context, tenant id.Tenant, t *schema.ResourceType, place attributePlace) error {
	count, err := d.store.CountValues(ctx, tenant, t.Name, place.path)
	if err != nil || count == 0 {
		return err
	}
	if len(place.path) == 0 {
		return fault.New(fault.Conflict, "%s has %d resources: it can't be removed, or get another schema or endpoint", place.name, count)
	}
	return fault.Field(fault.Conflict, place.name, "%d resources of the type %s have values of it: it can't be removed, or get another type", count, t.Name)
}

// reindex derives anew what resources with values at the places are found by.
func (d *Directory) reindex(ctx context.Context, tenant id.Tenant, t *schema.ResourceType, places []attributePlace) error {
	affected := 0
	for _, place := range places {
		count, err := d.store.CountValues(ctx, tenant, t.Name, place.path)
		if err != nil {
			return err
		}
		if count > maxReindexed {
			return fault.Field(fault.Conflict, place.name, "%d resources of the type %s have values of it; this change is possible for up to %d", count, t.Name, maxReindexed)
		}
		affected += count
	}
	if affected == 0 {
		return nil
	}
	for after := ""; ; {
		page, err := d.store.Profiles(ctx, tenant, t.Name, after, reindexPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, p := range page {
			if !slices.ContainsFunc(places, func(place attributePlace) bool { return p.Document[place.path[0]] != nil }) {
				continue
			}
			if err := d.store.Reindex(ctx, tenant, t.Name, p.ID, t.SearchDocument(p.Document), t.Keys(p.Document)); err != nil {
				return err
			}
		}
		after = page[len(page)-1].ID
	}
}

// ParseSchema reads a schema in the JSON of RFC 7643 §7 and fills in the
// defaults of §2.2. It fails with fault.Invalid and the path of the attribute.
func ParseSchema(text []byte) (*schema.Schema, error) {
	s, err := schema.ParseSchema(text)
	return s, invalidSchema(err)
}
