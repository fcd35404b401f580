package oidc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Details reads the parameter authorization_details of an application, and refuses
// what RFC 9396 §5 says: types that are unknown or not the application's, and objects
// that are not as their type wants them. Locations are resources, which the
// application must have (RFC 8707). It fails with invalid_authorization_details.
func (o *OIDC) Details(ctx context.Context, a *Application, text string) (Details, error) {
	details, err := ParseDetails(text)
	if err != nil || details == nil {
		return nil, err
	}
	return details, o.checkDetails(ctx, a, details)
}

func (o *OIDC) checkDetails(ctx context.Context, a *Application, details Details) error {
	if len(details) == 0 {
		return nil
	}
	types, err := o.knownDetailTypes(ctx)
	if err != nil {
		return err
	}
	for _, detail := range details {
		t := types.byName[detail.Type()]
		switch {
		case t == nil:
			return refuse(InvalidAuthorizationDetails, "there is no type %s of authorization details", described(detail.Type()))
		case !slices.Contains(a.Security.DetailTypes, t.Name):
			return refuse(InvalidAuthorizationDetails, "the application may not use the type %s of authorization details", described(t.Name))
		}
		field, why := t.problem(detail)
		if locations, _ := detail.texts(FieldLocations); why == "" && o.CheckResources(a, locations) != nil {
			field, why = FieldLocations, "names a resource that is none of the application's"
		}
		if why != "" {
			return refuse(InvalidAuthorizationDetails, "authorization_details of the type %s: the field %s %s", described(t.Name), described(field), why)
		}
	}
	return nil
}

// described keeps a name that came from outside within what RFC 6749 §5.2 allows in
// error_description.
func described(name string) string {
	const longest = 100
	kept := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, name)
	return kept[:min(len(kept), longest)]
}

// problem returns the field of the object that is not as the type wants it, and what
// is wrong with it. Both are empty where nothing is.
func (t *detailType) problem(d Detail) (field, why string) {
	for _, name := range CommonFields() {
		value, there := d[name]
		if name == FieldIdentifier {
			if _, text := value.(string); there && !text {
				return name, "must be a text"
			}
		} else if _, list := d.texts(name); !list {
			return name, "must be a list of texts"
		}
	}
	err := t.schema.Validate(map[string]any(d))
	if err == nil {
		return "", ""
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return FieldType, "can't be checked"
	}
	first := slices.MinFunc(violations(invalid, nil), func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.field, b.field), cmp.Compare(a.why, b.why))
	})
	return first.field, first.why
}

// violation is one thing that a schema does not allow.
type violation struct{ field, why string }

const unknownField = "is not known"

// rank is higher for members that no schema knows: where one does not hold, what it
// knows counts as unknown too.
func (v violation) rank() int {
	if v.why == unknownField {
		return 1
	}
	return 0
}

// violations adds all that an error of the schema consists of.
func violations(e *jsonschema.ValidationError, found []violation) []violation {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			found = violations(cause, found)
		}
		return found
	}
	at := func(members ...string) string { return strings.Join(slices.Concat(e.InstanceLocation, members), ".") }
	all := func(members []string, why string) []violation {
		for _, member := range members {
			found = append(found, violation{at(member), why})
		}
		return found
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return all(k.Missing, "is missing")
	case *kind.DependentRequired:
		return all(k.Missing, "is missing")
	case *kind.AdditionalProperties:
		return all(k.Properties, unknownField)
	case *kind.FalseSchema:
		return append(found, violation{at(), unknownField})
	case *kind.Type:
		return append(found, violation{at(), "must be of another type"})
	}
	return append(found, violation{cmp.Or(at(), FieldType), "has a value that is not allowed"})
}

// targets returns for which resources the tokens of a request are: those that it
// names by the parameter, and those that its details name. Beside scopes that are
// for this server, locations alone do not take it away.
func (o *OIDC) targets(resources, scopes []string, details Details) []string {
	locations := details.locations()
	if len(locations) == 0 {
		return resources
	}
	all := slices.Clone(resources)
	if len(resources) == 0 && len(scopes) > 0 {
		all = append(all, o.issuer)
	}
	for _, location := range locations {
		if !slices.Contains(all, location) {
			all = append(all, location)
		}
	}
	return all
}

// address decides for whom a token is, and what details it has, of what was granted.
func (o *OIDC) address(ctx context.Context, i *issue, resources []string, granted Details) (err error) {
	if i.audience, err = o.audienceOf(resources, i.terms.Resources); err != nil {
		return err
	}
	i.details, err = o.tokenDetails(ctx, i.application, granted, i.terms, i.audience)
	return err
}

// tokenDetails returns the details of a token for the audience: those that are asked
// for, which must be within what was granted (RFC 9396 §6), or all of that. Types
// that the application may use no more are left out.
func (o *OIDC) tokenDetails(ctx context.Context, a *Application, granted Details, terms Terms, to audience) (Details, error) {
	granted = granted.ofTypes(a.Security.DetailTypes).within(to)
	if terms.Details == "" {
		return granted, nil
	}
	asked, err := o.Details(ctx, a, terms.Details)
	if err != nil {
		return nil, err
	}
	if beyond := granted.beyond(asked); beyond != nil {
		return nil, refuse(InvalidAuthorizationDetails, "what is asked for of the type %s of authorization details was not granted, or not for this resource", described(beyond.Type()))
	}
	return asked, nil
}

// machineDetails returns what an application asks for that acts for itself. What
// there is to allow, who registered it has allowed (RFC 9396 §6). One that people
// sign in to has to ask these.
func (o *OIDC) machineDetails(ctx context.Context, a *Application, terms Terms) (Details, error) {
	if terms.Details != "" && a.Type != Machine {
		return nil, refuse(InvalidAuthorizationDetails, "an application that people sign in to gets authorization details of these only")
	}
	return o.Details(ctx, a, terms.Details)
}
