package filter

import (
	"encoding/json"
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

// literal reads a comparison value: a JSON string, number, true, false or null.
func (p *parser) literal() (any, error) {
	const expected = `expected a JSON value: a string in double quotes, a number, true, false or null`
	start := p.pos
	if p.peek() == '"' {
		return p.text()
	}
	word := p.word()
	p.pos += len(word)
	switch strings.ToLower(word) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "null":
		return nil, nil
	}
	if word == "" || !json.Valid([]byte(word)) {
		return nil, p.fail(start, expected)
	}
	return json.Number(word), nil
}

func (p *parser) text() (string, error) {
	start := p.pos
	for i := start + 1; i < len(p.src); i++ {
		switch p.src[i] {
		case '\\':
			i++
		case '"':
			p.pos = i + 1
			var s string
			if err := json.Unmarshal([]byte(p.src[start:p.pos]), &s); err != nil {
				return "", p.fail(start, "expected a string with the escapes of JSON")
			}
			return s, nil
		}
	}
	return "", p.fail(start, `expected a closing double quote`)
}

// attrPath reads [URI:]name[.sub], and a bare URI where alone allows it.
func (p *parser) attrPath(alone bool) (AttrPath, error) {
	word := p.word()
	attr, ok := splitAttrPath(word)
	if !ok && alone && isURI(word) {
		attr, ok = AttrPath{URI: word}, true
	}
	if !ok {
		return AttrPath{}, p.fail(p.pos, "expected an attribute path such as userName, name.familyName or a schema URN, a colon and a name")
	}
	p.pos += len(word)
	return attr, nil
}

// splitAttrPath divides at the last colon: the dots before it, as in 2.0,
// belong to the URI.
func splitAttrPath(word string) (AttrPath, bool) {
	var attr AttrPath
	rest := word
	if i := strings.LastIndexByte(word, ':'); i >= 0 {
		attr.URI, rest = word[:i], word[i+1:]
		if !isURI(attr.URI) {
			return AttrPath{}, false
		}
	}
	name, sub, dotted := strings.Cut(rest, ".")
	attr.Name, attr.Sub = name, sub
	return attr, isName(name) && (!dotted || isName(sub))
}

// isName is ATTRNAME of RFC 7643 §2.1, and $ref, which the RFC uses beside it.
func isName(s string) bool {
	s = strings.TrimPrefix(s, "$")
	if s == "" || !isAlpha(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlpha(c) && !isDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isURI accepts a scheme, a colon and anything; which URIs exist is the
// schema's matter.
func isURI(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || scheme == "" || !isAlpha(scheme[0]) {
		return false
	}
	for i := range len(scheme) {
		if c := scheme[i]; !isAlpha(c) && !isDigit(c) && !strings.ContainsRune("+-.", rune(c)) {
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func operator(word string) (Op, bool) {
	switch op := Op(strings.ToLower(word)); op {
	case Eq, Ne, Co, Sw, Ew, Gt, Ge, Lt, Le, "pr":
		return op, true
	default:
		return "", false
	}
}

// word is the run of characters under the cursor that may stand in a URI, an
// attribute path, a number or a keyword.
func (p *parser) word() string {
	end := p.pos
	for end < len(p.src) {
		if c := p.src[end]; !isAlpha(c) && !isDigit(c) && strings.IndexByte("-_.:$/%+~@!*,;=?&#'", c) < 0 {
			break
		}
		end++
	}
	return p.src[p.pos:end]
}

// peek is the byte under the cursor, or 0 at the end, where no byte of valid
// text could be mistaken for it: every use compares with a bracket or quote.
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

func (p *parser) space() {
	for p.pos < len(p.src) && strings.IndexByte(" \t\r\n", p.src[p.pos]) >= 0 {
		p.pos++
	}
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
