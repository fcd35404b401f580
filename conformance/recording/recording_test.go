package recording

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const example = `# About the file.

# E1 E12: a boolean
# comes as a string
PATCH {{base}}/Users/1?aadOptscim062020
Authorization: Bearer t
{"value": "False",
 "id": "{{id}}"}
HTTP 200
Content-Type: application/json
[Captures]
version: jsonpath "$.meta.version"
[Asserts]
jsonpath "$.active" == false
jsonpath "$.roles" not exists
# in parallel
GET {{base}}/Users
HTTP *
`

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := Parse("x", strings.NewReader(example))
	if err != nil {
		t.Fatal(err)
	}
	want := []Exchange{
		{
			Line: 5, Codes: []string{"E1", "E12"}, About: "a boolean comes as a string",
			Method: "PATCH", URL: "{{base}}/Users/1?aadOptscim062020",
			Header: []Field{{"Authorization", "Bearer t"}}, Body: "{\"value\": \"False\",\n \"id\": \"{{id}}\"}",
			Status: 200, Expected: []Field{{"Content-Type", "application/json"}},
			Captures: []Capture{{Line: 12, Variable: "version", Query: Query{Kind: "jsonpath", Operand: "$.meta.version"}}},
			Asserts: []Assert{
				{Line: 14, Text: `jsonpath "$.active" == false`, Query: Query{Kind: "jsonpath", Operand: "$.active"}, Predicate: "==", Operand: false},
				{Line: 15, Text: `jsonpath "$.roles" not exists`, Query: Query{Kind: "jsonpath", Operand: "$.roles"}, Not: true, Predicate: "exists"},
			},
		},
		{Line: 17, Parallel: true, Method: "GET", URL: "{{base}}/Users"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseNamesTheLineOfAMistake(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"no status line":       {"GET /a\n\nGET /b\nHTTP 200\n", "x:3: the request before has no HTTP line"},
		"nothing after":        {"GET /a\n", "x:2: the last request has no HTTP line"},
		"an unknown predicate": {"GET /a\nHTTP 200\n[Asserts]\nstatus is 200\n", `x:4: unknown predicate "is"`},
		"an unknown query":     {"GET /a\nHTTP 200\n[Captures]\nx: xpath \"//a\"\n", `x:4: want NAME: QUERY`},
		"an unknown section":   {"GET /a\nHTTP 200\n[Options]\n", `x:3: want a header, [Captures] or [Asserts]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("x", strings.NewReader(tt.text))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestAsserts(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"id":"7","n":2,"on":true,"name":{"givenName":"Ann"},"none":[],
			"urn:x:2.0:User":{"manager":{"value":"9"}},
			"emails":[{"type":"home","value":"a@h"},{"type":"work","value":"a@w"}]}`))
	}))
	t.Cleanup(server.Close)
	for assert, want := range map[string]bool{
		`status == 200`:                                                true,
		`status >= 300`:                                                false,
		`jsonpath "$.id" == "7"`:                                       true,
		`jsonpath "$.id" == 7`:                                         false,
		`jsonpath "$.id" == "{{id}}"`:                                  true,
		`jsonpath "$.n" isInteger`:                                     true,
		`jsonpath "$.id" isInteger`:                                    false,
		`jsonpath "$.on" isBoolean`:                                    true,
		`jsonpath "$.on" isString`:                                     false,
		`jsonpath "$.name.givenName" startsWith "A"`:                   true,
		`jsonpath "$.name.familyName" exists`:                          false,
		`jsonpath "$.name.familyName" != "x"`:                          false,
		`jsonpath "$.name.familyName" not exists`:                      true,
		`jsonpath "$.none" isEmpty`:                                    true,
		`jsonpath "$.emails" isEmpty`:                                  false,
		`jsonpath "$.emails" isCollection`:                             true,
		`jsonpath "$.emails" count == 2`:                               true,
		`jsonpath "$.emails[1].value" == "a@w"`:                        true,
		`jsonpath "$.emails[2].value" exists`:                          false,
		`jsonpath "$.emails[*].value" contains "a@w"`:                  true,
		`jsonpath "$.emails[*].value" contains "a@"`:                   false,
		`jsonpath "$.emails[?(@.type=='work')].value" nth 0 == "a@w"`:  true,
		`jsonpath "$.emails[?(@.type=='other')].value" count == 0`:     true,
		`jsonpath "$.emails[?(@.type=='other')].value" nth 0 exists`:   false,
		`jsonpath "$['urn:x:2.0:User'].manager.value" matches "^\\d$"`: true,
		`header "Content-Type" startsWith "text/plain"`:                true,
		`header "X-None" exists`:                                       false,
		`body contains "emails"`:                                       true,
		`jsonpath "$.name" == {"givenName":"Ann"}`:                     true,
	} {
		exchanges, err := Parse("x", strings.NewReader("GET {{base}}/\nHTTP 200\n[Asserts]\n"+assert+"\n"))
		if err != nil {
			t.Errorf("%s: %v", assert, err)
			continue
		}
		player := Player{Client: server.Client(), Variables: map[string]string{"base": server.URL, "id": "7"}}
		if err := player.Play(t.Context(), exchanges)[0].Err; (err == nil) != want {
			t.Errorf("%s: got %v, want it to hold: %v", assert, err, want)
		}
	}
}

func TestPlayFailsOnWhatIsNotAsRecorded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for name, text := range map[string]string{
		"another status":      "GET {{base}}/\nHTTP 200\n",
		"another header":      "GET {{base}}/\nHTTP 404\nContent-Type: application/json\n",
		"nothing to capture":  "GET {{base}}/\nHTTP 404\n[Captures]\nid: jsonpath \"$.id\"\n",
		"a variable not set":  "GET {{base}}/{{user}}\nHTTP 404\n",
		"a value not present": "GET {{base}}/\nHTTP 404\n[Asserts]\njsonpath \"$.id\" exists\n",
	} {
		exchanges, err := Parse(name, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		player := Player{Client: server.Client(), Variables: map[string]string{"base": server.URL}}
		if err := player.Play(t.Context(), exchanges)[0].Err; err == nil {
			t.Errorf("%s: it passed", name)
		}
	}
}

// TestPlayParallel needs both requests to be there at once.
func TestPlayParallel(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case arrived <- struct{}{}:
		case <-arrived:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	exchanges, err := Parse("x", strings.NewReader("# in parallel\nGET {{base}}/1\nHTTP 200\n\n# in parallel\nGET {{base}}/2\nHTTP 200\n"))
	if err != nil {
		t.Fatal(err)
	}
	player := Player{Client: server.Client(), Variables: map[string]string{"base": server.URL}}
	for _, outcome := range player.Play(t.Context(), exchanges) {
		if outcome.Err != nil {
			t.Error(outcome.Err)
		}
	}
}
