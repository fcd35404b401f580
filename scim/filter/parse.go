package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits on what is parsed, so that the cost of a request is bounded before
// any schema or database is asked.
const (
	// MaxLength bounds a filter, in characters.
	MaxLength = 2048
	// MaxPathLength bounds a PATCH path, in characters. It is wider than
	// MaxLength because members[value eq "…" or value eq "…"] names one
	// identifier of 36 characters per member.
	MaxPathLength = 16384
	// MaxNodes bounds the nodes of the tree: one per comparison, "pr",
	// "not", value path, and run of "and" or "or".
	MaxNodes = 200
	// MaxDepth bounds nested parentheses and brackets.
	MaxDepth = 32
)

// Parse reads a filter (RFC 7644 §3.4.2.2, figure 1). Operators and the
// literals true, false and null are accepted in any case, and any run of white
// space where the grammar has one space. A failure is an [*Error].
func Parse(s string) (Expr, error) {
	p := &parser{src: s, kind: InvalidFilter, maxNodes: MaxNodes, maxDepth: MaxDepth}
	if err := p.checkText(MaxLength); err != nil {
		return nil, err
	}
	return p.filter()
}

// ParsePath reads the path of a PATCH operation (RFC 7644 §3.5.2, figure 7):
// an attribute path, a value path with an optional sub-attribute, or a schema
// URI. A failure is an [*Error].
func ParsePath(s string) (Path, error) {
	p := &parser{src: s, kind: InvalidPath, maxNodes: MaxNodes, maxDepth: MaxDepth}
	if err := p.checkText(MaxPathLength); err != nil {
		return Path{}, err
	}
	return p.path()
}

// ParseAttrPath reads an attribute path without a value filter, as in the
// parameters attributes, excludedAttributes and sortBy. Its Name is empty or
// ambiguous for a schema URI alone, as [AttrPath] describes. A failure is an
// [*Error] with InvalidPath.
func ParseAttrPath(s string) (AttrPath, error) {
	p := &parser{src: s, kind: InvalidPath}
	if err := p.checkText(MaxPathLength); err != nil {
		return AttrPath{}, err
	}
	p.space()
	attr, err := p.attrPath(true)
	if err != nil {
		return AttrPath{}, err
	}
	return attr, p.end("the end of the attribute path")
}

type parser struct {
	src                string
	pos                int // in bytes
	kind               ScimType
	nodes, depth       int
	maxNodes, maxDepth int
}

func (p *parser) fail(pos int, format string, args ...any) error {
	return &Error{
		ScimType: p.kind,
		Position: characters(p.src[:pos]) + 1,
		Detail:   fmt.Sprintf(format, args...),
	}
}

func (p *parser) checkText(limit int) error {
	// Bytes bound characters from above, so most texts are never counted.
	if len(p.src) > limit && characters(p.src) > limit {
		return &Error{ScimType: p.kind, Position: limit + 1, Detail: fmt.Sprintf("expected at most %d characters", limit)}
	}
	if !utf8.ValidString(p.src) {
		return p.fail(invalidByte(p.src), "expected UTF-8 text")
	}
	return nil
}

func invalidByte(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return i
			}
		}
	}
	return len(s)
}

// filter reads the whole text as a filter.
func (p *parser) filter() (Expr, error) {
	e, err := p.or(false)
	if err != nil {
		return nil, err
	}
	return e, p.end(`"and", "or" or the end of the filter`)
}

// path reads the whole text as a PATCH path.
func (p *parser) path() (Path, error) {
	p.space()
	attr, err := p.attrPath(true)
	if err != nil {
		return Path{}, err
	}
	path := Path{Attr: attr}
	if p.peek() == '[' {
		if path.Filter, err = p.brackets(attr); err != nil {
			return Path{}, err
		}
		if path.Attr.Sub, err = p.subAttr(); err != nil {
			return Path{}, err
		}
	}
	return path, p.end("the end of the path")
}

func (p *parser) end(expected string) error {
	p.space()
	if p.pos < len(p.src) {
		return p.fail(p.pos, "expected %s", expected)
	}
	return nil
}

func (p *parser) or(inValue bool) (Expr, error) {
	return p.chain("or", func() (Expr, error) { return p.and(inValue) }, func(e Expr) ([]Expr, bool) {
		or, ok := e.(Or)
		return or.Operands, ok
	}, func(operands []Expr) Expr { return Or{operands} })
}

func (p *parser) and(inValue bool) (Expr, error) {
	return p.chain("and", func() (Expr, error) { return p.term(inValue) }, func(e Expr) ([]Expr, bool) {
		and, ok := e.(And)
		return and.Operands, ok
	}, func(operands []Expr) Expr { return And{operands} })
}

