package directory

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Limits of asynchronous requests.
const (
	// AsyncRetention is how long the results of a request can be read.
	AsyncRetention = 24 * time.Hour
	// AsyncLease is how long a request stays with the node that carries it out,
	// unless that asks for longer.
	AsyncLease = time.Minute

	maxWaiting       = 32 // requests of one tenant that are not done yet
	maxAsyncAttempts = 5
	retryWhenFull    = 5 * time.Second
)

// An AsyncRequest is a SCIM request that was answered before it was carried out
// (RFC 9967 §2.5.1). A node claims it, and may lose it to another one.
type AsyncRequest struct {
	Tenant     id.Tenant
	ID         id.AsyncRequest // the "txn" of the events about it
	Caller     authz.Principal // whose rights it has, as they are when it is carried out
	Actor      audit.Actor
	Profile    ConnectionProfile
	Base       string // the address of the tenant's endpoints, as the client knows it
	Single     bool   // one operation that was not within a bulk request
	Operations int
	Body       []byte      // sealed; nil once it is done
	Attempts   int         // how often a node has begun with it
	Connection *Connection // that it came by, as it is when the request is claimed; nil: by none
	Created    time.Time
	Completed  time.Time // zero while it is not
	Expires    time.Time // when its results are removed; zero while it is not done
}

// An AsyncResult is what one operation of an asynchronous request led to.
type AsyncResult struct {
	Tenant   id.Tenant
	Request  id.AsyncRequest
	Position int    // of the operation, from 0
	Single   bool   // the request is this operation alone
	Resource string // the id of the resource; empty where there is none
	// Operation is the JSON of the operation in a bulk response (RFC 7644 §3.7.3).
	Operation json.RawMessage
}

// Txn is what an event says the result belongs to (RFC 9967 §2.5.1.2): the
// request, and the position of the operation where it was a bulk request.
func (r *AsyncResult) Txn() string {
	if r.Single {
		return string(r.Request)
	}
	return string(r.Request) + ":" + strconv.Itoa(r.Position)
}

type txnKey struct{}

// WithTxn returns ctx such that events of what is done under it have the txn:
// that of the operation of an asynchronous request.
func WithTxn(ctx context.Context, txn string) context.Context {
	return context.WithValue(ctx, txnKey{}, txn)
}

// TxnFrom returns the txn of WithTxn, or the empty string.
func TxnFrom(ctx context.Context) string {
	txn, _ := ctx.Value(txnKey{}).(string)
	return txn
}

// An AsyncFollower is a Follower that also learns of the results of asynchronous
// requests, in the transaction that makes them so: that of the operation where
// it succeeded, one of its own where it failed.
type AsyncFollower interface {
	AsyncDone(ctx context.Context, result *AsyncResult) error
}

// AsyncStore keeps asynchronous requests and their results.
type AsyncStore interface {
	CreateAsyncRequest(ctx context.Context, r *AsyncRequest) error
	AsyncRequest(ctx context.Context, tenant id.Tenant, request id.AsyncRequest) (*AsyncRequest, error)
	// WaitingAsyncRequests counts those that are not done.
	WaitingAsyncRequests(ctx context.Context, tenant id.Tenant) (int, error)
	// ClaimAsyncRequest returns the oldest request that is neither done nor with
	// a node, of whatever tenant, and gives it to the caller until lease. It
	// fails with fault.NotFound where there is none.
	ClaimAsyncRequest(ctx context.Context, now, lease time.Time) (*AsyncRequest, error)
	ExtendAsyncRequest(ctx context.Context, tenant id.Tenant, request id.AsyncRequest, lease time.Time) error
	// FinishAsyncRequest removes the body.
	FinishAsyncRequest(ctx context.Context, tenant id.Tenant, request id.AsyncRequest, now, expires time.Time) error
	// AddAsyncResult fails with fault.Conflict where the operation has a result.
	AddAsyncResult(ctx context.Context, r *AsyncResult) error
	// AsyncResults are in the order of the operations.
	AsyncResults(ctx context.Context, tenant id.Tenant, request id.AsyncRequest) ([]AsyncResult, error)
	// DeleteAsyncRequests removes those that have expired.
	DeleteAsyncRequests(ctx context.Context, now time.Time) error
}

// Together makes the changes of fn in one transaction: all of them, or none.
// fn may be called twice.
func (d *Directory) Together(ctx context.Context, fn func(ctx context.Context) error) error {
	err := d.store.InTx(ctx, fn)
	err = d.hold(ctx, authz.FromContext(ctx).Tenant, err) // again, as the transaction took back that it holds
	if conflict := fault.As(err); err != nil && conflict.Kind == fault.Conflict && conflict.Field == "email" {
		return d.store.InTx(ctx, fn) // see CreateMembership, which can't try again within a transaction
	}
	return err
}

