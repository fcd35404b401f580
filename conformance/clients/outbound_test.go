package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/conformance/instance"
)

const (
	outboundSCIM = "rcs-acme-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"
	outboundAPI  = "rc_Op7sT7kLw2NfHc8Yd5RzGa4Pb6Je1Qm3vX9sZt5uK1"
	scimmyToken  = "scimmy-Yd5RzGa4Pb6Je1Qm3vX9sT7kLw2NfHc8"

	userSchema       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupSchema      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseSchema = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

// newScimmy starts npm's scimmy as a server and returns its base URL.
func newScimmy(t *testing.T) string {
	t.Helper()
	dir, err := nodeModules()
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(context.WithoutCancel(t.Context()), "node", "scimmy.mjs")
	node.Dir, node.Env = dir, append(os.Environ(), "TOKEN="+scimmyToken)
	var stderr strings.Builder
	node.Stderr = &stderr
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	// It ends with its input.
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := node.Wait(); err != nil {
			t.Errorf("scimmy: %v\n%s", err, &stderr)
		}
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("scimmy: %v\n%s", err, &stderr)
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port) + "/scim"
}

// ask sends a request and returns what came back.
func ask(t *testing.T, method, address, token, contentType, body string) map[string]any {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		q.Header.Set("Content-Type", contentType)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode >= 300 {
		t.Fatalf("%s %s %s: %d %s %v", method, address, body, r.StatusCode, text, err)
	}
	doc := map[string]any{}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
	}
	return doc
}

// contents are what a SCIM server has, by name, with names in the place of ids.
func contents(t *testing.T, base, token string) map[string]any {
	t.Helper()
	names, all := map[string]string{}, map[string]any{}
	var docs []map[string]any
	for _, kind := range []string{"Users", "Groups"} {
		list, _ := ask(t, http.MethodGet, base+"/"+kind+"?count=1000", token, "", "")["Resources"].([]any)
		for _, entry := range list {
			doc, _ := entry.(map[string]any)
			name, _ := doc["userName"].(string)
			if name == "" {
				name = "group " + fmt.Sprint(doc["displayName"])
			}
			names[fmt.Sprint(doc["id"])] = name
			docs = append(docs, doc)
		}
	}
	for _, doc := range docs {
		name := names[fmt.Sprint(doc["id"])]
		for _, own := range []string{"id", "meta", "externalId", "groups", "schemas"} {
			delete(doc, own)
		}
		if extension, ok := doc[enterpriseSchema].(map[string]any); ok {
			if manager, ok := extension["manager"].(map[string]any); ok {
				extension["manager"] = names[fmt.Sprint(manager["value"])]
			}
		}
		members, _ := doc["members"].([]any)
		var list []string
		for _, entry := range members {
			member, _ := entry.(map[string]any)
			list = append(list, names[fmt.Sprint(member["value"])])
		}
		slices.Sort(list)
		if doc["members"] = list; len(list) == 0 {
			delete(doc, "members")
		}
		all[name] = doc
	}
	return all
}

// TestPushToScimmy pushes to a server that somebody else wrote.
func TestPushToScimmy(t *testing.T) {
	t.Parallel()
	const file = `
tenants:
- {slug: acme, connections: [{name: directory, token: ` + outboundSCIM + `}]}
users:
- {email: op@example.com, operator: true}
application_tokens:
- {name: op, creator: op@example.com, token: ` + outboundAPI + `}
`
	instance.Each(t, file, func(t *testing.T, i *instance.Instance) {
		here, there := i.URL+"/t/acme/scim/v2", newScimmy(t)
		scim := func(method, path, body string) string {
			t.Helper()
			return fmt.Sprint(ask(t, method, here+path, outboundSCIM, "application/scim+json", body)["id"])
		}
		targets := i.URL + "/api/v1/tenants/acme/provisioning-targets"
		user := func(name, more string) string {
			t.Helper()
			return scim(http.MethodPost, "/Users", `{"schemas":["`+userSchema+`","`+enterpriseSchema+`"],"userName":"`+name+`"`+more+`}`)
		}
		patch := func(path, operations string) {
			t.Helper()
			scim(http.MethodPatch, path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[`+operations+`]}`)
		}
		ann := user("ann@acme.example", `,"name":{"givenName":"Ann","familyName":"Lee"},"active":true`)
		bob := user("bob@acme.example", `,"title":"Dr.","emails":[{"value":"bob@acme.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}],"`+enterpriseSchema+`":{"department":"R&D","manager":{"value":"`+ann+`"}}`)
		// One is there already.
		ask(t, http.MethodPost, there+"/Users", scimmyToken, "application/scim+json", `{"schemas":["`+userSchema+`"],"userName":"ann@acme.example"}`)
		staff := scim(http.MethodPost, "/Groups", `{"schemas":["`+groupSchema+`"],"displayName":"Staff","members":[{"value":"`+ann+`"},{"value":"`+bob+`"}]}`)
		target := fmt.Sprint(ask(t, http.MethodPost, targets, outboundAPI, "application/json",
			`{"name":"scimmy","base_url":"`+there+`","secret":"`+scimmyToken+`","groups":{"scope":"all"},"on_removal":"delete"}`)["id"])

		same := func(what string) {
			t.Helper()
			var diff string
			for range 100 {
				want, got := contents(t, here, outboundSCIM), contents(t, there, scimmyToken)
				if diff = cmp.Diff(want, got); diff == "" {
					return
				}
				time.Sleep(200 * time.Millisecond)
			}
			t.Errorf("%s: here (-) and there (+):\n%s\n%v", what, diff, ask(t, http.MethodGet, targets+"/"+target+"/errors", outboundAPI, "", ""))
		}
		same("at first")
		patch("/Users/"+ann, `{"op":"replace","path":"active","value":false},{"op":"remove","path":"name.givenName"},{"op":"add","path":"nickName","value":"A"}`)
		patch("/Users/"+bob, `{"op":"remove","path":"emails[type eq \"home\"]"},{"op":"remove","path":"title"},{"op":"replace","path":"`+enterpriseSchema+`:department","value":"Sales"}`)
		same("after changes of people")
		cid := user("cid@acme.example", "")
		patch("/Groups/"+staff, `{"op":"replace","path":"displayName","value":"People"},{"op":"add","path":"members","value":[{"value":"`+cid+`"}]},{"op":"remove","path":"members[value eq \"`+bob+`\"]"}`)
		same("after changes of the group")
		scim(http.MethodDelete, "/Users/"+bob, "")
		scim(http.MethodDelete, "/Groups/"+staff, "")
		same("after deletions")
		run := fmt.Sprint(ask(t, http.MethodPost, targets+"/"+target+"/runs", outboundAPI, "application/json", `{}`)["id"])
		for range 100 {
			r := ask(t, http.MethodGet, targets+"/"+target+"/runs/"+run, outboundAPI, "", "")
			if r["state"] == "done" {
				if counts, _ := r["counts"].(map[string]any); counts["unchanged"] != 2.0 || r["items"] != nil {
					t.Errorf("a run afterwards: %v", r)
				}
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("the run does not end")
	})
}
