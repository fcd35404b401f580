package delivery

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// Where applications manage their streams (SSF 1.0 §7.1).
const (
	pathConfiguration = "/.well-known/ssf-configuration"
	pathStreams       = "/ssf/streams"
	pathStatus        = "/ssf/status"
	pathAddSubject    = "/ssf/subjects/add"
	pathRemoveSubject = "/ssf/subjects/remove"
	pathVerify        = "/ssf/verify"
)

// maxManagement is the size of the largest request of an application, in bytes.
const maxManagement = 64 << 10

// The URIs of the methods of delivery (SSF 1.0 §6.1).
const (
	pushMethod = "urn:ietf:rfc:8935"
	pollMethod = "urn:ietf:rfc:8936"
)

// configuration is the metadata of the transmitter (SSF 1.0 §7.1).
type configuration struct {
	SpecVersion     string              `json:"spec_version"`
	Issuer          string              `json:"issuer"`
	Keys            string              `json:"jwks_uri"`
	Methods         []string            `json:"delivery_methods_supported"`
	Configuration   string              `json:"configuration_endpoint"`
	Status          string              `json:"status_endpoint"`
	AddSubject      string              `json:"add_subject_endpoint"`
	RemoveSubject   string              `json:"remove_subject_endpoint"`
	Verification    string              `json:"verification_endpoint"`
	Schemes         []map[string]string `json:"authorization_schemes"`
	DefaultSubjects string              `json:"default_subjects"`
}

// streamBody is the configuration of a stream (SSF 1.0 §8.1.1).
type streamBody struct {
	ID          id.EventStream `json:"stream_id"`
	Issuer      string         `json:"iss"`
	Audience    []string       `json:"aud"`
	Delivery    deliveryBody   `json:"delivery"`
	Supported   []string       `json:"events_supported"`
	Requested   []string       `json:"events_requested"`
	Delivered   []string       `json:"events_delivered"`
	MinVerify   int            `json:"min_verification_interval"` // in seconds
	Description string         `json:"description,omitempty"`
}

type deliveryBody struct {
	Method        string `json:"method"`
	Endpoint      string `json:"endpoint_url,omitempty"`
	Authorization string `json:"authorization_header,omitempty"` // said, and never shown
}

// streamRequest is what an application says of a stream. Members that are the
// transmitter's to say are passed over (SSF 1.0 §8.1.1.3).
type streamRequest struct {
	ID          string         `json:"stream_id"`
	Delivery    *deliveryBody  `json:"delivery"`
	Requested   *[]string      `json:"events_requested"`
	Description *string        `json:"description"`
	Status      string         `json:"status"`
	Reason      string         `json:"reason"`
	State       string         `json:"state"`
	Subject     events.Subject `json:"subject"`
}

type statusBody struct {
	ID     id.EventStream `json:"stream_id"`
	Status events.Status  `json:"status"`
	Reason string         `json:"reason,omitempty"`
}

// mountReceivers registers what applications do with streams of their own.
func (d *Delivery) mountReceivers(r gin.IRouter) {
	r.GET(pathConfiguration, func(c *gin.Context) { c.JSON(http.StatusOK, d.configuration()) })
	for _, route := range []struct {
		method, path, scope string
		handle              func(c *gin.Context, by events.Receiver) error
	}{
		{http.MethodGet, pathStreams, oidc.ScopeSSFRead, d.showStreams},
		{http.MethodPost, pathStreams, oidc.ScopeSSFManage, d.createStream},
		{http.MethodPatch, pathStreams, oidc.ScopeSSFManage, d.changeStream},
		{http.MethodPut, pathStreams, oidc.ScopeSSFManage, d.changeStream},
		{http.MethodDelete, pathStreams, oidc.ScopeSSFManage, d.deleteStream},
		{http.MethodGet, pathStatus, oidc.ScopeSSFRead, d.showStatus},
		{http.MethodPost, pathStatus, oidc.ScopeSSFManage, d.changeStatus},
		{http.MethodPost, pathAddSubject, oidc.ScopeSSFManage, d.addSubject},
		{http.MethodPost, pathRemoveSubject, oidc.ScopeSSFManage, d.removeSubject},
		{http.MethodPost, pathVerify, oidc.ScopeSSFManage, d.verify},
		{http.MethodPost, "/ssf/poll/:stream", oidc.ScopeSSFRead, d.pollOwn},
	} {
		r.Handle(route.method, route.path, func(c *gin.Context) {
			c.Header("Cache-Control", "no-store")
			by, err := d.receiver(c, route.scope)
			if err == nil {
				err = route.handle(c, by)
			}
			if err != nil {
				d.fail(c, err)
			}
		})
	}
}

