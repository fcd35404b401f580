// Package badinput holds Rolecall against mistakes: what is malformed, too large
// or misspelled gets the protocol's error with the field and the reason, and
// nothing of it is written.
package badinput
