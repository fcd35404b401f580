// Package upstream lets people sign in by a tenant's own OpenID provider, such as
// Entra, Okta, Google or another Rolecall, in place of a password. A Provider is
// what a tenant says of it; a Link is which account there a member signs in with.
//
// A provider speaks for its own tenant and for nobody else:
//
//   - An account there is known by its issuer with its subject (OIDC Core §2),
//     never by an address alone.
//   - It is linked to a member without being asked only where the address lies in
//     a domain that the tenant has verified, and the provider says that the person
//     has it.
//   - A session that began there is good for that tenant (directory.Via).
//
// The protocol is spoken by an implementation of Party, package
// upstream/relyingparty.
package upstream
