package storage

import (
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A resource is a kind of SCIM resource as its table keeps it.
type resource struct {
	name    string // the resource type's name (RFC 7643 §6)
	schema  string // the URI of its schema
	table   string
	columns string // that its rows are read by: not the search twin, which nobody reads back
	// retires says that rows with a time in retired_at are no resources any more.
	retires bool
	// totalled says that list_totals has how many there are.
	totalled bool
	typed    bool // the table has resources of several types, told by its column type
}

func membershipResource() resource {
	return resource{name: "User", schema: schema.UserURN, table: "memberships", columns: membershipColumns, retires: true, totalled: true}
}

func groupResource() resource {
	return resource{name: "Group", schema: schema.GroupURN, table: "groups", columns: groupColumns, totalled: true}
}

// customResource is a type that a tenant has made.
func customResource(name, schemaURI string) resource {
	return resource{name: name, schema: schemaURI, table: "scim_resources", columns: customResourceColumns, typed: true}
}

// resourceOf is the resource of whatever type.
func resourceOf(name, schemaURI string) resource {
	switch name {
	case "User":
		return membershipResource()
	case "Group":
		return groupResource()
	}
	return customResource(name, schemaURI)
}

// of is the condition for the tenant's resources of the kind.
func (r resource) of(tenant id.Tenant) (clause string, args []any) {
	if r.typed {
		return r.table + ".tenant_id = ? AND " + r.table + ".type = ?", []any{tenant, r.name}
	}
	return r.table + ".tenant_id = ?", []any{tenant}
}
