package scim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/scim/schema"
)

const listResponseURN = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

// resource is a representation in JSON. The members of a group stand apart, and
// are encoded while they are sent: there may be 100,000 of them.
type resource struct {
	object   []byte
	version  int64
	location string

	members iter.Seq2[directory.Member, error] // nil: none
	view    memberView
	base    string
}

// memberView is which parts of a member a projection shows.
type memberView struct{ value, ref, kind, display bool }

// viewOf asks the projection by showing it a member.
func viewOf(p schema.Projection) memberView {
	if !p.Shows("members") {
		return memberView{}
	}
	probe := map[string]any{"value": "-", "$ref": "-", "type": "-", "display": "-"}
	members, _ := p.Project(map[string]any{"members": []any{probe}})["members"].([]any)
	if len(members) == 0 {
		return memberView{}
	}
	shown, _ := members[0].(map[string]any)
	return memberView{
		value: shown["value"] != nil, ref: shown["$ref"] != nil,
		kind: shown["type"] != nil, display: shown["display"] != nil,
	}
}

// meta is the common attribute of RFC 7643 §3.1.
func meta(t *schema.ResourceType, created, modified time.Time, location string, version int64) map[string]any {
	return map[string]any{
		"resourceType": t.Name,
		"created":      created.UTC().Format(time.RFC3339Nano),
		"lastModified": modified.UTC().Format(time.RFC3339Nano),
		"location":     location,
		"version":      etag(version),
	}
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode response: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// write sends the resource to w. It fails where the members can't be read, or w
// can't be written to any more.
func (r *resource) write(w *bufio.Writer) error {
	if r.members == nil {
		_, err := w.Write(r.object)
		return err
	}
	_, _ = w.Write(bytes.TrimSuffix(r.object, []byte("}"))) // a failure sticks to w
	separator, end := `,"members":[`, ""
	buffer := make([]byte, 0, 512)
	for m, err := range r.members {
		if err != nil {
			return err
		}
		buffer = append(buffer[:0], separator...)
		buffer = r.view.appendMember(buffer, m, r.base)
		if _, err := w.Write(buffer); err != nil {
			return err
		}
		separator, end = ",", "]"
	}
	_, err := w.WriteString(end + "}")
	return err
}

func (v memberView) appendMember(b []byte, m directory.Member, base string) []byte {
	kind, endpoint := "User", "/Users/"
	if m.Kind == directory.MemberGroup {
		kind, endpoint = "Group", "/Groups/"
	}
	start := len(b)
	for _, part := range []struct {
		shown       bool
		name, value string
	}{
		{v.value, "value", m.ID},
		{v.ref, "$ref", base + endpoint + m.ID},
		{v.kind, "type", kind},
		{v.display && m.Display != "", "display", m.Display},
	} {
		if !part.shown {
			continue
		}
		b = append(b, `,"`...)
		b = append(b, part.name...)
		b = append(b, `":`...)
		b = appendString(b, part.value)
	}
	if len(b) == start {
		return append(b, "{}"...)
	}
	b[start] = '{'
	return append(b, '}')
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			encoded, err := encode(s)
			if err != nil { // a string always has a JSON form
				return append(b, `""`...)
			}
			return append(b, encoded...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// send answers with what an operation led to and the headers that go with it.
func (h *Handler) send(c *gin.Context, out *outcome) error {
	if out.version != 0 {
		c.Header("ETag", etag(out.version))
	}
	if out.resource == nil {
		c.Status(out.status)
		c.Writer.WriteHeaderNow()
		return nil
	}
	c.Header("Content-Location", out.location)
	if out.status == http.StatusCreated {
		c.Header("Location", out.location)
	}
	return h.stream(c, out.status, out.resource.write)
}

// sendList answers with a ListResponse (RFC 7644 §3.4.2, RFC 9865 §2). Resources
// is there even if it is empty: clients read it without asking.
func (h *Handler) sendList(c *gin.Context, p *page) error {
	head := `{"schemas":["` + listResponseURN + `"]`
	if p.total >= 0 {
		head += `,"totalResults":` + strconv.Itoa(p.total)
	}
	if p.startIndex > 0 {
		head += `,"startIndex":` + strconv.Itoa(p.startIndex)
	}
	head += `,"itemsPerPage":` + strconv.Itoa(len(p.resources))
	if p.nextCursor != "" {
		head += `,"nextCursor":"` + p.nextCursor + `"`
	}
	return h.stream(c, http.StatusOK, func(w *bufio.Writer) error {
		_, _ = w.WriteString(head + `,"Resources":[`) // a failure sticks to w
		for i, res := range p.resources {
			if i > 0 {
				_ = w.WriteByte(',')
			}
			if err := res.write(w); err != nil {
				return err
			}
		}
		_, err := w.WriteString("]}")
		return err
	})
}

// stream sends what is read while it is sent. A failure before anything has left
// is an answer of its own. After that the status has been told, and only a
// connection that breaks off says that the answer is not complete.
func (h *Handler) stream(c *gin.Context, status int, write func(*bufio.Writer) error) error {
	to := &connection{c: c, status: status}
	w := bufio.NewWriterSize(to, 16<<10)
	err := write(w)
	if err == nil {
		err = w.Flush()
	}
	switch {
	case err == nil:
		return nil
	case to.failure != nil:
		h.log.DebugContext(c.Request.Context(), "scim response not sent", "error", err)
		return nil //nolint:nilerr // there is nobody to tell
	case !c.Writer.Written():
		for _, header := range []string{"ETag", "Content-Location", "Location"} {
			c.Writer.Header().Del(header)
		}
		return err
	}
	h.log.ErrorContext(c.Request.Context(), "scim response broken off", "error", err)
	panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to break a connection off
}

// connection is where a response goes: the status with its first bytes.
type connection struct {
	c       *gin.Context
	status  int
	failure error // the client can't be reached any more
}

// Write implements io.Writer.
func (to *connection) Write(p []byte) (n int, err error) {
	if !to.c.Writer.Written() {
		to.c.Header("Content-Type", mediaType)
		to.c.Status(to.status)
	}
	n, err = to.c.Writer.Write(p)
	to.failure = err
	return n, err
}

// writeJSON sends a small message.
func (h *Handler) writeJSON(c *gin.Context, status int, v any) {
	body, err := encode(v)
	if err != nil {
		h.log.ErrorContext(c.Request.Context(), "scim response not encoded", "error", err)
		c.Status(http.StatusInternalServerError)
		return
	}
	c.Data(status, mediaType, body)
}
