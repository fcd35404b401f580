// Package authz answers "may they": it owns the blueprints, which describe a
// portal's role system as data, and the decisions taken from them.
//
// A blueprint travels in three steps. [Parse] reads its YAML into a [Document]
// and reports every problem with its line; [Compile] checks what the document
// means and turns permissions, roles and relations into bit sets; the
// resulting [Blueprint] is immutable and answers from memory:
//
//	rights of a holder at a tenant   Effective, Can, Explain
//	acts on other users              May
//	facts the directory obeys        roles, statuses, invariants, tiers, relations
//
// Rights only add up. There is no deny rule, no inheritance between roles and
// no condition language, so the order of roles and memberships never matters.
//
// The package knows neither HTTP nor SQL and reads no clock. Who exists is the
// directory's business and who is calling is authn's: a caller brings the
// memberships as [Holder] values and the tenants as [TenantView] values, and
// authn proves a [Principal].
package authz
