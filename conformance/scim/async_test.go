package scim

import (
	"strings"
	"time"
)

func async(x *tester) {
	x.needs("securityEvents.asyncRequest")
	name := x.name() + "@async.example"
	a := x.want(x.post("/Bulk", m{"schemas": l{bulkURN}, "Operations": l{m{"method": "POST", "path": "/Users", "bulkId": "a", "data": x.userBody(m{"userName": name})}}},
		"Prefer: respond-async", "Accept: text/plain"), 202)
	x.same("the body", a.raw, "")
	x.ok(a.header.Get("Set-Txn") != "", "no Set-Txn")
	x.ok(strings.HasPrefix(a.header.Get("Preference-Applied"), "respond-async"), "Preference-Applied is %q", a.header.Get("Preference-Applied"))
	for range 100 {
		if len(x.find("/Users", `userName eq "`+name+`"`)) == 1 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	x.Error("the request was not carried out")
}

func eventsInConfig(x *tester) {
	config := x.needs("securityEvents")
	x.ok(map[any]bool{"none": true, "long": true, "request": true}[config.at("securityEvents.asyncRequest")], "asyncRequest is %v", config.at("securityEvents.asyncRequest"))
	uris := config.list("securityEvents.eventUris")
	if len(uris) == 0 {
		x.leave("securityEvents has no eventUris")
	}
	for _, uri := range uris {
		text, _ := uri.(string)
		x.ok(strings.HasPrefix(text, "urn:ietf:params:scim:event:"), "%v is no event of RFC 9967", uri)
	}
}
