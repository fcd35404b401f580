package scim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
)

const (
	defaultCount = 100
	maxCount     = 200

	searchRequestURN = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
)

// query is what a list is asked for, by the parameters of GET (RFC 7644
// §3.4.2) or by a SearchRequest (§3.4.3).
type query struct {
	filter     filter.Expr // nil: all
	sortBy     *filter.AttrPath
	descending bool
	startIndex int     // from 1
	cursor     *string // nil: paging is by index; empty: the first page
	count      int     // at most maxCount; 0 asks for the total only
	counted    bool    // the client said how many
	selection  selection

	filterText, sortText string // as the client wrote them
}

// selection is which attributes a response shall show (RFC 7644 §3.9).
type selection struct {
	attributes, excluded []string
}

func (s selection) empty() bool { return len(s.attributes)+len(s.excluded) == 0 }

// parameters returns those of the address. A query string that can't be parsed
// is an error: to leave out a filter would be to list everybody.
func (r *request) parameters() (url.Values, error) {
	values, err := url.ParseQuery(r.c.Request.URL.RawQuery)
	if err != nil {
		return nil, badRequest(invalidValue, "the query string is malformed; percent-encode %%, & and ; in values")
	}
	return values, nil
}

func selectionOf(values url.Values) selection {
	return selection{attributes: splitPaths(values["attributes"]), excluded: splitPaths(values["excludedAttributes"])}
}

