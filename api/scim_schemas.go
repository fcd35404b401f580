package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/schema"
)

// schemaBody is a schema in the JSON of RFC 7643 §7. What the discovery of a
// server answers can be sent as it is.
type schemaBody struct {
	Schemas     []string        `json:"schemas,omitempty" doc:"As discovery has it; ignored"`
	ID          string          `json:"id,omitempty" doc:"The URN; in a request that of the address"`
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Attributes  []attributeBody `json:"attributes" minItems:"1"`
	Meta        map[string]any  `json:"meta,omitempty" doc:"As discovery has it; ignored"`
}

// attributeBody is the definition of an attribute (RFC 7643 §7).
type attributeBody struct {
	AttributeFields
	SubAttributes []subAttributeBody `json:"subAttributes,omitempty" doc:"Of the type complex"`
}

// subAttributeBody is the definition of a sub-attribute, which has none itself.
type subAttributeBody struct{ AttributeFields }

// AttributeFields are the characteristics of RFC 7643 §7; what is left out has
// the default of §2.2. It is exported because the library passes over embedded
// fields that are not.
type AttributeFields struct {
	Name            string   `json:"name"`
	Type            string   `json:"type,omitempty" enum:"string,boolean,decimal,integer,dateTime,binary,reference,complex" doc:"Default string"`
	MultiValued     bool     `json:"multiValued,omitempty"`
	Description     string   `json:"description,omitempty"`
	Required        bool     `json:"required,omitempty"`
	CanonicalValues []string `json:"canonicalValues,omitempty" doc:"Suggestions; other values are taken too"`
	CaseExact       bool     `json:"caseExact,omitempty"`
	Mutability      string   `json:"mutability,omitempty" enum:"readOnly,readWrite,immutable,writeOnly" doc:"Default readWrite"`
	Returned        string   `json:"returned,omitempty" enum:"always,never,default,request" doc:"Default default"`
	Uniqueness      string   `json:"uniqueness,omitempty" enum:"none,server,global" doc:"Default none; server and global: among the resources of the type in the tenant"`
	ReferenceTypes  []string `json:"referenceTypes,omitempty"`
	Indexed         bool     `json:"indexed,omitempty" doc:"Not of the RFC: filters with eq, sw, gt, ge, lt and le find its values by an index"`
}

// resourceTypeBody is a resource type in the JSON of RFC 7643 §6.
type resourceTypeBody struct {
	Schemas     []string        `json:"schemas,omitempty" doc:"As discovery has it; ignored"`
	ID          string          `json:"id,omitempty" doc:"As discovery has it; ignored"`
	Name        string          `json:"name,omitempty" doc:"In a request that of the address"`
	Description string          `json:"description,omitempty"`
	Endpoint    string          `json:"endpoint,omitempty" doc:"Such as /Devices; of User and Group theirs, or left out"`
	Schema      string          `json:"schema,omitempty" doc:"URN of the base schema; of User and Group theirs, or left out"`
	Extensions  []extensionBody `json:"schemaExtensions,omitempty"`
	Meta        map[string]any  `json:"meta,omitempty" doc:"As discovery has it; ignored"`
}

type extensionBody struct {
	Schema   string `json:"schema" doc:"URN"`
	Required bool   `json:"required,omitempty"`
}

// SchemaPath names a schema in an address; the library passes over embedded
// fields that are not exported.
type SchemaPath struct {
	Schema string `path:"schema" doc:"URN of the schema"`
}

// ResourceTypePath names a resource type in an address.
type ResourceTypePath struct {
	Type string `path:"type" doc:"Name of the resource type, such as Device, or User for the tenant's extensions of people"`
}

// scimSchemas registers what a tenant adds to the schemas of SCIM.
func (o *operations) scimSchemas() {
	const tag = "SCIM schemas"
	d := o.handler.Directory
	inTenant(o, operation{ID: "listSchemas", Method: http.MethodGet, Path: "/scim/schemas", Tag: tag, Summary: "List the tenant's own schemas"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*struct{ Body list[schemaBody] }, error) {
			set, err := d.SchemaSet(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			bodies, err := convert[[]schemaBody](set.Schemas)
			return &struct{ Body list[schemaBody] }{list[schemaBody]{Items: bodies}}, err
		})
	inTenant(o, operation{ID: "getSchema", Method: http.MethodGet, Path: "/scim/schemas/{schema}", Tag: tag, Summary: "Get a schema of the tenant's own"},
		func(ctx context.Context, t *directory.Tenant, in *SchemaPath) (*struct{ Body schemaBody }, error) {
			body, err := o.schema(ctx, t, in.Schema)
			return &struct{ Body schemaBody }{body}, err
		})
	inTenant(o, operation{
		ID: "putSchema", Method: http.MethodPut, Path: "/scim/schemas/{schema}", Tag: tag, Summary: "Create or replace a schema",
		About: "In the JSON of RFC 7643 §7. An attribute that resources have values of can't be removed or get another type: that is a conflict, with their number. " +
			"Where values come to compare in another way, to be unique or to be indexed, existing ones are brought up to date with the change.",
	},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			SchemaPath
			Body schemaBody
		},
		) (*struct{ Body schemaBody }, error) {
			if in.Body.ID != "" && !strings.EqualFold(in.Body.ID, in.Schema) {
				return nil, fault.Field(fault.Invalid, "id", "expected the URN of the address")
			}
			in.Body.ID = in.Schema
			text, err := json.Marshal(in.Body)
			if err != nil {
				return nil, err
			}
			parsed, err := directory.ParseSchema(text)
			if err != nil {
				return nil, err
			}
			if err := d.PutSchemas(ctx, t.ID, []*schema.Schema{parsed}, nil); err != nil {
				return nil, err
			}
			body, err := o.schema(ctx, t, in.Schema)
			return &struct{ Body schemaBody }{body}, err
		})
	inTenant(o, operation{
		ID: "deleteSchema", Method: http.MethodDelete, Path: "/scim/schemas/{schema}", Tag: tag, Summary: "Delete a schema", Status: http.StatusNoContent,
		About: "One that no resource type uses.",
	},
		func(ctx context.Context, t *directory.Tenant, in *SchemaPath) (*struct{}, error) {
			return nil, d.DeleteSchema(ctx, t.ID, in.Schema)
		})
	o.scimResourceTypes(tag)
}

