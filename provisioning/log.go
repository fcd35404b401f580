package provisioning

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Store is what the log needs of a database.
type Store interface {
	// AppendProvisioning stores entries of any tenants, all or none.
	AppendProvisioning(ctx context.Context, entries []Entry) error
	// ProvisioningEntries returns the entries that the query describes, the
	// latest first, without Body and Answer.
	ProvisioningEntries(ctx context.Context, tenant id.Tenant, query Query) ([]Entry, error)
	// ProvisioningEntry fails with fault.NotFound.
	ProvisioningEntry(ctx context.Context, tenant id.Tenant, entry id.ProvisioningEntry) (*Entry, error)
	// OldestProvisioning returns each tenant that has entries with its oldest one
	// and what its policy says of how long they are kept.
	OldestProvisioning(ctx context.Context) ([]Oldest, error)
	// DeleteProvisioning removes entries that come before the given one, at most
	// limit, and returns how many it were.
	DeleteProvisioning(ctx context.Context, tenant id.Tenant, before id.ProvisioningEntry, limit int) (int, error)
	// TenantByName finds a tenant by its slug or its id.
	TenantByName(ctx context.Context, slugOrID string) (*directory.Tenant, error)
	// Rehearse runs fn in a transaction that is rolled back whatever comes of it.
	// A transaction within it that fails takes back what it did itself and leaves
	// the rest. It returns fn's error.
	Rehearse(ctx context.Context, fn func(ctx context.Context) error) error
}

// Oldest is the oldest entry of a tenant.
type Oldest struct {
	Tenant id.Tenant
	Entry  id.ProvisioningEntry
	Days   int // for which entries are kept; 0: KeptDays
}

// A Record is a request as the edge has it. Whoever hands it to Add must not
// change anything in it from then on.
type Record struct {
	Entry
	// TenantName is the slug or id in the address, instead of Tenant, of a request
	// without a valid credential.
	TenantName  string
	Address     string // the path of the request, for Entry.Path
	RawQuery    string // of the address
	RawBody     []byte // of anything but a read
	Happened    []*directory.ResourceChange
	NeverShown  []string // names of attributes beside password that are never returned
	ErrorAnswer []byte   // the body of a refusal
}

// Bounds of what waits to be written. Beyond them entries are dropped, because
// the log must neither stop provisioning nor fill the memory.
const (
	maxWaiting      = 16_384
	maxWaitingBytes = 64 << 20
	batchSize       = 512
	writeEvery      = 200 * time.Millisecond
	writeDeadline   = 30 * time.Second
	maxAttempts     = 3 // at a batch; then each entry is tried by itself
)

// Log takes entries from the edge and writes them in batches. Make one with New;
// it is safe for concurrent use. What was added is written while Run runs, by
// Flush, and before anything is read.
type Log struct {
	store     Store
	directory *directory.Directory
	now       func() time.Time
	logger    *slog.Logger
	refusals  *bound

	mu       sync.Mutex // guards what follows
	waiting  []*Record
	bytes    int // in waiting
	dropped  int // since it was reported
	full     chan struct{}
	writing  sync.Mutex // held while a batch is written
	attempts int        // at the first batch; under writing
}

// Deps is what a Log works with. All fields are required.
type Deps struct {
	Store     Store
	Directory *directory.Directory
	Now       func() time.Time
	Logger    *slog.Logger
}

// New returns a Log.
func New(d Deps) *Log {
	return &Log{
		store: d.Store, directory: d.Directory, now: d.Now, logger: d.Logger,
		refusals: newBound(), full: make(chan struct{}, 1),
	}
}

// Add takes a record over. It never waits.
func (l *Log) Add(r *Record) {
	if !l.refusals.admits(r, l.now()) {
		return
	}
	size := len(r.RawBody) + len(r.ErrorAnswer) + 1<<10
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting || l.bytes+size > maxWaitingBytes {
		l.dropped++
		return
	}
	l.waiting = append(l.waiting, r)
	l.bytes += size
	if len(l.waiting)%batchSize == 0 {
		select {
		case l.full <- struct{}{}:
		default: // it has been told
		}
	}
}

// Run writes what is added until ctx ends. What comes later waits for Flush.
func (l *Log) Run(ctx context.Context) error {
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.full:
		case <-ticker.C:
		}
		if err := l.Flush(context.WithoutCancel(ctx)); err != nil {
			l.logger.ErrorContext(ctx, "provisioning log can't be written", "err", err)
			select { // not at once again
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
		}
	}
}

