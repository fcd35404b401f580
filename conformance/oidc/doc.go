// Package oidc holds the built server to the certification plans of the OpenID
// Foundation, module by module: one file for a plan, one subtest for a module,
// by the Foundation's names. The tests play the suite's part over HTTPS, with the
// set-up of seed.yaml, which is also the one for the suite itself.
package oidc