func (o *operations) scimResourceTypes(tag string) {
	d := o.handler.Directory
	inTenant(o, operation{ID: "listResourceTypes", Method: http.MethodGet, Path: "/scim/resource-types", Tag: tag, Summary: "List the tenant's own resource types and extensions"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*struct {
			Body list[resourceTypeBody]
		}, error,
		) {
			set, err := d.SchemaSet(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			bodies, err := convert[[]resourceTypeBody](set.Types)
			return &struct{ Body list[resourceTypeBody] }{list[resourceTypeBody]{Items: bodies}}, err
		})
	inTenant(o, operation{ID: "getResourceType", Method: http.MethodGet, Path: "/scim/resource-types/{type}", Tag: tag, Summary: "Get a resource type of the tenant's own"},
		func(ctx context.Context, t *directory.Tenant, in *ResourceTypePath) (*struct{ Body resourceTypeBody }, error) {
			body, err := o.resourceType(ctx, t, in.Type)
			return &struct{ Body resourceTypeBody }{body}, err
		})
	inTenant(o, operation{
		ID: "putResourceType", Method: http.MethodPut, Path: "/scim/resource-types/{type}", Tag: tag, Summary: "Create or replace a resource type",
		About: "In the JSON of RFC 7643 §6. User and Group stand for the tenant's extensions of people and groups. " +
			"Another schema or endpoint is possible while there are no resources, and an extension goes while no resource has values of it.",
	},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			ResourceTypePath
			Body resourceTypeBody
		},
		) (*struct{ Body resourceTypeBody }, error) {
			if in.Body.Name != "" && !strings.EqualFold(in.Body.Name, in.Type) {
				return nil, fault.Field(fault.Invalid, "name", "expected the name of the address")
			}
			in.Body.Name = in.Type
			definition, err := convert[schema.Definition](in.Body)
			if err != nil {
				return nil, err
			}
			if err := d.PutSchemas(ctx, t.ID, nil, []schema.Definition{definition}); err != nil {
				return nil, err
			}
			body, err := o.resourceType(ctx, t, in.Type)
			return &struct{ Body resourceTypeBody }{body}, err
		})
	inTenant(o, operation{
		ID: "deleteResourceType", Method: http.MethodDelete, Path: "/scim/resource-types/{type}", Tag: tag, Summary: "Delete a resource type", Status: http.StatusNoContent,
		About: "One without resources; of User and Group the tenant's extensions, if nobody has values of them.",
	},
		func(ctx context.Context, t *directory.Tenant, in *ResourceTypePath) (*struct{}, error) {
			return nil, d.DeleteResourceType(ctx, t.ID, in.Type)
		})
}

func (o *operations) schema(ctx context.Context, t *directory.Tenant, uri string) (schemaBody, error) {
	set, err := o.handler.Directory.SchemaSet(ctx, t.ID)
	if err != nil {
		return schemaBody{}, err
	}
	for _, s := range set.Schemas {
		if strings.EqualFold(s.ID, uri) {
			return convert[schemaBody](s)
		}
	}
	return schemaBody{}, fault.New(fault.NotFound, "the tenant has no schema of its own with that URI")
}

func (o *operations) resourceType(ctx context.Context, t *directory.Tenant, name string) (resourceTypeBody, error) {
	set, err := o.handler.Directory.SchemaSet(ctx, t.ID)
	if err != nil {
		return resourceTypeBody{}, err
	}
	for _, own := range set.Types {
		if strings.EqualFold(own.Name, name) {
			return convert[resourceTypeBody](own)
		}
	}
	return resourceTypeBody{}, fault.New(fault.NotFound, "the tenant has no resource type of its own with that name")
}

// convert carries over what two types have in common in JSON.
func convert[To, From any](from From) (to To, err error) {
	text, err := json.Marshal(from)
	if err != nil {
		return to, err
	}
	return to, json.Unmarshal(text, &to)
}
