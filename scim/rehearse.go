package scim

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/provisioning"
)

// A rehearsal is a request that is served once more, as a connection, in a
// transaction that is rolled back. The request's context holds it.
type rehearsal struct {
	connection *directory.Connection
	record     *record // what came of it
}

type rehearsalKey struct{}

func rehearsalOf(ctx context.Context) *rehearsal {
	r, _ := ctx.Value(rehearsalKey{}).(*rehearsal)
	return r
}

// Replay says what would come of a request of the provisioning log now, for its
// connection as it is, paused or not. Nothing is changed, told to anybody or
// logged. The entry has no ID. It fails with fault.NotFound, fault.Denied, and
// with fault.Conflict and the Code not_replayable for an entry that does not
// have all that it takes.
func (h *Handler) Replay(ctx context.Context, tenant *directory.Tenant, entry id.ProvisioningEntry) (*provisioning.Entry, error) {
	e, err := h.trail.ToReplay(ctx, tenant.ID, entry)
	if err != nil {
		return nil, err
	}
	if why := e.NotReplayable(); why != "" {
		return nil, fault.New(fault.Conflict, "%s", why).WithCode("not_replayable")
	}
	connection, err := h.directory.ConnectionOf(ctx, tenant.ID, e.Connection)
	if err != nil {
		return nil, err
	}
	as := *connection
	as.Slug = tenant.Slug
	now := &rehearsal{connection: &as}
	err = h.trail.Rehearse(ctx, func(ctx context.Context) error {
		// What stands for a secret is replaced by one, as it has to be some.
		body := strings.ReplaceAll(e.Body, `"`+provisioning.Redacted+`"`, `"`+secret.Random("").Reveal()+`"`)
		request, err := http.NewRequestWithContext(context.WithValue(ctx, rehearsalKey{}, now), e.Method, e.Path, bytes.NewReader([]byte(body)))
		if err != nil {
			return err
		}
		if body != "" {
			request.Header.Set("Content-Type", mediaType)
		}
		if e.IfMatch != "" {
			request.Header.Set("If-Match", e.IfMatch)
		}
		h.rehearsals().ServeHTTP(&unsent{header: http.Header{}}, request)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if now.record == nil {
		return nil, fault.New(fault.Conflict, "no endpoint of SCIM has this address any more").WithCode("not_replayable")
	}
	return now.record.Outcome(), nil
}

// newRehearsals returns an engine with the endpoints, for requests that come from
// nobody.
func (h *Handler) newRehearsals() *gin.Engine {
	engine := gin.New()
	engine.RedirectTrailingSlash = false
	h.Mount(engine)
	return engine
}

// asRehearsed is the request of a connection that is only rehearsed.
func (h *Handler) asRehearsed(c *gin.Context, r *rehearsal) *request {
	recordOf(c.Request.Context()).byConnection(r.connection)
	return h.ofConnection(c, r.connection)
}

// unsent is an answer that goes to nobody.
type unsent struct{ header http.Header }

// Header implements http.ResponseWriter.
func (u *unsent) Header() http.Header { return u.header }

// Write implements http.ResponseWriter.
func (*unsent) Write(data []byte) (int, error) { return len(data), nil }

// WriteHeader implements http.ResponseWriter.
func (*unsent) WriteHeader(int) {}
