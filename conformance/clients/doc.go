// Package clients holds Rolecall against the clients that it will meet: the
// recorded traffic of directories (testdata/*.hurl), and OpenID clients that
// others wrote, coreos/go-oidc with x/oauth2, rp and rs of zitadel/oidc, npm's
// openid-client and oauth4webapi; and against
// a server that it pushes to, npm's scimmy.
package clients
