package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/conformance/instance"
)

func TestMain(m *testing.M) { os.Exit(instance.Main(m)) }

// URNs of schemas and messages.
const (
	userURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupURN      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	configURN     = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
	listURN       = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	searchURN     = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
	patchURN      = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	bulkURN       = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	bulkAnswerURN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
	errorURN      = "urn:ietf:params:scim:api:messages:2.0:Error"

	mediaType = "application/scim+json"
	nobody    = "0192d7f2-0000-7000-8000-000000000000" // an id that no resource has
)

type (
	m = map[string]any
	l = []any
)

// tester is what the test of a requirement works with: a tenant of its own and
// a connection to it.
type tester struct {
	*testing.T
	server            *instance.Instance
	slug, base, token string
	made              *atomic.Int64 // numbers the names of resources
	lacks             *string       // what the server does not offer
}

// answer is a response.
type answer struct {
	request string
	status  int
	header  http.Header
	raw     string
	body    m
}

// at returns what is at the path of names and indexes, nil where nothing is.
// Names with dots, as URNs, are given as further arguments.
func (a answer) at(path ...string) any { return at(a.body, path...) }

func at(value any, path ...string) any {
	for _, step := range path {
		names := strings.Split(step, ".")
		if strings.HasPrefix(step, "urn:") {
			names = []string{step}
		}
		for _, name := range names {
			switch container := value.(type) {
			case m:
				value = container[name]
			case l:
				i, err := strconv.Atoi(name)
				if err != nil || i >= len(container) {
					return nil
				}
				value = container[i]
			default:
				return nil
			}
		}
	}
	return value
}

func (a answer) text(path ...string) string {
	text, _ := a.at(path...).(string)
	return text
}

// list returns a list of the body, nil where none is.
func (a answer) list(path ...string) l {
	list, _ := a.at(path...).(l)
	return list
}

func (a answer) id() string { return a.text("id") }

