package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/language"
)

// Bounds of a type of authorization details.
const (
	maxDetailTypes  = 100
	maxDetailSchema = 16 << 10 // bytes
	maxDetailFields = 64
	maxDetailLabel  = 100 // characters
)

// A DetailType is a type of authorization details (RFC 9396 §2.1). It is data: the
// operator defines it, and says how people are to read it.
type DetailType struct {
	Name string
	// Schema is the JSON Schema (draft 2020-12) of its objects, of which the member
	// type needs no mention. It is closed: what it does not speak of is refused.
	Schema json.RawMessage
	// Names say by language what an application of the type may do.
	Names    map[string]string
	Fields   []DetailField // in the order in which people read them
	Created  time.Time
	Modified time.Time
}

// A DetailField is what people read in place of the name of a field.
type DetailField struct {
	// Path is the name of a member, or several with a dot between them for those of
	// inner objects. Lists make no difference.
	Path   string            `json:"field"`
	Labels map[string]string `json:"label"` // by language
}

// DetailTypeStore keeps types of authorization details, which are the instance's.
type DetailTypeStore interface {
	// DetailTypes returns all of them by name.
	DetailTypes(ctx context.Context) ([]DetailType, error)
	// SaveDetailType stores one in place of that of the same name.
	SaveDetailType(ctx context.Context, t *DetailType) error
	// HoldDetailTypes returns those of the names that there are, and holds off
	// DeleteDetailType for them until the transaction ends.
	HoldDetailTypes(ctx context.Context, names []string) ([]string, error)
	// DeleteDetailType fails with fault.NotFound.
	DeleteDetailType(ctx context.Context, name string) error
	// ApplicationsWithDetailType returns the client_ids of those that list the type.
	ApplicationsWithDetailType(ctx context.Context, name string) ([]string, error)
	// GrantsWithDetailType returns the grants of all tenants that hold details of
	// the type and are not revoked, by tenant.
	GrantsWithDetailType(ctx context.Context, name string) ([]Grant, error)
}

// detailTypeForm has no characters that look like others (RFC 9396 §2.1), and none
// that error_description could not hold.
var detailTypeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~:/?#@!$&()*+,;=%-]{0,199}$`)

// PutDetailType makes the instance have the type. It is idempotent. It fails with
// fault.Invalid and the field's name.
func (o *OIDC) PutDetailType(ctx context.Context, t DetailType) error {
	if err := t.validate(); err != nil {
		return err
	}
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		all, err := o.store.DetailTypes(ctx)
		if err != nil {
			return err
		}
		t.Created, t.Modified = o.now(), o.now()
		action := "authorization_details_type.create"
		if at := slices.IndexFunc(all, func(other DetailType) bool { return other.Name == t.Name }); at >= 0 {
			if all[at].same(&t) {
				return nil
			}
			t.Created, action = all[at].Created, "authorization_details_type.update"
		} else if len(all) >= maxDetailTypes {
			return fault.Field(fault.Invalid, "type", "there are %d types already", maxDetailTypes)
		}
		if err := o.store.SaveDetailType(ctx, &t); err != nil {
			return err
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), "", action, "authorization_details_type", t.Name, nil))
	})
	o.detailTypes.set.Store(nil)
	return err
}

// RemoveDetailType takes the type away, which no application may list any more. What
// people have given to applications with details of it ends, and they are told:
// a type that is made anew by the same name would have it mean something else. It is
// idempotent. It fails with fault.Conflict.
func (o *OIDC) RemoveDetailType(ctx context.Context, name string) error {
	err := o.store.InTx(ctx, func(ctx context.Context) error {
		err := o.store.DeleteDetailType(ctx, name)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		users, err := o.store.ApplicationsWithDetailType(ctx, name)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fault.Field(fault.Conflict, "removed", "the application %s may use the type: take it from the application's list first", users[0])
		}
		ended, err := o.endDetailType(ctx, name)
		if err != nil {
			return err
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, o.now(), "", "authorization_details_type.delete", "authorization_details_type", name, map[string]any{"grants_ended": ended}))
	})
	o.detailTypes.set.Store(nil)
	return err
}

