package oidc

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/secret"
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

// FuzzProof: a proof that is accepted has the claims that RFC 9449 §4.3 demands,
// and is forgotten soon.
func FuzzProof(f *testing.F) {
	now := time.Unix(1_800_000_000, 0).UTC()
	rules := proofRules{method: "POST", address: "https://id.example/oauth2/token", token: secret.NewText("token"), now: now}
	f.Add([]byte(`{"htm":"POST","htu":"https://id.example/oauth2/token?q#f","iat":1800000000,"jti":"1","ath":"` + tokenHash(rules.token) + `"}`))
	f.Add([]byte(`{"htm":"POST","htu":"HTTPS://ID.example:443/oauth2/token","iat":1.8e9,"jti":"1"}`))
	f.Add([]byte(`{"htm":"POST","htu":"https://id.example@evil.example/oauth2/token","iat":-1,"jti":null}`))
	f.Add([]byte(`{"htu":"://","iat":"1800000000"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var claims claimSet
		if json.Unmarshal(payload, &claims) != nil {
			return
		}
		id, expires, problem := readProof(claims, rules)
		if problem == "" && (id == "" || !expires.After(now) || expires.After(now.Add(proofAge+clockSkew))) {
			t.Errorf("accepted %q until %s", id, expires)
		}
	})
}

// FuzzOpenProof: no proof brings the server down, and one that opens has a key.
func FuzzOpenProof(f *testing.F) {
	f.Add("eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJ4IjoiQSIsInkiOiJBIn19.e30.AA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, proof string) {
		if _, thumbprint, problem := openProof(proof); problem == "" && len(thumbprint) != 43 {
			t.Errorf("opened with the thumbprint %q", thumbprint)
		}
	})
}

// FuzzRequestObject: what is accepted has only values that a parameter can have.
func FuzzRequestObject(f *testing.F) {
	rules := requestObjectRules{clientID: "shop", issuer: "https://id.example", now: time.Unix(1_800_000_000, 0).UTC()}
	const head = `{"iss":"shop","client_id":"shop","aud":"https://id.example","exp":1800000060`
	f.Add([]byte(head + `,"claims":{"id_token":{"acr":null}},"max_age":10,"resource":["a","b"]}`))
	f.Add([]byte(head + `,"state":["a"],"request":"x","x":null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var claims claimSet
		if json.Unmarshal(payload, &claims) != nil {
			return
		}
		parameters, problem := readRequestObject(claims, rules)
		if problem != "" {
			return
		}
		for name, values := range parameters {
			if len(values) != 1 && name != "resource" || name == "request" || name == "request_uri" {
				t.Errorf("%s = %v", name, values)
			}
		}
	})
}

func TestCanonicalAddress(t *testing.T) {
	const want = "https://id.example/oauth2/token"
	for address, same := range map[string]bool{
		want: true, "HTTPS://ID.EXAMPLE/oauth2/token": true, want + "?x=1": true, want + "#x": true, "https://id.example:443/oauth2/token": true,
		"http://id.example/oauth2/token": false, "https://id.example:8443/oauth2/token": false, "https://id.example/oauth2/Token": false,
		"https://id.example/oauth2/token/": false, "https://id.example@evil.example/oauth2/token": false, "https://u@id.example/oauth2/token": false,
		"//id.example/oauth2/token": false, "/oauth2/token": false, "": false, "https://id.example/oauth2/%74oken": false,
	} {
		if got := canonicalAddress(address) == want; got != same {
			t.Errorf("%q: %v", address, got)
		}
	}
}
