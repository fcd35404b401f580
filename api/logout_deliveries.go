package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/oidc"
)

// LogoutDeliveryBody is what became of telling an application that a session has
// ended.
type LogoutDeliveryBody struct {
	ID        id.Delivery `json:"id" doc:"The claim jti of the logout token"`
	ClientID  string      `json:"client_id"`
	UserID    id.User     `json:"user_id"`
	SessionID id.Session  `json:"session_id" doc:"The claim sid"`
	Status    string      `json:"status" enum:"pending,delivered,failed"`
	Attempts  int         `json:"attempts"`
	Reason    string      `json:"reason,omitempty" doc:"Why the last attempt failed"`
	CreatedAt time.Time   `json:"created_at"`
	NextAt    *time.Time  `json:"next_at,omitempty" doc:"Of one that is pending: when it is tried next"`
	EndedAt   *time.Time  `json:"ended_at,omitempty" doc:"When it was delivered, or given up"`
}

func logoutDeliveryBodyOf(d *oidc.LogoutDelivery) LogoutDeliveryBody {
	body := LogoutDeliveryBody{
		ID: d.ID, ClientID: d.ClientID, UserID: d.User, SessionID: d.Session, Status: string(d.State), Attempts: d.Attempts, Reason: d.Reason, CreatedAt: d.Created,
	}
	if d.State == outbox.Pending {
		body.NextAt = &d.Due
	} else {
		body.EndedAt = &d.Ended
	}
	return body
}

type logoutDeliveryListing struct {
	Page
	Status string `query:"status" enum:"pending,delivered,failed" doc:"Left out: any"`
}

// logoutDeliveries registers how applications were told that sessions have ended
// (OIDC Back-Channel Logout 1.0 §2.5).
func (o *operations) logoutDeliveries() {
	const tag = "Logout deliveries"
	h := o.handler
	inTenant(o, operation{
		ID: "listLogoutDeliveries", Method: http.MethodGet, Path: "/logout-deliveries", Tag: tag, Summary: "List what applications were told of ended sessions",
		About: "The latest first. Those that are over stay for seven days. Needs the permission connections.read.",
	},
		func(ctx context.Context, t *directory.Tenant, in *logoutDeliveryListing) (*struct {
			Body list[LogoutDeliveryBody]
		}, error,
		) {
			if _, err := id.Parse[id.Delivery](in.Cursor); in.Cursor != "" && err != nil {
				return nil, errCursor()
			}
			all, err := h.OIDC.LogoutDeliveries(ctx, t.ID, outbox.State(in.Status), id.Delivery(in.Cursor), in.Limit+1)
			if err != nil {
				return nil, err
			}
			return &struct {
				Body list[LogoutDeliveryBody]
			}{pageOf(all, in.Limit, func(d *oidc.LogoutDelivery) string { return string(d.ID) }, logoutDeliveryBodyOf)}, nil
		})
	inTenant(o, operation{
		ID: "retryLogoutDelivery", Method: http.MethodPost, Path: "/logout-deliveries/{delivery}/retry", Tag: tag, Summary: "Tell an application again at once",
		About: "Of a delivery that waits or has failed. Needs the permission connections.update.", Status: http.StatusNoContent,
	},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			Delivery string `path:"delivery" maxLength:"36" doc:"The delivery's id"`
		},
		) (*struct{}, error) {
			delivery, err := id.Parse[id.Delivery](in.Delivery)
			if err != nil {
				return nil, fault.New(fault.NotFound, "there is no such delivery")
			}
			return nil, h.OIDC.RetryLogoutDelivery(ctx, t.ID, delivery)
		})
}
