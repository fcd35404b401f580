package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/outbound"
)

// ProvisioningAuth is how a target knows who pushes.
type ProvisioningAuth struct {
	Method   string `json:"method" enum:"bearer,client_credentials"`
	TokenURL string `json:"token_url,omitempty" maxLength:"1000" doc:"Of client_credentials"`
	ClientID string `json:"client_id,omitempty" maxLength:"1000"`
	Scope    string `json:"scope,omitempty" maxLength:"1000"`
}

// ProvisionedPeople says which members are pushed.
type ProvisionedPeople struct {
	Scope  string     `json:"scope" enum:"all,groups,roles"`
	Groups []id.Group `json:"groups,omitempty" maxItems:"100" doc:"Of the scope groups: ids; who is in one of them, by nested groups too"`
	Roles  []string   `json:"roles,omitempty" maxItems:"100" doc:"Of the scope roles: who holds one of them, directly or by a group"`
}

// ProvisionedGroups says which groups are pushed.
type ProvisionedGroups struct {
	Scope  string     `json:"scope" enum:"none,all,chosen"`
	Groups []id.Group `json:"groups,omitempty" maxItems:"100" doc:"Of the scope chosen: ids"`
}

// ProvisionedAttributes says which attributes are sent.
type ProvisionedAttributes struct {
	Include    []string `json:"include,omitempty" maxItems:"100" doc:"Attributes of the top level, URIs of extensions, or an extension's attribute behind its URI and a colon; left out: all"`
	Exclude    []string `json:"exclude,omitempty" maxItems:"100"`
	ExternalID string   `json:"external_id,omitempty" enum:"id,external_id" doc:"What a resource has as externalId there: its id here (the default), or the externalId that it has here"`
}

// ProvisioningTargetBody is a target as it is shown.
type ProvisioningTargetBody struct {
	ID           id.ProvisioningTarget   `json:"id"`
	Name         string                  `json:"name"`
	BaseURL      string                  `json:"base_url"`
	Auth         ProvisioningAuth        `json:"auth"`
	People       ProvisionedPeople       `json:"people"`
	Groups       ProvisionedGroups       `json:"groups"`
	Attributes   ProvisionedAttributes   `json:"attributes"`
	OnRemoval    string                  `json:"on_removal" enum:"delete,deactivate,leave"`
	RunEvery     int64                   `json:"run_every" doc:"Seconds between runs; 0: none by schedule"`
	Status       string                  `json:"status" enum:"active,paused"`
	Failures     int                     `json:"failures,omitempty" doc:"Of the target as a whole, since something last succeeded"`
	LastError    string                  `json:"last_error,omitempty"`
	RetryAt      *time.Time              `json:"retry_at,omitempty" doc:"When it is tried again after a failure"`
	LastSuccess  *time.Time              `json:"last_success,omitempty"`
	NextRun      *time.Time              `json:"next_run,omitempty"`
	Capabilities *outbound.Capabilities  `json:"capabilities,omitempty" doc:"What the server says of itself; absent: it was not asked yet"`
	Standing     *ProvisioningCountsBody `json:"standing,omitempty" doc:"Of a single target"`
	CreatedAt    time.Time               `json:"created_at"`
	ModifiedAt   time.Time               `json:"modified_at"`
}

