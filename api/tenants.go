package api

import (
	"context"
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
)

// tenantBody is a tenant as its members see it.
type tenantBody struct {
	ID        id.Tenant `json:"id"`
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Blueprint string    `json:"blueprint" doc:"The role system"`
	Version   int       `json:"blueprint_version" doc:"The version of the role system that the tenant is on"`
}

func (o *operations) tenants() {
	inTenant(o, operation{ID: "getTenant", Method: http.MethodGet, Tag: "Tenants", Summary: "Get a tenant"},
		func(_ context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body tenantBody }, error) {
			return &struct{ Body tenantBody }{tenantBody{
				ID: t.ID, Slug: t.Slug, Name: t.Name, Status: t.Status, Blueprint: t.Blueprint, Version: t.BlueprintVersion,
			}}, nil
		})
}
