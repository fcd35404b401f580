package delivery

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// maxPollBody is the size of the largest request, in bytes.
const maxPollBody = 1 << 20

// Mount registers the endpoint for polls.
func (d *Delivery) Mount(r gin.IRouter) {
	r.POST("/t/:tenant/events/poll", func(c *gin.Context) {
		if err := d.poll(c); err != nil {
			d.fail(c, err)
		}
	})
	d.mountReceivers(r)
}

// pollRequest is what a receiver asks (RFC 8936 §2.2).
type pollRequest struct {
	MaxEvents         *int               `json:"maxEvents"`
	ReturnImmediately bool               `json:"returnImmediately"`
	Acks              []string           `json:"ack"`
	Errors            map[string]refusal `json:"setErrs"`
}

// pollResponse is what it gets (RFC 8936 §2.3).
type pollResponse struct {
	Sets map[id.SecurityEvent]string `json:"sets"`
	More bool                        `json:"moreAvailable,omitempty"`
}

func (d *Delivery) poll(c *gin.Context) error {
	ctx := c.Request.Context()
	scheme, token, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	s, err := d.Events.StreamOf(ctx, c.Param("tenant"), secret.NewText(strings.TrimSpace(token)))
	if err != nil {
		return err
	}
	return d.answerPoll(c, s)
}

// answerPoll gives a receiver that polls what the stream has for it.
func (d *Delivery) answerPoll(c *gin.Context, s *events.Stream) error {
	ctx := c.Request.Context()
	taking, err := d.taking(c)
	if err != nil {
		return err
	}
	batch, more, err := d.Events.Take(ctx, s, taking)
	if err != nil {
		return err
	}
	response := pollResponse{Sets: map[id.SecurityEvent]string{}, More: more}
	for i := range batch {
		if response.Sets[batch[i].ID], err = d.token(ctx, s, &batch[i]); err != nil {
			return err
		}
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, response)
	return nil
}

// taking reads the request. An empty one is like {}.
func (d *Delivery) taking(c *gin.Context) (events.Taking, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxPollBody))
	if err != nil {
		return events.Taking{}, fault.New(fault.TooLarge, "the body must not be larger than %d bytes", maxPollBody)
	}
	var request pollRequest
	if err := json.Unmarshal(body, &request); err != nil && len(strings.TrimSpace(string(body))) > 0 {
		return events.Taking{}, &fault.Error{Kind: fault.Invalid, Detail: "the body is not the JSON that is expected", Err: err}
	}
	taking := events.Taking{Max: events.MaxPoll, Rejected: map[id.SecurityEvent]string{}}
	if request.MaxEvents != nil {
		if taking.Max = *request.MaxEvents; taking.Max < 0 {
			return events.Taking{}, fault.Field(fault.Invalid, "maxEvents", "must not be negative")
		}
	}
	if !request.ReturnImmediately {
		taking.Wait = d.Wait
	}
	// What can be no event is none of the stream, and passed over as those are.
	for _, text := range request.Acks {
		if event, err := id.Parse[id.SecurityEvent](text); err == nil {
			taking.Taken = append(taking.Taken, event)
		}
	}
	for text, said := range request.Errors {
		if event, err := id.Parse[id.SecurityEvent](text); err == nil {
			taking.Rejected[event] = said.Error()
		}
	}
	return taking, nil
}

// fail answers with the error in the form of RFC 8935 §2.3.
func (d *Delivery) fail(c *gin.Context, err error) {
	status, answer := http.StatusInternalServerError, refusal{Code: "server_error", Description: "something went wrong"}
	switch f := fault.As(err); f.Kind {
	case fault.Unauthenticated:
		c.Header("WWW-Authenticate", `Bearer realm="events"`)
		status, answer = http.StatusUnauthorized, refusal{"authentication_failed", f.Detail}
		if f.Code == oidc.UseDPoPNonce {
			c.Header("DPoP-Nonce", d.OIDC.DPoPNonce())
		}
	case fault.Denied:
		c.Header("WWW-Authenticate", `Bearer realm="events", error="insufficient_scope"`)
		status, answer = http.StatusForbidden, refusal{"access_denied", f.Detail}
	case fault.NotFound:
		status, answer = http.StatusNotFound, refusal{"not_found", f.Detail}
	case fault.Conflict:
		status, answer = http.StatusConflict, refusal{"conflict", f.Detail}
	case fault.Invalid:
		status, answer = http.StatusBadRequest, refusal{"invalid_request", f.Detail}
	case fault.TooLarge:
		status, answer = http.StatusRequestEntityTooLarge, refusal{"invalid_request", f.Detail}
	case fault.Throttled:
		c.Header("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
		status, answer = http.StatusTooManyRequests, refusal{"too_many_requests", f.Detail}
	case fault.Overloaded:
		c.Header("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
		status, answer = http.StatusServiceUnavailable, refusal{"temporarily_unavailable", f.Detail}
	case fault.Internal, fault.Stale, fault.Unsupported:
		if c.Request.Context().Err() != nil || errors.Is(err, http.ErrHandlerTimeout) {
			return // the receiver has hung up
		}
		d.Logger.ErrorContext(c.Request.Context(), "poll failed", "err", err)
	}
	c.JSON(status, answer)
}