// ProvisioningCountsBody is how much of a target is done.
type ProvisioningCountsBody struct {
	Waiting int `json:"waiting" doc:"Resources that have changed and were not looked at yet"`
	Failing int `json:"failing" doc:"Those that have failed and are tried again"`
	Dead    int `json:"dead" doc:"Those that were set aside after too many attempts"`
	People  int `json:"people" doc:"Those that are there"`
	Groups  int `json:"groups"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func provisioningTargetBodyOf(t *outbound.Target) ProvisioningTargetBody {
	body := ProvisioningTargetBody{
		ID: t.ID, Name: t.Name, BaseURL: t.BaseURL,
		Auth:       ProvisioningAuth{string(t.Auth.Method), t.Auth.TokenURL, t.Auth.ClientID, t.Auth.Scope},
		People:     ProvisionedPeople{string(t.People.Scope), t.People.Groups, t.People.Roles},
		Groups:     ProvisionedGroups{string(t.Groups.Scope), t.Groups.Groups},
		Attributes: ProvisionedAttributes{t.Attributes.Include, t.Attributes.Exclude, string(t.Attributes.ExternalID)},
		OnRemoval:  string(t.OnRemoval), RunEvery: int64(t.RunEvery / time.Second), Status: string(t.Status),
		Failures: t.Failures, LastError: t.LastError, LastSuccess: moment(t.Succeeded), NextRun: moment(t.RunAt), Capabilities: t.Capabilities,
		CreatedAt: t.Created, ModifiedAt: t.Modified,
	}
	if t.Failures > 0 {
		body.RetryAt = moment(t.Due)
	}
	return body
}

// ProvisioningTargetAddress is the place of a target in a path.
type ProvisioningTargetAddress struct {
	Target string `path:"target" maxLength:"36" doc:"The target's id"`
}

func (a ProvisioningTargetAddress) id() (id.ProvisioningTarget, error) {
	target, err := id.Parse[id.ProvisioningTarget](a.Target)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no such provisioning target")
	}
	return target, nil
}

type (
	shownTarget  struct{ Body ProvisioningTargetBody }
	shownTargets struct {
		Body list[ProvisioningTargetBody]
	}
	newTarget struct {
		Body struct {
			Name       string                 `json:"name" minLength:"1" maxLength:"100" doc:"Unique in the tenant"`
			BaseURL    string                 `json:"base_url" maxLength:"1000" doc:"https; /Users is behind it"`
			Auth       *ProvisioningAuth      `json:"auth,omitempty" doc:"Default: bearer"`
			Secret     string                 `json:"secret" minLength:"1" maxLength:"4000" doc:"The token, or the client secret. It is not shown again."`
			People     *ProvisionedPeople     `json:"people,omitempty" doc:"Default: all"`
			Groups     *ProvisionedGroups     `json:"groups,omitempty" doc:"Default: none"`
			Attributes *ProvisionedAttributes `json:"attributes,omitempty" doc:"Default: all"`
			OnRemoval  string                 `json:"on_removal,omitempty" enum:"delete,deactivate,leave" doc:"Default: deactivate"`
			RunEvery   *int64                 `json:"run_every,omitempty" minimum:"0" maximum:"2592000" doc:"Default: 86400"`
			Status     string                 `json:"status,omitempty" enum:"active,paused" doc:"Default: active"`
		}
	}
	changedTarget struct {
		ProvisioningTargetAddress
		Body struct {
			Name       *string                `json:"name,omitempty" minLength:"1" maxLength:"100"`
			BaseURL    *string                `json:"base_url,omitempty" maxLength:"1000" doc:"With the secret, which is bound to it"`
			Auth       *ProvisioningAuth      `json:"auth,omitempty" doc:"With the secret, where its method or token_url changes"`
			Secret     *string                `json:"secret,omitempty" minLength:"1" maxLength:"4000"`
			People     *ProvisionedPeople     `json:"people,omitempty"`
			Groups     *ProvisionedGroups     `json:"groups,omitempty"`
			Attributes *ProvisionedAttributes `json:"attributes,omitempty"`
			OnRemoval  *string                `json:"on_removal,omitempty" enum:"delete,deactivate,leave"`
			RunEvery   *int64                 `json:"run_every,omitempty" minimum:"0" maximum:"2592000"`
			Status     *string                `json:"status,omitempty" enum:"active,paused" doc:"paused: changes are noted and wait"`
		}
	}
	probedTarget struct {
		Body struct {
			OK           bool                   `json:"ok"`
			Problem      string                 `json:"problem,omitempty" doc:"Why it does not work"`
			Capabilities *outbound.Capabilities `json:"capabilities,omitempty"`
		}
	}
)

// ProvisioningRunBody is a run as it is shown.
type ProvisioningRunBody struct {
	ID          id.ProvisioningRun `json:"id"`
	DryRun      bool               `json:"dry_run"`
	State       string             `json:"state" enum:"waiting,running,done,failed"`
	Counts      outbound.RunCounts `json:"counts" doc:"Of a dry run: what it would do"`
	Items       []outbound.RunItem `json:"items,omitempty" doc:"Of a single run: what it did or would do, at most 1000 items"`
	Error       string             `json:"error,omitempty"`
	RequestedAt time.Time          `json:"requested_at"`
	StartedAt   *time.Time         `json:"started_at,omitempty"`
	EndedAt     *time.Time         `json:"ended_at,omitempty"`
}

func provisioningRunBodyOf(r *outbound.Run) ProvisioningRunBody {
	return ProvisioningRunBody{
		ID: r.ID, DryRun: r.Dry, State: string(r.State), Counts: r.Counts, Items: r.Items, Error: r.Error,
		RequestedAt: r.Requested, StartedAt: moment(r.Started), EndedAt: moment(r.Ended),
	}
}

// ProvisioningErrorBody is a resource that could not be pushed.
type ProvisioningErrorBody struct {
	Kind     string     `json:"kind" enum:"User,Group"`
	Resource string     `json:"resource" doc:"Its id here"`
	Reason   string     `json:"reason"`
	Attempts int        `json:"attempts"`
	RetryAt  *time.Time `json:"retry_at,omitempty" doc:"Absent: it was set aside"`
	DeadAt   *time.Time `json:"dead_at,omitempty" doc:"When it was set aside"`
}

type (
	startedRun struct {
		ProvisioningTargetAddress
		Body struct {
			DryRun bool `json:"dry_run,omitempty" doc:"Say what would be done, and do nothing"`
		}
	}
	shownRun   struct{ Body ProvisioningRunBody }
	shownRuns  struct{ Body list[ProvisioningRunBody] }
	runListing struct {
		Page
		ProvisioningTargetAddress
	}
	oneRun struct {
		ProvisioningTargetAddress
		Run string `path:"run" maxLength:"36" doc:"The run's id"`
	}
	shownErrors struct{ Body list[ProvisioningErrorBody] }
	retryErrors struct {
		ProvisioningTargetAddress
		Body struct {
			Resource string `json:"resource,omitempty" maxLength:"36" doc:"The id of one resource; left out: all"`
		}
	}
	retriedErrors struct {
		Body struct {
			Retried int `json:"retried"`
		}
	}
)

func (a *ProvisioningAuth) domain() *outbound.Auth {
	if a == nil {
		return nil
	}
	return &outbound.Auth{Method: outbound.AuthMethod(a.Method), TokenURL: a.TokenURL, ClientID: a.ClientID, Scope: a.Scope}
}

func (p *ProvisionedPeople) domain() *outbound.People {
	if p == nil {
		return nil
	}
	return &outbound.People{Scope: outbound.PeopleScope(p.Scope), Groups: p.Groups, Roles: p.Roles}
}

func (g *ProvisionedGroups) domain() *outbound.Groups {
	if g == nil {
		return nil
	}
	return &outbound.Groups{Scope: outbound.GroupScope(g.Scope), Groups: g.Groups}
}

func (a *ProvisionedAttributes) domain() *outbound.Attributes {
	if a == nil {
		return nil
	}
	return &outbound.Attributes{Include: a.Include, Exclude: a.Exclude, ExternalID: outbound.ExternalID(a.ExternalID)}
}

func seconds(n *int64) *time.Duration {
	if n == nil {
		return nil
	}
	return new(time.Duration(*n) * time.Second)
}

func (in *newTarget) settings() outbound.Settings {
	b := &in.Body
	settings := outbound.Settings{
		Name: &b.Name, BaseURL: &b.BaseURL, Auth: b.Auth.domain(), Secret: new(secret.NewText(b.Secret)), People: b.People.domain(), Groups: b.Groups.domain(),
		Attributes: b.Attributes.domain(), RunEvery: seconds(b.RunEvery),
	}
	if b.OnRemoval != "" {
		settings.OnRemoval = typed[outbound.Removal](&b.OnRemoval)
	}
	if b.Status != "" {
		settings.Status = typed[outbound.Status](&b.Status)
	}
	return settings
}

func (in *changedTarget) settings() outbound.Settings {
	b := &in.Body
	settings := outbound.Settings{
		Name: b.Name, BaseURL: b.BaseURL, Auth: b.Auth.domain(), People: b.People.domain(), Groups: b.Groups.domain(), Attributes: b.Attributes.domain(),
		OnRemoval: typed[outbound.Removal](b.OnRemoval), RunEvery: seconds(b.RunEvery), Status: typed[outbound.Status](b.Status),
	}
	if b.Secret != nil {
		settings.Secret = new(secret.NewText(*b.Secret))
	}
	return settings
}

// provisioningTargets registers what is done to the servers that a tenant pushes
// its people and groups to.
func (o *operations) provisioningTargets() {
	h := o.handler
	about := operationsOf("/provisioning-targets", "Provisioning targets")
	inTenant(o, about("listProvisioningTargets", http.MethodGet, "", "List provisioning targets", "By name.", 0),
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*shownTargets, error) {
			all, err := h.Outbound.Targets(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			return &shownTargets{listOf(all, provisioningTargetBodyOf)}, nil
		})
	inTenant(o, about("createProvisioningTarget", http.MethodPost, "", "Create a provisioning target",
		"The first push begins at once. Make it paused to see by a dry run what it will do.", http.StatusCreated),
		func(ctx context.Context, t *directory.Tenant, in *newTarget) (*shownTarget, error) {
			made, err := h.Outbound.Create(ctx, t.ID, in.settings())
			if err != nil {
				return nil, err
			}
			return &shownTarget{provisioningTargetBodyOf(made)}, nil
		})
	ofTarget(o, about("getProvisioningTarget", http.MethodGet, "/{target}", "Get a provisioning target", "With its standing.", 0),
		func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, _ *ProvisioningTargetAddress) (*shownTarget, error) {
			found, err := h.Outbound.Target(ctx, t.ID, target)
			if err != nil {
				return nil, err
			}
			counts, err := h.Outbound.Standing(ctx, t.ID, target)
			if err != nil {
				return nil, err
			}
			shown := &shownTarget{provisioningTargetBodyOf(found)}
			shown.Body.Standing = new(ProvisioningCountsBody(counts))
			return shown, nil
		})
	ofTarget(o, about("changeProvisioningTarget", http.MethodPatch, "/{target}", "Change a provisioning target",
		"What is left out stays as it is. Everything is compared anew, and a target that was backing off goes on at once.", 0),
		func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, in *changedTarget) (*shownTarget, error) {
			changed, err := h.Outbound.Change(ctx, t.ID, target, in.settings())
			if err != nil {
				return nil, err
			}
			return &shownTarget{provisioningTargetBodyOf(changed)}, nil
		})
	ofTarget(o, about("deleteProvisioningTarget", http.MethodDelete, "/{target}", "Delete a provisioning target", "Nothing changes there.", http.StatusNoContent),
		func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, _ *ProvisioningTargetAddress) (*struct{}, error) {
			return nil, h.Outbound.Delete(ctx, t.ID, target)
		})
	ofTarget(o, about("testProvisioningTarget", http.MethodPost, "/{target}/test", "Try a provisioning target",
		"Asks what the server can do and for one page of its people; changes nothing.", 0),
		func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, _ *ProvisioningTargetAddress) (*probedTarget, error) {
			probe, err := h.Outbound.Test(ctx, t.ID, target)
			if err != nil {
				return nil, err
			}
			shown := &probedTarget{}
			shown.Body.OK, shown.Body.Problem, shown.Body.Capabilities = probe.OK, probe.Problem, probe.Capabilities
			return shown, nil
		})
	o.provisioningRuns(about)
}

// ofTarget registers an operation about one target.
func ofTarget[I interface {
	id() (id.ProvisioningTarget, error)
}, O any](o *operations, op operation, do func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, in *I) (*O, error)) {
	inTenant(o, op, func(ctx context.Context, t *directory.Tenant, in *I) (*O, error) {
		target, err := (*in).id()
		if err != nil {
			return nil, err
		}
		return do(ctx, t, target, in)
	})
}

func (o *operations) provisioningRuns(about func(id, method, path, summary, text string, status int) operation) {
	h := o.handler
	ofTarget(o, about("startProvisioningRun", http.MethodPost, "/{target}/runs", "Compare everything with a target",
		"What differs is repaired, or, in a dry run, told. It goes on behind the answer: get the run to see how far it is.", http.StatusAccepted),
		func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, in *startedRun) (*shownRun, error) {
			r, err := h.Outbound.Start(ctx, t.ID, target, in.Body.DryRun)
			if err != nil {
				return nil, err
			}
			return &shownRun{provisioningRunBodyOf(r)}, nil
		})
	ofTarget(o, about("listProvisioningRuns", http.MethodGet, "/{target}/runs", "List the runs of a target", "The newest first; the last 20 are kept.", 0),
		func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, in *runListing) (*shownRuns, error) {
			var before id.ProvisioningRun
			if in.Cursor != "" {
				var err error
				if before, err = id.Parse[id.ProvisioningRun](in.Cursor); err != nil {
					return nil, errCursor()
				}
			}
			all, err := h.Outbound.Runs(ctx, t.ID, target, before, in.Limit+1)
			if err != nil {
				return nil, err
			}
			return &shownRuns{pageOf(all, in.Limit, func(r *outbound.Run) string { return string(r.ID) }, provisioningRunBodyOf)}, nil
		})
	ofTarget(o, about("getProvisioningRun", http.MethodGet, "/{target}/runs/{run}", "Get a run of a target", "With what it did or would do.", 0),
		func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, in *oneRun) (*shownRun, error) {
			run, err := id.Parse[id.ProvisioningRun](in.Run)
			if err != nil {
				return nil, fault.New(fault.NotFound, "there is no such run")
			}
			r, err := h.Outbound.OneRun(ctx, t.ID, target, run)
			if err != nil {
				return nil, err
			}
			return &shownRun{provisioningRunBodyOf(r)}, nil
		})
	ofTarget(o, about("listProvisioningErrors", http.MethodGet, "/{target}/errors", "List what could not be pushed", "Groups first, by id.", 0), h.listProvisioningErrors)
	ofTarget(o, about("retryProvisioningErrors", http.MethodPost, "/{target}/errors/retry", "Try again what could not be pushed", "", 0),
		func(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, in *retryErrors) (*retriedErrors, error) {
			retried := &retriedErrors{}
			var err error
			retried.Body.Retried, err = h.Outbound.Retry(ctx, t.ID, target, in.Body.Resource)
			return retried, err
		})
}

func (h *Handler) listProvisioningErrors(ctx context.Context, t *directory.Tenant, target id.ProvisioningTarget, in *runListing) (*shownErrors, error) {
	var after outbound.Item
	if in.Cursor != "" {
		kind, resource, ok := strings.Cut(in.Cursor, "/")
		if !ok {
			return nil, errCursor()
		}
		after.Kind, after.Resource = outbound.Kind(kind), resource
	}
	items, err := h.Outbound.Errors(ctx, t.ID, target, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &shownErrors{pageOf(items, in.Limit, func(i *outbound.Item) string { return string(i.Kind) + "/" + i.Resource }, provisioningErrorBodyOf)}, nil
}

func provisioningErrorBodyOf(i *outbound.Item) ProvisioningErrorBody {
	body := ProvisioningErrorBody{Kind: string(i.Kind), Resource: i.Resource, Reason: i.Reason, Attempts: i.Attempts, DeadAt: moment(i.Dead)}
	if i.Dead.IsZero() {
		body.RetryAt = moment(i.Due)
	}
	return body
}