// chain reads operands joined by word. An operand that was itself such a
// chain, in parentheses, is spliced in: both operators are associative.
func (p *parser) chain(word string, operand func() (Expr, error), split func(Expr) ([]Expr, bool), build func([]Expr) Expr) (Expr, error) {
	var operands []Expr
	for {
		e, err := operand()
		if err != nil {
			return nil, err
		}
		if inner, ok := split(e); ok {
			operands = append(operands, inner...)
		} else {
			operands = append(operands, e)
		}
		p.space()
		if !strings.EqualFold(p.word(), word) {
			break
		}
		p.pos += len(word)
	}
	if len(operands) == 1 {
		return operands[0], nil
	}
	return build(operands), p.count()
}

func (p *parser) term(inValue bool) (Expr, error) {
	p.space()
	if p.peek() == '(' {
		return p.group(inValue)
	}
	if strings.EqualFold(p.word(), "not") && p.negation() {
		p.pos += len("not")
		p.space()
		if p.peek() != '(' {
			return nil, p.fail(p.pos, `expected "(" after "not"`)
		}
		e, err := p.group(inValue)
		if err != nil {
			return nil, err
		}
		return Not{e}, p.count()
	}
	return p.attrExp(inValue)
}

// negation reports whether the word "not" under the cursor is the operator
// rather than an attribute of that name.
func (p *parser) negation() bool {
	ahead := *p
	ahead.pos += len("not")
	if ahead.peek() == '[' {
		return false
	}
	ahead.space()
	_, isOp := operator(ahead.word())
	return !isOp
}

func (p *parser) group(inValue bool) (Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	p.pos++
	e, err := p.or(inValue)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.peek() != ')' {
		return nil, p.fail(p.pos, `expected "and", "or" or ")"`)
	}
	p.pos++
	p.depth--
	return e, nil
}

// attrExp reads a comparison, "pr", or a value path with what may follow it.
func (p *parser) attrExp(inValue bool) (Expr, error) {
	start := p.pos
	attr, err := p.attrPath(false)
	if err != nil {
		return nil, err
	}
	if p.peek() != '[' {
		return p.comparison(attr)
	}
	if inValue {
		return nil, p.fail(start, "expected no value path within a value path")
	}
	inner, err := p.brackets(attr)
	if err != nil {
		return nil, err
	}
	sub, err := p.subAttr()
	if err != nil {
		return nil, err
	}
	if sub != "" {
		if inner, err = p.narrow(inner, sub); err != nil {
			return nil, err
		}
	}
	return ValuePath{Attr: attr, Filter: inner}, p.count()
}

// narrow adds the comparison behind attr[filter].sub to the filter.
func (p *parser) narrow(inner Expr, sub string) (Expr, error) {
	last, err := p.comparison(AttrPath{Name: sub})
	if err != nil {
		return nil, err
	}
	if and, ok := inner.(And); ok {
		return And{append(and.Operands, last)}, nil
	}
	return And{[]Expr{inner, last}}, p.count()
}

// brackets reads the filter of a value path.
func (p *parser) brackets(attr AttrPath) (Expr, error) {
	if attr.Sub != "" || attr.Name == "" {
		return nil, p.fail(p.pos, `expected "[" only after an attribute name without sub-attribute`)
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	p.pos++
	e, err := p.or(true)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.peek() != ']' {
		return nil, p.fail(p.pos, `expected "and", "or" or "]"`)
	}
	p.pos++
	p.depth--
	return e, nil
}

// subAttr reads what may follow a value path's bracket.
func (p *parser) subAttr() (string, error) {
	if p.peek() != '.' {
		return "", nil
	}
	p.pos++
	sub := p.word()
	if !isName(sub) {
		return "", p.fail(p.pos, `expected a sub-attribute name after "."`)
	}
	p.pos += len(sub)
	return sub, nil
}

func (p *parser) comparison(attr AttrPath) (Expr, error) {
	p.space()
	start, word := p.pos, p.word()
	op, ok := operator(word)
	if !ok {
		return nil, p.fail(start, "expected one of the operators eq, ne, co, sw, ew, pr, gt, ge, lt, le")
	}
	p.pos += len(word)
	if op == "pr" {
		return Present{attr}, p.count()
	}
	p.space()
	value, err := p.literal()
	if err != nil {
		return nil, err
	}
	return Compare{Attr: attr, Op: op, Value: value}, p.count()
}

func (p *parser) enter() error {
	if p.depth++; p.depth > p.maxDepth {
		return p.fail(p.pos, "expected at most %d nested parentheses and brackets", p.maxDepth)
	}
	return nil
}

func (p *parser) count() error {
	if p.nodes++; p.nodes <= p.maxNodes {
		return nil
	}
	return &Error{
		ScimType: TooMany,
		Position: characters(p.src[:p.pos]) + 1,
		Detail:   fmt.Sprintf("expected at most %d comparisons and operators", p.maxNodes),
	}
}
