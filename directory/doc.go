// Package directory owns who exists: tenants and their relations, users,
// memberships, groups and the roles that follow from them, and the rules that
// hold for all of these whichever edge a change comes through.
//
// A user has one login in the instance. A membership is that user in one
// tenant, with the profile that this tenant's directory sends: it is the SCIM
// User resource (RFC 7643 §4.1), and its id is not the user's. What a tenant's
// directory does ends at its memberships, except for users that the tenant
// manages because it has verified the domain of their address:
//
//	tenant ─┬─ membership ── user (login, credentials: authn)
//	        ├─ group ── members (memberships, groups) ── group roles
//	        └─ relations, domains, policy, blueprint (authz)
//
// A role is held by direct assignment or through a group; the latter is
// derived whenever it is asked for, so that it can't be out of step.
//
// Who is calling is authn's question, what they may do authz's, and what was
// granted to applications oidc's. This package knows no wire format beyond the
// names of SCIM attributes, and no SQL.
package directory