// endDetailType ends the grants that hold details of the type, whole: see endBeyond.
func (o *OIDC) endDetailType(ctx context.Context, name string) (int, error) {
	grants, err := o.store.GrantsWithDetailType(ctx, name)
	if err != nil {
		return 0, err
	}
	ofTenant := map[id.Tenant][]id.Grant{}
	for i := range grants {
		ofTenant[grants[i].Tenant] = append(ofTenant[grants[i].Tenant], grants[i].ID)
	}
	for _, tenant := range slices.Sorted(maps.Keys(ofTenant)) {
		if err := o.store.RevokeGrants(ctx, tenant, ofTenant[tenant], o.now()); err != nil {
			return 0, err
		}
	}
	return len(grants), o.notify(ctx, grants, "")
}

func (t *DetailType) same(other *DetailType) bool {
	return bytes.Equal(t.Schema, other.Schema) && maps.Equal(t.Names, other.Names) && reflect.DeepEqual(t.Fields, other.Fields)
}

func (t *DetailType) validate() error {
	if !detailTypeForm.MatchString(t.Name) {
		return fault.Field(fault.Invalid, "type", "%q must be a URI, or 1 to 200 letters, digits and characters of URIs", t.Name)
	}
	if err := inAllLanguages("name", t.Names); err != nil {
		return err
	}
	if _, err := t.compile(); err != nil {
		return err
	}
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(t.Schema, &schema); err != nil {
		return fault.Field(fault.Invalid, "schema", "it is no JSON Schema")
	}
	if len(t.Fields) > maxDetailFields {
		return fault.Field(fault.Invalid, "fields", "there are more than %d", maxDetailFields)
	}
	labeled := append(CommonFields(), FieldType)
	for i, field := range t.Fields {
		member, _, _ := strings.Cut(field.Path, ".")
		if _, known := schema.Properties[member]; !known {
			return fault.Field(fault.Invalid, "fields", "%q is none of the properties of the schema", field.Path)
		}
		if slices.ContainsFunc(t.Fields[:i], func(other DetailField) bool { return other.Path == field.Path }) {
			return fault.Field(fault.Invalid, "fields", "%q stands twice", field.Path)
		}
		if err := inAllLanguages("fields", field.Labels); err != nil {
			return fault.Field(fault.Invalid, "fields", "%s: %s", field.Path, fault.As(err).Detail)
		}
		labeled = append(labeled, field.Path)
	}
	for _, member := range slices.Sorted(maps.Keys(schema.Properties)) {
		if !slices.Contains(labeled, member) {
			return fault.Field(fault.Invalid, "fields", "%s needs a label: people have to read what they allow", member)
		}
	}
	return nil
}

// inAllLanguages refuses texts that are not there in every language of the pages.
func inAllLanguages(field string, texts map[string]string) error {
	for _, l := range language.All() {
		if text := texts[l.Tag]; strings.TrimSpace(text) == "" || utf8.RuneCountInString(text) > maxDetailLabel || checkDetailText(text) != nil {
			return fault.Field(fault.Invalid, field, "it needs 1 to %d characters in each of the languages en, de, fr and es: %s is none", maxDetailLabel, l.Tag)
		}
	}
	if len(texts) != len(language.All()) {
		return fault.Field(fault.Invalid, field, "the languages are en, de, fr and es")
	}
	return nil
}

// The one dialect of schemas, and where a schema is as far as it is concerned.
const (
	schemaDialect = "https://json-schema.org/draft/2020-12/schema"
	schemaAddress = "https://schema.invalid/type"
)

// nowhere is from where schemas get others: nowhere.
type nowhere struct{}

// Load implements jsonschema.URLLoader.
func (nowhere) Load(string) (any, error) { return nil, errors.New("other schemas are not looked at") }

// compile returns the schema ready to check objects. It fails with fault.Invalid
// and the field schema.
func (t *DetailType) compile() (*jsonschema.Schema, error) {
	refused := func(format string, args ...any) (*jsonschema.Schema, error) {
		return nil, fault.Field(fault.Invalid, "schema", format, args...)
	}
	if len(t.Schema) > maxDetailSchema {
		return refused("it must not be longer than %d bytes", maxDetailSchema)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(t.Schema))
	root, object := document.(map[string]any)
	if err != nil || !object {
		return refused("it must be an object, a JSON Schema")
	}
	properties, there := root["properties"].(map[string]any)
	if !there {
		return refused("it must say by properties which fields there are")
	}
	if otherDialect(root) {
		return refused("$schema can be nothing but %s", schemaDialect)
	}
	for _, keyword := range []string{"additionalProperties", "unevaluatedProperties"} {
		if open, there := root[keyword]; there && open != false {
			return refused("%s can't be anything but false: what is unknown is refused (RFC 9396 section 5)", keyword)
		}
	}
	properties[FieldType] = map[string]any{"const": t.Name}
	root["type"] = "object"
	closeObjects(root, true)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(nowhere{})
	if err := compiler.AddResource(schemaAddress, root); err != nil {
		return refused("%s", err)
	}
	schema, err := compiler.Compile(schemaAddress)
	if err != nil {
		return refused("%s", err)
	}
	return schema, nil
}

