package events

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// prefix is that of the URIs of all events (RFC 9967 §7.3).
const prefix = "urn:ietf:params:scim:event:"

// Kinds of events: their URIs without prefix, notice and full.
const (
	kindCreate     = "prov:create"
	kindPatch      = "prov:patch"
	kindPut        = "prov:put"
	kindDelete     = "prov:delete"
	kindActivate   = "prov:activate"
	kindDeactivate = "prov:deactivate"
	kindAsync      = "misc:asyncresp"
)

// EventURIs returns the URIs of the events that streams tell of. Streams are
// of all resources of their tenant, so that none joins or leaves a feed other
// than by being made or deleted, and there are no events feed:add and
// feed:remove.
func EventURIs() []string {
	var uris []string
	for _, kind := range []string{kindCreate, kindPatch, kindPut} {
		uris = append(uris, prefix+kind+":"+string(Notice), prefix+kind+":"+string(Full))
	}
	for _, kind := range []string{kindDelete, kindActivate, kindDeactivate, kindAsync} {
		uris = append(uris, prefix+kind)
	}
	return uris
}

// kindOf returns the kind of the event of that URI.
func kindOf(uri string) string {
	kind := strings.TrimPrefix(uri, prefix)
	return strings.TrimSuffix(strings.TrimSuffix(kind, ":"+string(Notice)), ":"+string(Full))
}

// An Event is a security event that waits to be taken over.
type Event struct {
	Tenant  id.Tenant
	Stream  id.EventStream
	ID      id.SecurityEvent
	Time    time.Time
	Txn     string // the same for all events of one change
	Subject Subject
	Events  map[string]json.RawMessage // by URI

	Announces bool // it tells of the stream's status, and is delivered whatever that is

	Dead   time.Time // when it was set aside; zero: it was not
	Reason string    // why
}

// URIs returns the URIs of its events, sorted.
func (e *Event) URIs() []string { return slices.Sorted(maps.Keys(e.Events)) }

// Subject is the claim sub_id (RFC 9967 §2.1, SSF 1.0 §3).
type Subject struct {
	Format     string `json:"format"`        // scim; of signals iss_sub, opaque or complex (RFC 9493 §3)
	URI        string `json:"uri,omitempty"` // below the tenant's base URI
	ExternalID string `json:"externalId,omitempty"`
	ID         string `json:"id,omitempty"`

	Issuer  string   `json:"iss,omitempty"`
	Sub     string   `json:"sub,omitempty"`
	User    *Subject `json:"user,omitempty"`
	Session *Subject `json:"session,omitempty"`
	Tenant  *Subject `json:"tenant,omitempty"`
}

// Claims are those of a security event token (RFC 8417 §2.2). There is no sub.
type Claims struct {
	Issuer   string                     `json:"iss"`
	Issued   int64                      `json:"iat"`
	ID       id.SecurityEvent           `json:"jti"`
	Audience []string                   `json:"aud"`
	Txn      string                     `json:"txn"`
	Subject  Subject                    `json:"sub_id"`
	Events   map[string]json.RawMessage `json:"events"`
}

// payload is that of the events create, patch and put: exactly one of
// Attributes and Data (RFC 9967 §2.4).
type payload struct {
	Version    string         `json:"version"` // as the header ETag has it
	Attributes []string       `json:"attributes,omitempty"`
	Data       map[string]any `json:"data,omitempty"`
}

// maxData is the size of the largest data of an event, in bytes, and
// maxEventMembers how many members it may name. Of what is larger an event of
// format notice tells.
const (
	maxData         = 128 << 10
	maxEventMembers = 1000
)

const (
	attrID       = "id"
	attrSchemas  = "schemas"
	attrPassword = "password"
	attrMembers  = "members"
)

// eventsOf returns the events by which a stream tells of a change; none where it
// does not want to hear of it.
func (e *Events) eventsOf(s *Stream, change *directory.ResourceChange) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	kind := map[directory.ChangeOp]string{
		directory.ChangeCreate: kindCreate, directory.ChangePatch: kindPatch, directory.ChangeReplace: kindPut, directory.ChangeDelete: kindDelete,
	}[change.Op]
	switch {
	case kind == "":
		return nil, fmt.Errorf("events: a change %q has no event", change.Op)
	case !s.wants(kind):
	case kind == kindDelete:
		all[prefix+kind] = json.RawMessage(`{}`)
	default:
		format, text, err := e.payloadOf(s.Format, change)
		if err != nil {
			return nil, err
		}
		all[prefix+kind+":"+string(format)] = text
	}
	if on, changed := change.Activated(); changed {
		kind := kindDeactivate
		if on {
			kind = kindActivate
		}
		if s.wants(kind) {
			all[prefix+kind] = json.RawMessage(`{}`)
		}
	}
	return all, nil
}

