package recording

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// An Exchange is one recorded request and what its response must be.
type Exchange struct {
	Line     int      // of the request, in its file
	Codes    []string // what the comment above begins with: E1, O3
	About    string   // the rest of that comment
	Parallel bool     // to be sent together with its neighbors that say the same

	Method string
	URL    string // with {{variables}}, as Header and Body
	Header []Field
	Body   string

	Status   int     // 0: any
	Expected []Field // response headers that must have this value
	Captures []Capture
	Asserts  []Assert
}

// A Field is a line of a header.
type Field struct{ Name, Value string }

// A Capture keeps a value of the response in a variable.
type Capture struct {
	Line     int
	Variable string
	Query    Query
}

// An Assert is a statement about the response.
type Assert struct {
	Line  int
	Text  string // as it is written
	Query Query
	Not   bool
	// Predicate is one of ==, !=, >, >=, <, <=, exists, contains, startsWith,
	// matches, isCollection, isString, isBoolean, isInteger, isEmpty.
	Predicate string
	Operand   any // a JSON value; strings may hold {{variables}}
}

// A Query says what of the response is looked at.
type Query struct {
	Kind    string // jsonpath, header, status, body
	Operand string // the path or the header's name
	Filters []string
}

var (
	requestLine = regexp.MustCompile(`^(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) (\S+)$`)
	statusLine  = regexp.MustCompile(`^HTTP (\d{3}|\*)$`)
	headerLine  = regexp.MustCompile(`^([A-Za-z0-9-]+): ?(.*)$`)
	codeForm    = regexp.MustCompile(`^(?:[A-Z]{1,2}\d{1,2}|[A-Z][A-Za-z0-9]+|authentik)$`)
)

// parallelMark is the comment of exchanges that are sent at the same time.
const parallelMark = "in parallel"

// parser goes through a file line by line.
type parser struct {
	name    string
	scanner *bufio.Scanner
	line    int
	text    string // the current line
	more    bool   // there is a current line
}

// Parse reads a file of exchanges; name is for errors, which have the line.
func Parse(name string, r io.Reader) ([]Exchange, error) {
	p := &parser{name: name, scanner: bufio.NewScanner(r)}
	p.scanner.Buffer(nil, 1<<20)
	p.next()
	var exchanges []Exchange
	for {
		comment := p.comments()
		if !p.more {
			return exchanges, p.scanner.Err()
		}
		exchange, err := p.exchange(comment)
		if err != nil {
			return nil, err
		}
		exchanges = append(exchanges, exchange)
	}
}

func (p *parser) next() {
	p.more = p.scanner.Scan()
	p.text = p.scanner.Text()
	p.line++
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.name, p.line, fmt.Sprintf(format, args...))
}

// comments skips blank lines and returns the comment that stands last before
// the next other line.
func (p *parser) comments() []string {
	var block []string
	for ; p.more; p.next() {
		switch line := strings.TrimSpace(p.text); {
		case line == "":
			block = nil
		case strings.HasPrefix(line, "#"):
			block = append(block, strings.TrimSpace(strings.TrimLeft(line, "#")))
		default:
			return block
		}
	}
	return nil
}

func (p *parser) exchange(comment []string) (Exchange, error) {
	match := requestLine.FindStringSubmatch(p.text)
	if match == nil {
		return Exchange{}, p.errorf("want a request line, as GET {{scim}}/Users, got %q", p.text)
	}
	e := Exchange{Line: p.line, Method: match[1], URL: match[2]}
	e.describe(comment)
	p.next()
	for ; p.more; p.next() {
		match := headerLine.FindStringSubmatch(p.text)
		if match == nil || strings.HasPrefix(p.text, "HTTP ") {
			break
		}
		e.Header = append(e.Header, Field{match[1], match[2]})
	}
	var body []string
	for ; p.more && !statusLine.MatchString(p.text); p.next() {
		if requestLine.MatchString(p.text) {
			return Exchange{}, p.errorf("the request before has no HTTP line")
		}
		body = append(body, p.text)
	}
	e.Body = strings.TrimSpace(strings.Join(body, "\n"))
	if !p.more {
		return Exchange{}, p.errorf("the last request has no HTTP line")
	}
	return e, p.response(&e)
}

// describe takes the codes and the mark of parallel requests from the comment.
func (e *Exchange) describe(comment []string) {
	var about []string
	for _, line := range comment {
		if line == parallelMark {
			e.Parallel = true
			continue
		}
		about = append(about, line)
	}
	e.About = strings.Join(about, " ")
	before, after, found := strings.Cut(e.About, ":")
	codes := strings.Fields(before)
	for _, code := range codes {
		found = found && codeForm.MatchString(code)
	}
	if found {
		e.Codes, e.About = codes, strings.TrimSpace(after)
	}
}

// response reads an exchange from its HTTP line to the next blank line, comment
// or request.
func (p *parser) response(e *Exchange) error {
	if status := statusLine.FindStringSubmatch(p.text)[1]; status != "*" {
		e.Status, _ = strconv.Atoi(status) // three digits, by the expression
	}
	section := ""
	for p.next(); p.more; p.next() {
		line := strings.TrimSpace(p.text)
		switch {
		case line == "" || strings.HasPrefix(line, "#") || requestLine.MatchString(line):
			return nil
		case line == "[Captures]" || line == "[Asserts]":
			section = line
		default:
			if err := p.responseLine(e, section, line); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parser) responseLine(e *Exchange, section, line string) error {
	switch section {
	case "[Captures]":
		name, query, ok := strings.Cut(line, ":")
		if !ok {
			return p.errorf("want NAME: QUERY, got %q", line)
		}
		q, rest, err := parseQuery(strings.TrimSpace(query))
		if err != nil || rest != "" {
			return p.errorf("want NAME: QUERY, got %q", line)
		}
		e.Captures = append(e.Captures, Capture{Line: p.line, Variable: strings.TrimSpace(name), Query: q})
	case "[Asserts]":
		assert, err := parseAssert(line)
		if err != nil {
			return p.errorf("%v", err)
		}
		assert.Line = p.line
		e.Asserts = append(e.Asserts, assert)
	default:
		match := headerLine.FindStringSubmatch(line)
		if match == nil {
			return p.errorf("want a header, [Captures] or [Asserts], got %q", line)
		}
		e.Expected = append(e.Expected, Field{match[1], match[2]})
	}
	return nil
}
