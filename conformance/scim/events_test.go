package scim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/conformance/application"
)

// stream is a receiver of the tenant's security events, which polls.
type stream struct {
	x          *tester
	url, token string
	got        []set
}

// set is a security event token (RFC 8417).
type set struct {
	jti, raw string
	claims   m
}

// event returns the payload of the event whose URI ends so.
func (s set) event(uri string) (m, bool) {
	events, _ := s.claims["events"].(m)
	for name, payload := range events {
		if strings.HasPrefix(name, "urn:ietf:params:scim:event:"+uri) {
			content, _ := payload.(m)
			return content, true
		}
	}
	return nil, false
}

// stream registers a receiver, or leaves the test out where the server has none.
func (x *tester) stream() *stream {
	x.Helper()
	if len(x.needs("securityEvents").list("securityEvents.eventUris")) == 0 {
		x.leave("securityEvents has no eventUris")
	}
	made := x.available(x.manage(http.MethodPost, "/event-streams", m{"name": x.name(), "method": "poll", "format": "full"}))
	x.ok(made.status == 201, "%s: got %d %.400s", made.request, made.status, made.raw)
	return &stream{x: x, url: made.text("endpoint_url"), token: made.text("token")}
}

// poll asks for events without waiting for any (RFC 8936 §2.4).
func (s *stream) poll() answer {
	s.x.Helper()
	return s.x.do(http.MethodPost, s.url, m{"returnImmediately": true}, "Authorization: Bearer "+s.token, "Content-Type: application/json")
}

// acknowledge takes events over and asks for no more.
func (s *stream) acknowledge(jtis ...string) {
	s.x.Helper()
	s.x.want(s.x.do(http.MethodPost, s.url, m{"maxEvents": 0, "returnImmediately": true, "ack": jtis}, "Authorization: Bearer "+s.token, "Content-Type: application/json"), 200)
}

// next polls until a set has an event that fits, and returns it. What came is
// acknowledged and kept in got.
func (s *stream) next(uri, id string) set {
	s.x.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		for _, got := range s.got {
			resource, _ := at(got.claims, "sub_id.uri").(string)
			if _, fits := got.event(uri); fits && strings.HasSuffix(resource, id) {
				return got
			}
		}
		if time.Now().After(deadline) {
			s.x.Fatalf("no event %s of %q; got %s", uri, id, s.claims())
		}
		s.receive()
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *stream) receive() {
	s.x.Helper()
	a := s.x.want(s.poll(), 200)
	sets, _ := a.at("sets").(m)
	var jtis []string
	for jti, token := range sets {
		raw, _ := token.(string)
		claims, err := application.Claims(raw)
		s.x.ok(err == nil, "the set %s: %v", raw, err)
		s.got = append(s.got, set{jti, raw, claims})
		jtis = append(jtis, jti)
	}
	if len(jtis) > 0 {
		s.acknowledge(jtis...)
	}
}

func (s *stream) claims() string {
	var all l
	for _, got := range s.got {
		all = append(all, got.claims)
	}
	return asJSON(all)
}

// wantEvent holds what RFC 9967 says of every event.
func (s *stream) wantEvent(got set) {
	s.x.Helper()
	x, claims := s.x, got.claims
	x.same("sub_id.format", at(claims, "sub_id.format"), "scim")
	uri, _ := at(claims, "sub_id.uri").(string)
	x.ok(uri != "", "no sub_id.uri: %s", asJSON(claims))
	_, there := claims["sub"]
	x.ok(!there, "there is a sub: %s", asJSON(claims))
	for _, name := range []string{"iss", "iat", "jti"} {
		x.ok(claims[name] != nil, "no %s: %s", name, asJSON(claims))
	}
	x.same("jti", claims["jti"], got.jti)
	list, _ := claims["events"].(m)
	x.ok(len(list) > 0, "no events: %s", asJSON(claims))
	for name := range list {
		x.ok(slices.Contains(knownEvents(), name), "%s is no event of RFC 9967", name)
	}
}

func knownEvents() []string {
	var all []string
	for _, name := range []string{
		"feed:add", "feed:remove", "prov:create:notice", "prov:create:full", "prov:patch:notice", "prov:patch:full", "prov:put:notice", "prov:put:full",
		"prov:delete", "prov:activate", "prov:deactivate", "misc:asyncresp",
	} {
		all = append(all, "urn:ietf:params:scim:event:"+name)
	}
	return all
}

func events(x *tester) {
	s := x.stream()
	user := x.user(m{"externalId": "e1", "title": "T"})
	path := "/Users/" + user.id()
	x.want(x.put(path, x.userBody(m{"title": "U"})), 200)
	x.want(x.patch(path, m{"op": "replace", "path": "title", "value": "V"}), 200)
	for _, uri := range []string{"prov:create", "prov:put", "prov:patch"} {
		got := s.next(uri, user.id())
		s.wantEvent(got)
		payload, _ := got.event(uri)
		_, data := payload["data"]
		_, attributes := payload["attributes"]
		x.ok(data != attributes, "%s: expected data or attributes and not both: %s", uri, asJSON(payload))
		x.ok(!strings.Contains(asJSON(payload), "password"), "%s tells of a password", uri)
	}
}