// receiver returns the application that manages its streams: its access token has
// the scope, or the one that is more.
func (d *Delivery) receiver(c *gin.Context, scope string) (events.Receiver, error) {
	scheme, token, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	bound := strings.EqualFold(scheme, oidc.TokenTypeDPoP)
	if !bound && !strings.EqualFold(scheme, oidc.TokenTypeBearer) {
		token = ""
	}
	a, err := d.OIDC.Receiver(c.Request.Context(), oidc.Presented{
		Token: secret.NewText(strings.TrimSpace(token)), Bound: bound,
		Possession: oidc.Possession{Proofs: c.Request.Header.Values("DPoP"), Method: c.Request.Method, Path: c.Request.URL.EscapedPath()},
	}, scope)
	if err != nil {
		return events.Receiver{}, err
	}
	c.Request = c.Request.WithContext(audit.WithActor(c.Request.Context(), audit.Actor{Kind: audit.ActorApplication, ID: a.ClientID}))
	return events.Receiver{ClientID: a.ClientID, Tenant: a.Owner}, nil
}

func (d *Delivery) configuration() configuration {
	base := d.OIDC.Issuer()
	return configuration{
		SpecVersion: "1_0", Issuer: base, Keys: base + "/oauth2/keys", Methods: []string{pushMethod, pollMethod},
		Configuration: base + pathStreams, Status: base + pathStatus, AddSubject: base + pathAddSubject, RemoveSubject: base + pathRemoveSubject,
		Verification: base + pathVerify, Schemes: []map[string]string{{"spec_urn": "urn:ietf:rfc:6749"}}, DefaultSubjects: "ALL",
	}
}

func (d *Delivery) bodyOf(s *events.Stream) streamBody {
	body := streamBody{
		ID: s.ID, Issuer: d.OIDC.Issuer(), Audience: s.Audience, Supported: events.SignalURIs(), Requested: append([]string{}, s.Requested...),
		Delivered: s.Delivered(), Description: s.Description, MinVerify: int(events.MinVerificationInterval.Seconds()),
		Delivery: deliveryBody{Method: pushMethod, Endpoint: s.Endpoint},
	}
	if s.Method == events.Poll {
		body.Delivery = deliveryBody{Method: pollMethod, Endpoint: d.Events.PollAddressOf(s.ID)}
	}
	return body
}

// settings turns a request into settings. whole says that what it leaves out is
// to be as with a new stream.
func (r *streamRequest) settings(whole bool) (events.Method, events.Settings, error) {
	settings := events.Settings{Requested: r.Requested, Description: r.Description}
	if whole {
		if r.Requested == nil {
			settings.Requested = &[]string{}
		}
		if r.Description == nil {
			settings.Description = new("")
		}
	}
	if r.Delivery == nil {
		if whole {
			return events.Poll, settings, nil // SSF 1.0 §8.1.1.1
		}
		return "", settings, nil
	}
	switch r.Delivery.Method {
	case pushMethod:
		settings.Endpoint, settings.Authorization = &r.Delivery.Endpoint, new(secret.NewText(r.Delivery.Authorization))
		return events.Push, settings, nil
	case pollMethod: // whose address is the transmitter's to say
		return events.Poll, settings, nil
	}
	return "", settings, fault.Field(fault.Invalid, "delivery", "the method %.100q is neither %s nor %s", r.Delivery.Method, pushMethod, pollMethod)
}

// request reads what an application says. Members that are not known are passed
// over.
func request(c *gin.Context) (*streamRequest, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxManagement))
	if err != nil {
		return nil, fault.New(fault.TooLarge, "the body must not be larger than %d bytes", maxManagement)
	}
	r := &streamRequest{}
	if err := json.Unmarshal(body, r); err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Detail: "the body is not the JSON that is expected", Err: err}
	}
	return r, nil
}

func streamID(text string) (id.EventStream, error) {
	stream, err := id.Parse[id.EventStream](text)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no such event stream")
	}
	return stream, nil
}

