package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of authorization_details. They travel in every token, and a person reads
// them as they are, from the first to the last character.
const (
	maxDetails       = 4 << 10 // bytes of the parameter
	maxDetailObjects = 16
	maxDetailDepth   = 8   // of arrays and objects within one another
	maxDetailText    = 500 // characters of one text
	maxDetailNumber  = 40  // bytes of one number
)

// The fields that mean the same for all types (RFC 9396 §2.2), and the one that
// every object has.
const (
	FieldType       = "type"
	FieldLocations  = "locations"
	FieldActions    = "actions"
	FieldDatatypes  = "datatypes"
	FieldIdentifier = "identifier"
	FieldPrivileges = "privileges"
)

// CommonFields returns those of RFC 9396 §2.2, in its order.
func CommonFields() []string {
	return []string{FieldLocations, FieldActions, FieldDatatypes, FieldIdentifier, FieldPrivileges}
}

// additive reports whether a field lists what may be done, so that fewer of it is
// less.
func additive(field string) bool {
	return field != FieldIdentifier && slices.Contains(CommonFields(), field)
}

// A Detail is one object of authorization_details (RFC 9396 §2). Its numbers are
// of type json.Number: they stay as they were written.
type Detail map[string]any

// Details are the value of authorization_details. An application may do what any
// of them says.
type Details []Detail

// UnmarshalJSON implements json.Unmarshaler.
func (d *Detail) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		return err
	}
	*d = members
	return nil
}

// Type returns the name of the object's type.
func (d Detail) Type() string {
	name, _ := d[FieldType].(string)
	return name
}

// texts returns a field that is a list of texts. ok is false where it is
// something else; of one that is absent nothing is listed.
func (d Detail) texts(field string) (texts []string, ok bool) {
	value, there := d[field]
	list, ok := value.([]any)
	if !there || !ok {
		return nil, !there
	}
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, true
}