// otherDialect reports whether a schema, or one within it, wants to be read by other
// rules, by which it might not be closed.
func otherDialect(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			if name == "$schema" && inner != schemaDialect || otherDialect(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, otherDialect)
	}
	return false
}

// closeObjects makes a schema refuse members that it does not speak of, in each
// place where an object can stand, unless it says something else itself. Schemas
// that are read beside others for one place close nothing by themselves.
func closeObjects(value any, place bool) {
	schema, ok := value.(map[string]any)
	if !ok {
		return
	}
	_, additional := schema["additionalProperties"]
	_, unevaluated := schema["unevaluatedProperties"]
	if place && !additional && !unevaluated {
		schema["unevaluatedProperties"] = false
	}
	for keyword, inner := range schema {
		switch keyword {
		case "items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems":
			closeObjects(inner, true)
		case "then", "else":
			closeObjects(inner, false)
		case "prefixItems", "allOf", "anyOf", "oneOf":
			list, _ := inner.([]any)
			for _, item := range list {
				closeObjects(item, keyword == "prefixItems")
			}
		case "properties", "patternProperties", "$defs", "dependentSchemas":
			members, _ := inner.(map[string]any)
			for _, member := range members {
				closeObjects(member, keyword == "properties" || keyword == "patternProperties")
			}
		}
	}
}

// detailType is one with its schema ready.
type detailType struct {
	DetailType
	schema *jsonschema.Schema
}

// detailTypeSet is what a node knows of the types. It is immutable.
type detailTypeSet struct {
	loaded time.Time
	all    []DetailType
	byName map[string]*detailType
}

// detailTypes caches the types of this node for a short time.
type detailTypes struct {
	set atomic.Pointer[detailTypeSet]
	mu  sync.Mutex // lets one caller load at a time
}

// DetailTypes returns the types that there are by name, at most two seconds old. The
// caller must not change them.
func (o *OIDC) DetailTypes(ctx context.Context) ([]DetailType, error) {
	set, err := o.knownDetailTypes(ctx)
	if err != nil {
		return nil, err
	}
	return set.all, nil
}

func (o *OIDC) knownDetailTypes(ctx context.Context) (*detailTypeSet, error) {
	fresh := func() *detailTypeSet {
		if set := o.detailTypes.set.Load(); set != nil && o.now().Sub(set.loaded) < applicationCacheTime {
			return set
		}
		return nil
	}
	if set := fresh(); set != nil {
		return set, nil
	}
	o.detailTypes.mu.Lock()
	defer o.detailTypes.mu.Unlock()
	if set := fresh(); set != nil {
		return set, nil
	}
	before := o.detailTypes.set.Load()
	all, err := o.store.DetailTypes(ctx)
	if err != nil {
		return nil, fmt.Errorf("load types of authorization details: %w", err)
	}
	set := &detailTypeSet{loaded: o.now(), all: all, byName: map[string]*detailType{}}
	for _, t := range all {
		if before != nil {
			if known := before.byName[t.Name]; known != nil && known.same(&t) {
				set.byName[t.Name] = known
				continue
			}
		}
		schema, err := t.compile()
		if err != nil {
			return nil, fmt.Errorf("type of authorization details %s: %w", t.Name, err)
		}
		set.byName[t.Name] = &detailType{t, schema}
	}
	o.detailTypes.set.Store(set)
	return set, nil
}

// checkDetailTypes refuses names of types that there are not. Those that there are
// stay until the transaction ends.
func (o *OIDC) checkDetailTypes(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	there, err := o.store.HoldDetailTypes(ctx, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(there, name) {
			return fault.Field(fault.Invalid, "authorization_details_types", "there is no type %q", name)
		}
	}
	return nil
}
