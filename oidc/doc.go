// Package oidc owns what was granted to whom: applications, authorization
// requests, grants with their codes and tokens, the claims in those tokens, and
// the keys that sign them (RFC 6749, OpenID Connect Core 1.0).
//
// An authorization request is kept by the server, tied to the browser that
// began it, and moves by what the person does elsewhere:
//
//	StepLogin ── signed in, freshly and strongly enough ── StepTenant ── StepDone ── grant + code
//	                                                       (only where the tenant is not clear)
//
// A grant is one person's, for one application, in one tenant; this never
// changes. Codes, refresh tokens and access tokens hang on it and die with it:
// whether a token is accepted is read from the database each time ([Live]), not
// from the token.
//
// Who exists is directory's question, who is calling authn's, and what a role
// permits authz's. HTTP and the wire formats are oidc/provider's.
package oidc
