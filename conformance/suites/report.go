package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// report prints a suite's table and returns how many failures the suite is not
// to blame for.
func report(out io.Writer, title string, checks []check) (failed int, err error) {
	passed, explained := 0, 0
	var rows strings.Builder
	rows.WriteString("request\tcheck\tresult\twhy\n")
	for _, c := range checks {
		result, why := "pass", ""
		switch {
		case c.problem == "":
			passed++
		case c.explained != "":
			explained++
			result, why = "suite's fault", c.explained+": "+c.problem
		default:
			failed++
			result, why = "FAIL", c.problem
		}
		rows.WriteString(strings.Join([]string{c.request, c.name, result, why}, "\t") + "\n")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(w, rows.String()); err != nil {
		return 0, err
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(out, "%s: %d of %d pass, %d FAIL, %d are the suite's fault\n\n", title, passed, len(checks), failed, explained)
	return failed, err
}
