//go:build !testclock

package main

import "time"

// clock returns the clock of the server, in UTC.
func clock() func() time.Time { return func() time.Time { return time.Now().UTC() } }
