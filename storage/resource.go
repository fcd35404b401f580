package storage

import (
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A resource is a kind of SCIM resource as its table keeps it.
type resource struct {
	name  string // the resource type's name (RFC 7643 §6)
	table string
}

var (
	membershipResource = resource{name: "User", table: "memberships"}
	groupResource      = resource{name: "Group", table: "groups"}
)

// where returns the condition of a list with its values. The tenant comes first.
func (s *Store) where(_ resource, tenant id.Tenant, filter schema.Condition) (clause string, args []any, err error) {
	if filter != nil {
		return "", nil, fault.Field(fault.Unsupported, "filter", "this filter is not supported")
	}
	return "tenant_id = ?", []any{tenant}, nil
}

// order returns the ORDER BY of a list: by creation, identifiers being in that order.
func (s *Store) order(_ resource, query directory.Query) (clause string, args []any) {
	if query.Descending {
		return "id DESC", nil
	}
	return "id", nil
}
