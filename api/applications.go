package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// ApplicationBody is an application of a tenant as it is shown.
type ApplicationBody struct {
	ClientID       string                  `json:"client_id"`
	Name           string                  `json:"name" doc:"Of one that registered itself: by its own word"`
	Type           string                  `json:"type" enum:"web,spa,native,device"`
	RedirectURIs   []string                `json:"redirect_uris"`
	AuthMethod     string                  `json:"token_endpoint_auth_method,omitempty" doc:"Absent: by the secret in either way, or none for types that keep none"`
	AuthAlg        string                  `json:"token_endpoint_auth_signing_alg,omitempty" doc:"Of its assertions; absent: any of ES256, EdDSA, PS256, RS256"`
	RequestAlg     string                  `json:"request_object_signing_alg,omitempty" doc:"Of its signed requests; absent: the same"`
	AccessToken    string                  `json:"access_token" enum:"jwt,opaque" doc:"What its access tokens are"`
	AccessTokenAlg string                  `json:"access_token_signed_response_alg" enum:"ES256,RS256,EdDSA" doc:"Of those that are signed"`
	IDTokenAlg     string                  `json:"id_token_signed_response_alg" enum:"ES256,RS256,EdDSA" doc:"Of ID tokens, logout tokens and signed introspection"`
	ThirdParty     bool                    `json:"third_party" doc:"People are asked for their consent"`
	Enabled        bool                    `json:"enabled"`
	Registered     bool                    `json:"registered" doc:"It has registered itself"`
	RegisteredBy   id.RegistrationToken    `json:"registration_token,omitempty" doc:"The id of the token by which it did"`
	ClientMetadata *applicationDescription `json:"metadata,omitempty" doc:"What it says of itself; nobody has looked into it"`
	CreatedAt      time.Time               `json:"created_at"`
	ModifiedAt     time.Time               `json:"modified_at"`
}

// applicationDescription is the part of its metadata that an administrator judges an
// application by.
type applicationDescription struct {
	Scope           string   `json:"scope"`
	ClientURI       string   `json:"client_uri,omitempty"`
	TermsURI        string   `json:"tos_uri,omitempty"`
	PolicyURI       string   `json:"policy_uri,omitempty"`
	Contacts        []string `json:"contacts,omitempty"`
	SoftwareID      string   `json:"software_id,omitempty"`
	SoftwareVersion string   `json:"software_version,omitempty"`
}

// ApplicationSecretBody is a secret of an application, without the secret.
type ApplicationSecretBody struct {
	ID         string     `json:"id"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty" doc:"Absent: never"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"To an hour; absent: never used"`
}

// ApplicationAddress is the place of an application in a path.
type ApplicationAddress struct {
	ClientID string `path:"client_id" maxLength:"128" doc:"The application's client_id"`
}

type (
	shownApplication   struct{ Body ApplicationBody }
	shownApplications  struct{ Body list[ApplicationBody] }
	changedApplication struct {
		ApplicationAddress
		Body struct {
			Enabled        *bool              `json:"enabled,omitempty" doc:"Of one that registered itself"`
			AccessTokenAlg *oidc.Alg          `json:"access_token_signed_response_alg,omitempty" enum:"ES256,RS256,EdDSA"`
			IDTokenAlg     *oidc.Alg          `json:"id_token_signed_response_alg,omitempty" enum:"ES256,RS256,EdDSA"`
			AuthAlg        optional[oidc.Alg] `json:"token_endpoint_auth_signing_alg,omitzero" enum:"ES256,EdDSA,PS256,RS256" doc:"null: any of them"`
			RequestAlg     optional[oidc.Alg] `json:"request_object_signing_alg,omitzero" enum:"ES256,EdDSA,PS256,RS256" doc:"null: any of them"`
		}
	}
	newApplicationSecret struct {
		ApplicationAddress
		Body *struct {
			Overlap *int64 `json:"overlap_seconds,omitempty" minimum:"0" maximum:"604800" doc:"For how long the secrets before work on; default: a day"`
		} `required:"false"`
	}
	madeApplicationSecret struct {
		Body struct {
			ApplicationSecretBody
			Secret string `json:"client_secret" doc:"Shown this once"`
		}
	}
	shownApplicationSecrets struct {
		Body list[ApplicationSecretBody]
	}
	applicationSecretAddress struct {
		ApplicationAddress
		Secret string `path:"secret" maxLength:"64" doc:"The secret's id"`
	}
)

func applicationBodyOf(a *oidc.Application) ApplicationBody {
	body := ApplicationBody{
		ClientID: a.ClientID, Name: a.Name, Type: string(a.Type), RedirectURIs: append([]string{}, a.RedirectURIs...),
		AuthMethod: string(a.Security.AuthMethod), AuthAlg: string(a.Security.AuthAlg), RequestAlg: string(a.Security.RequestAlg),
		AccessToken: string(a.AccessToken), AccessTokenAlg: string(a.AccessTokenAlg), IDTokenAlg: string(a.IDTokenAlg), ThirdParty: a.ThirdParty, Enabled: !a.Disabled(), CreatedAt: a.Created, ModifiedAt: a.Modified,
	}
	if r := a.Registration; r != nil {
		m := &r.Metadata
		body.Registered, body.RegisteredBy = true, r.By
		body.ClientMetadata = &applicationDescription{
			Scope: m.Scope, ClientURI: m.ClientURI, TermsURI: m.TermsURI, PolicyURI: m.PolicyURI, Contacts: m.Contacts, SoftwareID: m.SoftwareID, SoftwareVersion: m.SoftwareVersion,
		}
	}
	return body
}

