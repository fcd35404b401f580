// Package outbox defines work that must happen after a change has committed,
// such as telling an application that a session ended. A delivery is a row
// written in the transaction of the change; a worker claims it, tries it at
// least once, backs off, and at last sets it aside where an operator sees it.
package outbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"time"

	"github.com/rolecall/rolecall/internal/id"
)

// Kind says which handler a delivery is for.
type Kind string

// BackchannelLogout posts a logout token to an application (OIDC Back-Channel
// Logout 1.0 §2.5).
const BackchannelLogout Kind = "backchannel_logout"

// The kinds that concern mail: a letter to send, an address whose owner asks for a
// new password, if it has one, and one by which somebody wants to register.
const (
	Mail          Kind = "mail"
	PasswordReset Kind = "password_reset"
	Registration  Kind = "registration"
)

// MaxAttempts is how often a delivery is tried before it is set aside: for a day,
// so that what an application missed overnight it gets in the morning.
const MaxAttempts = 35

// Delivery is one piece of work.
type Delivery struct {
	ID     id.Delivery
	Tenant id.Tenant // empty for deliveries of the instance
	Kind   Kind
	// Destination is who it goes to, such as an application: one that is slow
	// holds no other one up. It is empty for the instance's own work.
	Destination string
	Payload     json.RawMessage
	Attempts    int
	Due         time.Time
	Created     time.Time
}

// To is the destination, of the instance's own work its kind.
func (d *Delivery) To() string { return cmp.Or(d.Destination, string(d.Kind)) }

// State says what has become of a delivery.
type State string

// The states of deliveries.
const (
	Pending   State = "pending" // it is tried, or waits to be tried again
	Delivered State = "delivered"
	Failed    State = "failed" // it was tried MaxAttempts times, and is set aside
)

// A Record is a delivery with what has become of it.
type Record struct {
	Delivery
	State  State
	Reason string    // why the last attempt failed; empty: none did, or another one has succeeded
	Ended  time.Time // when it was delivered or set aside
}

// errUnknownKind is why a delivery fails that no handler is for, such as one of
// a newer version that wrote it during an upgrade.
var errUnknownKind = errors.New("no handler for this kind of delivery")

// Backoff returns how long to wait after the given number of failed attempts:
// 2 s, 4 s, … at most an hour.
func Backoff(attempts int) time.Duration {
	const longest = time.Hour
	if attempts < 1 {
		return 0
	}
	if attempts > 11 {
		return longest
	}
	return min(time.Duration(1<<attempts)*time.Second, longest)
}
