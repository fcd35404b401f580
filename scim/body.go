package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/fault"
)

const (
	// mediaType is what every response is, and what requests should be
	// (RFC 7644 §3.1, §8.1).
	mediaType = "application/scim+json"

	// maxBody bounds the body of a request, in bytes. A PATCH of a thousand
	// members takes a twentieth of it.
	maxBody = 1 << 20

	// drainBody bounds how much of a body that is too large is still read and
	// thrown away. A client that has not finished sending would otherwise see
	// a broken connection in place of the answer.
	drainBody = 64 << 20

	// maxNesting bounds objects and arrays within each other. SCIM's own
	// messages need eight.
	maxNesting = 32
)

// readObject reads the body of a request, which has to be one JSON object.
// Numbers come as [json.Number]. It fails with an [*Error]: 415 for another
// media type, 413 beyond maxBody, 400 invalidSyntax for the rest.
func readObject(c *gin.Context) (map[string]any, error) {
	data, err := readBody(c)
	if err != nil {
		return nil, err
	}
	return decodeObject(data)
}

// checkMediaType accepts SCIM's media type and that of JSON. A body without a
// type is taken for what it can only be here (RFC 9110 §8.3).
func checkMediaType(contentType string) error {
	if contentType == "" {
		return nil
	}
	name, params, err := mime.ParseMediaType(contentType)
	if err != nil || name != mediaType && name != "application/json" {
		return &Error{
			Status: http.StatusUnsupportedMediaType,
			Detail: fmt.Sprintf("Content-Type is %q; expected %s or application/json", contentType, mediaType),
		}
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return &Error{
			Status: http.StatusUnsupportedMediaType,
			Detail: fmt.Sprintf("the charset of the body is %q; expected utf-8", charset),
		}
	}
	return nil
}

// readBody decides by type and size before anything is decoded.
func readBody(c *gin.Context) ([]byte, error) { return readUpTo(c, maxBody) }

// readUpTo is readBody with a limit of its own.
func readUpTo(c *gin.Context, limit int64) ([]byte, error) {
	if err := checkMediaType(c.GetHeader("Content-Type")); err != nil {
		return nil, err
	}
	body := c.Request.Body
	if c.Request.ContentLength <= limit {
		data, err := io.ReadAll(io.LimitReader(body, limit+1))
		if err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Detail: "the body ended before it was complete", Err: err}
		}
		if int64(len(data)) <= limit {
			recordOf(c.Request.Context()).RawBody = data
			return data, nil
		}
	}
	if _, err := io.CopyN(io.Discard, body, drainBody); err != nil && !errors.Is(err, io.EOF) {
		return nil, &fault.Error{Kind: fault.TooLarge, Detail: tooLarge(limit), Err: err}
	}
	return nil, fault.New(fault.TooLarge, "%s", tooLarge(limit))
}

func tooLarge(limit int64) string {
	return fmt.Sprintf("the body is larger than the limit of %d bytes", limit)
}

// decodeObject parses one JSON object strictly: no invalid UTF-8, no name twice
// in an object, nothing after its end, and no character U+0000, which a
// database may refuse. What it lets through means the same to every parser.
func decodeObject(data []byte) (map[string]any, error) {
	if at := invalidUTF8(data); at >= 0 {
		return nil, syntaxError(data, at, "the body is not valid UTF-8")
	}
	d := &decoder{data: data, json: json.NewDecoder(bytes.NewReader(data))}
	d.json.UseNumber()
	token, err := d.token()
	if err != nil {
		return nil, err
	}
	if token != json.Delim('{') {
		return nil, syntaxError(data, d.start(), "the body must be a JSON object")
	}
	object, err := d.object(1)
	if err != nil {
		return nil, err
	}
	end := int(d.json.InputOffset())
	if rest := bytes.TrimLeft(data[end:], " \t\r\n"); len(rest) > 0 {
		return nil, syntaxError(data, len(data)-len(rest), "there is something after the end of the JSON object")
	}
	return object, nil
}

// decoder walks the tokens of a body. It exists because [json.Unmarshal] keeps
// the last of two members of one name and nests 10,000 levels deep.
type decoder struct {
	data []byte
	json *json.Decoder
}

func (d *decoder) token() (json.Token, error) {
	token, err := d.json.Token()
	if err == nil {
		if s, ok := token.(string); ok && strings.IndexByte(s, 0) >= 0 {
			return nil, syntaxError(d.data, d.start(), "a string holds the character U+0000, which is not supported")
		}
		return token, nil
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		// The offset of a syntax error is that of the byte after the offender.
		return nil, syntaxError(d.data, max(int(syntax.Offset)-1, 0), "the body is not valid JSON: "+syntax.Error())
	}
	return nil, syntaxError(d.data, len(d.data), "the body ends in the middle of the JSON object")
}

// start is the offset of the token read last, or of the white space before it.
func (d *decoder) start() int {
	end := int(d.json.InputOffset())
	return max(end-1, 0)
}

func (d *decoder) object(depth int) (map[string]any, error) {
	object := map[string]any{}
	for d.json.More() {
		token, err := d.token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, syntaxError(d.data, d.start(), "expected the name of an attribute")
		}
		if _, twice := object[name]; twice {
			return nil, syntaxError(d.data, d.start(), fmt.Sprintf("%q is there twice in one object", name))
		}
		if object[name], err = d.value(depth); err != nil {
			return nil, err
		}
	}
	_, err := d.token()
	return object, err
}

func (d *decoder) array(depth int) ([]any, error) {
	array := []any{}
	for d.json.More() {
		value, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		array = append(array, value)
	}
	_, err := d.token()
	return array, err
}

func (d *decoder) value(depth int) (any, error) {
	token, err := d.token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth >= maxNesting {
		return nil, syntaxError(d.data, d.start(), fmt.Sprintf("objects and arrays are nested deeper than %d levels", maxNesting))
	}
	if delim == '[' {
		return d.array(depth + 1)
	}
	return d.object(depth + 1)
}

func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// syntaxError reports what is wrong at a byte of the body, in the terms of an
// editor: line and column, from 1, in characters.
func syntaxError(data []byte, at int, detail string) *Error {
	before := data[:min(at, len(data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return &Error{
		Status:   http.StatusBadRequest,
		SCIMType: invalidSyntax,
		Detail:   fmt.Sprintf("%s (line %d, column %d)", detail, line, column),
	}
}
