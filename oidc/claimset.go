package oidc

import (
	"encoding/json"
	"math"
	"time"
)

// claimSet is the payload of a token that an application made. Its names are
// compared byte by byte, unlike those of a struct's fields: "AUD" is no aud.
type claimSet map[string]json.RawMessage

// text returns a claim that is a string.
func (c claimSet) text(name string) (string, bool) {
	raw, there := c[name]
	var value *string
	if !there || json.Unmarshal(raw, &value) != nil || value == nil {
		return "", false
	}
	return *value, true
}

// time returns a claim that is a NumericDate (RFC 7519 §2), the zero time where
// it is absent. ok is false for what is none, or beyond the year 9999.
func (c claimSet) time(name string) (at time.Time, ok bool) {
	raw, there := c[name]
	if !there {
		return time.Time{}, true
	}
	const last = 253402300799
	var seconds *float64
	if json.Unmarshal(raw, &seconds) != nil || seconds == nil || *seconds < 1 || *seconds > last {
		return time.Time{}, false
	}
	whole, part := math.Modf(*seconds)
	return time.Unix(int64(whole), int64(part*float64(time.Second))).UTC(), true
}

// list returns a claim that is a string or an array of strings, and which of
// them it is (RFC 7519 §4.1.3).
func (c claimSet) list(name string) (values []string, array bool) {
	if value, ok := c.text(name); ok {
		return []string{value}, false
	}
	if json.Unmarshal(c[name], &values) != nil {
		return nil, false
	}
	return values, true
}

// validity are the claims that say when a token is good (RFC 7519 §4.1).
type validity struct {
	expires, notBefore, issued time.Time
}

// How far the clocks of others may be wrong. FAPI 2.0 Security Profile §5.3.2.1
// wants 10 seconds ahead accepted and 60 refused.
const clockSkew = 15 * time.Second

// validity returns the times of the token, or why they are not accepted: it has
// to expire, and within longest.
func (c claimSet) validity(now time.Time, longest time.Duration) (v validity, problem string) {
	var ok [3]bool
	v.expires, ok[0] = c.time("exp")
	v.notBefore, ok[1] = c.time("nbf")
	v.issued, ok[2] = c.time("iat")
	switch {
	case !ok[0] || !ok[1] || !ok[2]:
		return v, "exp, nbf and iat must be numbers of seconds"
	case v.expires.IsZero():
		return v, "exp is missing"
	case !now.Before(v.expires):
		return v, "it has expired"
	case v.expires.After(now.Add(longest + clockSkew)):
		return v, "exp must not be more than " + longest.String() + " ahead"
	case v.notBefore.After(now.Add(clockSkew)), v.issued.After(now.Add(clockSkew)):
		return v, "it is of the future"
	}
	return v, ""
}