// do sends a request. body is nil, text that is sent as it is, or a value that
// is sent as JSON; headers are NAME: VALUE and replace those that are always sent.
func (x *tester) do(method, path string, body any, headers ...string) answer {
	x.Helper()
	var content io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(body)
	default:
		text, err := json.Marshal(body)
		if err != nil {
			x.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	if !strings.HasPrefix(path, "http") {
		path = x.base + path
	}
	request, err := http.NewRequestWithContext(x.Context(), method, path, content)
	if err != nil {
		x.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+x.token)
	if content != nil {
		request.Header.Set("Content-Type", mediaType)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if value == "" {
			request.Header.Del(name)
			continue
		}
		request.Header.Set(name, value)
	}
	return x.send(request)
}

// client follows no redirect. Connections are kept for the races.
var client = &http.Client{
	Timeout:       time.Minute,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (x *tester) send(request *http.Request) answer {
	x.Helper()
	a := answer{request: request.Method + " " + strings.TrimPrefix(request.URL.String(), x.base)}
	response, err := client.Do(request)
	if err != nil {
		x.Fatalf("%s: %v", a.request, err)
	}
	content, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		x.Fatalf("%s: %v", a.request, err)
	}
	a.status, a.header, a.raw = response.StatusCode, response.Header, string(content)
	if len(content) > 0 && content[0] == '{' {
		decoder := json.NewDecoder(bytes.NewReader(content))
		if err := decoder.Decode(&a.body); err != nil {
			x.Errorf("%s: the body is no JSON: %.300s", a.request, content)
		}
	}
	return a
}

func (x *tester) get(path string, headers ...string) answer {
	x.Helper()
	return x.do(http.MethodGet, path, nil, headers...)
}

func (x *tester) post(path string, body any, headers ...string) answer {
	x.Helper()
	return x.do(http.MethodPost, path, body, headers...)
}

func (x *tester) put(path string, body any, headers ...string) answer {
	x.Helper()
	return x.do(http.MethodPut, path, body, headers...)
}

func (x *tester) delete(path string, headers ...string) answer {
	x.Helper()
	return x.do(http.MethodDelete, path, nil, headers...)
}

// patch sends operations.
func (x *tester) patch(path string, operations ...any) answer {
	x.Helper()
	return x.do(http.MethodPatch, path, m{"schemas": l{patchURN}, "Operations": operations})
}

// want fails the test unless the answer has the status.
func (x *tester) want(a answer, status int) answer {
	x.Helper()
	if a.status != status {
		x.Fatalf("%s: got %d %.400s, want %d", a.request, a.status, a.raw, status)
	}
	return a
}

// ok reports a failure unless the condition holds.
func (x *tester) ok(holds bool, format string, arguments ...any) {
	x.Helper()
	if !holds {
		x.Errorf(format, arguments...)
	}
}

// same reports a failure unless got and want are the same as JSON.
func (x *tester) same(what string, got, want any) {
	x.Helper()
	if g, w := asJSON(got), asJSON(want); g != w {
		x.Errorf("%s: got %.500s, want %.500s", what, g, w)
	}
}

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// wantError fails the test unless the answer is an error of RFC 7644 §3.12.
// Several scimTypes are alternatives.
func (x *tester) wantError(a answer, status int, scimTypes ...string) answer {
	x.Helper()
	x.want(a, status)
	x.same(a.request+": schemas of the error", a.at("schemas"), l{errorURN})
	x.same(a.request+": status of the error", a.at("status"), fmt.Sprint(status))
	x.ok(strings.HasPrefix(a.header.Get("Content-Type"), mediaType), "%s: got Content-Type %q", a.request, a.header.Get("Content-Type"))
	if len(scimTypes) == 0 {
		return a
	}
	for _, scimType := range scimTypes {
		if a.text("scimType") == scimType {
			return a
		}
	}
	x.Errorf("%s: got %.300s, want scimType %s", a.request, a.raw, strings.Join(scimTypes, " or "))
	return a
}

// with returns a copy of the object with the changes; nil takes a member away.
func with(object m, changes ...m) m {
	changed := m{}
	for _, part := range append([]m{object}, changes...) {
		for name, value := range part {
			if value == nil {
				delete(changed, name)
			} else {
				changed[name] = value
			}
		}
	}
	return changed
}

// name returns a text that nothing in the tenant has.
func (x *tester) name() string { return fmt.Sprintf("n%d", x.made.Add(1)) }

// userBody is a user that can be made, with changes.
func (x *tester) userBody(changes ...m) m {
	return with(m{"schemas": l{userURN}, "userName": x.name() + "@people.example"}, changes...)
}

func (x *tester) groupBody(changes ...m) m {
	return with(m{"schemas": l{groupURN}, "displayName": x.name()}, changes...)
}

// user makes a user.
func (x *tester) user(changes ...m) answer {
	x.Helper()
	return x.want(x.post("/Users", x.userBody(changes...)), http.StatusCreated)
}

// group makes a group.
func (x *tester) group(changes ...m) answer {
	x.Helper()
	return x.want(x.post("/Groups", x.groupBody(changes...)), http.StatusCreated)
}

// find returns the ids that a filter finds among all, in the order of the answer.
func (x *tester) find(endpoint, filter string) []string {
	x.Helper()
	return ids(x.want(x.get(endpoint+"?count=200&filter="+url.QueryEscape(filter)), http.StatusOK))
}

func ids(list answer) []string {
	found := []string{}
	for _, resource := range list.list("Resources") {
		id, _ := at(resource, "id").(string)
		found = append(found, id)
	}
	return found
}

// refuses fails the test unless the filter of users is refused.
func (x *tester) refuses(filter string) {
	x.Helper()
	x.wantError(x.get("/Users?filter="+url.QueryEscape(filter)), http.StatusBadRequest, "invalidFilter")
}

// config is what the server says of itself.
func (x *tester) config() answer {
	x.Helper()
	return x.want(x.get("/ServiceProviderConfig"), http.StatusOK)
}

// leave ends the test because the server does not offer what it is about.
func (x *tester) leave(format string, arguments ...any) {
	x.Helper()
	*x.lacks = fmt.Sprintf(format, arguments...)
	x.SkipNow()
}

// needs leaves the test out while the server says that it lacks a part.
func (x *tester) needs(path string) answer {
	x.Helper()
	config := x.config()
	switch value := config.at(path).(type) {
	case nil:
		x.leave("ServiceProviderConfig has no %s", path)
	case bool:
		if !value {
			x.leave("ServiceProviderConfig: %s is false", path)
		}
	case string:
		if value == "none" {
			x.leave("ServiceProviderConfig: %s is none", path)
		}
	}
	return config
}

// available leaves the test out if the answer says that there is no such thing.
func (x *tester) available(a answer) answer {
	x.Helper()
	if a.status == http.StatusNotFound || a.status == http.StatusNotImplemented {
		x.leave("%s: %d", a.request, a.status)
	}
	return a
}

// second makes sure that the clock of the resources has moved.
func (x *tester) second() { time.Sleep(5 * time.Millisecond) }
