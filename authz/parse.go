package authz

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
)

// maxSource is the size of the largest blueprint that is read, in bytes. The
// biggest known portal needs 15 kB.
const maxSource = 256 << 10

// Problem is one mistake in a blueprint.
type Problem struct {
	Line int    // in the file, from 1; 0 if the mistake has no place
	Path string // such as "roles.owner.reach[0]"; empty for the file as a whole
	Text string
}

// String returns the problem as "line 12: roles.owner.reach[0]: text".
func (p Problem) String() string {
	s := p.Text
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Line > 0 {
		s = fmt.Sprintf("line %d: %s", p.Line, s)
	}
	return s
}

// Problems is every mistake found in a blueprint, in the order of the file. It
// is the cause of the error that Parse and Compile return.
type Problems []Problem

// Error implements error: one problem per line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// err returns nil without problems, else a fault.Invalid that wraps them all.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int { return a.Line - b.Line })
	e := fault.Field(fault.Invalid, p[0].Path, "%s", p[0]).WithCode("blueprint")
	if len(p) > 1 {
		e.Detail += fmt.Sprintf(" (and %d more)", len(p)-1)
	}
	e.Err = p
	return e
}

// Parse reads a blueprint. Unknown keys, keys given twice, missing keys and
// values of the wrong form are mistakes; the error is a fault.Invalid whose
// cause is [Problems], or fault.TooLarge. What the document means is checked
// by [Compile].
func Parse(source []byte) (*Document, error) {
	if len(source) > maxSource {
		return nil, fault.New(fault.TooLarge, "a blueprint has at most %d bytes", maxSource)
	}
	var root yaml.Node
	files := yaml.NewDecoder(bytes.NewReader(source))
	if err := files.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, Problems{{Text: "the file is empty"}}.err()
		}
		return nil, Problems{{Text: err.Error()}}.err()
	}
	if err := files.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, Problems{{Text: "the file must hold one YAML document"}}.err()
	}
	d := decoder{lines: map[string]int{}}
	doc := &Document{}
	d.value(root.Content[0], reflect.ValueOf(doc).Elem(), "", nil)
	if err := d.problems.err(); err != nil {
		return nil, err
	}
	doc.lines = d.lines
	return doc, nil
}
