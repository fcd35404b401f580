package directory

import (
	"context"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

// An AttributeMapping takes over the value that a directory sends in one
// attribute of a User for another one, where it belongs. Both are paths of RFC
// 7644 §3.5.2 that name one single value.
type AttributeMapping struct {
	From string `json:"from"` // such as emails[type eq "work"].value
	To   string `json:"to"`   // such as userName
}

// checkMappings fails with fault.Invalid unless each mapping names two different
// attributes that can be written, of one type, and no attribute is the target
// of two.
func (d *Directory) checkMappings(ctx context.Context, tenant id.Tenant, mappings []AttributeMapping) error {
	user, err := d.typeOf(ctx, tenant, typeUser)
	if err != nil {
		return err
	}
	return fitMappings(user, mappings)
}

// keepMappings fails with fault.Conflict, which names them, where connections of
// the tenant have mappings that the schemas would make meaningless: each write
// of theirs would fail from then on.
func (d *Directory) keepMappings(ctx context.Context, tenant id.Tenant, after *schema.Registry) error {
	user, ok := after.ResourceType(typeUser)
	if !ok {
		return fault.New(fault.Internal, "the schemas lack the type %s", typeUser)
	}
	const batch = 100
	var broken []string
	for last := ""; ; {
		page, err := d.store.Connections(ctx, tenant, last, batch)
		if err != nil {
			return err
		}
		for i := range page {
			if err := fitMappings(user, page[i].Mappings); err != nil {
				broken = append(broken, page[i].Name)
			}
			last = page[i].Name
		}
		if len(page) < batch {
			break
		}
	}
	if len(broken) > 0 {
		return fault.New(fault.Conflict, "the mapping of the connection %s names it: change that first", strings.Join(broken, ", ")).WithCode("mapped")
	}
	return nil
}

// fitMappings is checkMappings for a definition of User.
func fitMappings(user *schema.ResourceType, mappings []AttributeMapping) error {
	if len(mappings) > maxMappings {
		return fault.Field(fault.Invalid, "mapping", "must not be more than %d", maxMappings)
	}
	targets := map[string]bool{}
	for _, m := range mappings {
		from, err := mappable(user, "mapping.from", m.From)
		if err != nil {
			return err
		}
		to, err := mappable(user, "mapping.to", m.To)
		if err != nil {
			return err
		}
		switch {
		case from.Target().Type != to.Target().Type:
			return fault.Field(fault.Invalid, "mapping", "%s is of type %s, and %s of type %s", m.From, from.Target().Type, m.To, to.Target().Type)
		case from.Place() == to.Place():
			return fault.Field(fault.Invalid, "mapping", "%s is mapped to itself", m.From)
		case targets[to.Place()]:
			return fault.Field(fault.Invalid, "mapping.to", "%s is the target of two mappings", m.To)
		}
		targets[to.Place()] = true
	}
	return nil
}

// mappable returns what a path of a mapping names.
func mappable(user *schema.ResourceType, field, path string) (schema.Spot, error) {
	parsed, err := filter.ParsePath(path)
	if err != nil {
		return schema.Spot{}, fault.Field(fault.Invalid, field, "%q is no path of an attribute, such as externalId or emails[type eq \"work\"].value", path)
	}
	spot, err := user.Spot(parsed)
	if err != nil {
		return schema.Spot{}, fault.Field(fault.Invalid, field, "%q does not name one single value of a User", path)
	}
	if a := spot.Target(); a.Mutability != schema.ReadWrite || a.Returned == schema.Never {
		return schema.Spot{}, fault.Field(fault.Invalid, field, "%q can't be mapped: a client does not write it freely, or it is never shown", path)
	}
	return spot, nil
}