// Types returns the names of the types of the objects, sorted.
func (d Details) Types() []string {
	var names []string
	for _, detail := range d {
		names = append(names, detail.Type())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// locations returns all that the objects name.
func (d Details) locations() []string {
	var all []string
	for _, detail := range d {
		texts, _ := detail.texts(FieldLocations)
		for _, location := range texts {
			if !slices.Contains(all, location) {
				all = append(all, location)
			}
		}
	}
	return all
}

// ParseDetails reads the parameter authorization_details: JSON, but with each
// member of an object once, within the bounds, and without characters that would
// show a person something else than what is meant. What the objects say is not
// looked at, only that each has a type. It fails with invalid_authorization_details.
func ParseDetails(text string) (Details, error) {
	if text == "" {
		return nil, nil
	}
	refused := func(why string) (Details, error) {
		return nil, refuse(InvalidAuthorizationDetails, "authorization_details %s", why)
	}
	if len(text) > maxDetails {
		return nil, refuse(InvalidAuthorizationDetails, "authorization_details must not be longer than %d bytes", maxDetails)
	}
	if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
		return refused("must be JSON in UTF-8")
	}
	r := detailReader{json.NewDecoder(strings.NewReader(text))}
	r.UseNumber()
	value, err := r.value(0)
	if err != nil {
		return refused(err.Error())
	}
	list, ok := value.([]any)
	if !ok || len(list) == 0 || len(list) > maxDetailObjects {
		return nil, refuse(InvalidAuthorizationDetails, "authorization_details must be an array of 1 to %d objects", maxDetailObjects)
	}
	var details Details
	for _, item := range list {
		members, _ := item.(map[string]any)
		detail := Detail(members)
		if detail.Type() == "" {
			return refused("must consist of objects, each with a type, which is a text")
		}
		details = append(details, detail)
	}
	return details, nil
}

// detailReader reads JSON that is valid, and tells by its errors what is not
// allowed in authorization_details.
type detailReader struct{ *json.Decoder }

func (r detailReader) value(depth int) (any, error) {
	token, err := r.Token()
	if err != nil {
		return nil, errors.New("must be JSON")
	}
	switch token := token.(type) {
	case json.Delim:
		if depth == maxDetailDepth {
			return nil, errors.New("nests too deep")
		}
		if token == '{' {
			return r.object(depth + 1)
		}
		return r.array(depth + 1)
	case string:
		return token, checkDetailText(token)
	case json.Number:
		return token, checkDetailNumber(token.String())
	default:
		return token, nil
	}
}

func (r detailReader) array(depth int) (any, error) {
	list := []any{}
	for r.More() {
		item, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := r.Token()
	return list, err
}

func (r detailReader) object(depth int) (any, error) {
	members := map[string]any{}
	for r.More() {
		token, err := r.Token()
		if err != nil {
			return nil, errors.New("must be JSON")
		}
		name, _ := token.(string)
		if err := checkDetailText(name); err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice { // two readers would read two things
			return nil, errors.New("has a member twice in one object")
		}
		if members[name], err = r.value(depth); err != nil {
			return nil, err
		}
	}
	_, err := r.Token()
	return members, err
}

// checkDetailText refuses what a person could not read, or would read as something
// else.
func checkDetailText(text string) error {
	if utf8.RuneCountInString(text) > maxDetailText {
		return errors.New("has a text that is too long")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
		return errors.New("has a control character in a text")
	}
	return nil
}

// checkDetailNumber refuses numbers that cost more to reckon with than to write.
func checkDetailNumber(text string) error {
	if len(text) > maxDetailNumber || strings.ContainsAny(text, "eE") {
		return errors.New("has a number that is too long, or has an exponent")
	}
	return nil
}

// within returns what of the details is for one of the audience: an object with
// locations only at those, one without wherever (RFC 9396 §9.1).
func (d Details) within(audience []string) Details {
	var kept Details
	for _, detail := range d {
		texts, _ := detail.texts(FieldLocations)
		var there []any
		for _, location := range texts {
			if slices.Contains(audience, location) {
				there = append(there, location)
			}
		}
		switch {
		case len(there) == len(texts):
			kept = append(kept, detail)
		case len(there) > 0:
			less := maps.Clone(detail)
			less[FieldLocations] = there
			kept = append(kept, less)
		}
	}
	return kept
}

// ofTypes returns those of the types.
func (d Details) ofTypes(names []string) Details {
	return slices.DeleteFunc(slices.Clone(d), func(detail Detail) bool { return !slices.Contains(names, detail.Type()) })
}

// less reports whether the object allows nothing that the granted one does not: it
// is equal, or lists fewer actions, locations, datatypes or privileges. A list that
// is left out, or empty, could mean everything, and is not fewer.
func (d Detail) less(granted Detail) bool {
	if len(d) != len(granted) {
		return false
	}
	for field, value := range d {
		has, there := granted[field]
		if !there {
			return false
		}
		if !additive(field) {
			if !reflect.DeepEqual(value, has) {
				return false
			}
			continue
		}
		texts, _ := d.texts(field)
		all, _ := granted.texts(field)
		if len(texts) == 0 && len(all) > 0 || slices.ContainsFunc(texts, func(text string) bool { return !slices.Contains(all, text) }) {
			return false
		}
	}
	return true
}

// beyond returns the first of the asked objects that the granted ones do not allow,
// or nil (RFC 9396 §6.1). Each of them stands for one that is asked for at most:
// who may pay once does not pay twice.
func (d Details) beyond(asked Details) Detail {
	by := make([]int, len(d)) // which of the asked ones each stands for, counted from 1
	var find func(n int, seen []bool) bool
	find = func(n int, seen []bool) bool {
		for i, granted := range d {
			if seen[i] || !asked[n].less(granted) {
				continue
			}
			seen[i] = true
			if by[i] == 0 || find(by[i]-1, seen) {
				by[i] = n + 1
				return true
			}
		}
		return false
	}
	for n, detail := range asked {
		if !find(n, make([]bool, len(d))) {
			return detail
		}
	}
	return nil
}
