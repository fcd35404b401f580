package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// requestBody is a request of a tenant.
type requestBody struct {
	ID          id.Request        `json:"id"`
	Kind        string            `json:"kind"`
	Fields      map[string]string `json:"fields"`
	Status      string            `json:"status" enum:"pending,approved,denied,withdrawn"`
	RequestedBy requesterBody     `json:"requested_by"`
	DecidedBy   *requesterBody    `json:"decided_by,omitempty"`
	Reason      string            `json:"reason,omitempty" doc:"Why it was decided so"`
	Created     time.Time         `json:"created"`
	Decided     *time.Time        `json:"decided,omitempty"`
}

type requesterBody struct {
	Kind string `json:"kind" doc:"user, application or operator"`
	ID   string `json:"id"`
}

func requestOf(r *directory.Request) requestBody {
	body := requestBody{
		ID: r.ID, Kind: r.Kind, Fields: r.Fields, Status: string(r.Status), Reason: r.Reason, Created: r.Created,
		RequestedBy: requesterBody{string(r.RequestedBy.Kind), r.RequestedBy.ID},
	}
	if body.Fields == nil {
		body.Fields = map[string]string{}
	}
	if !r.Decided.IsZero() {
		body.Decided, body.DecidedBy = &r.Decided, &requesterBody{string(r.DecidedBy.Kind), r.DecidedBy.ID}
	}
	return body
}

type requestAnswer struct{ Body requestBody }

func answerOf(r *directory.Request, err error) (*requestAnswer, error) {
	if err != nil {
		return nil, err
	}
	return &requestAnswer{requestOf(r)}, nil
}

type requestPath struct {
	Request string `path:"request" doc:"The request's id"`
}

type newRequest struct {
	Body struct {
		Kind   string            `json:"kind" doc:"A kind of the tenant's role system"`
		Fields map[string]string `json:"fields,omitempty" doc:"By the names that the role system gives them"`
	}
}

type approval struct {
	Request string `path:"request" doc:"The request's id"`
	Body    struct {
		Slug      string        `json:"slug,omitempty" doc:"Of the tenant to make"`
		Name      string        `json:"name,omitempty" maxLength:"200" doc:"Of the tenant to make; left out: the slug"`
		Tier      string        `json:"tier,omitempty" doc:"Of the tenant to make; left out: that of the tenant that asks"`
		Tenant    string        `json:"tenant,omitempty" doc:"Slug or id of the tenant to link"`
		OverQuota bool          `json:"over_quota,omitempty" doc:"Link although the tier allows no more; for operators"`
		Holder    id.Membership `json:"holder,omitempty" doc:"The member who gets the role"`
		From      id.Membership `json:"from,omitempty" doc:"The member who gives it up, if several hold it"`
		Reason    string        `json:"reason,omitempty" maxLength:"4000"`
	}
}

type denial struct {
	Request string `path:"request" doc:"The request's id"`
	Body    struct {
		Reason string `json:"reason,omitempty" maxLength:"4000"`
	}
}

// requests registers what a tenant asks for and the answers.
func (o *operations) requests() {
	const tag = "Requests"
	d := o.handler.Directory
	inTenant(o, operation{
		ID: "listRequests", Method: http.MethodGet, Path: "/requests", Tag: tag, Summary: "List requests, the latest first",
		About: "Those that the caller made, may make or may answer.",
	},
		func(ctx context.Context, t *directory.Tenant, in *Page) (*struct{ Body list[requestBody] }, error) {
			if _, err := id.Parse[id.Request](in.Cursor); in.Cursor != "" && err != nil {
				return nil, errCursor()
			}
			requests, err := d.Requests(ctx, t.ID, id.Request(in.Cursor), in.Limit+1)
			if err != nil {
				return nil, err
			}
			return &struct{ Body list[requestBody] }{pageOf(requests, in.Limit, func(r *directory.Request) string { return string(r.ID) }, requestOf)}, nil
		})
	inTenant(o, operation{ID: "createRequest", Method: http.MethodPost, Path: "/requests", Tag: tag, Summary: "Ask for something", Status: http.StatusCreated},
		func(ctx context.Context, t *directory.Tenant, in *newRequest) (*requestAnswer, error) {
			return answerOf(d.CreateRequest(ctx, t.ID, in.Body.Kind, in.Body.Fields))
		})
	inTenant(o, operation{ID: "withdrawRequest", Method: http.MethodPost, Path: "/requests/{request}/withdraw", Tag: tag, Summary: "Take a request back"},
		func(ctx context.Context, t *directory.Tenant, in *requestPath) (*requestAnswer, error) {
			return answerOf(d.WithdrawRequest(ctx, t.ID, id.Request(in.Request)))
		})
	inTenant(o, operation{
		ID: "approveRequest", Method: http.MethodPost, Path: "/requests/{request}/approve", Tag: tag, Summary: "Answer a request with yes",
		About: "Does in the same transaction what was asked for. What it needs to know depends on the kind.",
	},
		func(ctx context.Context, t *directory.Tenant, in *approval) (*requestAnswer, error) {
			return answerOf(d.ApproveRequest(ctx, t.ID, id.Request(in.Request), directory.Outcome(in.Body)))
		})
	inTenant(o, operation{ID: "denyRequest", Method: http.MethodPost, Path: "/requests/{request}/deny", Tag: tag, Summary: "Answer a request with no"},
		func(ctx context.Context, t *directory.Tenant, in *denial) (*requestAnswer, error) {
			return answerOf(d.DenyRequest(ctx, t.ID, id.Request(in.Request), in.Body.Reason))
		})
}
