// Package audit defines the events of the audit trail. An event is data: it is
// written in the transaction of the change it describes, and never altered.
package audit

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/id"
)

// ActorKind says what sort of caller made a change.
type ActorKind string

// The kinds of actors.
const (
	ActorSystem      ActorKind = "system"            // the server itself, such as a job
	ActorOperator    ActorKind = "operator"          // apply and the command line
	ActorUser        ActorKind = "user"              // a person; ID is the user's
	ActorConnection  ActorKind = "connection"        // a directory over SCIM; ID is the connection's
	ActorApplication ActorKind = "application"       // an OAuth client; ID is its client_id
	ActorToken       ActorKind = "application_token" // a program with a person's application token; ID is the token's
)

// Actor is who made a change.
type Actor struct {
	Kind ActorKind
	ID   string
}

// Event is one entry of the audit trail.
type Event struct {
	Tenant     id.Tenant // empty for events of the instance
	ID         id.Event
	At         time.Time
	Actor      Actor
	Action     string // object.verb, as in "membership.suspend"
	TargetKind string // the vocabulary's word: membership, group, application, …
	TargetID   string
	Data       map[string]any // what changed; never a secret
	Request    string         // the request's id, the link to the log
}

// A Follower is told of entries of some actions, in the transaction that writes
// them: what it fails with undoes the change.
type Follower interface {
	Concerns(action string) bool
	Appended(ctx context.Context, entry *Event) error
}

type contextKey int

const (
	actorKey contextKey = iota
	requestKey
)

// WithActor returns a context whose changes are attributed to actor.
func WithActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, actorKey, actor)
}

// ActorFrom returns who acts in ctx: the system where nobody else is named.
func ActorFrom(ctx context.Context) Actor {
	if actor, ok := ctx.Value(actorKey).(Actor); ok {
		return actor
	}
	return Actor{Kind: ActorSystem}
}

// WithRequest returns a context that belongs to the request of that id.
func WithRequest(ctx context.Context, request string) context.Context {
	return context.WithValue(ctx, requestKey, request)
}

// RequestFrom returns the id of the request that ctx belongs to, or "".
func RequestFrom(ctx context.Context) string {
	request, _ := ctx.Value(requestKey).(string)
	return request
}

// New returns an event of ctx's actor and request.
func New(ctx context.Context, at time.Time, tenant id.Tenant, action, targetKind, targetID string, data map[string]any) Event {
	return Event{
		Tenant: tenant, ID: id.New[id.Event](), At: at, Actor: ActorFrom(ctx), Action: action,
		TargetKind: targetKind, TargetID: targetID, Data: data, Request: RequestFrom(ctx),
	}
}
