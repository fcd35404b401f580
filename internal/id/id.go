// Package id gives each kind of identifier a type of its own, so that the
// compiler tells a tenant from a user. Identifiers are UUIDv7 in their
// canonical text form: opaque to clients, ordered by creation, never reused.
package id

import (
	"fmt"

	"github.com/google/uuid"
)

// The kinds of identifiers.
type (
	// Tenant names a tenant; it is the claim "tid".
	Tenant string
	// User names a person in the instance; it is the claim "sub".
	User string
	// Membership names a user's membership in a tenant; it is the id of the SCIM User.
	Membership string
	// Group names a group of a tenant; it is the id of the SCIM Group.
	Group string
	// Connection names a tenant's SCIM connection.
	Connection string
	// ConnectionToken names a token of a connection, not its secret.
	ConnectionToken string
	// Session names a signed-in browser; it is the claim "sid".
	Session string
	// Login names one run of the login machine.
	Login string
	// AuthorizationRequest names a stored authorization request.
	AuthorizationRequest string
	// Grant names what a user gave an application.
	Grant string
	// Key names a signing key; it is the "kid".
	Key string
	// Event names an audit entry.
	Event string
	// Delivery names a row of the outbox.
	Delivery string
	// ApplicationToken names an application token, not its secret.
	ApplicationToken string
	// Request names what a tenant asked for.
	Request string
	// AsyncRequest names a SCIM request that is carried out later; it is the "txn" of its events.
	AsyncRequest string
	// SupportSession names a support session of a tenant.
	SupportSession string
)

// New returns a fresh identifier.
func New[T ~string]() T {
	return T(uuid.Must(uuid.NewV7()).String())
}

// Parse checks that s is a UUID in canonical form and returns it as a T. It is
// for identifiers that come from outside: what fails here cannot exist.
func Parse[T ~string](s string) (T, error) {
	u, err := uuid.Parse(s)
	if err != nil || u.String() != s {
		return "", fmt.Errorf("%q is not an identifier", s)
	}
	return T(s), nil
}
