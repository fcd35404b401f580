package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the table that a run prints.
type report struct {
	heading []string
	rows    [][]string
	notes   []string
	short   int
}

// heading says where the figures come from.
func (b *bench) heading(ctx context.Context) (*report, error) {
	postgres, err := version(ctx, b.instance.Database)
	if err != nil {
		return nil, err
	}
	return &report{heading: []string{
		fmt.Sprintf("%s, %d processors, %s/%s, %s", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		postgres,
		fmt.Sprintf("%s people (%s in another tenant for the largest group), %d clients with keep-alive, %d × %s each, medians",
			thousands(b.people), thousands(b.large), b.clients, b.rounds, b.window),
	}}, nil
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// rate compares a rate with its limit; expected is the least part of it, 0 for none.
func (r *report) rate(m, limit *measurement, expected float64) {
	ratio := m.to(limit)
	wanted, verdict := "", ""
	if expected > 0 {
		wanted, verdict = fmt.Sprintf("≥ %.0f %%", expected*100), r.verdict(ratio >= expected)
	}
	r.rows = append(r.rows, []string{
		m.name, perSecond(m.rate()), milliseconds(m.percentile(0.5)), milliseconds(m.percentile(0.99)),
		limit.name, perSecond(limit.rate()), fmt.Sprintf("%.0f %%", ratio*100), wanted, verdict,
	})
}

// addition compares what an addition to a group costs with what its limit costs.
func (r *report) addition(g *changedGroup, limit *measurement) {
	cost := g.percentile(0.5)
	r.rows = append(r.rows, []string{
		fmt.Sprintf("SCIM: add a member to a group of %s (1 client)", thousands(g.size)),
		perSecond(float64(time.Second) / float64(cost)), milliseconds(cost), milliseconds(g.percentile(0.99)),
		limit.name + " (1 client)", perSecond(limit.rate()), fmt.Sprintf("%.0f %%", float64(limit.percentile(0.5))/float64(cost)*100), "", "",
	})
}

// flat compares what an addition costs by the group's size.
func (r *report) flat(small, large *changedGroup, most float64) {
	ratio := float64(large.percentile(0.5)) / float64(small.percentile(0.5))
	r.rows = append(r.rows, []string{
		"cost of an addition: largest group by smallest (p50)", "", "", "", "", "",
		fmt.Sprintf("%.2f ×", ratio), fmt.Sprintf("≤ %.1f ×", most), r.verdict(ratio <= most),
	})
}

// below compares a figure with what it must stay under.
func (r *report) below(name string, value float64, unit string, limit float64) {
	r.rows = append(r.rows, []string{
		name, "", "", "", "", "", fmt.Sprintf("%.0f %s", value, unit), fmt.Sprintf("< %.0f %s", limit, unit), r.verdict(value < limit),
	})
}

func (r *report) verdict(ok bool) string {
	if ok {
		return "ok"
	}
	r.short++
	return "SHORT"
}

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *report) print(w io.Writer) error {
	r.note("%d short of what is expected.", r.short)
	lines := append(r.heading, "", "measured\tper second\tp50\tp99\traw limit of this machine\tper second\tratio\texpected\t")
	for _, row := range r.rows {
		lines = append(lines, strings.Join(row, "\t"))
	}
	lines = append(append(lines, ""), r.notes...)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, strings.Join(lines, "\n")+"\n"); err != nil {
		return err
	}
	return table.Flush()
}

func perSecond(rate float64) string { return thousands(int(rate + 0.5)) }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// thousands writes 10000 as 10,000.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
