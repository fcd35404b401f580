package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
)

// The permissions that a look at what applications were told needs, and to have
// them told again: those of connections, as with event streams.
const (
	permissionDeliveries = "connections.read"
	permissionRetry      = "connections.update"
)

// A LogoutDelivery is an application's logout token on its way.
type LogoutDelivery struct {
	outbox.Record
	ClientID string
	User     id.User
	Session  id.Session
}

// LogoutDeliveries returns what applications are told of the ends of sessions in
// the tenant, the latest first: at most limit, in the state and before the
// delivery if these are not empty.
func (o *OIDC) LogoutDeliveries(ctx context.Context, tenant id.Tenant, state outbox.State, before id.Delivery, limit int) ([]LogoutDelivery, error) {
	if err := o.rights.Permitted(ctx, tenant, permissionDeliveries); err != nil {
		return nil, err
	}
	records, err := o.store.Deliveries(ctx, tenant, outbox.BackchannelLogout, state, before, limit)
	if err != nil {
		return nil, err
	}
	all := make([]LogoutDelivery, len(records))
	for i, record := range records {
		var l logout
		if err := json.Unmarshal(record.Payload, &l); err != nil {
			return nil, fmt.Errorf("decode a logout: %w", err)
		}
		all[i] = LogoutDelivery{Record: record, ClientID: l.ClientID, User: l.User, Session: l.Session}
	}
	return all, nil
}

// RetryLogoutDelivery has an application told at once that was not reached so far.
// It fails with fault.NotFound, also where it was reached.
func (o *OIDC) RetryLogoutDelivery(ctx context.Context, tenant id.Tenant, delivery id.Delivery) error {
	if err := o.rights.Permitted(ctx, tenant, permissionRetry); err != nil {
		return err
	}
	return o.store.InTx(ctx, func(ctx context.Context) error {
		err := o.store.RetryDelivery(ctx, tenant, outbox.BackchannelLogout, delivery, o.now())
		if errors.Is(err, fault.NotFound) {
			return fault.New(fault.NotFound, "there is no such delivery that waits or has failed")
		}
		if err != nil {
			return err
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), tenant, "logout_delivery.retry", "delivery", string(delivery), nil))
	})
}