// Flush writes all that has been added before.
func (l *Log) Flush(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	for {
		l.mu.Lock()
		batch := l.waiting[:min(batchSize, len(l.waiting))]
		dropped := l.dropped
		l.dropped = 0
		l.mu.Unlock()
		if dropped > 0 {
			l.logger.WarnContext(ctx, "provisioning log: entries dropped, because the database does not keep up", "entries", dropped)
		}
		if len(batch) == 0 {
			return nil
		}
		if err := l.write(ctx, batch); err != nil {
			return err
		}
		l.mu.Lock()
		for i, r := range batch {
			l.bytes -= len(r.RawBody) + len(r.ErrorAnswer) + 1<<10
			l.waiting[i] = nil
		}
		if l.waiting = l.waiting[len(batch):]; len(l.waiting) == 0 {
			l.waiting = nil // and with it what the slice has grown to
		}
		l.mu.Unlock()
	}
}

// write stores a batch. One that fails time and again is written entry by entry,
// so that a single one that no database takes can't hold up the others.
func (l *Log) write(ctx context.Context, batch []*Record) error {
	ctx, cancel := context.WithTimeout(ctx, writeDeadline)
	defer cancel()
	entries, err := l.entries(ctx, batch)
	if err != nil || len(entries) == 0 {
		return err
	}
	if err = l.store.AppendProvisioning(ctx, entries); err == nil {
		l.attempts = 0
		return nil
	}
	if l.attempts++; l.attempts < maxAttempts {
		return err
	}
	l.attempts = 0
	lost := 0
	for i := range entries {
		if err := l.store.AppendProvisioning(ctx, entries[i:i+1]); err != nil {
			lost++
		}
	}
	if lost > 0 {
		l.logger.ErrorContext(ctx, "provisioning log: entries lost that can't be stored", "entries", lost, "err", err)
	}
	return nil
}

// entries makes of records what is stored. Those that are about no tenant are
// left out.
func (l *Log) entries(ctx context.Context, batch []*Record) ([]Entry, error) {
	entries := make([]Entry, 0, len(batch))
	tenants := map[string]id.Tenant{}
	for _, r := range batch {
		e := r.entry()
		if e.Tenant == "" {
			tenant, known := tenants[r.TenantName]
			if !known {
				t, err := l.store.TenantByName(ctx, r.TenantName)
				if err != nil && !errors.Is(err, fault.NotFound) {
					return nil, err
				}
				if err == nil {
					tenant = t.ID
				}
				tenants[r.TenantName] = tenant
			}
			e.Tenant = tenant
		}
		if e.Tenant != "" {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// entry is the record as it is stored: without secrets, and not too long.
func (r *Record) entry() Entry {
	e := r.Entry
	redact := &redactor{hidden: r.NeverShown}
	e.ID = id.At[id.ProvisioningEntry](e.Time)
	e.Body = redact.body(r.RawBody)
	e.Body = redact.text(e.Body, MaxBody)
	e.Changes = redact.changesOf(r.Happened, e.Resource)
	if n := len(r.Happened); n > 0 {
		e.describe(r.Happened)
	}
	e.Path = redact.address(r.Address, r.RawQuery)
	e.Detail = redact.text(e.Detail, maxDetail)
	e.Answer = redact.text(string(r.ErrorAnswer), MaxBody)
	e.Name, e.ExternalID = redact.text(e.Name, maxName), redact.text(e.ExternalID, maxName)
	e.Method, e.IfMatch = clean(e.Method, 16), clean(e.IfMatch, maxName)
	e.Resource, e.Request = clean(e.Resource, maxName), clean(e.Request, maxName)
	return e
}

// describe takes the names of the entry's resource from what became of it.
func (e *Entry) describe(happened []*directory.ResourceChange) {
	i := slices.IndexFunc(happened, func(h *directory.ResourceChange) bool { return h.ID == e.Resource })
	if i < 0 {
		return
	}
	h := happened[i]
	e.Type, e.ExternalID = h.Type, h.ExternalID
	document := h.After
	if document == nil {
		document = h.Before
	}
	for _, attribute := range []string{"userName", "displayName"} {
		if name, ok := document[attribute].(string); ok {
			e.Name = name
			return
		}
	}
}

// deleteBatch is how many entries are removed at once.
const deleteBatch = 5000

// Clean removes the entries that have been kept long enough.
func (l *Log) Clean(ctx context.Context) error {
	all, err := l.store.OldestProvisioning(ctx)
	if err != nil {
		return err
	}
	for _, oldest := range all {
		days := oldest.Days
		if days == 0 {
			days = KeptDays
		}
		before := id.Floor[id.ProvisioningEntry](l.now().AddDate(0, 0, -days))
		if oldest.Entry >= before {
			continue
		}
		for removed := deleteBatch; removed == deleteBatch; {
			if removed, err = l.store.DeleteProvisioning(ctx, oldest.Tenant, before, deleteBatch); err != nil {
				return err
			}
		}
	}
	return nil
}

// Rehearse runs fn in a transaction that is rolled back whatever comes of it,
// for what shall only be tried out.
func (l *Log) Rehearse(ctx context.Context, fn func(ctx context.Context) error) error {
	return l.store.Rehearse(ctx, fn)
}
