package scim

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/schema"
)

// mountDiscovery registers what clients learn the server's abilities from
// (RFC 7644 §4). It is open to everybody (RFC 7643 §5).
func (h *Handler) mountDiscovery(r gin.IRouter) {
	h.mount(r, "/v2/ServiceProviderConfig", methods{http.MethodGet: h.handle(h.getServiceProviderConfig)})
	h.mount(r, "/v2/ResourceTypes", methods{http.MethodGet: h.handle(h.listResourceTypes)})
	h.mount(r, "/v2/ResourceTypes/:id", methods{http.MethodGet: h.handle(h.getResourceType)})
	h.mount(r, "/v2/Schemas", methods{http.MethodGet: h.handle(h.listSchemas)})
	h.mount(r, "/v2/Schemas/:id", methods{http.MethodGet: h.handle(h.getSchema)})
}

// supported is a feature of the service provider's configuration.
type supported struct {
	Supported bool `json:"supported"`
}

// serviceProviderConfig is the document of RFC 7643 §5, with the pagination of
// RFC 9865 §4. It says what this server does, not what the RFCs know.
type serviceProviderConfig struct {
	Schemas []string  `json:"schemas"`
	Patch   supported `json:"patch"`
	Bulk    struct {
		supported
		MaxOperations  int `json:"maxOperations"`
		MaxPayloadSize int `json:"maxPayloadSize"`
	} `json:"bulk"`
	Filter struct {
		supported
		MaxResults int `json:"maxResults"`
	} `json:"filter"`
	ChangePassword supported `json:"changePassword"`
	Sort           supported `json:"sort"`
	ETag           supported `json:"etag"`
	Pagination     struct {
		Cursor        bool   `json:"cursor"`
		Index         bool   `json:"index"`
		DefaultMethod string `json:"defaultPaginationMethod"`
		DefaultSize   int    `json:"defaultPageSize"`
		MaxSize       int    `json:"maxPageSize"`
		CursorTimeout int    `json:"cursorTimeout"` // in seconds
	} `json:"pagination"`
	SecurityEvents struct {
		AsyncRequest string   `json:"asyncRequest"`
		EventURIs    []string `json:"eventUris"`
	} `json:"securityEvents"`
	AuthenticationSchemes []authenticationScheme `json:"authenticationSchemes"`
	Meta                  schema.DiscoveryMeta   `json:"meta"`
}

type authenticationScheme struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description"`
	SpecURI     string `json:"specUri"`
	Primary     bool   `json:"primary"`
}

// getServiceProviderConfig ignores all parameters (RFC 7644 §4).
func (h *Handler) getServiceProviderConfig(c *gin.Context) error {
	on := supported{Supported: true}
	config := serviceProviderConfig{
		Schemas: []string{schema.ServiceConfigURN}, Patch: on, Sort: on, ETag: on,
		AuthenticationSchemes: []authenticationScheme{{
			Type: "oauthbearertoken", Name: "OAuth Bearer Token",
			Description: "A token of a connection of the tenant in the header Authorization.",
			SpecURI:     "https://www.rfc-editor.org/info/rfc6750", Primary: true,
		}, {
			Type: "oauth2", Name: "OAuth 2.0 Client Credentials",
			Description: "An access token with the scope scim, which the application of a connection gets by its client credentials.",
			SpecURI:     "https://www.rfc-editor.org/info/rfc6749",
		}},
		Meta: schema.DiscoveryMeta{
			ResourceType: "ServiceProviderConfig", Location: h.base(c.Param("tenant")) + "/ServiceProviderConfig",
		},
	}
	config.Bulk.supported, config.Bulk.MaxOperations, config.Bulk.MaxPayloadSize = on, maxBulkOperations, maxBulkBody
	config.SecurityEvents.AsyncRequest, config.SecurityEvents.EventURIs = "request", events.EventURIs()
	config.Filter.Supported, config.Filter.MaxResults = true, maxCount
	config.Pagination.Cursor, config.Pagination.CursorTimeout = true, int(cursorTime.Seconds())
	config.Pagination.Index, config.Pagination.DefaultMethod = true, "index"
	config.Pagination.DefaultSize, config.Pagination.MaxSize = defaultCount, maxCount
	h.writeJSON(c, http.StatusOK, config)
	return nil
}

