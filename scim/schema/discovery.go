package schema

// Resource is a schema as the /Schemas endpoint shows it (RFC 7643 §7).
type Resource struct {
	Schemas []string `json:"schemas"`
	Schema
	Meta DiscoveryMeta `json:"meta"`
}

// ResourceTypeResource is a resource type as the /ResourceTypes endpoint shows
// it (RFC 7643 §6).
type ResourceTypeResource struct {
	Schemas []string `json:"schemas"`
	ID      string   `json:"id"`
	Definition
	Meta DiscoveryMeta `json:"meta"`
}

// DiscoveryMeta is the meta attribute of a discovery resource.
type DiscoveryMeta struct {
	ResourceType string `json:"resourceType"`
	Location     string `json:"location"`
}

// Resource is the schema for discovery. base is the URL that the endpoints are
// relative to, without a slash at its end.
func (s *Schema) Resource(base string) Resource {
	shown := *s
	shown.Attributes = characteristics(s.Attributes)
	return Resource{
		Schemas: []string{SchemaURN},
		Schema:  shown,
		Meta:    DiscoveryMeta{ResourceType: "Schema", Location: base + "/Schemas/" + s.ID},
	}
}

// Resource is the resource type for discovery; base is as in [Schema.Resource].
func (t *ResourceType) Resource(base string) ResourceTypeResource {
	d := Definition{Name: t.Name, Description: t.Description, Endpoint: t.Endpoint, Schema: t.Schema.ID}
	for _, e := range t.Extensions {
		d.Extensions = append(d.Extensions, ExtensionDefinition{Schema: e.Schema.ID, Required: e.Required})
	}
	return ResourceTypeResource{
		Schemas: []string{ResourceTypeURN}, ID: t.Name, Definition: d,
		Meta: DiscoveryMeta{ResourceType: "ResourceType", Location: base + "/ResourceTypes/" + t.Name},
	}
}

// characteristics are the definitions as RFC 7643 knows them.
func characteristics(attributes []*Attribute) []*Attribute {
	shown := make([]*Attribute, len(attributes))
	for i, a := range attributes {
		only := *a
		only.Indexed = false
		if only.SubAttributes != nil {
			only.SubAttributes = characteristics(a.SubAttributes)
		}
		shown[i] = &only
	}
	return shown
}
