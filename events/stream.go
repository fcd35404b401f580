// Package events tells others of the changes of a tenant's resources, by
// security event tokens of the SCIM profile (RFC 9967, RFC 8417). A stream says
// who is told of what. Its events are written in the transaction of the change
// and wait until the receiver has taken them over, by push (RFC 8935) or by poll
// (RFC 8936); package delivery speaks these.
package events

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// A Stream is one receiver of a tenant's events.
type Stream struct {
	Tenant      id.Tenant
	ID          id.EventStream
	Name        string // unique in the tenant
	ClientID    string // of the application that has made it for itself and is told of signals; empty: it is the tenant's
	Description string // the application's own words
	Method      Method
	Endpoint    string // where events are pushed to
	// Authorization is the header of that name that a push carries, sealed; nil
	// for none.
	Authorization []byte
	Format        Format
	Audience      []string // the claim aud; empty: the stream's own address
	Requested     []string // URIs of events; empty: all
	Status        Status
	Reason        string    // why it is paused or disabled
	Failures      int       // of pushes, since the last one that succeeded
	LastError     string    // of the last of them
	Due           time.Time // when it is tried again
	Claimed       time.Time // until when a node pushes
	Verified      time.Time // when the application last asked for a proof that it works
	Dropped       int64     // events that were removed because nobody took them over
	Created       time.Time
	Modified      time.Time
}

// Method is how events reach the receiver.
type Method string

// The methods of delivery.
const (
	Push Method = "push" // RFC 8935
	Poll Method = "poll" // RFC 8936
)

// Format says how much events tell of a change.
type Format string

// The formats (RFC 9967 §2.4).
const (
	Notice Format = "notice" // the names of the attributes
	Full   Format = "full"   // the values
)

// Status says what becomes of events.
type Status string

// The statuses of a stream.
const (
	Enabled  Status = "enabled"
	Paused   Status = "paused"   // events wait
	Disabled Status = "disabled" // there are none
)

// Settings are what can be said of a stream. Nil leaves it as it is.
type Settings struct {
	Name          *string
	Endpoint      *string
	Authorization *secret.Text // empty: none
	Format        *Format
	Audience      *[]string
	Requested     *[]string
	Status        *Status
	Reason        *string
	Description   *string
}

// Limits of streams.
const (
	maxStreams   = 10 // of one tenant
	maxName      = 100
	maxText      = 500
	maxAudience  = 10
	maxRequested = 50 // events that an application asks for
)

// tokenPrefix marks the tokens that receivers poll with.
const tokenPrefix = "rce_"

// place is what binds a sealed authorization to its stream.
func (s *Stream) place() string { return "event_streams/" + string(s.Tenant) + "/" + string(s.ID) }

// wants reports whether the receiver asked for the kind of event: its URI
// without notice and full.
func (s *Stream) wants(kind string) bool {
	return len(s.Requested) == 0 || slices.ContainsFunc(s.Requested, func(uri string) bool { return kindOf(uri) == kind })
}

// Delivered returns the URIs of the events that the receiver gets.
func (s *Stream) Delivered() []string {
	if s.ClientID != "" {
		return slices.DeleteFunc(SignalURIs(), func(uri string) bool { return !slices.Contains(s.Requested, uri) })
	}
	return slices.DeleteFunc(EventURIs(), func(uri string) bool {
		other := ":" + string(Full)
		if s.Format == Full {
			other = ":" + string(Notice)
		}
		return strings.HasSuffix(uri, other) || !s.wants(kindOf(uri))
	})
}

// apply brings the stream to the settings. It fails with fault.Invalid.
func (s *Stream) apply(settings Settings) error {
	if settings.Name != nil {
		s.Name = strings.TrimSpace(*settings.Name)
	}
	if settings.Endpoint != nil {
		s.Endpoint = *settings.Endpoint
	}
	if settings.Format != nil {
		s.Format = *settings.Format
	}
	if settings.Audience != nil {
		s.Audience = slices.Clone(*settings.Audience)
	}
	if settings.Requested != nil {
		s.Requested = slices.Clone(*settings.Requested)
	}
	if settings.Status != nil {
		if s.Status = *settings.Status; s.Status == Enabled {
			s.Reason, s.Failures, s.LastError, s.Due = "", 0, "", time.Time{}
		}
	}
	if settings.Description != nil {
		s.Description = strings.TrimSpace(*settings.Description)
	}
	if settings.Reason != nil {
		s.Reason = strings.TrimSpace(*settings.Reason)
	}
	return s.validate()
}

func (s *Stream) validate() error {
	switch {
	case s.Name == "" || !isText(s.Name, maxName):
		return fault.Field(fault.Invalid, "name", "must be text of 1 to %d characters", maxName)
	case s.Method != Push && s.Method != Poll:
		return fault.Field(fault.Invalid, "method", "must be push or poll")
	case s.Format != Notice && s.Format != Full:
		return fault.Field(fault.Invalid, "format", "must be notice or full")
	case s.Status != Enabled && s.Status != Paused && s.Status != Disabled:
		return fault.Field(fault.Invalid, "status", "must be enabled, paused or disabled")
	case !isText(s.Reason, maxText):
		return fault.Field(fault.Invalid, "reason", "must be text of at most %d characters", maxText)
	case len(s.Audience) > maxAudience || slices.ContainsFunc(s.Audience, func(a string) bool { return a == "" || !isText(a, maxText) }):
		return fault.Field(fault.Invalid, "audience", "must be at most %d texts of 1 to %d characters", maxAudience, maxText)
	}
	if s.ClientID != "" { // which may ask for what there is not (SSF 1.0 §8.1.1)
		return s.validateOwn()
	}
	for _, uri := range s.Requested {
		if !slices.Contains(EventURIs(), uri) {
			return fault.Field(fault.Invalid, "events_requested", "%.200q is no event that this server tells of", uri)
		}
	}
	return s.validateEndpoint()
}

func (s *Stream) validateOwn() error {
	if len(s.Requested) > maxRequested || slices.ContainsFunc(s.Requested, func(uri string) bool { return uri == "" || !isText(uri, maxText) }) {
		return fault.Field(fault.Invalid, "events_requested", "must be at most %d texts of 1 to %d characters", maxRequested, maxText)
	}
	if !isText(s.Description, maxText) {
		return fault.Field(fault.Invalid, "description", "must be text of at most %d characters", maxText)
	}
	return s.validateEndpoint()
}

// validateEndpoint wants https, or http at a loopback address.
func (s *Stream) validateEndpoint() error {
	const field = "endpoint_url"
	if s.Method == Poll {
		if s.Endpoint != "" {
			return fault.Field(fault.Invalid, field, "the receiver of a stream of method poll comes by itself")
		}
		return nil
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || !isText(s.Endpoint, 2*maxText) ||
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return fault.Field(fault.Invalid, field, "an https address without credentials and fragment is expected")
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// isText reports whether every database takes the text, and it is not too long.
func isText(text string, most int) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0) && utf8.RuneCountInString(text) <= most
}
