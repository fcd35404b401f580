package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// server answers every request with a user, but "/missing" with 404.
func server(t *testing.T, seen *[]string) target {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r.Method+" "+r.URL.RequestURI())
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
		case strings.HasSuffix(r.URL.Path, "/missing"):
			w.WriteHeader(http.StatusNotFound)
		}
		if _, err := w.Write([]byte(`{"id":"7","userName":"ann","active":true,"Resources":[],"schemas":["a","b"],"emails":[{"value":"x"}]}`)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return target{base: s.URL + "/scim", token: "t", client: s.Client()}
}

// failures are the names of the checks that do not hold.
func failures(checks []check) (names []string) {
	for _, c := range checks {
		if c.problem != "" {
			names = append(names, c.name)
		}
	}
	return names
}

func TestRunscope(t *testing.T) {
	var seen []string
	checks, err := runscope(t.Context(), []byte(`{"steps":[{"step_type":"pause"},
		{"step_type":"request","method":"GET","url":"{{SCIMBaseURL}}/Users?filter=userName eq \"x\"","assertions":[
			{"comparison":"equal_number","source":"response_status","value":"200"}, {"comparison":"equal_number","source":"response_status","value":"201"},
			{"comparison":"not_empty","source":"response_json","property":"emails[0].value"}, {"comparison":"not_empty","source":"response_json","property":"Resources"},
			{"comparison":"has_value","source":"response_json","property":"schemas","value":"b"}, {"comparison":"has_value","source":"response_json","property":"schemas","value":"c"},
			{"comparison":"is_a_number","source":"response_json","property":"userName"}, {"comparison":"equal","source":"response_json","property":"active","value":"true"},
			{"comparison":"is_less_than","source":"response_time","value":"60000"}],
			"variables":[{"name":"user","property":"id"}]},
		{"step_type":"request","skipped":true,"method":"GET","url":"{{SCIMBaseURL}}/skipped"},
		{"step_type":"request","method":"GET","url":"{{SCIMBaseURL}}/Users/{{user}}","assertions":[{"comparison":"equal","source":"response_json","property":"id","value":"{{user}}"}]}]}`), server(t, &seen))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(failures(checks), "; "); got != "response_status equal_number 201; response_json Resources not_empty; response_json schemas has_value c; response_json userName is_a_number" || len(checks) != 10 {
		t.Errorf("of %d checks failed: %s", len(checks), got)
	}
	if got := strings.Join(seen[1:], " "); got != `GET /scim/Users?filter=userName%20eq%20%22x%22 GET /scim/Users/7` {
		t.Errorf("sent %s", got)
	}
	if _, err := runscope(t.Context(), []byte(`{"steps":[{"step_type":"request","method":"GET","url":"{{SCIMBaseURL}}/","assertions":[{"comparison":"resembles","source":"response_status"}]}]}`), server(t, &seen)); err == nil {
		t.Error("an unknown comparison is passed over")
	}
}

func TestPostman(t *testing.T) {
	var seen []string
	script := func(lines string) string {
		return `"event":[{"listen":"prerequest","script":{"exec":["nonsense"]}},{"listen":"test","script":{"exec":[` + lines + `]}}]`
	}
	checks, err := postman(t.Context(), []byte(`{"item":[{"name":"Get Token","item":[{"name":"Get Token","request":{"method":"GET","url":{"raw":"{{Protocol}}://{{Server}}{{Port}}/token"}}}]},
		{"name":"Folder","item":[{"name":"one","request":{"method":"GET","url":{"raw":"{{Protocol}}://{{Server}}{{Port}}/{{Api}}/Users"}},`+script(`
			"pm.test(\"200\", function () {", "    pm.response.to.have.status(200);", "});",
			"pm.test(\"201\", function () {", "    pm.response.to.have.status(201);", "});",
			"pm.test(\"user\", function () {", "var jsonData = pm.response.json();", "pm.expect(jsonData.emails[0].value).to.eql(\"x\");", "});",
			"pm.test(\"active\", function () {", "var jsonData = pm.response.json();", "pm.expect(jsonData.active).to.eql(\"true\");", "});",
			"pm.test(\"includes\", function () {", "pm.expect(pm.response.text()).to.include(\"ann\");", "pm.expect(pm.response.text()).to.not.include(\"bob\");", "});",
			"pm.test(\"not\", function () {", "pm.expect(pm.response.text()).to.not.include(\"ann\");", "});",
			"var jsonData = pm.response.json();", "", "pm.environment.set(\"id1\", jsonData.id);"`)+`},
		{"name":"two","request":{"method":"DELETE","url":{"raw":"{{Protocol}}://{{Server}}{{Port}}/{{Api}}/Users/{{id1}}/missing"}},`+script(`
			"pm.test(\"id\", function () {", "var id = pm.environment.get(\"id1\")", "var jsonData = pm.response.json();", "pm.expect(jsonData.id).to.eql(id);", "});",
			"pm.test(\"found\", function () {", "pm.response.to.have.status(200);", "});"`)+`}]}]}`), server(t, &seen))
	if err != nil {
		t.Fatal(err)
	}
	explain(checks, []flaw{{requests: []string{"two"}, reason: "because"}, {requests: []string{"one"}, checks: []string{"not"}, reason: "so"}})
	if got := strings.Join(failures(checks), " "); got != "201 active not found" || len(checks) != 8 {
		t.Errorf("of %d checks failed: %s", len(checks), got)
	}
	if got := strings.Join(seen, " "); got != "GET /scim/Users DELETE /scim/Users/7/missing" {
		t.Errorf("sent %s", got)
	}
	var out strings.Builder
	if failed, err := report(&out, "suite", checks); err != nil || failed != 2 || !strings.Contains(out.String(), "4 of 8 pass, 2 FAIL, 2 are the suite's fault") {
		t.Errorf("got %d %v:\n%s", failed, err, out.String())
	}
	if _, err := postman(t.Context(), []byte(`{"item":[{"name":"one","request":{"method":"GET","url":{"raw":"{{Protocol}}://{{Server}}{{Port}}/"}},`+script(`"pm.sendRequest();"`)+`}]}`), server(t, &seen)); err == nil {
		t.Error("an unknown statement is passed over")
	}
}
