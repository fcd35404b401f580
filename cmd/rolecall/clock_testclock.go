//go:build testclock

package main

import (
	"os"
	"strings"
	"time"
)

// clock returns a clock that is ahead by the duration in the file of
// TESTCLOCK_FILE, so that tests of the built program need not wait. It is
// in no program but theirs.
func clock() func() time.Time {
	return func() time.Time {
		now := time.Now().UTC()
		text, err := os.ReadFile(os.Getenv("TESTCLOCK_FILE"))
		if err != nil {
			return now
		}
		ahead, _ := time.ParseDuration(strings.TrimSpace(string(text)))
		return now.Add(ahead)
	}
}
