package provisioning

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// Longest of what is kept, in bytes.
const (
	MaxBody   = 64 << 10
	maxPath   = 2 << 10
	maxDetail = 2 << 10
	maxValue  = 4 << 10 // of an attribute before or after
	maxName   = 256
)

// secretWords are parts of the names of attributes that hold secrets. An
// attribute that no schema knows is kept as well, so its name has to do.
func secretWords() []string {
	return []string{"password", "passwd", "passphrase", "secret", "token", "credential", "privatekey"}
}

// A redactor takes the secrets out of one request.
type redactor struct {
	hidden []string // names of further attributes, in lower case
	found  []string // the secrets, to be looked for elsewhere
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// secretPath reports whether an attribute path or a filter names a secret.
func (r *redactor) secretPath(path string) bool {
	path = strings.ToLower(quoted.ReplaceAllString(path, `""`))
	if slices.ContainsFunc(secretWords(), func(word string) bool { return strings.Contains(path, word) }) {
		return true
	}
	if len(r.hidden) == 0 {
		return false
	}
	parts := strings.FieldsFunc(path, func(c rune) bool { return strings.ContainsRune(`.:[]() "`, c) })
	return slices.ContainsFunc(parts, func(part string) bool { return slices.Contains(r.hidden, part) })
}

// body returns a JSON body without secrets. One that is not JSON is left out as
// a whole, because nobody can tell where in it a secret would be.
func (r *redactor) body(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	if len(data) > MaxBody {
		return fmt.Sprintf("(%d bytes: too long to be kept)", len(data))
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value any
	err := d.Decode(&value)
	if err == nil {
		_, err = d.Token() // there must be nothing more
		if errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return fmt.Sprintf("(%d bytes that are not JSON: left out)", len(data))
	}
	return clean(string(encode(r.value(value))), MaxBody)
}

// value takes the secrets out of a JSON value in place.
func (r *redactor) value(value any) any {
	switch value := value.(type) {
	case []any:
		for i, element := range value {
			value[i] = r.value(element)
		}
	case map[string]any:
		return r.object(value)
	}
	return value
}

func (r *redactor) object(object map[string]any) any {
	hidden := "" // the member with the value of an operation on a secret (RFC 7644 §3.5.2)
	for name, v := range object {
		if path, ok := v.(string); ok && strings.EqualFold(name, "path") && r.secretPath(path) {
			hidden = "value"
			object[name] = withoutFilter(path)
		}
	}
	out := make(map[string]any, len(object))
	for name, v := range object {
		switch {
		case strings.EqualFold(name, hidden) && hidden != "":
			out[name] = r.hide(v)
		case strings.EqualFold(name, "filter") && r.secretFilter(v): // of a search (RFC 7644 §3.4.3)
			out[name] = r.hide(v)
		case r.secretPath(name):
			out[withoutFilter(name)] = r.hide(v)
		default:
			out[name] = r.value(v)
		}
	}
	return out
}

func (r *redactor) secretFilter(value any) bool {
	text, ok := value.(string)
	return ok && r.secretPath(text)
}

// withoutFilter cuts off an attribute path before what could hold a value.
func withoutFilter(path string) string {
	before, _, _ := strings.Cut(path, "[")
	return before
}

// hide remembers the texts in a secret and returns what stands in its place.
func (r *redactor) hide(value any) any {
	switch value := value.(type) {
	case nil, bool: // says that there is one, or that it goes
		return value
	case string:
		if value == "" {
			return value
		}
		r.found = append(r.found, value)
	case []any:
		for _, element := range value {
			r.hide(element)
		}
	case map[string]any:
		for _, element := range value {
			r.hide(element)
		}
	}
	return Redacted
}

// ownToken is a secret that this server makes.
var ownToken = regexp.MustCompile(`\brc[a-z]?_[0-9A-Za-z_-]{8,}`)

// shortestSecret is the length from which on a secret is looked for outside its
// place: a shorter one would be found everywhere.
const shortestSecret = 4

// text returns a text of at most longest bytes without the secrets that were
// found, and without tokens of this server.
func (r *redactor) text(text string, longest int) string {
	for _, found := range r.found {
		if len(found) >= shortestSecret {
			text = strings.ReplaceAll(text, found, Redacted)
		}
	}
	if strings.Contains(text, "rc") {
		text = ownToken.ReplaceAllString(text, Redacted)
	}
	return clean(text, longest)
}

// address returns a path with its query, of which those parameters stay that
// SCIM knows (RFC 7644 §3.4.2, RFC 9865 §2): whatever else is there may be a
// credential.
func (r *redactor) address(path, query string) string {
	path = r.text(path, maxPath)
	values, err := url.ParseQuery(query)
	if err != nil {
		return path + "?…"
	}
	var kept []string
	for _, name := range []string{"filter", "attributes", "excludedAttributes", "sortBy", "sortOrder", "startIndex", "count", "cursor"} {
		for _, value := range values[name] {
			if r.secretPath(value) {
				value = Redacted
			}
			kept = append(kept, name+"="+url.QueryEscape(value))
		}
	}
	if len(kept) == 0 {
		return path
	}
	return r.text(path+"?"+strings.Join(kept, "&"), maxPath)
}

// clean makes a text one that every database takes, of at most longest bytes.
func clean(text string, longest int) string {
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\ufffd")
	}
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= longest {
		return text
	}
	cut := longest
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// encode returns the JSON of what came from JSON.
func encode(value any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return []byte("null") // nothing that JSON has no form for is ever handed in
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
