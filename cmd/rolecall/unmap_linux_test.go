package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// What is mapped of the program's file goes, and what runs on finds it again.
func TestUnmapProgram(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mapped := func() int { // kB
		t.Helper()
		maps, err := os.ReadFile("/proc/self/smaps")
		if err != nil {
			t.Fatal(err)
		}
		sum, ours := 0, false
		for line := range strings.Lines(string(maps)) {
			fields := strings.Fields(line)
			switch {
			case strings.HasSuffix(fields[0], ":") && fields[0] != "Rss:":
			case fields[0] == "Rss:" && ours:
				kilobytes, err := strconv.Atoi(fields[1])
				if err != nil {
					t.Fatal(err)
				}
				sum += kilobytes
			case fields[0] != "Rss:": // a mapping begins
				ours = strings.HasSuffix(strings.TrimSpace(line), program) && !strings.HasPrefix(fields[1], "rw")
			}
		}
		return sum
	}
	before := mapped()
	if err := unmapProgram(); err != nil {
		t.Fatal(err)
	}
	if after := mapped(); after >= before { // how much comes back at once is the system's to say
		t.Errorf("%d kB of the program are mapped, and %d after they were let go", before, after)
	}
	if err := run(t.Context(), []string{"version"}, io.Discard, io.Discard); err != nil {
		t.Errorf("what runs on: %v", err)
	}
}
