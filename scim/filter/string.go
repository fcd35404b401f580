package filter

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// String implements Expr.
func (e And) String() string {
	return join(e.Operands, " and ", func(o Expr) bool {
		_, isOr := o.(Or)
		return isOr
	})
}

// String implements Expr.
func (e Or) String() string {
	return join(e.Operands, " or ", func(Expr) bool { return false })
}

// String implements Expr.
func (e Not) String() string { return "not (" + e.Operand.String() + ")" }

// String implements Expr.
func (e Compare) String() string {
	return e.Attr.String() + " " + string(e.Op) + " " + literal(e.Value)
}

// String implements Expr.
func (e Present) String() string { return e.Attr.String() + " pr" }

// String implements Expr.
func (e ValuePath) String() string {
	return e.Attr.String() + "[" + e.Filter.String() + "]"
}

// String is the path as text: [URI:]name[.sub].
func (p AttrPath) String() string {
	s := p.URI
	if p.Name != "" && s != "" {
		s += ":"
	}
	s += p.Name
	if p.Sub != "" {
		s += "." + p.Sub
	}
	return s
}

// String is the canonical text of the path.
func (p Path) String() string {
	if p.Filter == nil {
		return p.Attr.String()
	}
	attr := p.Attr
	attr.Sub = ""
	s := attr.String() + "[" + p.Filter.String() + "]"
	if p.Attr.Sub != "" {
		s += "." + p.Attr.Sub
	}
	return s
}

func join(operands []Expr, by string, group func(Expr) bool) string {
	parts := make([]string, len(operands))
	for i, o := range operands {
		parts[i] = o.String()
		if group(o) {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, by)
}

func literal(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case json.Number:
		return v.String()
	case nil:
		return "null"
	default:
		return fmt.Sprint(v)
	}
}

// quote writes the shortest JSON string, so that the canonical text of a
// filter is no longer than it must be; encoding/json would also escape for
// HTML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r) // utf8.RuneError stands for invalid bytes, as in encoding/json
		}
	}
	b.WriteByte('"')
	return b.String()
}

// characters counts as clients do; limits and positions are in characters.
func characters(s string) int { return utf8.RuneCountInString(s) }
