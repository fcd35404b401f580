package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// runscopeTest is an exported test of Runscope, as far as it is used here.
type runscopeTest struct {
	Steps []struct {
		Type       string              `json:"step_type"`
		Skipped    bool                `json:"skipped"`
		Note       string              `json:"note"`
		Method     string              `json:"method"`
		URL        string              `json:"url"`
		Headers    map[string][]string `json:"headers"`
		Body       string              `json:"body"`
		Assertions []runscopeAssertion `json:"assertions"`
		Variables  []struct {
			Name     string `json:"name"`
			Property string `json:"property"`
		} `json:"variables"`
	} `json:"steps"`
}

type runscopeAssertion struct {
	Comparison string  `json:"comparison"`
	Source     string  `json:"source"`
	Property   string  `json:"property"`
	Value      *string `json:"value"`
}

// response is what came back.
type response struct {
	status   int
	header   http.Header
	raw      []byte
	document any // nil if the body is no JSON
	took     time.Duration
}

// runscope runs Okta's test, which wants a user with a name, an address and a
// state to be there already.
func runscope(ctx context.Context, file []byte, t target) ([]check, error) {
	var test runscopeTest
	if err := json.Unmarshal(file, &test); err != nil {
		return nil, fmt.Errorf("the file is no export of Runscope: %w", err)
	}
	seed := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"first@people.example","active":true,` +
		`"name":{"givenName":"First","familyName":"Person"},"emails":[{"value":"first@people.example","type":"work","primary":true}]}`
	first, err := t.send(ctx, http.MethodPost, t.base+"/Users", seed, http.Header{"Content-Type": {"application/scim+json"}, "Authorization": {"Bearer " + t.token}})
	if err != nil || first.status != http.StatusCreated {
		return nil, errors.Join(err, fmt.Errorf("the first user was not made: %s", first.raw))
	}
	unique := strings.ToLower(rand.Text()[:8])
	variables := map[string]string{
		"SCIMBaseURL": t.base, "auth": "Bearer " + t.token, "InvalidUserEmail": "nobody@people.example", "UserIdThatDoesNotExist": "010101001010101011001010101011",
		"randomGivenName": "Given" + unique, "randomFamilyName": "Family" + unique, "randomEmail": unique + "@people.example",
		"randomUsername": unique + "@people.example", "randomUsernameCaps": strings.ToUpper(unique + "@people.example"),
	}
	var checks []check
	for _, step := range test.Steps {
		if step.Type != "request" || step.Skipped {
			continue
		}
		header := http.Header{}
		for name, values := range step.Headers {
			for _, value := range values {
				header.Add(name, expand(value, variables))
			}
		}
		got, err := t.send(ctx, step.Method, escape(expand(step.URL, variables)), expand(step.Body, variables), header)
		if err != nil {
			return checks, err
		}
		for _, a := range step.Assertions {
			problem, err := a.check(got, variables)
			if err != nil {
				return checks, fmt.Errorf("%s: %w", step.Note, err)
			}
			checks = append(checks, check{request: step.Note, name: a.String(), problem: problem})
		}
		for _, v := range step.Variables {
			variables[v.Name] = textOf(property(got.document, v.Property))
		}
	}
	return checks, nil
}

func (a runscopeAssertion) String() string {
	text := strings.Join(strings.Fields(a.Source+" "+a.Property+" "+a.Comparison), " ")
	if a.Value != nil {
		text += " " + *a.Value
	}
	return text
}

// check returns what is wrong, or an error for an assertion that is not known.
func (a runscopeAssertion) check(got response, variables map[string]string) (problem string, err error) {
	var value any
	switch a.Source {
	case "response_status":
		value = float64(got.status)
	case "response_time":
		value = float64(got.took.Milliseconds())
	case "response_json":
		value = property(got.document, a.Property)
	case "response_headers":
		value = got.header.Get(a.Property)
	default:
		return "", fmt.Errorf("the source %q is not known", a.Source)
	}
	want := ""
	if a.Value != nil {
		want = expand(*a.Value, variables)
	}
	number, isNumber := value.(float64)
	wanted, wantsNumber := strconv.ParseFloat(want, 64)
	list, isList := value.([]any)
	var holds bool
	switch a.Comparison {
	case "equal_number":
		holds = isNumber && wantsNumber == nil && number == wanted
	case "equal":
		holds = value != nil && textOf(value) == want
	case "not_empty":
		holds = value != nil && value != "" && (!isList || len(list) > 0)
	case "has_value", "contains":
		holds = value != nil && strings.Contains(textOf(value), want)
		if isList {
			holds = false
			for _, item := range list {
				holds = holds || textOf(item) == want
			}
		}
	case "is_a_number":
		holds = isNumber
	case "is_less_than":
		holds = isNumber && wantsNumber == nil && number < wanted
	default:
		return "", fmt.Errorf("the comparison %q is not known", a.Comparison)
	}
	if holds {
		return "", nil
	}
	return fmt.Sprintf("got %.200s (status %d)", textOf(value), got.status), nil
}

// send sends a request and reads the whole answer.
func (t target) send(ctx context.Context, method, address, body string, header http.Header) (response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	request.Header = header
	started := time.Now()
	answer, err := t.client.Do(request)
	if err != nil {
		return response{}, err
	}
	raw, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return response{}, err
	}
	got := response{status: answer.StatusCode, header: answer.Header, raw: raw, took: time.Since(started)}
	if json.Unmarshal(raw, &got.document) != nil {
		got.document = nil
	}
	return got, nil
}

var variable = regexp.MustCompile(`\{\{(\w+)\}\}`)

// expand replaces the {{variables}} that are known.
func expand(text string, variables map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(found string) string {
		if value, known := variables[strings.Trim(found, "{}")]; known {
			return value
		}
		return found
	})
}

// escape writes the query of an address as both tools send it: what a URL may
// hold stays as it is.
func escape(address string) string {
	path, query, found := strings.Cut(address, "?")
	if !found {
		return address
	}
	var text strings.Builder
	for _, b := range []byte(query) {
		if b <= ' ' || b >= 0x7f || strings.IndexByte(`"<>[]^{}|\`, b) >= 0 {
			text.WriteString(url.PathEscape(string(b)))
			continue
		}
		text.WriteByte(b)
	}
	return path + "?" + text.String()
}

var step = regexp.MustCompile(`[^.\[\]]+`)

// property returns what is at a path as in Resources[0].name, nil where nothing is.
func property(document any, path string) any {
	for _, name := range step.FindAllString(path, -1) {
		switch container := document.(type) {
		case map[string]any:
			document = container[name]
		case []any:
			n, err := strconv.Atoi(name)
			if err != nil || n >= len(container) {
				return nil
			}
			document = container[n]
		default:
			return nil
		}
	}
	return document
}

// textOf is a value as text: a text as it is, anything else as JSON.
func textOf(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
