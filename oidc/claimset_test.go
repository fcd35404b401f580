package oidc

import (
	"encoding/json"
	"testing"
	"time"
)

// FuzzAssertion: whatever an assertion says, one that is accepted has the claims
// that RFC 7523 §3 demands, and is forgotten some day.
func FuzzAssertion(f *testing.F) {
	now := time.Unix(1_800_000_000, 0).UTC()
	rules := assertionRules{clientID: "robot", audiences: []string{"https://id.example"}, now: now}
	for _, seed := range []string{
		`{"iss":"robot","sub":"robot","aud":"https://id.example","jti":"1","exp":1800000060}`,
		`{"iss":"robot","sub":"robot","aud":["https://id.example"],"jti":"1","exp":1800000060.5,"nbf":1e9,"iat":1800000008}`,
		`{"iss":"robot","sub":"robot","aud":[null,1],"jti":"","exp":1e300}`,
		`{"ISS":"robot","sub":null,"aud":{},"exp":"1800000060"}`,
		`null`, `[]`, `{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var claims claimSet
		if json.Unmarshal(payload, &claims) != nil {
			return
		}
		id, expires, problem := readAssertion(claims, rules)
		if problem != "" {
			return
		}
		if id == "" || len(id) > maxIdentifier || !expires.After(now) || expires.After(now.Add(MaxAssertionLifetime+time.Minute)) {
			t.Errorf("accepted %q until %s", id, expires)
		}
		var plain map[string]any
		if err := json.Unmarshal(payload, &plain); err != nil || plain["iss"] != "robot" || plain["sub"] != "robot" || plain["aud"] == nil {
			t.Errorf("accepted %s", payload)
		}
	})
}
