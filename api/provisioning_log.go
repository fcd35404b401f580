package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/provisioning"
)

// A Replayer serves a request of the provisioning log once more, and leaves
// nothing. It fails as scim.Handler.Replay does.
type Replayer interface {
	Replay(ctx context.Context, tenant *directory.Tenant, entry id.ProvisioningEntry) (*provisioning.Entry, error)
}

// provisioningBody is an entry of the provisioning log.
type provisioningBody struct {
	ID           id.ProvisioningEntry `json:"id,omitempty"`
	Time         time.Time            `json:"time"`
	Connection   id.Connection        `json:"connection,omitempty"`
	Credential   *credentialBody      `json:"credential,omitempty"`
	Method       string               `json:"method"`
	Path         string               `json:"path"`
	ResourceType string               `json:"resource_type,omitempty"`
	Resource     string               `json:"resource,omitempty" doc:"Its id"`
	Name         string               `json:"name,omitempty" doc:"userName of a user, displayName of a group"`
	ExternalID   string               `json:"external_id,omitempty"`
	Status       int                  `json:"status"`
	SCIMType     string               `json:"scim_type,omitempty"`
	Code         string               `json:"code,omitempty"`
	Detail       string               `json:"detail,omitempty" doc:"What the client was told"`
	Reason       string               `json:"reason,omitempty" doc:"Why it was refused, in plain words"`
	Fix          string               `json:"fix,omitempty" doc:"What to do about it"`
	DurationMS   float64              `json:"duration_ms"`
	Request      string               `json:"request_id,omitempty"`
	Changes      []changeBody         `json:"changes"`
	Replayable   bool                 `json:"replayable,omitempty" doc:"Of one entry only"`
	RequestBody  string               `json:"request_body,omitempty" doc:"Without secrets; of one entry only"`
	ResponseBody string               `json:"response_body,omitempty" doc:"Of a refusal; of one entry only"`
}

type credentialBody struct {
	Kind string `json:"kind" doc:"connection_token, application or application_token"`
	ID   string `json:"id,omitempty"`
}

// changeBody is what became of an attribute, or of a group's members.
type changeBody struct {
	Resource  string   `json:"resource,omitempty" doc:"Type and id, if it is not the entry's own"`
	Attribute string   `json:"attribute"`
	Before    any      `json:"before,omitempty"`
	After     any      `json:"after,omitempty"`
	Op        string   `json:"op,omitempty" doc:"Of members: add, remove, replace or clear"`
	Count     int      `json:"count,omitempty" doc:"How many members it names"`
	IDs       []string `json:"ids,omitempty" doc:"The first hundred of them"`
}

func provisioningOf(e *provisioning.Entry) provisioningBody {
	reason, fix := e.Explain()
	body := provisioningBody{
		ID: e.ID, Time: e.Time, Connection: e.Connection, Method: e.Method, Path: e.Path, ResourceType: e.Type, Resource: e.Resource,
		Name: e.Name, ExternalID: e.ExternalID, Status: e.Status, SCIMType: e.SCIMType, Code: e.Code, Detail: e.Detail, Reason: reason, Fix: fix,
		DurationMS: float64(e.Duration) / float64(time.Millisecond), Request: e.Request, Changes: make([]changeBody, len(e.Changes)),
		RequestBody: e.Body, ResponseBody: e.Answer,
	}
	if e.Actor.Kind != "" {
		body.Credential = &credentialBody{string(e.Actor.Kind), e.Actor.ID}
	}
	for i, c := range e.Changes {
		body.Changes[i] = changeBody{Resource: c.Resource, Attribute: c.Attribute, Op: c.Op, Count: c.Count, IDs: c.IDs}
		if len(c.Before) > 0 {
			body.Changes[i].Before = c.Before
		}
		if len(c.After) > 0 {
			body.Changes[i].After = c.After
		}
	}
	return body
}

