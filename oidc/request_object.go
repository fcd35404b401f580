package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

const typRequestObject = "oauth-authz-req+jwt" // RFC 9101 §10.8

// MaxRequestObjectLifetime is how far ahead a signed request may expire.
const MaxRequestObjectLifetime = time.Hour

// RequestObject returns the parameters of a request that the application has
// signed (RFC 9101), by their names. Nothing beside them is to count. It fails
// with request_not_supported where the application has no keys, and with
// invalid_request_object.
func (o *OIDC) RequestObject(ctx context.Context, a *Application, object string) (map[string][]string, error) {
	if a.Security.JWKS == "" && a.Security.JWKSURI == "" {
		return nil, refuse(RequestNotSupported, "the application has no keys to sign its requests with")
	}
	claims, err := o.signedBy(ctx, a, object, a.requestAlgs(), []string{typRequestObject})
	if f := fault.As(err); err != nil && f.Kind == fault.Unauthenticated {
		return nil, refuse(InvalidRequestObject, "the request must be a JWT of type %s, signed by one of the application's keys", typRequestObject)
	}
	if err != nil {
		return nil, err
	}
	parameters, problem := readRequestObject(claims, requestObjectRules{clientID: a.ClientID, issuer: o.issuer, strict: a.fapi2(), now: o.now()})
	if problem != "" {
		return nil, refuse(InvalidRequestObject, "the request is not accepted: %s", problem)
	}
	return parameters, nil
}

// requestObjectRules are what a signed request is held to.
type requestObjectRules struct {
	clientID string
	issuer   string
	strict   bool // nbf is needed, and not more than an hour ago (FAPI 2.0 Message Signing §5.3.1)
	now      time.Time
}

// readRequestObject returns the parameters in the claims, or what is wrong with
// them (RFC 9101 §4, §6.3).
func readRequestObject(claims claimSet, rules requestObjectRules) (parameters map[string][]string, problem string) {
	issuer, _ := claims.text("iss")
	clientID, _ := claims.text("client_id")
	audience, _ := claims.list("aud")
	valid, problem := claims.validity(rules.now, MaxRequestObjectLifetime)
	switch {
	case problem != "":
		return nil, problem
	case issuer != rules.clientID || clientID != rules.clientID:
		return nil, "iss and client_id must be the client_id"
	case !slices.Contains(audience, rules.issuer):
		return nil, "aud must be the issuer " + rules.issuer
	case rules.strict && !valid.notBefore.After(rules.now.Add(-MaxRequestObjectLifetime)):
		return nil, "nbf must be there, and not more than an hour ago"
	}
	parameters = map[string][]string{}
	for name, raw := range claims {
		switch name {
		case "iss", "aud", "exp", "nbf", "iat", "jti", "sub":
		case "request", "request_uri":
			return nil, "it must not have request or request_uri in it"
		default:
			if parameters[name] = parameterValues(name, raw); parameters[name] == nil {
				return nil, "one of its members has no value that a parameter could have"
			}
		}
	}
	return parameters, ""
}

// parameterValues returns a member as the parameter that it stands for: texts as
// they are, JSON as JSON (RFC 9101 §4). It returns nil for what is none.
func parameterValues(name string, raw json.RawMessage) []string {
	claims := claimSet{name: raw}
	values, array := claims.list(name)
	switch {
	case values != nil && (!array || name == "resource"):
		return values
	case array || len(raw) == 0 || string(raw) == "null":
		return nil
	}
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil {
		return nil
	}
	if raw[0] == '[' && name != "authorization_details" {
		return nil
	}
	return []string{compact.String()}
}