// splitPaths splits at commas, but not within the value filter that Entra ID's
// tests put into attributes.
func splitPaths(lists []string) []string {
	var paths []string
	for _, list := range lists {
		quoted, depth := false, 0
		for _, path := range strings.FieldsFunc(list, func(c rune) bool {
			switch {
			case c == '"':
				quoted = !quoted
			case c == '[' && !quoted:
				depth++
			case c == ']' && !quoted:
				depth--
			}
			return c == ',' && !quoted && depth <= 0
		}) {
			if path = strings.TrimSpace(path); path != "" {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// queryOf reads the parameters of a list.
func queryOf(values url.Values) (query, error) {
	q := query{selection: selectionOf(values)}
	for _, name := range []string{"filter", "sortBy", "sortOrder", "startIndex", "count", "cursor"} {
		if len(values[name]) > 1 {
			return query{}, fault.Field(fault.Invalid, name, "expected the parameter once")
		}
	}
	var err error
	if values.Has("cursor") {
		cursor := values.Get("cursor")
		if q.cursor = &cursor; strings.TrimSpace(values.Get("startIndex")) != "" {
			return query{}, twoMethods()
		}
	}
	if q.startIndex, err = integerParameter(values, "startIndex", 1); err != nil {
		return query{}, err
	}
	q.counted = strings.TrimSpace(values.Get("count")) != ""
	if q.count, err = integerParameter(values, "count", defaultCount); err != nil {
		return query{}, q.badCount(err)
	}
	if values.Has("filter") {
		if err := q.setFilter(values.Get("filter")); err != nil {
			return query{}, err
		}
	}
	return q, q.normalize(values.Get("sortBy"), values.Get("sortOrder"))
}

// twoMethods refuses what asks for a page by its number and by a cursor.
func twoMethods() error {
	return fault.Field(fault.Invalid, "startIndex", "expected startIndex or cursor, not both")
}

// badCount is the error of a malformed count; RFC 9865 §2.1 has a keyword for it.
func (q *query) badCount(err error) error {
	if q.cursor == nil {
		return err
	}
	return badRequest(invalidCount, "%s", errorOf(err).Detail)
}

func integerParameter(values url.Values, name string, absent int) (int, error) {
	text := strings.TrimSpace(values.Get(name))
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fault.Field(fault.Invalid, name, "expected an integer")
	}
	return n, nil
}

func (q *query) setFilter(text string) error {
	expression, err := filter.Parse(text)
	if err != nil {
		return err
	}
	q.filter, q.filterText = expression, text
	return nil
}

// normalize applies the rules of RFC 7644 §3.4.2.3 and §3.4.2.4.
func (q *query) normalize(sortBy, sortOrder string) error {
	q.startIndex = max(q.startIndex, 1)
	q.count = min(max(q.count, 0), maxCount)
	switch {
	case sortOrder == "", strings.EqualFold(sortOrder, "ascending"):
	case strings.EqualFold(sortOrder, "descending"):
		q.descending = true
	default:
		return fault.Field(fault.Invalid, "sortOrder", "expected ascending or descending")
	}
	if sortBy == "" {
		q.descending = false // of what?
		return nil
	}
	path, err := filter.ParseAttrPath(sortBy)
	if err != nil {
		return err
	}
	q.sortBy, q.sortText = &path, sortBy
	return nil
}

// readSearch reads a SearchRequest.
func (r *request) readSearch() (query, error) {
	body, err := readObject(r.c)
	if err != nil {
		return query{}, err
	}
	if err := expectMessage(body, searchRequestURN); err != nil {
		return query{}, err
	}
	q := query{startIndex: 1, count: defaultCount}
	var sortBy, sortOrder string
	if cursor := member(body, "cursor"); cursor != nil {
		text, err := stringMember("cursor", cursor)
		if err != nil {
			return query{}, err
		}
		if q.cursor = &text; member(body, "startIndex") != nil {
			return query{}, twoMethods()
		}
	}
	for name, value := range body {
		switch strings.ToLower(name) {
		case "attributes":
			q.selection.attributes, err = stringsMember(name, value)
		case "excludedattributes":
			q.selection.excluded, err = stringsMember(name, value)
		case "filter":
			var text string
			if text, err = stringMember(name, value); err == nil && value != nil {
				err = q.setFilter(text)
			}
		case "sortby":
			sortBy, err = stringMember(name, value)
		case "sortorder":
			sortOrder, err = stringMember(name, value)
		case "startindex":
			q.startIndex, err = integerMember(name, value, 1)
		case "count":
			if q.count, err = integerMember(name, value, defaultCount); err != nil {
				err = q.badCount(err)
			}
			q.counted = value != nil
		}
		if err != nil {
			return query{}, err
		}
	}
	return q, q.normalize(sortBy, sortOrder)
}

// expectMessage checks the "schemas" of a message (RFC 7644 §3.1).
func expectMessage(body map[string]any, urn string) error {
	uris, _ := member(body, "schemas").([]any)
	for _, uri := range uris {
		if text, ok := uri.(string); ok && strings.EqualFold(text, urn) {
			return nil
		}
	}
	return &Error{Status: http.StatusBadRequest, SCIMType: invalidSyntax, Detail: "schemas: expected " + urn}
}

func stringMember(name string, value any) (string, error) {
	text, ok := value.(string)
	if !ok && value != nil {
		return "", fault.Field(fault.Invalid, name, "expected a string")
	}
	return text, nil
}

func stringsMember(name string, value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok && value != nil {
		return nil, fault.Field(fault.Invalid, name, "expected an array of strings")
	}
	texts := make([]string, 0, len(list))
	for _, element := range list {
		text, ok := element.(string)
		if !ok {
			return nil, fault.Field(fault.Invalid, name, "expected an array of strings")
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func integerMember(name string, value any, absent int) (int, error) {
	if value == nil {
		return absent, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return 0, fault.Field(fault.Invalid, name, "expected an integer")
	}
	n, err := strconv.Atoi(number.String())
	if err != nil {
		return 0, fault.Field(fault.Invalid, name, "expected an integer")
	}
	return n, nil
}

// bind resolves the query against a resource type whose resources have
// addresses that start with prefix.
func (q *query) bind(t *schema.ResourceType, prefix string) (directory.Query, error) {
	bound := directory.Query{Descending: q.descending}
	if q.filter != nil {
		condition, err := t.Bind(q.filter)
		if err != nil {
			return directory.Query{}, err
		}
		bound.Filter = byIdentifier(condition, prefix)
	}
	if q.sortBy == nil {
		return bound, nil
	}
	key, err := t.BindSort(*q.sortBy)
	if err != nil {
		return directory.Query{}, err
	}
	if slices.Contains([]schema.Column{schema.ColumnGroups, schema.ColumnMembers, schema.ColumnSchemas}, key.Attr.Column) {
		return directory.Query{}, fault.Field(fault.Invalid, "sortBy", "expected an attribute that resources can be sorted by, not %s", q.sortBy)
	}
	bound.SortBy = &key
	return bound, nil
}
