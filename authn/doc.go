// Package authn owns who is calling: credentials, the login machine, sessions
// and application tokens.
//
// A sign-in is a [Login], tied to the browser that began it. It moves in one
// direction, is kept by the server while it waits for a second factor, and is
// consumed by the step that completes it:
//
//	StepPassword ─┬─ right password ─┬─ the person has a second factor ── StepCode ── code or passkey ──┐
//	              │                  └──────────────────────────────────────────────────────────────────┤
//	              └─ passkey, unlocked by its person ───────────────────────────────────────────────────┴── StepDone: a new Session
//
// A password that must be changed (StepChange) is changed between the first factor
// and everything else; [Authn.Login] then doesn't know the sign-in, so that no
// other step can be taken by its address.
//
// Nothing tells a stranger whether an address has a login: unknown, disabled and
// password-less users cost the same work and get the same answer as a wrong
// password. What a session may do in a tenant is directory's and authz's
// question, and what applications were granted through it is oidc's.
package authn
