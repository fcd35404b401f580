package filter

import (
	"encoding/json"
	"strings"
)

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
