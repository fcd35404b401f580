package authz

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// RequestEffect is what the approval of a request does.
type RequestEffect string

// The effects of requests.
const (
	EffectNothing  RequestEffect = "nothing"  // the answer is all
	EffectCreate   RequestEffect = "create"   // a tenant is made and put under the one that asked
	EffectLink     RequestEffect = "link"     // a tenant that exists is put under the one that asked
	EffectReassign RequestEffect = "reassign" // another member gets the role, in its holder's place
)

// A Request is a kind of request as the server carries it out.
type Request struct {
	RequestKind
	Kind string
}

// Request returns a kind of request with what its approval does, or a
// fault.Invalid with the field "kind". Where the blueprint does not say what
// that is, the kind's name does: NAME_create and NAME_link are about the
// blueprint's only star, ROLE_reassign and ROLE_change about the role.
func (b *Blueprint) Request(kind string) (Request, error) {
	decl, known := b.doc.Requests.Lookup(kind)
	if !known {
		return Request{}, fault.Field(fault.Invalid, "kind", "%q is no kind of request in %s", kind, b.Name())
	}
	r := Request{RequestKind: decl, Kind: kind}
	if r.Effect == "" {
		r.derive(b)
	}
	return r, nil
}

// derive finds the effect by the kind's name.
func (r *Request) derive(b *Blueprint) {
	r.Effect = EffectNothing
	name, verb, cut := cutLast(r.Kind, "_")
	if !cut {
		return
	}
	switch verb {
	case "create", "link":
		if star := b.onlyStar(); star != "" {
			r.Effect, r.Relation = RequestEffect(verb), star
		}
	case "reassign", "change":
		if _, known := b.roleIndex[name]; known {
			r.Effect, r.Role = EffectReassign, name
		}
	}
}

// onlyStar returns the name of the blueprint's star, "" if there is none or
// there are several.
func (b *Blueprint) onlyStar() string {
	stars := slices.DeleteFunc(slices.Clone(b.doc.Tenants.Relations), func(r Entry[Relation]) bool { return r.Value.Shape != Star })
	if len(stars) != 1 {
		return ""
	}
	return stars[0].Key
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
