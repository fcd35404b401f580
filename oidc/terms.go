package oidc

import (
	"encoding/json"
	"net/netip"
	"slices"
)

// Terms are what a token request brings or asks for beside the grant itself.
type Terms struct {
	Key       string     // thumbprint of the key that the sender has proven to have; empty: none
	Resources []string   // for which the access token is to be (RFC 8707 §2.2); none: those of the grant
	Details   string     // the parameter authorization_details (RFC 9396 §6); empty: those of the grant
	From      netip.Addr // whence it comes; the zero one is in no network
}

// checkKey holds applications to the proof of a key that are registered for it
// (RFC 9449 §5.2).
func (a *Application) checkKey(terms Terms) error {
	if a.Security.BoundTokens && terms.Key == "" {
		return refuse(InvalidDPoPProof, "the application gets tokens only that are bound to a key: the header DPoP is missing")
	}
	return nil
}

// audience is the claim aud: one text where there is one (RFC 7519 §4.1.3).
type audience []string

// MarshalJSON implements json.Marshaler.
func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// CheckResources fails with invalid_target unless the application may ask for
// tokens for all of these (RFC 8707 §2).
func (o *OIDC) CheckResources(a *Application, resources []string) error {
	for _, resource := range resources {
		if resource != o.issuer && !slices.Contains(a.Security.Resources, resource) {
			return refuse(InvalidTarget, "the application gets no tokens for one of the resources")
		}
	}
	return nil
}

// audienceOf returns for whom an access token is: what was asked for, which must
// be among what was granted; or all of that; or this server.
func (o *OIDC) audienceOf(granted, asked []string) (audience, error) {
	within := granted
	if len(within) == 0 {
		within = []string{o.issuer}
	}
	if len(asked) == 0 {
		return within, nil
	}
	if slices.ContainsFunc(asked, func(resource string) bool { return !slices.Contains(within, resource) }) {
		return nil, refuse(InvalidTarget, "the grant is not for one of the resources")
	}
	return asked, nil
}
