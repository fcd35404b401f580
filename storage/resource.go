package storage

import "github.com/rolecall/rolecall/scim/schema"

// A resource is a kind of SCIM resource as its table keeps it.
type resource struct {
	name   string // the resource type's name (RFC 7643 §6)
	schema string // the URI of its schema
	table  string
	// retires says that rows with a time in retired_at are no resources any more.
	retires bool
	// totalled says that list_totals has how many there are.
	totalled bool
}

func membershipResource() resource {
	return resource{name: "User", schema: schema.UserURN, table: "memberships", retires: true, totalled: true}
}

func groupResource() resource {
	return resource{name: "Group", schema: schema.GroupURN, table: "groups", totalled: true}
}
