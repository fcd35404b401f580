// Package scim serves SCIM 2.0 (RFC 7643, RFC 7644) on top of the directory:
// the endpoints below /t/{tenant}/scim/v2 by which a tenant's directory (Entra
// ID, Okta, …) pushes its people and groups.
//
// It owns the wire format: authentication by connection tokens, media types and
// limits of bodies, paging, projection, entity tags, discovery, and the one
// place where errors become those of RFC 7644 §3.12. Its subpackages are pure:
// filter reads filters and paths, schema knows what resources look like, patch
// carries out the operations of a PATCH. What may happen is decided by package
// directory: a User resource is a membership, a Group resource a group.
//
// Choices that the RFCs leave open:
//
//   - The documents of discovery are public. Without a token of the tenant they
//     are the same for every tenant, and answered without looking at it, so that
//     they don't tell which tenants exist; with one they show the tenant's own
//     schemas and resource types too. Everything else gives one and the same 401 for a tenant
//     that doesn't exist and for a token that isn't valid there.
//   - PATCH of a group answers 204 unless attributes or excludedAttributes ask
//     for a representation, because it never loads the members. PATCH of a user
//     answers 200.
//   - A change that doesn't mention "active" never changes whether a user is.
//   - The version of a user covers what clients write. Its groups, which follow
//     from groups, are not part of it.
//
// What a connection's client gets wrong is forgiven by its profile alone; see
// profile.go.
package scim