// listResponse is a complete list of discovery.
type listResponse[T any] struct {
	Schemas      []string `json:"schemas"`
	TotalResults int      `json:"totalResults"`
	StartIndex   int      `json:"startIndex"`
	ItemsPerPage int      `json:"itemsPerPage"`
	Resources    []T      `json:"Resources"`
}

func sendAll[T any](h *Handler, c *gin.Context, resources []T) error {
	if err := refuseFilter(c); err != nil {
		return err
	}
	h.writeJSON(c, http.StatusOK, listResponse[T]{
		Schemas: []string{listResponseURN}, TotalResults: len(resources), StartIndex: 1,
		ItemsPerPage: len(resources), Resources: resources,
	})
	return nil
}

// refuseFilter answers 403 to a filter on discovery, as RFC 7644 §4 wants.
// Sorting and paging are ignored there.
func refuseFilter(c *gin.Context) error {
	values, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err == nil && values.Has("filter") {
		return fault.Field(fault.Denied, "filter", "expected no filter at an endpoint of discovery")
	}
	return nil
}

// registry is what discovery shows: to everybody the schemas that all tenants
// have, so that nobody learns which tenants there are, and with a token of the
// tenant its own ones too.
func (h *Handler) registry(c *gin.Context) (*schema.Registry, error) {
	if c.GetHeader("Authorization") == "" {
		return h.schemas, nil
	}
	r, err := h.authenticate(c)
	if errors.Is(err, fault.Unauthenticated) {
		return h.schemas, nil
	}
	if err != nil {
		return nil, err
	}
	registry, err := h.directory.Schemas(r.ctx(), r.tenant)
	if err != nil || r.profile.name != directory.ProfileOkta {
		return registry, err
	}
	if extended, err := offersIn(registry); err == nil { // else the tenant has something of that name
		registry = extended
	}
	return registry, nil
}

func (h *Handler) listResourceTypes(c *gin.Context) error {
	registry, err := h.registry(c)
	if err != nil {
		return err
	}
	base := h.base(c.Param("tenant"))
	resources := []schema.ResourceTypeResource{}
	for _, t := range registry.ResourceTypes() {
		resources = append(resources, t.Resource(base))
	}
	return sendAll(h, c, resources)
}

func (h *Handler) getResourceType(c *gin.Context) error {
	registry, err := h.registry(c)
	if err != nil {
		return err
	}
	t, ok := registry.ResourceType(c.Param("id"))
	if !ok {
		return fault.New(fault.NotFound, "there is no resource type %s", shorten(c.Param("id")))
	}
	h.writeJSON(c, http.StatusOK, t.Resource(h.base(c.Param("tenant"))))
	return nil
}

func (h *Handler) listSchemas(c *gin.Context) error {
	registry, err := h.registry(c)
	if err != nil {
		return err
	}
	base := h.base(c.Param("tenant"))
	resources := []schema.Resource{}
	for _, s := range registry.Schemas() {
		resources = append(resources, s.Resource(base))
	}
	return sendAll(h, c, resources)
}

func (h *Handler) getSchema(c *gin.Context) error {
	registry, err := h.registry(c)
	if err != nil {
		return err
	}
	s, ok := registry.Schema(c.Param("id"))
	if !ok {
		return fault.New(fault.NotFound, "there is no schema %s", shorten(c.Param("id")))
	}
	h.writeJSON(c, http.StatusOK, s.Resource(h.base(c.Param("tenant"))))
	return nil
}
