package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// collection is a collection of Postman, as far as it is used here.
type collection struct {
	Items []item `json:"item"`
}

// item is a folder or a request.
type item struct {
	Name    string `json:"name"`
	Items   []item `json:"item"`
	Request *struct {
		Method string `json:"method"`
		URL    struct {
			Raw string `json:"raw"`
		} `json:"url"`
		Header []struct {
			Key      string `json:"key"`
			Value    string `json:"value"`
			Disabled bool   `json:"disabled"`
		} `json:"header"`
		Body struct {
			Raw string `json:"raw"`
		} `json:"body"`
	} `json:"request"`
	Events []struct {
		Listen string `json:"listen"`
		Script struct {
			Lines []string `json:"exec"`
		} `json:"script"`
	} `json:"event"`
}

// postman runs Microsoft's collection, which wants an empty tenant. The folder
// that asks the reference server for a token is left out.
func postman(ctx context.Context, file []byte, t target) ([]check, error) {
	var c collection
	if err := json.Unmarshal(file, &c); err != nil || len(c.Items) == 0 {
		return nil, errors.Join(errors.New("the file is no collection of Postman"), err)
	}
	address, err := url.Parse(t.base)
	if err != nil {
		return nil, err
	}
	r := &postmanRun{target: t, variables: map[string]string{
		"Protocol": address.Scheme, "Server": address.Hostname(), "Port": ":" + address.Port(), "Api": strings.TrimPrefix(address.Path, "/"), "token": t.token,
	}}
	for _, i := range c.Items {
		if i.Name == "Get Token" {
			continue
		}
		if err := r.item(ctx, i); err != nil {
			return r.checks, err
		}
	}
	return r.checks, nil
}

type postmanRun struct {
	target
	variables map[string]string
	checks    []check
}

func (r *postmanRun) item(ctx context.Context, i item) error {
	for _, inner := range i.Items {
		if err := r.item(ctx, inner); err != nil {
			return err
		}
	}
	if i.Request == nil {
		return nil
	}
	header := http.Header{"Authorization": {"Bearer " + r.token}}
	for _, h := range i.Request.Header {
		if !h.Disabled {
			header.Set(h.Key, expand(h.Value, r.variables))
		}
	}
	got, err := r.send(ctx, i.Request.Method, escape(expand(i.Request.URL.Raw, r.variables)), expand(i.Request.Body.Raw, r.variables), header)
	if err != nil {
		return fmt.Errorf("%s: %w", i.Name, err)
	}
	for _, event := range i.Events {
		if event.Listen != "test" {
			continue
		}
		if err := r.script(i.Name, event.Script.Lines, got); err != nil {
			return fmt.Errorf("%s: %w", i.Name, err)
		}
	}
	return nil
}

// The statements that the collection's scripts consist of. JavaScript is not
// needed for them; another statement is an error, so that nothing is passed over.
var (
	beginTest   = regexp.MustCompile(`^pm\.test\("(.*)", function \(\) \{$`)
	endTest     = regexp.MustCompile(`^\}\);$`)
	parseBody   = regexp.MustCompile(`^var jsonData = pm\.response\.json\(\);$`)
	readID      = regexp.MustCompile(`^var id = pm\.environment\.get\("(\w+)"\);?$`)
	setVariable = regexp.MustCompile(`^pm\.environment\.set\("(\w+)", jsonData\.([\w.\[\]]+)\);$`)
	haveStatus  = regexp.MustCompile(`^pm\.response\.to\.have\.status\((\d+)\);$`)
	expectText  = regexp.MustCompile(`^pm\.expect\(pm\.response\.text\(\)\)\.to\.(not\.)?include\((.+)\);$`)
	expectValue = regexp.MustCompile(`^pm\.expect\(jsonData\.([\w.\[\]]+)\)\.to\.eql\((.+)\);$`)
)

