// Package delivery brings security events to their receivers: it posts the
// tokens of streams of method push (RFC 8935), and answers those who poll
// (RFC 8936).
package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/egress"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// Deps is what New needs. All fields but Look and Wait are required.
type Deps struct {
	Events    *events.Events
	OIDC      *oidc.OIDC // signs
	PublicURL string
	Logger    *slog.Logger
	Look      time.Duration // how often it looks for events to push; default 200 ms
	Wait      time.Duration // for how long a poll waits for events; default 15 s
}

// Delivery pushes events while Run runs, and answers polls. Make one with New.
type Delivery struct {
	Deps
	client *http.Client
}

const (
	look         = 200 * time.Millisecond
	wait         = 15 * time.Second // less than the server waits for requests when it ends
	pushWithin   = 5 * time.Second  // times events.PushBatch it is less than events.PushLease
	pushersMost  = 8                // streams that a node pushes at the same time
	maxAnswer    = 16 << 10
	recordWithin = 20 * time.Second
)

// New returns a Delivery.
func New(d Deps) *Delivery {
	if d.Look == 0 {
		d.Look = look
	}
	if d.Wait == 0 {
		d.Wait = wait
	}
	return &Delivery{Deps: d, client: egress.Client(pushWithin, developing(d.PublicURL))}
}

// developing reports whether the instance runs on a developer's machine, where
// receivers are at a loopback address as well.
func developing(publicURL string) bool {
	u, err := url.Parse(publicURL)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// Run pushes events until ctx ends. Any number of nodes may.
func (d *Delivery) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, pushersMost)
	for {
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		}
		s, header, err := d.Events.ClaimPush(ctx)
		if err == nil {
			running.Go(func() {
				defer func() { <-slots }()
				d.push(ctx, s, header)
			})
			continue
		}
		<-slots
		if !errors.Is(err, fault.NotFound) && ctx.Err() == nil {
			d.Logger.ErrorContext(ctx, "events can't be read", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(d.Look):
		}
	}
}

// push posts the next events of a claimed stream, one after the other, until one
// fails.
func (d *Delivery) push(ctx context.Context, s *events.Stream, header secret.Text) {
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), events.PushLease)
	defer cancel()
	err := d.pushAll(ctx, record, s, header)
	release, cancelRelease := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancelRelease()
	if err = errors.Join(err, d.Events.ReleasePush(release, s)); err != nil {
		d.Logger.ErrorContext(ctx, "events can't be written", "stream", s.ID, "err", err)
	}
}

// pushAll posts in ctx and writes down what came of it in record, which goes on
// when the server ends.
func (d *Delivery) pushAll(ctx, record context.Context, s *events.Stream, header secret.Text) error {
	batch, err := d.Events.Next(record, s)
	if err != nil {
		return err
	}
	for i := range batch {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the server ends: another round goes on
		}
		event := &batch[i]
		failure := d.post(ctx, s, event, header)
		var refusal *refusal
		switch {
		case failure == nil:
			err = d.Events.Delivered(record, s, event)
		case errors.As(failure, &refusal):
			d.Logger.WarnContext(ctx, "event not accepted", "stream", s.ID, "event", event.ID, "err", failure)
			err = d.Events.Reject(record, s, event.ID, failure.Error())
		case ctx.Err() != nil:
			return nil //nolint:nilerr // as above
		default:
			d.Logger.WarnContext(ctx, "event not delivered", "stream", s.ID, "event", event.ID, "failures", s.Failures+1, "err", failure)
			return d.Events.Failed(record, s, failure.Error())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refusal is the answer of a receiver that will not accept the event however
// often it comes (RFC 8935 §2.3).
type refusal struct {
	Code        string `json:"err"`
	Description string `json:"description"`
}

// Error implements error.
func (r *refusal) Error() string {
	return strings.TrimSuffix("the receiver answered "+r.Code+": "+r.Description, ": ")
}

// token returns the security event token of an event. An application that knows
// people by subjects of its own reads these there as well (OIDC Core §8.1).
func (d *Delivery) token(ctx context.Context, s *events.Stream, event *events.Event) (string, error) {
	claims := d.Events.Claims(s, event)
	if s.ClientID != "" {
		a, err := d.OIDC.Application(ctx, s.ClientID)
		if err != nil {
			return "", err
		}
		if claims.Subject, err = claims.Subject.Known(func(user id.User) (string, error) { return d.OIDC.Subject(ctx, a, user) }); err != nil {
			return "", err
		}
	}
	return d.OIDC.SignEvent(ctx, claims)
}

// post sends an event (RFC 8935 §2.1). The error is a refusal, or one after
// which to try again: the receiver can't be reached, or is not set up.
func (d *Delivery) post(ctx context.Context, s *events.Stream, event *events.Event, header secret.Text) error {
	token, err := d.token(ctx, s, event)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint, strings.NewReader(token))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/secevent+jwt")
	request.Header.Set("Accept", "application/json")
	if !header.Empty() {
		request.Header.Set("Authorization", header.Reveal())
	}
	response, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // what there is to say was read
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case response.StatusCode == http.StatusAccepted || response.StatusCode == http.StatusOK || response.StatusCode == http.StatusNoContent:
		return nil
	case err != nil:
		return err
	case response.StatusCode != http.StatusBadRequest && response.StatusCode != http.StatusRequestEntityTooLarge:
		return fmt.Errorf("the receiver answered %d", response.StatusCode)
	}
	said := &refusal{}
	if json.Unmarshal(answer, said) != nil || said.Code == "" {
		said = &refusal{Code: fmt.Sprint(response.StatusCode)}
	}
	switch said.Code {
	case "invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied":
		return fmt.Errorf("the receiver answered %s: %s", said.Code, said.Description) // it is not set up; no event would do
	}
	return said
}
