// Package provisioning is the log of what directories asked of tenants over
// SCIM: who asked for what, what came of it, why, and what to do about it. It
// is written beside the requests, never in their way, and read by those who
// administer the tenant's connections.
package provisioning

import (
	"encoding/json"
	"time"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
)

// An Entry is one request, or one operation of a bulk request.
type Entry struct {
	Tenant     id.Tenant
	ID         id.ProvisioningEntry // in the order of Time
	Time       time.Time            // of the request's arrival
	Connection id.Connection        // empty: it came by another credential, or none
	Actor      audit.Actor          // the credential: kind connection_token, application_token or application; empty for none
	Method     string
	Path       string // with the query, without secrets
	Type       string // the name of the resource type, such as User; empty where it is about none, or several
	Resource   string // its identifier; empty for lists and what was not made
	Name       string // userName of a user, displayName of a group
	ExternalID string
	Status     int    // of the answer (RFC 9110)
	SCIMType   string // of the error (RFC 7644 §3.12), or empty
	Code       string // why, as a stable word, or empty
	Detail     string // of the error, as the client got it
	Duration   time.Duration
	Request    string // the request's id, the link to the server's log
	IfMatch    string // the version that the client asked for, as it wrote it
	Changes    []Change
	Body       string // what was sent, without secrets; empty for reads
	Answer     string // the body of a refusal
}

// A Change is what became of one attribute.
type Change struct {
	Resource  string          `json:"resource,omitempty"` // type/identifier, of another resource than the entry's
	Attribute string          `json:"attribute"`          // a sub-attribute's by its path
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`

	// Of a group's members: what was asked for.
	Op    string   `json:"op,omitempty"` // add, remove, replace or clear
	Count int      `json:"count,omitempty"`
	IDs   []string `json:"ids,omitempty"` // the first maxIDs
}

// maxIDs is how many members a Change names.
const maxIDs = 100

// KeptDays is for how many days a tenant's entries are kept if its policy says
// nothing else.
const KeptDays = 30

// ActorConnectionToken is the kind of an Actor that is a token of the connection.
const ActorConnectionToken audit.ActorKind = "connection_token"

// Codes of refusals for want of a credential.
const (
	CodeNoToken      = "token_missing"
	CodeTokenScheme  = "token_scheme"
	CodeExpiredToken = "token_expired"
	CodeUnknownToken = "token_unknown"
	CodeCanceled     = "canceled" // the client hung up
	CodePanic        = "panic"    // the answer broke off
)