// payloadOf returns the payload of an event in the format, or as a notice where
// it would be too large.
func (e *Events) payloadOf(format Format, change *directory.ResourceChange) (Format, json.RawMessage, error) {
	p := payload{Version: `W/"` + strconv.FormatInt(change.Version, 10) + `"`}
	if format == Full && membersOf(change) <= maxEventMembers {
		p.Data = e.data(change)
		text, err := json.Marshal(p)
		if err != nil || len(text) <= maxData {
			return Full, text, err
		}
		p.Data = nil
	}
	p.Attributes = append([]string{}, change.Attributes...)
	if change.Op == directory.ChangeCreate {
		p.Attributes = append([]string{attrID}, p.Attributes...)
	}
	p.Attributes = slices.DeleteFunc(p.Attributes, func(name string) bool { return name == attrPassword })
	text, err := json.Marshal(p)
	return Notice, text, err
}

func membersOf(change *directory.ResourceChange) int {
	count := 0
	for _, step := range change.Members {
		count += len(step.IDs)
	}
	return count
}

// data is what the format full tells: the resource where it was made or
// replaced, and otherwise a request that does what was done.
func (e *Events) data(change *directory.ResourceChange) map[string]any {
	if change.Op == directory.ChangePatch {
		return map[string]any{attrSchemas: []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": patchOf(change)}
	}
	doc := maps.Clone(change.After)
	delete(doc, attrPassword)
	doc[attrID] = change.ID
	doc[attrSchemas] = e.schemasOf(change)
	for _, step := range change.Members {
		if step.Op == directory.AddMembers || step.Op == directory.ReplaceMembers {
			doc[attrMembers] = valuesOf(step.IDs)
		}
	}
	return doc
}

// schemasOf returns the URIs of the schemas of a resource.
func (e *Events) schemasOf(change *directory.ResourceChange) []string {
	var extensions []string
	for name := range change.After {
		if strings.Contains(name, ":") {
			extensions = append(extensions, name)
		}
	}
	slices.Sort(extensions)
	if t := e.definition(change); t != nil {
		return append([]string{t.Schema.ID}, extensions...)
	}
	return extensions
}

// definition is that of the resource's type: the tenant's, where it is told.
func (e *Events) definition(change *directory.ResourceChange) *schema.ResourceType {
	if change.Definition != nil {
		return change.Definition
	}
	t, _ := e.schemas.ResourceType(change.Type)
	return t
}

func valuesOf(ids []string) []map[string]string {
	values := make([]map[string]string, len(ids))
	for i, one := range ids {
		values[i] = map[string]string{"value": one}
	}
	return values
}

// operation is one of a PATCH (RFC 7644 §3.5.2).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patchOf returns the operations that turn the resource as it was before the
// change into what it is.
func patchOf(change *directory.ResourceChange) []operation {
	all := []operation{}
	for _, name := range change.Attributes {
		value, there := change.After[name]
		switch {
		case name == attrMembers || name == attrPassword:
		case there:
			all = append(all, operation{Op: "replace", Path: name, Value: value})
		default:
			all = append(all, operation{Op: "remove", Path: name})
		}
	}
	for _, step := range change.Members {
		switch step.Op {
		case directory.AddMembers:
			all = append(all, operation{Op: "add", Path: attrMembers, Value: valuesOf(step.IDs)})
		case directory.ReplaceMembers:
			all = append(all, operation{Op: "replace", Path: attrMembers, Value: valuesOf(step.IDs)})
		case directory.RemoveMembers:
			for _, one := range step.IDs {
				all = append(all, operation{Op: "remove", Path: attrMembers + `[value eq ` + strconv.Quote(one) + `]`})
			}
		case directory.ClearMembers:
			all = append(all, operation{Op: "remove", Path: attrMembers})
		}
	}
	return all
}

// subjectOf names the resource of a change.
func (e *Events) subjectOf(change *directory.ResourceChange) Subject {
	endpoint := "/" + change.Type + "s"
	if t := e.definition(change); t != nil {
		endpoint = t.Endpoint
	}
	return Subject{Format: "scim", URI: endpoint + "/" + change.ID, ExternalID: change.ExternalID, ID: change.ID}
}

// asyncSubject names the resource that an operation of an asynchronous request
// was about: by its location, or, where it was refused before there was one, the
// address at which the results of the request can be read.
func asyncSubject(result *directory.AsyncResult) (Subject, error) {
	var done struct {
		Location string `json:"location"`
	}
	if err := json.Unmarshal(result.Operation, &done); err != nil {
		return Subject{}, fmt.Errorf("events: decode the result of a request: %w", err)
	}
	subject := Subject{Format: "scim", URI: "/AsyncRequests/" + string(result.Request), ID: result.Resource}
	if _, uri, found := strings.Cut(done.Location, "/scim/v2/"); found {
		subject.URI = "/" + uri
	}
	return subject, nil
}

// Claims returns the claims of an event's token.
func (e *Events) Claims(s *Stream, event *Event) *Claims {
	audience := s.Audience
	if len(audience) == 0 {
		audience = []string{e.issuer + "/t/" + string(s.Tenant) + "/events/" + string(s.ID)}
	}
	return &Claims{
		Issuer: e.issuer, Issued: event.Time.Unix(), ID: event.ID, Audience: audience, Txn: event.Txn, Subject: event.Subject, Events: event.Events,
	}
}