func applicationSecretBodyOf(s *oidc.ApplicationSecret) ApplicationSecretBody {
	return ApplicationSecretBody{ID: s.ID(), CreatedAt: s.Created, ExpiresAt: timeOrNone(s.Expires), LastUsedAt: timeOrNone(s.LastUsed)}
}

// applications registers what is done to the applications of a tenant that people
// sign in to; machines are service accounts.
func (o *operations) applications() {
	h := o.handler
	about := operationsOf("/applications", "Applications")
	inTenant(o, about("listApplications", http.MethodGet, "", "List applications of the tenant",
		"By client_id: those that the operator has registered for the tenant, and those that have registered themselves. Needs the permission applications.read.", 0),
		func(ctx context.Context, t *directory.Tenant, in *Page) (*shownApplications, error) {
			found, err := h.OIDC.Applications(ctx, t.ID, in.Cursor, in.Limit+1)
			if err != nil {
				return nil, err
			}
			return &shownApplications{pageOf(found, in.Limit, func(a *oidc.Application) string { return a.ClientID }, applicationBodyOf)}, nil
		})
	inTenant(o, about("getApplication", http.MethodGet, "/{client_id}", "Get an application", "Needs the permission applications.read.", 0),
		func(ctx context.Context, t *directory.Tenant, in *ApplicationAddress) (*shownApplication, error) {
			return applicationOf(h.OIDC.ApplicationOf(ctx, t.ID, in.ClientID))
		})
	inTenant(o, about("changeApplication", http.MethodPatch, "/{client_id}", "Change an application",
		"What is sent, changes: the algorithms of any application, and whether one that registered itself is in use. Out of use it signs nobody in, "+
			"and what people have given to it ends. Needs the permission applications.update.", 0),
		func(ctx context.Context, t *directory.Tenant, in *changedApplication) (*shownApplication, error) {
			b := &in.Body
			return applicationOf(h.OIDC.ChangeApplication(ctx, t.ID, in.ClientID, oidc.ApplicationChange{
				Enabled: b.Enabled, IDTokenAlg: b.IDTokenAlg, AccessTokenAlg: b.AccessTokenAlg, AuthAlg: b.AuthAlg.pointer(), RequestAlg: b.RequestAlg.pointer(),
			}))
		})
	inTenant(o, about("deleteApplication", http.MethodDelete, "/{client_id}", "Delete an application that registered itself",
		"With all that was issued to it, at once. Needs the permission applications.delete.", http.StatusNoContent),
		func(ctx context.Context, t *directory.Tenant, in *ApplicationAddress) (*struct{}, error) {
			return nil, h.OIDC.RemoveApplication(ctx, t.ID, in.ClientID)
		})
	inTenant(o, about("listApplicationSecrets", http.MethodGet, "/{client_id}/secrets", "List the secrets of an application",
		"The newest first, without the secrets. Needs the permission applications.read.", 0),
		func(ctx context.Context, t *directory.Tenant, in *ApplicationAddress) (*shownApplicationSecrets, error) {
			a, err := h.OIDC.ApplicationOf(ctx, t.ID, in.ClientID)
			if err != nil {
				return nil, err
			}
			out := &shownApplicationSecrets{list[ApplicationSecretBody]{Items: []ApplicationSecretBody{}}}
			for i := range a.Secrets {
				out.Body.Items = append(out.Body.Items, applicationSecretBodyOf(&a.Secrets[len(a.Secrets)-1-i]))
			}
			return out, nil
		})
	inTenant(o, about("addApplicationSecret", http.MethodPost, "/{client_id}/secrets", "Make another secret",
		"The secrets before work for the overlap more. Needs the permission applications.update.", http.StatusCreated),
		func(ctx context.Context, t *directory.Tenant, in *newApplicationSecret) (*madeApplicationSecret, error) {
			overlap := 24 * time.Hour
			if in.Body != nil && in.Body.Overlap != nil {
				overlap = time.Duration(*in.Body.Overlap) * time.Second
			}
			kept, made, err := h.OIDC.AddApplicationSecret(ctx, t.ID, in.ClientID, overlap)
			if err != nil {
				return nil, err
			}
			out := &madeApplicationSecret{}
			out.Body.ApplicationSecretBody, out.Body.Secret = applicationSecretBodyOf(kept), made.Reveal()
			return out, nil
		})
	inTenant(o, about("deleteApplicationSecret", http.MethodDelete, "/{client_id}/secrets/{secret}", "Delete a secret of an application",
		"At once. Needs the permission applications.update.", http.StatusNoContent),
		func(ctx context.Context, t *directory.Tenant, in *applicationSecretAddress) (*struct{}, error) {
			return nil, h.OIDC.DeleteApplicationSecret(ctx, t.ID, in.ClientID, in.Secret)
		})
	o.registrationTokens()
}

func applicationOf(a *oidc.Application, err error) (*shownApplication, error) {
	if err != nil {
		return nil, err
	}
	return &shownApplication{applicationBodyOf(a)}, nil
}
