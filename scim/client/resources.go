package client

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/outbound"
)

// endpoint is where resources of a kind are (RFC 7644 §3.2).
func endpoint(kind outbound.Kind) string { return "/" + string(kind) + "s" }

func place(kind outbound.Kind, remote string) string {
	return endpoint(kind) + "/" + url.PathEscape(remote)
}

// Find implements outbound.Remote.
func (c *client) Find(ctx context.Context, kind outbound.Kind, attribute, value string) ([]outbound.Resource, error) {
	query := withoutMembers(kind)
	query.Set("filter", attribute+" eq "+quoted(value))
	got, err := c.do(ctx, request{method: http.MethodGet, path: endpoint(kind), query: query})
	if err != nil {
		return nil, err
	}
	return resources(got.doc)
}

// quoted is a string as filters have it (RFC 7644 §3.4.2.2): as JSON has it.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + `"`
}

func withoutMembers(kind outbound.Kind) url.Values {
	query := url.Values{}
	if kind == outbound.Group {
		query.Set("excludedAttributes", "members")
	}
	return query
}

// Get implements outbound.Remote.
func (c *client) Get(ctx context.Context, kind outbound.Kind, remote string, members bool) (*outbound.Resource, error) {
	query := url.Values{}
	if !members {
		query = withoutMembers(kind)
	}
	got, err := c.do(ctx, request{method: http.MethodGet, path: place(kind, remote), query: query})
	if err != nil {
		return nil, err
	}
	r := resource(got.doc, got.etag)
	if r.ID != remote {
		return nil, strange("the resource that was asked for has another id")
	}
	return &r, nil
}

// Create implements outbound.Remote.
func (c *client) Create(ctx context.Context, kind outbound.Kind, doc map[string]any) (*outbound.Resource, error) {
	got, err := c.do(ctx, request{method: http.MethodPost, path: endpoint(kind), body: doc})
	if err != nil {
		return nil, err
	}
	r := resource(got.doc, got.etag)
	if r.ID == "" {
		return nil, strange("the resource that was made has no id")
	}
	return &r, nil
}

// Patch implements outbound.Remote. It does not ask to leave members out of the
// answer: there are servers that take it for what to leave of the group.
func (c *client) Patch(ctx context.Context, kind outbound.Kind, remote, version string, operations []outbound.Operation) (string, error) {
	got, err := c.do(ctx, request{method: http.MethodPatch, path: place(kind, remote), version: version, body: map[string]any{
		"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": operations,
	}})
	if err != nil {
		return "", err
	}
	return resource(got.doc, got.etag).Version, nil
}

// Replace implements outbound.Remote.
func (c *client) Replace(ctx context.Context, kind outbound.Kind, remote, version string, doc map[string]any) (string, error) {
	got, err := c.do(ctx, request{method: http.MethodPut, path: place(kind, remote), version: version, body: doc})
	if err != nil {
		return "", err
	}
	return resource(got.doc, got.etag).Version, nil
}

// Delete implements outbound.Remote.
func (c *client) Delete(ctx context.Context, kind outbound.Kind, remote string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: place(kind, remote)})
	return err
}

// List implements outbound.Remote: by cursor where the server has them
// (RFC 9865), and else by index.
func (c *client) List(ctx context.Context, kind outbound.Kind, position outbound.Position) (*outbound.Listing, error) {
	query := withoutMembers(kind)
	size, byCursor := pageSize, false
	if caps := c.capabilities; caps != nil {
		byCursor = caps.Cursor
		if caps.MaxResults > 0 {
			size = min(size, caps.MaxResults)
		}
	}
	start := max(position.Start, 1)
	query.Set("count", strconv.Itoa(size))
	if byCursor {
		query.Set("cursor", position.Cursor)
	} else {
		query.Set("startIndex", strconv.Itoa(start))
	}
	got, err := c.do(ctx, request{method: http.MethodGet, path: endpoint(kind), query: query})
	if err != nil {
		return nil, err
	}
	page := &outbound.Listing{}
	if page.Resources, err = resources(got.doc); err != nil {
		return nil, err
	}
	if next, _ := got.doc["nextCursor"].(string); byCursor {
		page.Next, page.More = outbound.Position{Cursor: next}, next != "" && next != position.Cursor
		return page, nil
	}
	page.Next.Start = start + len(page.Resources)
	total, known := number(got.doc["totalResults"])
	page.More = len(page.Resources) > 0 && (!known || page.Next.Start <= total)
	return page, nil
}