func (d *Delivery) showStreams(c *gin.Context, by events.Receiver) error {
	if text, asked := c.GetQuery("stream_id"); asked {
		s, err := d.named(c, by, text)
		if err != nil {
			return err
		}
		c.JSON(http.StatusOK, d.bodyOf(s))
		return nil
	}
	all, err := d.Events.OwnStreams(c.Request.Context(), by)
	if err != nil {
		return err
	}
	bodies := []streamBody{}
	for i := range all {
		bodies = append(bodies, d.bodyOf(&all[i]))
	}
	c.JSON(http.StatusOK, bodies)
	return nil
}

func (d *Delivery) named(c *gin.Context, by events.Receiver, text string) (*events.Stream, error) {
	stream, err := streamID(text)
	if err != nil {
		return nil, err
	}
	return d.Events.OwnStream(c.Request.Context(), by, stream)
}

func (d *Delivery) createStream(c *gin.Context, by events.Receiver) error {
	r, err := request(c)
	if err != nil {
		return err
	}
	method, settings, err := r.settings(true)
	if err != nil {
		return err
	}
	s, err := d.Events.CreateOwn(c.Request.Context(), by, method, settings)
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, d.bodyOf(s))
	return nil
}

// changeStream changes what a PATCH names, or with PUT everything (SSF 1.0
// §8.1.1.3, §8.1.1.4).
func (d *Delivery) changeStream(c *gin.Context, by events.Receiver) error {
	r, err := request(c)
	if err != nil {
		return err
	}
	stream, err := streamID(r.ID)
	if err != nil {
		return err
	}
	method, settings, err := r.settings(c.Request.Method == http.MethodPut)
	if err != nil {
		return err
	}
	s, err := d.Events.ChangeOwn(c.Request.Context(), by, stream, method, settings)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, d.bodyOf(s))
	return nil
}

func (d *Delivery) deleteStream(c *gin.Context, by events.Receiver) error {
	stream, err := streamID(c.Query("stream_id"))
	if err != nil {
		return err
	}
	if err := d.Events.DeleteOwn(c.Request.Context(), by, stream); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (d *Delivery) showStatus(c *gin.Context, by events.Receiver) error {
	s, err := d.named(c, by, c.Query("stream_id"))
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, statusBody{s.ID, s.Status, s.Reason})
	return nil
}

func (d *Delivery) changeStatus(c *gin.Context, by events.Receiver) error {
	r, err := request(c)
	if err != nil {
		return err
	}
	stream, err := streamID(r.ID)
	if err != nil {
		return err
	}
	s, err := d.Events.ChangeOwn(c.Request.Context(), by, stream, "", events.Settings{Status: new(events.Status(r.Status)), Reason: &r.Reason})
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, statusBody{s.ID, s.Status, s.Reason})
	return nil
}

// addSubject has a stream tell of a person again (SSF 1.0 §8.1.3.2).
func (d *Delivery) addSubject(c *gin.Context, by events.Receiver) error {
	if err := d.exclude(c, by, false); err != nil {
		return err
	}
	c.Status(http.StatusOK)
	return nil
}

// removeSubject has a stream tell of a person no more (SSF 1.0 §8.1.3.3).
func (d *Delivery) removeSubject(c *gin.Context, by events.Receiver) error {
	if err := d.exclude(c, by, true); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (d *Delivery) exclude(c *gin.Context, by events.Receiver, excluded bool) error {
	r, err := request(c)
	if err != nil {
		return err
	}
	stream, err := streamID(r.ID)
	if err != nil {
		return err
	}
	a, err := d.OIDC.Application(c.Request.Context(), by.ClientID)
	if err != nil {
		return err
	}
	if r.Subject, err = r.Subject.Known(func(subject id.User) (string, error) {
		user, err := d.OIDC.UserOf(c.Request.Context(), a, string(subject))
		return string(user), err
	}); err != nil {
		return err
	}
	return d.Events.Exclude(c.Request.Context(), by, stream, r.Subject, excluded)
}

func (d *Delivery) verify(c *gin.Context, by events.Receiver) error {
	r, err := request(c)
	if err != nil {
		return err
	}
	stream, err := streamID(r.ID)
	if err != nil {
		return err
	}
	if err := d.Events.Verify(c.Request.Context(), by, stream, r.State); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// pollOwn answers an application that polls a stream of its own.
func (d *Delivery) pollOwn(c *gin.Context, by events.Receiver) error {
	s, err := d.named(c, by, c.Param("stream"))
	if err != nil {
		return err
	}
	if s.Method != events.Poll {
		return fault.New(fault.Conflict, "the stream is of method push")
	}
	return d.answerPoll(c, s)
}