// provisioningQuery is what of the log is wanted.
type provisioningQuery struct {
	Page
	Person       string    `query:"person" maxLength:"256" doc:"Id, userName, displayName or externalId of a user or group"`
	Status       string    `query:"status" pattern:"^[1-5](xx|[0-9][0-9])$" doc:"One status, or 2xx, 4xx …"`
	Operation    string    `query:"operation" enum:"GET,POST,PUT,PATCH,DELETE" doc:"The method"`
	ResourceType string    `query:"resource_type" maxLength:"100" doc:"Such as User"`
	Connection   string    `query:"connection" maxLength:"36" doc:"Its id"`
	From         time.Time `query:"from" doc:"Not before this time"`
	To           time.Time `query:"to" doc:"Before this time"`
}

func (in *provisioningQuery) query() (provisioning.Query, error) {
	if _, err := id.Parse[id.ProvisioningEntry](in.Cursor); in.Cursor != "" && err != nil {
		return provisioning.Query{}, errCursor()
	}
	for field, text := range map[string]string{"person": in.Person, "resource_type": in.ResourceType, "connection": in.Connection} {
		if strings.ContainsRune(text, 0) {
			return provisioning.Query{}, fault.Field(fault.Invalid, field, "must not have the character U+0000")
		}
	}
	q := provisioning.Query{
		Person: in.Person, Method: in.Operation, Type: in.ResourceType, Connection: id.Connection(in.Connection), From: in.From, To: in.To,
		After: id.ProvisioningEntry(in.Cursor), Limit: in.Limit + 1,
	}
	if class, whole := strings.CutSuffix(in.Status, "xx"); whole {
		q.MinStatus = int(class[0]-'0') * 100
		q.MaxStatus = q.MinStatus + 99
	} else if in.Status != "" {
		exactly, err := strconv.Atoi(in.Status)
		if err != nil {
			return provisioning.Query{}, fault.Field(fault.Invalid, "status", "expected a status such as 409, or 4xx")
		}
		q.MinStatus, q.MaxStatus = exactly, exactly
	}
	return q, nil
}

type provisioningPath struct {
	Entry string `path:"entry" doc:"The entry's id"`
}

type provisioningAnswer struct{ Body provisioningBody }

func provisioningAnswerOf(e *provisioning.Entry, err error) (*provisioningAnswer, error) {
	if err != nil {
		return nil, err
	}
	body := provisioningOf(e)
	body.Replayable = e.ID != "" && e.NotReplayable() == ""
	return &provisioningAnswer{body}, nil
}

// provisioningLog registers what directories asked for and what came of it.
func (o *operations) provisioningLog() {
	const tag = "Provisioning log"
	trail := o.handler.Provisioning
	inTenant(o, operation{
		ID: "listProvisioningLog", Method: http.MethodGet, Path: "/provisioning-log", Tag: tag, Summary: "List requests of directories, the latest first",
		About: "Needs the permission connections.read and the right to list members.",
	},
		func(ctx context.Context, t *directory.Tenant, in *provisioningQuery) (*struct {
			Body list[provisioningBody]
		}, error,
		) {
			q, err := in.query()
			if err != nil {
				return nil, err
			}
			entries, err := trail.Entries(ctx, t.ID, q)
			if err != nil {
				return nil, err
			}
			return &struct {
				Body list[provisioningBody]
			}{pageOf(entries, in.Limit, func(e *provisioning.Entry) string { return string(e.ID) }, provisioningOf)}, nil
		})
	inTenant(o, operation{
		ID: "getProvisioningLogEntry", Method: http.MethodGet, Path: "/provisioning-log/{entry}", Tag: tag, Summary: "Get a request of a directory with its body",
		About: "Needs the permission connections.read and the right to list members.",
	},
		func(ctx context.Context, t *directory.Tenant, in *provisioningPath) (*provisioningAnswer, error) {
			return provisioningAnswerOf(trail.Entry(ctx, t.ID, id.ProvisioningEntry(in.Entry)))
		})
	inTenant(o, operation{
		ID: "replayProvisioningLogEntry", Method: http.MethodPost, Path: "/provisioning-log/{entry}/replay", Tag: tag, Summary: "See what would come of a request now",
		About: "Carries the request out as its connection and takes everything back. Needs the permission connections.update and the right to list members.",
	},
		func(ctx context.Context, t *directory.Tenant, in *provisioningPath) (*provisioningAnswer, error) {
			return provisioningAnswerOf(o.handler.Replayer.Replay(ctx, t, id.ProvisioningEntry(in.Entry)))
		})
}
