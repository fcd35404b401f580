// Package id gives each kind of identifier a type of its own, so that the
// compiler tells a tenant from a user. Identifiers are UUIDv7 in their
// canonical text form: opaque to clients, ordered by creation, never reused.
package id

import (
	"fmt"
	"time"

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
	// Resource names a resource of a type that a tenant has made; it is its SCIM id.
	Resource string
	// Connection names a tenant's SCIM connection.
	Connection string
	// ConnectionToken names a token of a connection, not its secret.
	ConnectionToken string
	// Session names a signed-in browser; it is the claim "sid".
	Session string
	// TrustedDevice names a browser that may skip the second factor, not its secret.
	TrustedDevice string
	// Passkey names a passkey; it is not the id that the authenticator gave it.
	Passkey string
	// Mail names a letter.
	Mail string
	// OldPassword names a password that was replaced.
	OldPassword string
	// Login names one run of the login machine.
	Login string
	// AuthorizationRequest names a stored authorization request.
	AuthorizationRequest string
	// DeviceRequest names what a device without a browser asked for; it is no secret.
	DeviceRequest string
	// Application names an application that has registered itself; its client_id ends with it.
	Application string
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
	// ProvisioningEntry names a line of a tenant's provisioning log.
	ProvisioningEntry string
	// EventStream names a stream of security events of a tenant.
	EventStream string
	// SecurityEvent names an event of a stream; it is the claim "jti".
	SecurityEvent string
	// ProvisioningTarget names a SCIM server that a tenant pushes to.
	ProvisioningTarget string
	// IdentityProvider names a tenant's own OpenID provider.
	IdentityProvider string
	// IdentityLink names a person's account at an identity provider.
	IdentityLink string
	// ProvisioningRun names a comparison of all that a target should have with what it has.
	ProvisioningRun string
	// RegistrationToken names a token by which applications register themselves, not its secret.
	RegistrationToken string
)

// New returns a fresh identifier.
func New[T ~string]() T {
	return T(uuid.Must(uuid.NewV7()).String())
}

// At returns a fresh identifier with the time in place of the clock's. Those of
// times that differ by a microsecond are in their order.
func At[T ~string](t time.Time) T {
	u := uuid.Must(uuid.NewV7())
	stamp(&u, t)
	return T(u.String())
}

// Floor returns what no identifier made by At for the time or later comes before.
func Floor[T ~string](t time.Time) T {
	u := uuid.UUID{6: 0x70, 8: 0x80} // the version and the variant
	stamp(&u, t)
	return T(u.String())
}

// stamp sets the time of a UUIDv7, with the fraction of the millisecond in the 12
// bits behind the version (RFC 9562 §5.7, §6.2 method 3).
func stamp(u *uuid.UUID, t time.Time) {
	ms := max(t.UnixMilli(), 0)
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i)) //nolint:gosec // its lowest byte
	}
	fraction := t.Nanosecond() % 1_000_000 * 4096 / 1_000_000
	u[6], u[7] = 0x70|byte(fraction>>8), byte(fraction) //nolint:gosec // less than 4096, in two parts
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

// Bytes returns the 16 bytes of an identifier.
func Bytes[T ~string](of T) ([16]byte, error) {
	u, err := uuid.Parse(string(of))
	if err != nil {
		return u, fmt.Errorf("%q is not an identifier", of)
	}
	return u, nil
}

// FromBytes is the inverse of Bytes. Whether there is such a thing is not its
// question.
func FromBytes[T ~string](b [16]byte) T { return T(uuid.UUID(b).String()) }
