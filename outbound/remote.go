package outbound

import (
	"context"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/secret"
)

// Kind is a type of resources that are pushed, by its name (RFC 7643 §6).
type Kind string

// The kinds of resources. Those of kind Scan are none: they ask to compare what
// is here with the links.
const (
	User  Kind = "User"
	Group Kind = "Group"
	Scan  Kind = "Scan"
)

// Remote is a target as it is spoken to. Every error of its methods is a
// *Failure. A document is as JSON has it, with numbers as json.Number.
type Remote interface {
	// Capabilities asks what the server can do (RFC 7644 §4).
	Capabilities(ctx context.Context) (*Capabilities, error)
	// Find returns the resources whose attribute equals value, without members,
	// at most a page of them.
	Find(ctx context.Context, kind Kind, attribute, value string) ([]Resource, error)
	// Get returns a resource, with its members if they are wanted.
	Get(ctx context.Context, kind Kind, remote string, members bool) (*Resource, error)
	Create(ctx context.Context, kind Kind, doc map[string]any) (*Resource, error)
	// Patch and Replace return the version after the change, "" if the server
	// did not say. version, where it is not empty, is what it has to be before.
	Patch(ctx context.Context, kind Kind, remote, version string, operations []Operation) (string, error)
	Replace(ctx context.Context, kind Kind, remote, version string, doc map[string]any) (string, error)
	Delete(ctx context.Context, kind Kind, remote string) error
	// List returns a page of all resources, without members; position is that of
	// the page before, the zero value at the beginning.
	List(ctx context.Context, kind Kind, position Position) (*Listing, error)
}

// Dial returns the Remote of a target. The Authorization of its requests comes
// from the credential.
type Dial func(t *Target, credential secret.Text) Remote

// Capabilities are what a server says of itself, or what is assumed where it
// says nothing.
type Capabilities struct {
	Patch      bool     `json:"patch"`
	ETag       bool     `json:"etag"`
	Filter     bool     `json:"filter"`
	Cursor     bool     `json:"cursor"`               // RFC 9865
	MaxResults int      `json:"max_results"`          // of a page
	Groups     bool     `json:"groups"`               // it has the resource type Group
	Extensions []string `json:"extensions,omitempty"` // URIs of a User's and a Group's
	Guessed    bool     `json:"guessed,omitempty"`    // it did not say
}

// Resource is one there.
type Resource struct {
	ID      string
	Version string // as the header ETag has it; "" where there is none
	Doc     map[string]any
	// Before is the link of what is gone here and whose place another resource
	// takes; nil where there was none.
	Before *Link
}

// Operation is one of a PATCH (RFC 7644 §3.5.2).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Position is the place of a page in a list.
type Position struct {
	Cursor string `json:"cursor,omitempty"`
	Start  int    `json:"start,omitempty"` // from 1; 0 on the first page
}

// Listing is a page of a list.
type Listing struct {
	Resources []Resource
	Next      Position
	More      bool
}

// Trouble is a kind of failure, by what is to be done about it.
type Trouble uint8

// The kinds of failures.
const (
	Refused     Trouble = iota // this resource, with 4xx
	Broken                     // 5xx
	Unreachable                // the target as a whole: no connection, no answer in time
	Unwelcome                  // the target as a whole: the credential is not accepted
	Busy                       // the target as a whole: 429 or 503
	Missing                    // 404
	Taken                      // 409
	Stale                      // 412
	Unsupported                // 405 or 501
)

// A Failure is what a target answers when it does not do what it was asked to.
type Failure struct {
	Trouble Trouble
	Status  int           // of HTTP; 0: there was no answer
	Detail  string        // for people, without secrets
	Retry   time.Duration // after which to come back; 0: it did not say
}

// Error implements error.
func (f *Failure) Error() string {
	if f.Status == 0 {
		return f.Detail
	}
	if f.Detail == "" {
		return fmt.Sprintf("the target answered %d", f.Status)
	}
	return fmt.Sprintf("the target answered %d: %s", f.Status, f.Detail)
}

// whole reports whether it is about the target rather than about a resource.
func (f *Failure) whole() bool {
	return f.Trouble == Unreachable || f.Trouble == Unwelcome || f.Trouble == Busy
}