func eventURIs(x *tester) {
	s := x.stream()
	user, group := x.user(), x.group()
	path := "/Users/" + user.id()
	x.want(x.patch(path, m{"op": "replace", "path": "active", "value": false}), 200)
	x.want(x.patch(path, m{"op": "replace", "path": "active", "value": true}), 200)
	x.want(x.delete(path), 204)
	x.want(x.delete("/Groups/"+group.id()), 204)
	for _, uri := range []string{"prov:create", "prov:deactivate", "prov:activate", "prov:delete"} {
		s.wantEvent(s.next(uri, user.id()))
	}
	s.wantEvent(s.next("prov:create", group.id()))
	s.wantEvent(s.next("prov:delete", group.id()))
	for _, uri := range x.config().list("securityEvents.eventUris") {
		text, _ := uri.(string)
		x.ok(slices.Contains(knownEvents(), text), "%s is no event of RFC 9967", text)
	}
}

func eventOfDeletion(x *tester) {
	s := x.stream()
	user := x.user()
	x.want(x.delete("/Users/"+user.id()), 204)
	got := s.next("prov:delete", user.id())
	payload, _ := got.event("prov:delete")
	x.ok(payload["data"] == nil && payload["attributes"] == nil, "the payload is %s", asJSON(payload))
	s.receive()
	for _, other := range s.got {
		resource, _ := at(other.claims, "sub_id.uri").(string)
		_, removed := other.event("feed:remove")
		x.ok(!removed || !strings.HasSuffix(resource, user.id()), "feed:remove beside prov:delete")
	}
}

// asyncEvent: a request has one completion, and each operation of a bulk one of
// its own.
func asyncEvent(x *tester) {
	x.needs("securityEvents.asyncRequest")
	s := x.stream()
	create := func(name string) m {
		return m{"method": "POST", "path": "/Users", "bulkId": name, "data": x.userBody()}
	}
	bulk := x.want(x.post("/Bulk", m{"schemas": l{bulkURN}, "Operations": l{create("a"), create("b")}}, "Prefer: respond-async"), 202)
	txn := bulk.header.Get("Set-Txn")
	x.ok(txn != "", "no Set-Txn")
	wanted := []string{txn + ":0", txn + ":1"}
	completions := func() []string {
		done := []string{}
		for _, got := range s.got {
			text, _ := got.claims["txn"].(string)
			x.ok(text != "", "no txn: %s", asJSON(got.claims))
			if _, is := got.event("misc:asyncresp"); is {
				done = append(done, text)
			}
		}
		slices.Sort(done)
		return done
	}
	for range 200 {
		s.receive()
		if len(completions()) >= len(wanted) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond) // for what would be one too many
	s.receive()
	x.same("the completions", completions(), wanted)
}

func eventDelivery(x *tester) {
	s := x.stream()
	user := x.user()
	var first m
	for range 500 {
		first, _ = x.want(s.poll(), 200).at("sets").(m)
		if len(first) > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	x.ok(len(first) > 0, "no event of %s", user.id())
	// What is not acknowledged comes again after a while, for which this test
	// does not wait.
	for jti := range first {
		s.acknowledge(jti)
	}
	after, _ := x.want(s.poll(), 200).at("sets").(m)
	for jti := range first {
		x.ok(after[jti] == nil, "%s was acknowledged and comes again", jti)
	}
}

func eventIssuer(x *tester) {
	s := x.stream()
	user := x.user()
	got := s.next("prov:create", user.id())
	x.same("iss", got.claims["iss"], x.server.URL)
	x.ok(got.claims["aud"] != nil, "no aud")
	var header struct{ Kid, Alg, Typ string }
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(got.raw, ".")[0])
	if err == nil {
		err = json.Unmarshal(text, &header)
	}
	x.ok(err == nil && header.Typ == "secevent+jwt" && header.Alg != "none", "the header is %s", text)
	keys := x.get(x.server.URL+"/oauth2/keys", "Authorization: ")
	x.ok(header.Kid != "" && strings.Contains(keys.raw, header.Kid), "the key %q is not published", header.Kid)
	foreign := x.foreign()
	for _, authorization := range []string{"Authorization: ", "Authorization: Bearer nothing", "Authorization: Bearer " + foreign.token, "Authorization: Bearer " + x.token} {
		a := x.do(http.MethodPost, s.url, m{"returnImmediately": true}, authorization, "Content-Type: application/json")
		x.ok(a.status == 401 || a.status == 403, "%s: got %d %.200s", authorization, a.status, a.raw)
	}
}
