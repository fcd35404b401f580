package provisioning

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Permissions of the role system that reading and replaying need, beside the
// right to list the members: the log holds their personal data.
const (
	permissionRead   = "connections.read"
	permissionReplay = "connections.update"
)

// Query says which entries are wanted. Zero fields ask for nothing.
type Query struct {
	Person     string // a resource by its identifier, userName or displayName (ignoring case), or externalId
	MinStatus  int    // of the answer
	MaxStatus  int
	Method     string
	Type       string // of the resource
	Connection id.Connection
	From, To   time.Time            // From belongs to it, To does not
	After      id.ProvisioningEntry // the last entry of the page before
	Limit      int
}

// Bounds returns the identifiers between which the entries' lie: first belongs
// to it, end does not, and is empty where there is no end.
func (q *Query) Bounds() (first, end id.ProvisioningEntry) {
	if !q.From.IsZero() {
		first = id.Floor[id.ProvisioningEntry](q.From)
	}
	if !q.To.IsZero() {
		end = id.Floor[id.ProvisioningEntry](q.To)
	}
	if q.After != "" && (end == "" || q.After < end) {
		end = q.After
	}
	return first, end
}

// Entries returns the entries of a tenant that the query describes, the latest
// first, without Body and Answer. It fails with fault.Denied.
func (l *Log) Entries(ctx context.Context, tenant id.Tenant, query Query) ([]Entry, error) {
	if err := l.may(ctx, tenant, permissionRead); err != nil {
		return nil, err
	}
	if err := l.Flush(ctx); err != nil {
		return nil, err
	}
	return l.store.ProvisioningEntries(ctx, tenant, query)
}

// Entry returns one entry. It fails with fault.NotFound and fault.Denied.
func (l *Log) Entry(ctx context.Context, tenant id.Tenant, entry id.ProvisioningEntry) (*Entry, error) {
	return l.entry(ctx, tenant, entry, permissionRead)
}

// ToReplay is Entry for somebody who wants to see it happen again.
func (l *Log) ToReplay(ctx context.Context, tenant id.Tenant, entry id.ProvisioningEntry) (*Entry, error) {
	return l.entry(ctx, tenant, entry, permissionReplay)
}

func (l *Log) entry(ctx context.Context, tenant id.Tenant, entry id.ProvisioningEntry, permission string) (*Entry, error) {
	if err := l.may(ctx, tenant, permission); err != nil {
		return nil, err
	}
	if err := l.Flush(ctx); err != nil {
		return nil, err
	}
	e, err := l.store.ProvisioningEntry(ctx, tenant, entry)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "there is no such entry: it was never there, or has been kept long enough")
	}
	return e, err
}

func (l *Log) may(ctx context.Context, tenant id.Tenant, permission string) error {
	if err := l.directory.Permitted(ctx, tenant, permission); err != nil {
		return err
	}
	return l.directory.MayList(ctx, tenant)
}

// NotReplayable says why the request can't be served once more, or "".
func (e *Entry) NotReplayable() string {
	switch {
	case e.Connection == "":
		return "only what a connection asked for can be replayed"
	case strings.Contains(e.Path, Redacted) || strings.Contains(e.Path, url.QueryEscape(Redacted)) || strings.Contains(e.Path, "…"):
		return "the address was not kept in full"
	case strings.HasPrefix(e.Body, "("):
		return "the body was not kept: it was too long, or no JSON"
	case strings.HasSuffix(strings.TrimSuffix(e.Path, "/"), "/Bulk"):
		return "its operations have entries of their own: replay these one by one"
	}
	return ""
}

// Outcome is the record as an entry that is not stored.
func (r *Record) Outcome() *Entry {
	e := r.entry()
	e.ID, e.Tenant = "", r.Tenant
	return &e
}
