package recording

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// parseQuery reads a query and its filters from the start of s.
func parseQuery(s string) (q Query, rest string, err error) {
	kind, rest, _ := strings.Cut(s, " ")
	q.Kind = kind
	switch kind {
	case "jsonpath", "header":
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return Query{}, "", fmt.Errorf("%s needs a quoted operand: %q", kind, rest)
		}
		if q.Operand, err = strconv.Unquote(quoted); err != nil {
			return Query{}, "", err
		}
		rest = strings.TrimSpace(rest[len(quoted):])
	case "status", "body":
	default:
		return Query{}, "", fmt.Errorf("unknown query %q", kind)
	}
	for {
		word, after, _ := strings.Cut(rest, " ")
		switch word {
		case "count":
			q.Filters, rest = append(q.Filters, word), after
		case "nth":
			index, after, _ := strings.Cut(after, " ")
			q.Filters, rest = append(q.Filters, word+" "+index), after
		default:
			return q, rest, nil
		}
	}
}

// predicates are the known ones, and whether they take an operand.
func takesOperand(predicate string) (takes, known bool) {
	switch predicate {
	case "==", "!=", ">", ">=", "<", "<=", "contains", "startsWith", "matches":
		return true, true
	case "exists", "isCollection", "isString", "isBoolean", "isInteger", "isEmpty":
		return false, true
	}
	return false, false
}

func parseAssert(line string) (Assert, error) {
	query, rest, err := parseQuery(line)
	if err != nil {
		return Assert{}, err
	}
	a := Assert{Text: line, Query: query}
	if after, ok := strings.CutPrefix(rest, "not "); ok {
		a.Not, rest = true, after
	}
	predicate, operand, _ := strings.Cut(rest, " ")
	takes, known := takesOperand(predicate)
	if !known {
		return Assert{}, fmt.Errorf("unknown predicate %q", predicate)
	}
	a.Predicate = predicate
	if !takes {
		return a, nil
	}
	if err := json.Unmarshal([]byte(operand), &a.Operand); err != nil {
		return Assert{}, fmt.Errorf("%s needs a JSON value, got %q", predicate, operand)
	}
	return a, nil
}

// A Response is what came back, as queries look at it.
type Response struct {
	Status int
	Header func(name string) []string
	Body   []byte
	JSON   any // the body, nil if it isn't JSON
}

// value evaluates q; found says whether there is one.
func (r *Response) value(q Query) (value any, found bool, err error) {
	switch q.Kind {
	case "jsonpath":
		value, found, err = lookUp(r.JSON, q.Operand)
	case "header":
		if values := r.Header(q.Operand); len(values) > 0 {
			value, found = values[0], true
		}
	case "status":
		value, found = float64(r.Status), true
	case "body":
		value, found = string(r.Body), true
	}
	if err != nil {
		return nil, false, err
	}
	for _, filter := range q.Filters {
		if !found {
			return nil, false, nil
		}
		if value, found, err = applyFilter(filter, value); err != nil {
			return nil, false, err
		}
	}
	return value, found, nil
}

func applyFilter(filter string, value any) (any, bool, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, false, fmt.Errorf("%s needs a list, got %s", filter, show(value))
	}
	if filter == "count" {
		return float64(len(list)), true, nil
	}
	index, err := strconv.Atoi(strings.TrimPrefix(filter, "nth "))
	if err != nil {
		return nil, false, err
	}
	if index >= len(list) {
		return nil, false, nil
	}
	return list[index], true, nil
}

// check returns an error that says what is and what should be.
func (r *Response) check(a Assert, variables map[string]string) error {
	value, found, err := r.value(a.Query)
	if err != nil {
		return fmt.Errorf("%s: %w", a.Text, err)
	}
	operand := expandValue(a.Operand, variables)
	holds, err := holds(a.Predicate, value, found, operand)
	if err != nil {
		return fmt.Errorf("%s: %w", a.Text, err)
	}
	if holds != a.Not {
		return nil
	}
	if !found {
		return fmt.Errorf("%s: there is no such value", a.Text)
	}
	return fmt.Errorf("%s: got %s", a.Text, show(value))
}

func holds(predicate string, value any, found bool, operand any) (bool, error) {
	switch predicate {
	case "exists":
		return found, nil
	case "==":
		return found && reflect.DeepEqual(value, operand), nil
	case "!=":
		return found && !reflect.DeepEqual(value, operand), nil
	}
	if !found {
		return false, nil
	}
	switch predicate {
	case ">", ">=", "<", "<=":
		return compares(predicate, value, operand)
	case "contains", "startsWith", "matches":
		return matchesText(predicate, value, operand)
	}
	return hasType(predicate, value), nil
}

func compares(predicate string, value, operand any) (bool, error) {
	x, ok1 := value.(float64)
	y, ok2 := operand.(float64)
	if !ok1 || !ok2 {
		return false, fmt.Errorf("%s compares numbers, got %s", predicate, show(value))
	}
	switch predicate {
	case ">":
		return x > y, nil
	case ">=":
		return x >= y, nil
	case "<":
		return x < y, nil
	}
	return x <= y, nil
}

func matchesText(predicate string, value, operand any) (bool, error) {
	if list, ok := value.([]any); ok && predicate == "contains" {
		return slices.ContainsFunc(list, func(v any) bool { return reflect.DeepEqual(v, operand) }), nil
	}
	text, ok1 := value.(string)
	pattern, ok2 := operand.(string)
	if !ok1 || !ok2 {
		return false, fmt.Errorf("%s needs strings, got %s", predicate, show(value))
	}
	switch predicate {
	case "contains":
		return strings.Contains(text, pattern), nil
	case "startsWith":
		return strings.HasPrefix(text, pattern), nil
	}
	return regexp.MatchString(pattern, text)
}

func hasType(predicate string, value any) bool {
	switch predicate {
	case "isString":
		_, ok := value.(string)
		return ok
	case "isBoolean":
		_, ok := value.(bool)
		return ok
	case "isInteger":
		number, ok := value.(float64)
		return ok && number == float64(int64(number))
	case "isCollection":
		_, ok := value.([]any)
		return ok
	}
	list, ok := value.([]any) // isEmpty
	return ok && len(list) == 0 || value == ""
}

// expandValue replaces the variables in the strings of a JSON value.
func expandValue(value any, variables map[string]string) any {
	switch v := value.(type) {
	case string:
		return expand(v, variables)
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = expandValue(out[i], variables)
		}
		return out
	case map[string]any:
		out := maps.Clone(v)
		for key := range out {
			out[key] = expandValue(out[key], variables)
		}
		return out
	}
	return value
}

// expand replaces {{name}}; an unknown one stays and fails where it is used.
func expand(text string, variables map[string]string) string {
	for name, value := range variables {
		text = strings.ReplaceAll(text, "{{"+name+"}}", value)
	}
	return text
}

func show(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	if len(text) > 300 {
		text = append(text[:300], "..."...)
	}
	return string(text)
}
