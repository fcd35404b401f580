package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// maxEvaluations bounds one request of several questions.
const maxEvaluations = 100

// question is the body of an evaluation (AuthZEN 1.0 §6.1).
type question struct {
	Subject *struct {
		Type string `json:"type"` // user or application
		ID   string `json:"id"`   // sub or address; client_id
	} `json:"subject"`
	Action *struct {
		Name string `json:"name"` // a permission
	} `json:"action"`
	Resource *struct {
		Type       string `json:"type"` // tenant, or what the role system has roles on
		ID         string `json:"id"`   // of a tenant slug or id; of anything else the portal's
		Properties *struct {
			Tenant string `json:"tenant"` // slug or id, for a resource of a tenant
		} `json:"properties"`
	} `json:"resource"`
	Context *struct {
		Channel string `json:"channel"`
		Explain bool   `json:"explain"`
	} `json:"context"`
}

// decision is the answer (AuthZEN 1.0 §6.2).
type decision struct {
	Decision bool               `json:"decision"`
	Context  *authz.Explanation `json:"context,omitempty"`
}

func (h *Handler) evaluation(c *gin.Context, who caller) error {
	var q question
	if err := read(c, &q); err != nil {
		return err
	}
	d, err := h.decide(c.Request.Context(), who, q)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, d)
	return nil
}

// evaluations answers several questions; what one leaves out, it takes from the
// body's own members (AuthZEN 1.0 §7).
func (h *Handler) evaluations(c *gin.Context, who caller) error {
	var body struct {
		question
		Evaluations []question `json:"evaluations"`
		Options     struct {
			Semantic string `json:"evaluations_semantic"`
		} `json:"options"`
	}
	if err := read(c, &body); err != nil {
		return err
	}
	if len(body.Evaluations) == 0 {
		d, err := h.decide(c.Request.Context(), who, body.question)
		if err == nil {
			c.JSON(http.StatusOK, d)
		}
		return err
	}
	if len(body.Evaluations) > maxEvaluations {
		return fault.Field(fault.Invalid, "evaluations", "at most %d questions can be asked at once", maxEvaluations)
	}
	stop := map[string]func(bool) bool{
		"":                       func(bool) bool { return false },
		"execute_all":            func(bool) bool { return false },
		"deny_on_first_deny":     func(allowed bool) bool { return !allowed },
		"permit_on_first_permit": func(allowed bool) bool { return allowed },
	}[body.Options.Semantic]
	if stop == nil {
		return fault.Field(fault.Invalid, "options.evaluations_semantic", "%q is not one of execute_all, deny_on_first_deny, permit_on_first_permit", body.Options.Semantic)
	}
	answers := []*decision{}
	for _, q := range body.Evaluations {
		d, err := h.decide(c.Request.Context(), who, q.or(body.question))
		if err != nil {
			return err
		}
		if answers = append(answers, d); stop(d.Decision) {
			break
		}
	}
	c.JSON(http.StatusOK, map[string]any{"evaluations": answers})
	return nil
}

// or fills in what the question leaves out.
func (q question) or(defaults question) question {
	if q.Subject == nil {
		q.Subject = defaults.Subject
	}
	if q.Action == nil {
		q.Action = defaults.Action
	}
	if q.Resource == nil {
		q.Resource = defaults.Resource
	}
	if q.Context == nil {
		q.Context = defaults.Context
	}
	return q
}

func (q question) check() error {
	switch {
	case q.Subject == nil || q.Subject.ID == "":
		return fault.Field(fault.Invalid, "subject", "a question needs a subject with type and id")
	case q.Subject.Type != "user" && q.Subject.Type != "application":
		return fault.Field(fault.Invalid, "subject.type", "%q is not one of user, application", q.Subject.Type)
	case q.Action == nil || q.Action.Name == "":
		return fault.Field(fault.Invalid, "action", "a question needs an action with the name of a permission")
	case q.Resource == nil || q.Resource.ID == "":
		return fault.Field(fault.Invalid, "resource", "a question needs a resource with type and id")
	case q.Resource.Type == "":
		return fault.Field(fault.Invalid, "resource.type", "a resource needs a type, such as tenant")
	case q.tenant() == "":
		return fault.Field(fault.Invalid, "resource.properties.tenant", "a resource of the type %q needs the tenant that it belongs to", q.Resource.Type)
	}
	return nil
}

