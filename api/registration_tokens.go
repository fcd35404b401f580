package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// RegistrationTokenBody is a registration token as it is shown.
type RegistrationTokenBody struct {
	ID            id.RegistrationToken `json:"id"`
	Description   string               `json:"description"`
	Status        string               `json:"status" enum:"active,expired,used"`
	Registrations int                  `json:"registrations" doc:"That it is good for"`
	Used          int                  `json:"used" doc:"How many applications have registered by it"`
	CreatedAt     time.Time            `json:"created_at"`
	ExpiresAt     time.Time            `json:"expires_at"`
	LastUsedAt    *time.Time           `json:"last_used_at,omitempty" doc:"Absent: never used"`
}

type (
	newRegistrationToken struct {
		Body struct {
			Description   string     `json:"description,omitempty" maxLength:"200"`
			ExpiresAt     *time.Time `json:"expires_at,omitempty" doc:"Within a year; default: in 30 days"`
			Registrations int        `json:"registrations,omitempty" minimum:"1" maximum:"1000" doc:"How many applications may register by it; default: 1"`
		}
	}
	madeRegistrationToken struct {
		Body struct {
			RegistrationTokenBody
			Token string `json:"token" doc:"The secret. It is not shown again." pattern:"^rcia_"`
		}
	}
	shownRegistrationTokens struct {
		Body list[RegistrationTokenBody]
	}
	registrationTokenAddress struct {
		Token string `path:"registration_token" maxLength:"36" doc:"The token's id"`
	}
)

func (h *Handler) registrationTokenBodyOf(t *oidc.RegistrationToken) RegistrationTokenBody {
	body := RegistrationTokenBody{
		ID: t.ID, Description: t.Description, Status: "active", Registrations: t.Registrations, Used: t.Used,
		CreatedAt: t.Created, ExpiresAt: t.Expires, LastUsedAt: timeOrNone(t.LastUsed),
	}
	switch {
	case t.Used >= t.Registrations:
		body.Status = "used"
	case !h.Now().Before(t.Expires):
		body.Status = "expired"
	}
	return body
}

// registrationTokens registers what is done to the tokens by which applications
// register themselves (RFC 7591 §3).
func (o *operations) registrationTokens() {
	h := o.handler
	about := operationsOf("/registration-tokens", "Applications")
	inTenant(o, about("listRegistrationTokens", http.MethodGet, "", "List registration tokens",
		"The newest first. One that has expired is listed for 30 days. Needs the permission applications.read.", 0),
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*shownRegistrationTokens, error) {
			all, err := h.OIDC.RegistrationTokens(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			return &shownRegistrationTokens{listOf(all, h.registrationTokenBodyOf)}, nil
		})
	inTenant(o, about("createRegistrationToken", http.MethodPost, "", "Create a registration token",
		"An application registers itself with it at the registration_endpoint (RFC 7591), while the tenant's policy lets it (dynamic_registration). "+
			"The secret is shown this once. Needs the permission applications.create.", http.StatusCreated),
		func(ctx context.Context, t *directory.Tenant, in *newRegistrationToken) (*madeRegistrationToken, error) {
			token := oidc.RegistrationToken{Tenant: t.ID, Description: in.Body.Description, Registrations: in.Body.Registrations}
			if in.Body.ExpiresAt != nil {
				token.Expires = *in.Body.ExpiresAt
			}
			kept, made, err := h.OIDC.CreateRegistrationToken(ctx, token)
			if err != nil {
				return nil, err
			}
			out := &madeRegistrationToken{}
			out.Body.RegistrationTokenBody, out.Body.Token = h.registrationTokenBodyOf(kept), made.Reveal()
			return out, nil
		})
	inTenant(o, about("deleteRegistrationToken", http.MethodDelete, "/{registration_token}", "Delete a registration token",
		"Nobody registers by it any more. What has registered stays. Needs the permission applications.delete.", http.StatusNoContent),
		func(ctx context.Context, t *directory.Tenant, in *registrationTokenAddress) (*struct{}, error) {
			token, err := id.Parse[id.RegistrationToken](in.Token)
			if err != nil {
				return nil, fault.New(fault.NotFound, "there is no such registration token")
			}
			return nil, h.OIDC.DeleteRegistrationToken(ctx, t.ID, token)
		})
}
