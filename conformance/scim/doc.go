// Package scim holds the server to RFC 7643, 7644, 9865 and 9967 from outside:
// every requirement has a test of its id, and TestRequirements prints them all.
//
// Each requirement gets a tenant of its own, so that none sees what another one
// left. A requirement about a part that a server may leave out is not tested
// while the server says that it has not got it (ServiceProviderConfig, 404 or
// 501); the table says so, and it is tested as soon as the server offers it.
package scim
