package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// Bounds of the parameter claims: its length in bytes, and how deep it nests.
// What OIDC Core §5.5 defines is four deep.
const (
	maxClaims      = 4 << 10
	maxClaimsDepth = 5
)

// RequestedClaims are claims that an application asks for by name, beside those
// that its scopes stand for (OIDC Core §5.5). They belong to the grant.
type RequestedClaims struct {
	UserInfo []string `json:"userinfo,omitempty"`
	IDToken  []string `json:"id_token,omitempty"`
}

// scopes returns the scopes that stand for what is asked for by name, so that a
// person can be asked for both in the same words.
func (c RequestedClaims) scopes() []string {
	var scopes []string
	for _, name := range slices.Concat(c.UserInfo, c.IDToken) {
		if scope := scopeOfClaim(name); scope != "" && !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// ClaimsParameter is the parameter claims, as far as this server knows what it
// asks for (OIDC Core §5.5).
type ClaimsParameter struct {
	RequestedClaims
	// ACR are the classes that the ID token's acr is asked to be one of.
	ACR []string
	// EssentialACR says that without one of them the sign-in is of no use
	// (§5.5.1.1).
	EssentialACR bool
	// Subject is whom the application expects to sign in; empty: anybody.
	Subject string
}

// claimWish is what §5.5.1 says of one claim. It is null where the claim is
// asked for without more.
type claimWish struct {
	Essential bool              `json:"essential"`
	Value     json.RawMessage   `json:"value"`
	Values    []json.RawMessage `json:"values"`
}

// texts returns those values that are texts.
func (w *claimWish) texts() []string {
	var texts []string
	for _, value := range append([]json.RawMessage{w.Value}, w.Values...) {
		var text string
		if json.Unmarshal(value, &text) == nil && text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// ParseClaims reads the parameter claims. Members and claims that are unknown
// are ignored (OIDC Core §5.5); what is no such parameter is invalid_request.
func ParseClaims(text string) (ClaimsParameter, error) {
	var c ClaimsParameter
	if text == "" {
		return c, nil
	}
	if len(text) > maxClaims {
		return c, refuse(InvalidRequest, "the parameter claims must not be longer than %d bytes", maxClaims)
	}
	if err := checkDepth(text); err != nil {
		return c, err
	}
	var request struct {
		UserInfo map[string]*claimWish `json:"userinfo"`
		IDToken  map[string]*claimWish `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(text), &request); err != nil {
		return c, refuse(InvalidRequest, "the parameter claims must be a JSON object with the members userinfo and id_token (OpenID Connect Core 1.0 section 5.5)")
	}
	c.UserInfo, c.IDToken = knownClaims(request.UserInfo), knownClaims(request.IDToken)
	if wish := request.IDToken["acr"]; wish != nil {
		c.ACR = wish.texts()
		c.EssentialACR = wish.Essential && len(c.ACR) > 0
	}
	for _, wishes := range []map[string]*claimWish{request.UserInfo, request.IDToken} {
		wish := wishes["sub"]
		if wish == nil || len(wish.Value) == 0 {
			continue
		}
		subject := first(wish.texts())
		if subject == "" || c.Subject != "" && c.Subject != subject {
			return c, refuse(InvalidRequest, "the parameter claims must ask for one sub")
		}
		c.Subject = subject
	}
	return c, nil
}

// knownClaims returns the names that can be asked for, sorted.
func knownClaims(wishes map[string]*claimWish) []string {
	var names []string
	for name := range wishes {
		if scopeOfClaim(name) != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// checkDepth refuses what nests too deep, and what is not one JSON value.
func checkDepth(text string) error {
	refused := refuse(InvalidRequest, "the parameter claims must be one JSON object that nests at most %d deep", maxClaimsDepth)
	decoder, depth := json.NewDecoder(bytes.NewReader([]byte(text))), 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return refused
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth > maxClaimsDepth {
			return refused
		}
	}
}

func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}
