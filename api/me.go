package api

import (
	"context"
	"net/http"
)

// me registers what people do for themselves, whatever the tenant in use.
func (o *operations) me() {
	ofCaller(o, operation{
		ID: "setDefaultTenant", Method: http.MethodPut, Path: "/default-tenant", Tag: "Me", Summary: "Set the default tenant",
		About: "The tenant that you sign in to where an application names none. You must have an active membership there.",
	},
		func(ctx context.Context, in *struct {
			Body struct {
				Tenant string `json:"tenant" maxLength:"200" doc:"Slug or id"`
			}
		},
		) (*struct{ Body defaultTenant }, error) {
			t, err := o.handler.Directory.SetDefaultTenant(ctx, in.Body.Tenant)
			if err != nil {
				return nil, err
			}
			return &struct{ Body defaultTenant }{defaultTenant{Tenant: t.Slug, ID: string(t.ID)}}, nil
		})
}

// defaultTenant is the tenant that a person signs in to when none is named.
type defaultTenant struct {
	Tenant string `json:"tenant" doc:"Its slug"`
	ID     string `json:"id"`
}