// script runs the statements of a request's tests. Outside of a test they keep
// variables for later requests.
func (r *postmanRun) script(request string, lines []string, got response) error {
	current := -1 // the test that the statements belong to
	id := ""
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if match := beginTest.FindStringSubmatch(line); match != nil {
			current = len(r.checks)
			r.checks = append(r.checks, check{request: request, name: match[1]})
			continue
		}
		if endTest.MatchString(line) {
			current = -1
			continue
		}
		if match := readID.FindStringSubmatch(line); match != nil {
			id = r.variables[match[1]]
			continue
		}
		problem, err := r.statement(line, id, got)
		switch {
		case err != nil:
			return err
		case problem == "":
		case current < 0:
			return nil // as an exception ends a script
		case r.checks[current].problem == "":
			r.checks[current].problem = problem
		}
	}
	return nil
}

// statement runs one statement, and returns what is wrong with the answer.
func (r *postmanRun) statement(line, id string, got response) (problem string, err error) {
	if match := setVariable.FindStringSubmatch(line); match != nil {
		r.variables[match[1]] = textOf(property(got.document, match[2]))
		return "", nil
	}
	if parseBody.MatchString(line) {
		if got.document == nil {
			return "the body is no JSON", nil
		}
		return "", nil
	}
	if match := haveStatus.FindStringSubmatch(line); match != nil {
		if match[1] != strconv.Itoa(got.status) {
			return fmt.Sprintf("got %d %.120s", got.status, got.raw), nil
		}
		return "", nil
	}
	if match := expectText.FindStringSubmatch(line); match != nil {
		want, err := literal(match[2], id)
		if err == nil && strings.Contains(string(got.raw), textOf(want)) == (match[1] != "") {
			problem = fmt.Sprintf("got %.200s", got.raw)
		}
		return problem, err
	}
	if match := expectValue.FindStringSubmatch(line); match != nil {
		want, err := literal(match[2], id)
		if value := property(got.document, match[1]); err == nil && !reflect.DeepEqual(value, want) {
			problem = fmt.Sprintf("got %.200s", textOf(value))
		}
		return problem, err
	}
	if line != "" {
		return "", fmt.Errorf("the statement is not known: %s", line)
	}
	return "", nil
}

// literal is a value of JavaScript: JSON, or the variable id.
func literal(text, id string) (value any, err error) {
	if text == "id" {
		return id, nil
	}
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return nil, fmt.Errorf("the value is not known: %s", text)
	}
	return value, nil
}

// flaw is something that a suite asks for wrongly.
type flaw struct {
	requests []string // names of requests
	checks   []string // names of their checks; none: all
	reason   string
}

func (f flaw) explains(c check) bool {
	return slices.Contains(f.requests, c.request) && (len(f.checks) == 0 || slices.Contains(f.checks, c.name))
}

// explain puts the suite's flaws to the checks that failed for them.
func explain(checks []check, flaws []flaw) {
	for i, c := range checks {
		for _, f := range flaws {
			if c.problem != "" && f.explains(c) {
				checks[i].explained = f.reason
			}
		}
	}
}

func microsoftFlaws() []flaw {
	return []flaw{
		{[]string{"Get ServiceProviderConfig"}, nil, "RFC 7644 §4 has it at /ServiceProviderConfig, not at /serviceConfiguration"},
		{[]string{"Get group by id"}, []string{"Body contians user"}, "it wants a member's displayName back, which RFC 7643 §4.2 does not have"}, //nolint:misspell // the suite's
		{
			[]string{"Patch user omalley new username", "patch user omalley active with boolean"},
			[]string{"Status code is 204"},
			"RFC 7644 §3.5.2 lets the server choose between 200 and 204",
		},
		{
			[]string{"filter eq and (val or val)", "filter starts with", "filter greater than"},
			[]string{"Total results"},
			"the filter has texts without quotes, which RFC 7644 §3.4.2.2 does not know",
		},
		{[]string{"Group patch add member", "Group patch add member2"}, []string{"Status code is 204"}, "it adds members that are not there"},
	}
}
