// Package attack holds Rolecall against those who want more than they were
// given: each test is one attack over HTTP against the built server, named by
// the rule or the class of flaw that it would exploit elsewhere.
package attack