// resources reads a list (RFC 7644 §3.4.2).
func resources(doc map[string]any) ([]outbound.Resource, error) {
	list, there := doc["Resources"].([]any)
	if total, known := number(doc["totalResults"]); !there && (!known || total > 0) {
		return nil, strange("the answer is no list")
	}
	all := make([]outbound.Resource, 0, len(list))
	for _, entry := range list {
		one, _ := entry.(map[string]any)
		r := resource(one, "")
		if r.ID == "" {
			return nil, strange("a resource of the list has no id")
		}
		all = append(all, r)
	}
	return all, nil
}

// strange is what a server answers that does not speak SCIM.
func strange(detail string) error {
	return &outbound.Failure{Trouble: outbound.Broken, Detail: detail}
}

// resource reads a resource. The version in it is that of the header ETag.
func resource(doc map[string]any, etag string) outbound.Resource {
	r := outbound.Resource{Doc: doc, Version: etag}
	r.ID, _ = doc["id"].(string)
	if meta, ok := doc["meta"].(map[string]any); ok {
		if version, _ := meta["version"].(string); version != "" {
			r.Version = version
		}
	}
	return r
}

func number(value any) (int, bool) {
	n, ok := value.(interface{ Int64() (int64, error) })
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return int(i), err == nil
}

// Capabilities implements outbound.Remote. A server that does not say what it
// can do is taken for one that knows filters and PATCH.
func (c *client) Capabilities(ctx context.Context) (*outbound.Capabilities, error) {
	caps := &outbound.Capabilities{Patch: true, Filter: true, Groups: true, MaxResults: pageSize, Guessed: true}
	got, err := c.do(ctx, request{method: http.MethodGet, path: "/ServiceProviderConfig"})
	switch {
	case silent(err):
		return caps, nil
	case err != nil:
		return nil, err
	case got.doc == nil || got.doc["patch"] == nil:
		return nil, strange("what is at /ServiceProviderConfig is none (RFC 7643 §5)")
	}
	caps.Patch, caps.Filter, caps.ETag = supports(got.doc, "patch"), supports(got.doc, "filter"), supports(got.doc, "etag")
	if filter, ok := got.doc["filter"].(map[string]any); ok {
		if most, known := number(filter["maxResults"]); known && most > 0 {
			caps.MaxResults = most
		}
	}
	if pagination, ok := got.doc["pagination"].(map[string]any); ok {
		caps.Cursor, _ = pagination["cursor"].(bool)
		if most, known := number(pagination["maxPageSize"]); known && most > 0 {
			caps.MaxResults = min(caps.MaxResults, most)
		}
	}
	c.capabilities = caps
	return caps, c.types(ctx, caps)
}

// silent reports whether the server does not know what it was asked for.
func silent(err error) bool {
	failure, ok := err.(*outbound.Failure) //nolint:errorlint // made here, never wrapped
	return ok && (failure.Trouble == outbound.Missing || failure.Trouble == outbound.Unsupported)
}

func supports(doc map[string]any, feature string) bool {
	f, _ := doc[feature].(map[string]any)
	supported, _ := f["supported"].(bool)
	return supported
}

// types reads which extensions a User and a Group have there (RFC 7643 §6).
func (c *client) types(ctx context.Context, caps *outbound.Capabilities) error {
	got, err := c.do(ctx, request{method: http.MethodGet, path: "/ResourceTypes"})
	if silent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	list, _ := got.doc["Resources"].([]any)
	if len(list) == 0 {
		return nil
	}
	caps.Guessed, caps.Groups = false, false
	for _, entry := range list {
		t, _ := entry.(map[string]any)
		name, _ := t["name"].(string)
		address, _ := t["endpoint"].(string)
		isGroup := name == string(outbound.Group) || strings.HasSuffix(address, endpoint(outbound.Group))
		if caps.Groups = caps.Groups || isGroup; !isGroup && name != string(outbound.User) && !strings.HasSuffix(address, endpoint(outbound.User)) {
			continue
		}
		extensions, _ := t["schemaExtensions"].([]any)
		for _, entry := range extensions {
			extension, _ := entry.(map[string]any)
			if uri, _ := extension["schema"].(string); uri != "" && !slices.Contains(caps.Extensions, uri) {
				caps.Extensions = append(caps.Extensions, uri)
			}
		}
	}
	return nil
}
