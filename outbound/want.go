package outbound

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// wanted is what a resource should be at the target.
type wanted struct {
	kind     Kind
	resource string
	version  int64 // here
	values   values
	refersTo string // a person whom it refers to
}

// nameAttribute is what people tell resources of a kind apart by.
func nameAttribute(kind Kind) string {
	if kind == User {
		return attrUserName
	}
	return attrDisplayName
}

func (w *wanted) name() string {
	name, _ := w.values[nameAttribute(w.kind)].(string)
	return name
}

func (w *wanted) externalID() string {
	external, _ := w.values[attrExternalID].(string)
	return external
}

// want returns what a resource should be, nil if it should not be there.
func (s *session) want(ctx context.Context, kind Kind, resource string) (*wanted, error) {
	is, err := s.o.Store.Wanted(ctx, s.t, s.maxRoles, kind, resource)
	if err != nil || !is {
		return nil, err
	}
	doc, version, err := s.read(ctx, kind, resource)
	if errors.Is(err, fault.NotFound) {
		return nil, nil // deleted since
	}
	if err != nil {
		return nil, err
	}
	w := &wanted{kind: kind, resource: resource, version: version}
	w.values = flatten(s.chosen(s.types[kind].Shareable(doc), kind))
	switch external := s.t.Attributes.ExternalID; external {
	case OwnID:
		w.values[attrExternalID] = resource
	case SameAsHere: // as the document has it
	}
	return w, s.refer(ctx, w)
}

func (s *session) read(ctx context.Context, kind Kind, resource string) (map[string]any, int64, error) {
	if kind == Group {
		g, err := s.o.Store.Group(ctx, s.t.Tenant, id.Group(resource))
		if err != nil {
			return nil, 0, err
		}
		return g.Document(), g.Version, nil
	}
	m, err := s.o.Store.Membership(ctx, s.t.Tenant, id.Membership(resource))
	if err != nil {
		return nil, 0, err
	}
	return m.Document(), m.Version, nil
}

// chosen returns the attributes of a document that are sent: those that the
// target asks for, that a client may write, and of extensions those that it knows.
func (s *session) chosen(doc map[string]any, kind Kind) map[string]any {
	sent := map[string]any{}
	for name, value := range doc {
		inner, extension := value.(map[string]any)
		switch {
		case name == nameAttribute(kind), name == attrExternalID, name == attrActive && kind == User:
			sent[name] = value
		case unsent(name):
		case extension && strings.Contains(name, ":"):
			if !s.knowsExtension(name) {
				continue
			}
			part := map[string]any{}
			for attribute, value := range inner {
				if s.t.Attributes.wants(name, attribute) && writable(s.types[kind], name, attribute) {
					part[attribute] = value
				}
			}
			sent[name] = part
		case s.t.Attributes.wants("", name) && writable(s.types[kind], "", name):
			sent[name] = value
		}
	}
	return sent
}

func (s *session) knowsExtension(uri string) bool {
	caps := s.t.Capabilities
	if caps == nil || caps.Guessed {
		return uri == schema.EnterpriseUserURN
	}
	return slices.ContainsFunc(caps.Extensions, func(known string) bool { return strings.EqualFold(known, uri) })
}

// writable reports whether clients may write an attribute, which they may where
// the type does not know it.
func writable(t *schema.ResourceType, extension, name string) bool {
	path := name
	if extension != "" {
		path = extension + ":" + name
	}
	ref, err := t.ResolveText(path)
	return err != nil || ref.Attribute == nil || ref.Attribute.Mutability != schema.ReadOnly
}

// managerPath is where a person refers to another one.
const managerPath = schema.EnterpriseUserURN + ":" + attrManager

// refer puts the id that a person's manager has there in the place of the one
// here. A manager who is not there is left out until he is.
func (s *session) refer(ctx context.Context, w *wanted) error {
	path := managerPath
	manager, ok := w.values[path].(map[string]any)
	if !ok {
		return nil
	}
	delete(w.values, path)
	here, _ := manager[attrValue].(string)
	if here == "" || here == w.resource {
		return nil
	}
	w.refersTo = here
	link, err := s.link(ctx, User, here)
	if err != nil || link == nil || link.pending() {
		return err
	}
	w.values[path] = reference(link)
	return nil
}

// reference is how another resource there refers to the link's.
func reference(to *Link) map[string]any { return map[string]any{attrValue: to.Remote} }
