package authz

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
)

//go:embed blueprints/*.yaml
var shipped embed.FS

// Catalog is a set of blueprints by name. It is immutable.
type Catalog struct {
	blueprints map[string]*Blueprint
}

// NewCatalog returns a catalog. A later blueprint replaces an earlier one of
// the same name.
func NewCatalog(blueprints ...*Blueprint) *Catalog {
	c := &Catalog{blueprints: map[string]*Blueprint{}}
	for _, b := range blueprints {
		c.blueprints[b.Name()] = b
	}
	return c
}

// Shipped returns the blueprints that come with the program: "default" and the
// five portals. It compiles them anew on each call, and a TenantView or Holder
// counts only in the Blueprint that made it: call it once, at the start.
func Shipped() (*Catalog, error) {
	names, err := fs.Glob(shipped, "blueprints/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list shipped blueprints: %w", err)
	}
	var blueprints []*Blueprint
	for _, name := range names {
		source, err := shipped.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read shipped blueprint: %w", err)
		}
		b, err := Load(source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		blueprints = append(blueprints, b)
	}
	return NewCatalog(blueprints...), nil
}

// Blueprint returns the blueprint of a name, or a fault.Invalid with the field
// "blueprint".
func (c *Catalog) Blueprint(name string) (*Blueprint, error) {
	b, known := c.blueprints[name]
	if !known {
		return nil, fault.Field(fault.Invalid, "blueprint", "there is no blueprint %q", name)
	}
	return b, nil
}

// Names returns the names of the blueprints in alphabetical order.
func (c *Catalog) Names() []string {
	return slices.Sorted(maps.Keys(c.blueprints))
}

// ShippedSource returns the YAML of a shipped blueprint, comments included, or a
// fault.Invalid with the field "blueprint".
func ShippedSource(name string) ([]byte, error) {
	source, err := shipped.ReadFile("blueprints/" + name + ".yaml")
	if err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Field: "blueprint", Detail: fmt.Sprintf("no blueprint %q is shipped", name), Err: err}
	}
	return source, nil
}