// AcceptAsync stores a request of the caller in ctx for later. It fails with
// fault.Throttled while too many requests of the tenant wait.
func (d *Directory) AcceptAsync(ctx context.Context, r *AsyncRequest) error {
	r.Caller, r.Actor, r.Created = authz.FromContext(ctx), audit.ActorFrom(ctx), d.now()
	return d.store.InTx(ctx, func(ctx context.Context) error {
		waiting, err := d.store.WaitingAsyncRequests(ctx, r.Tenant)
		if err != nil {
			return err
		}
		if waiting >= maxWaiting {
			return &fault.Error{
				Kind: fault.Throttled, RetryAfter: retryWhenFull,
				Detail: strconv.Itoa(waiting) + " asynchronous requests wait already; expected fewer than " + strconv.Itoa(maxWaiting),
			}
		}
		return d.store.CreateAsyncRequest(ctx, r)
	})
}

// AsyncRequest returns a request of the caller in ctx with the results that it
// has so far. Somebody else's is as unknown as one that never was.
func (d *Directory) AsyncRequest(ctx context.Context, tenant id.Tenant, request id.AsyncRequest) (*AsyncRequest, []AsyncResult, error) {
	r, err := d.store.AsyncRequest(ctx, tenant, request)
	if err != nil {
		return nil, nil, err
	}
	caller := authz.FromContext(ctx)
	same := r.Caller.Kind == caller.Kind && r.Caller.Connection == caller.Connection && r.Caller.User == caller.User &&
		r.Caller.Application == caller.Application && r.Caller.ApplicationToken == caller.ApplicationToken
	if !same || !r.Expires.IsZero() && !r.Expires.After(d.now()) {
		return nil, nil, &fault.Error{Kind: fault.NotFound}
	}
	results, err := d.store.AsyncResults(ctx, tenant, request)
	return r, results, err
}

// ClaimAsync takes over a request that waits, or that another node has let go,
// with the results that it has. It fails with fault.NotFound where there is
// none. A request that was begun too often is taken for one that stops nodes
// and is given up: what has no result is not carried out any more.
func (d *Directory) ClaimAsync(ctx context.Context) (*AsyncRequest, []AsyncResult, error) {
	for {
		now := d.now()
		r, err := d.store.ClaimAsyncRequest(ctx, now, now.Add(AsyncLease))
		if err != nil {
			return nil, nil, err
		}
		if r.Attempts > maxAsyncAttempts {
			if err := d.FinishAsync(ctx, r); err != nil {
				return nil, nil, err
			}
			continue
		}
		if r.Caller.Connection != "" {
			if r.Connection, err = d.store.ConnectionByID(ctx, r.Tenant, r.Caller.Connection); err != nil {
				return nil, nil, err
			}
		}
		results, err := d.store.AsyncResults(ctx, r.Tenant, r.ID)
		return r, results, err
	}
}

// ExtendAsync keeps a claimed request for another AsyncLease.
func (d *Directory) ExtendAsync(ctx context.Context, r *AsyncRequest) error {
	return d.store.ExtendAsyncRequest(ctx, r.Tenant, r.ID, d.now().Add(AsyncLease))
}

// AddAsyncResults writes results in the transaction in ctx and tells of them.
// It fails with fault.Conflict where an operation has one: another node has
// carried it out, and this transaction must not.
func (d *Directory) AddAsyncResults(ctx context.Context, results []AsyncResult) error {
	for i := range results {
		if err := d.store.AddAsyncResult(ctx, &results[i]); err != nil {
			return err
		}
		for _, f := range d.followers {
			follower, ok := f.(AsyncFollower)
			if !ok {
				continue
			}
			if err := follower.AsyncDone(ctx, &results[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// FinishAsync records that all of a request was carried out.
func (d *Directory) FinishAsync(ctx context.Context, r *AsyncRequest) error {
	now := d.now()
	return d.store.FinishAsyncRequest(ctx, r.Tenant, r.ID, now, now.Add(AsyncRetention))
}

// CleanAsync removes the requests whose results nobody can read any more.
func (d *Directory) CleanAsync(ctx context.Context) error {
	return d.store.DeleteAsyncRequests(ctx, d.now())
}

// IsAsyncTaken reports whether an error of AddAsyncResults says that another node
// has the request.
func IsAsyncTaken(err error) bool {
	return errors.Is(err, fault.Conflict) && fault.As(err).Field == AsyncResultTaken
}

// AsyncResultTaken is the field of the conflict that AddAsyncResult fails with.
const AsyncResultTaken = "asyncResult"
