package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/directory"
)

// accountBody is a service account: an application that acts by itself.
type accountBody struct {
	ClientID string   `json:"client_id"`
	Name     string   `json:"name"`
	Roles    []string `json:"roles"`
}

// accountSecret is an account with a secret that was just made.
type accountSecret struct {
	accountBody
	Secret string `json:"client_secret" doc:"Shown this once"`
}

type accountPath struct {
	Account string `path:"client_id" doc:"The account's client_id"`
}

func accountOf(a *directory.ServiceAccount) accountBody {
	return accountBody{ClientID: a.Application, Name: a.Name, Roles: append([]string{}, a.Roles...)}
}

// accounts registers what is done to service accounts.
func (o *operations) accounts() {
	const tag = "Service accounts"
	d := o.handler.Directory
	inTenant(o, operation{ID: "listServiceAccounts", Method: http.MethodGet, Path: "/service-accounts", Tag: tag, Summary: "List service accounts"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body list[accountBody] }, error) {
			all, err := d.ServiceAccountsOf(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			return &struct{ Body list[accountBody] }{listOf(all, accountOf)}, nil
		})
	inTenant(o, operation{ID: "addServiceAccount", Method: http.MethodPost, Path: "/service-accounts", Tag: tag, Summary: "Add a service account", Status: http.StatusCreated},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			Body struct {
				Name  string   `json:"name" maxLength:"200"`
				Roles []string `json:"roles" maxItems:"64"`
			}
		},
		) (*struct{ Body accountSecret }, error) {
			account, made, err := d.AddServiceAccount(ctx, t.ID, in.Body.Name, in.Body.Roles)
			if err != nil {
				return nil, err
			}
			return &struct{ Body accountSecret }{accountSecret{accountOf(account), made.Reveal()}}, nil
		})
	inTenant(o, operation{ID: "setServiceAccountRoles", Method: http.MethodPut, Path: "/service-accounts/{client_id}/roles", Tag: tag, Summary: "Set the roles of a service account", Status: http.StatusNoContent},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			Account string `path:"client_id" doc:"The account's client_id"`
			Body    struct {
				Roles []string `json:"roles" maxItems:"64"`
			}
		},
		) (*struct{}, error) {
			return nil, d.SetServiceAccountRoles(ctx, t.ID, in.Account, in.Body.Roles)
		})
	inTenant(o, operation{
		ID: "rotateServiceAccountSecret", Method: http.MethodPost, Path: "/service-accounts/{client_id}/rotate", Tag: tag, Summary: "Make another secret",
		About: "The secrets before work for the overlap more.",
	},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			Account string `path:"client_id" doc:"The account's client_id"`
			Body    struct {
				Overlap *int `json:"overlap_seconds,omitempty" minimum:"0" maximum:"604800" doc:"Default: a day"`
			}
		}) (*struct {
			Body struct {
				Secret string `json:"client_secret" doc:"Shown this once"`
			}
		}, error,
		) {
			overlap := 24 * time.Hour
			if in.Body.Overlap != nil {
				overlap = time.Duration(*in.Body.Overlap) * time.Second
			}
			made, err := d.ReplaceServiceAccountSecret(ctx, t.ID, in.Account, overlap)
			if err != nil {
				return nil, err
			}
			out := &struct {
				Body struct {
					Secret string `json:"client_secret" doc:"Shown this once"`
				}
			}{}
			out.Body.Secret = made.Reveal()
			return out, nil
		})
	inTenant(o, operation{ID: "deleteServiceAccount", Method: http.MethodDelete, Path: "/service-accounts/{client_id}", Tag: tag, Summary: "Remove a service account", Status: http.StatusNoContent},
		func(ctx context.Context, t *directory.Tenant, in *accountPath) (*struct{}, error) {
			return nil, d.DeleteServiceAccount(ctx, t.ID, in.Account)
		})
}