// typeTenant is the type of a resource that is a tenant as a whole.
const typeTenant = "tenant"

// tenant names the tenant that the question is about.
func (q question) tenant() string {
	switch {
	case q.Resource.Type == typeTenant:
		return q.Resource.ID
	case q.Resource.Properties == nil:
		return ""
	default:
		return q.Resource.Properties.Tenant
	}
}

// resource is the part of the tenant that the question is about; zero: all of it.
func (q question) resource() directory.Resource {
	if q.Resource.Type == typeTenant {
		return directory.Resource{}
	}
	return directory.Resource{Kind: q.Resource.Type, ID: q.Resource.ID}
}

// stageTenant is the reason where the caller may not ask about a tenant, or
// there is none: the two can't be told apart.
const stageTenant authz.Stage = "tenant"

func (h *Handler) decide(ctx context.Context, who caller, q question) (*decision, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	name, explain := "", false
	if q.Context != nil {
		name, explain = q.Context.Channel, q.Context.Explain
	}
	channel, err := channelOf(name)
	if err != nil {
		return nil, err
	}
	answer, err := h.ask(ctx, who, q, channel)
	if errors.Is(err, fault.NotFound) {
		answer, err = &directory.Answer{Explanation: authz.Explanation{
			Permission: q.Action.Name, Tenant: id.Tenant(q.tenant()), RemovedBy: &authz.Removal{Stage: stageTenant},
		}}, nil
	}
	if err != nil {
		return nil, err
	}
	d := &decision{Decision: answer.Allowed}
	if explain {
		d.Context = named(answer)
	}
	return d, nil
}

// ask fails with fault.NotFound where there is no such tenant, or it is beyond
// the caller's reach.
func (h *Handler) ask(ctx context.Context, who caller, q question, channel authz.Channel) (*directory.Answer, error) {
	if !who.everywhere {
		own, err := h.Directory.Explain(ctx, who.bearer, q.tenant(), q.Action.Name, authz.ChannelAPI)
		if err != nil {
			return nil, err
		}
		if !own.Reached {
			return nil, fault.New(fault.NotFound, "there is no such tenant")
		}
	}
	subject, err := h.subject(ctx, q)
	if err != nil {
		return nil, err
	}
	on := q.resource()
	if explain := q.Context != nil && q.Context.Explain; !explain && on == (directory.Resource{}) {
		allowed, err := h.Directory.Decide(ctx, subject, q.tenant(), q.Action.Name, channel)
		return &directory.Answer{Explanation: authz.Explanation{Allowed: allowed}}, err
	}
	return h.Directory.ExplainOn(ctx, subject, q.tenant(), on, q.Action.Name, channel)
}

// subject returns who is asked about; somebody unknown is nobody, without rights.
func (h *Handler) subject(ctx context.Context, q question) (directory.Bearer, error) {
	if q.Subject.Type == "application" {
		a, err := h.OIDC.Application(ctx, q.Subject.ID)
		if errors.Is(err, fault.NotFound) {
			return directory.Bearer{}, nil
		}
		if err != nil {
			return directory.Bearer{}, err
		}
		return directory.Bearer{Tenant: a.Owner, Roles: a.Roles}, nil
	}
	return directory.BearerByName(q.Subject.ID), nil
}

// named returns the explanation with the tenants' slugs for their ids.
func named(a *directory.Answer) *authz.Explanation {
	slug := func(tenant id.Tenant) id.Tenant {
		if name := a.Names[tenant]; name != "" {
			return id.Tenant(name)
		}
		return tenant
	}
	e := a.Explanation
	e.Tenant = slug(e.Tenant)
	e.GrantedBy = append([]authz.Source{}, e.GrantedBy...)
	for i := range e.GrantedBy {
		e.GrantedBy[i].HeldIn = slug(e.GrantedBy[i].HeldIn)
	}
	if e.RemovedBy != nil {
		removed := *e.RemovedBy
		removed.AskIn = slug(removed.AskIn)
		e.RemovedBy = &removed
	}
	return &e
}
