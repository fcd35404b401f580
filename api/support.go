package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// supportBody is a support session.
type supportBody struct {
	ID        id.SupportSession `json:"id"`
	User      id.User           `json:"user" doc:"Who is acted for"`
	Staff     staffBody         `json:"staff" doc:"Who acts"`
	Role      string            `json:"role,omitempty" doc:"The role taken instead of the user's"`
	Reason    string            `json:"reason"`
	Client    string            `json:"client_id"`
	Created   time.Time         `json:"created"`
	Expires   time.Time         `json:"expires"`
	Ended     *time.Time        `json:"ended,omitempty" doc:"Absent while the session runs, and for one that has just expired"`
	EndReason string            `json:"end_reason,omitempty"`
}

type staffBody struct {
	User   id.User   `json:"user"`
	Tenant id.Tenant `json:"tenant"`
}

func supportOf(s *oidc.SupportSession) supportBody {
	body := supportBody{
		ID: s.ID, User: s.User, Staff: staffBody{s.Staff, s.StaffTenant}, Role: s.Role, Reason: s.Reason, Client: s.ClientID,
		Created: s.Created, Expires: s.Expires, EndReason: s.EndReason,
	}
	if !s.Ended.IsZero() {
		body.Ended = &s.Ended
	}
	return body
}

type supportPath struct {
	Session string `path:"session" doc:"The support session's id"`
}

type supportAccess struct {
	Body struct {
		Enabled bool `json:"enabled" doc:"Whether the tenant consents to support sessions"`
	}
}

func (o *operations) support() {
	const tag = "Support sessions"
	d := o.handler.Directory
	inTenant(o, operation{
		ID: "listSupportSessions", Method: http.MethodGet, Path: "/support-sessions", Tag: tag, Summary: "List who acts as whom",
		About: "Running and past sessions, the newest 200. For whoever may list the tenant's people.",
	},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body list[supportBody] }, error) {
			if err := d.MaySeeSupport(ctx, t.ID); err != nil {
				return nil, err
			}
			sessions, err := o.handler.OIDC.SupportSessions(ctx, t.ID)
			return &struct{ Body list[supportBody] }{listOf(sessions, supportOf)}, err
		})
	inTenant(o, operation{
		ID: "endSupportSession", Method: http.MethodDelete, Path: "/support-sessions/{session}", Tag: tag, Summary: "End a support session",
		About: "For an operator, for whoever decides about the tenant's consent or, where none is asked, suspends people, and for the " +
			"staff member, who may name his own tenant in the address instead. Its token is refused from then on.",
		Status: http.StatusNoContent,
	},
		func(ctx context.Context, t *directory.Tenant, in *supportPath) (*struct{}, error) {
			s, err := o.supportSession(ctx, t, id.SupportSession(in.Session))
			if err != nil {
				return nil, err
			}
			if err := d.MayEndSupport(ctx, s.Tenant, s.Staff); err != nil {
				return nil, err
			}
			return nil, o.handler.OIDC.EndSupportSession(ctx, s.Tenant, s.ID)
		})
	inTenant(o, operation{ID: "getSupportAccess", Method: http.MethodGet, Path: "/support-access", Tag: tag, Summary: "Whether the tenant consents to support sessions"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*supportAccess, error) {
			out := &supportAccess{}
			var err error
			out.Body.Enabled, err = d.SupportAccess(ctx, t.ID)
			return out, err
		})
	inTenant(o, operation{
		ID: "setSupportAccess", Method: http.MethodPut, Path: "/support-access", Tag: tag, Summary: "Consent to support sessions, or end that",
		About:  "Sessions that run by the consent end with it. For whom the role system names (support.set_by), and operators.",
		Status: http.StatusNoContent,
	},
		func(ctx context.Context, t *directory.Tenant, in *supportAccess) (*struct{}, error) {
			return nil, d.SetSupportAccess(ctx, t.ID, in.Body.Enabled)
		})
}

// supportSession finds a session in the tenant, or one of the caller's own that
// began there.
func (o *operations) supportSession(ctx context.Context, t *directory.Tenant, session id.SupportSession) (*oidc.SupportSession, error) {
	s, err := o.handler.OIDC.SupportSession(ctx, t.ID, session)
	if p := authz.FromContext(ctx); errors.Is(err, fault.NotFound) && p.Kind == authz.UserPrincipal && p.Support == nil {
		s, err = o.handler.OIDC.OwnSupportSession(ctx, t.ID, p.User, session)
	}
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "there is no such support session")
	}
	return s, err
}
