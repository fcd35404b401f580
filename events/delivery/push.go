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
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
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

// Deps is what New needs. All fields but Look, Wait and Within are required.
type Deps struct {
	Events    *events.Events
	OIDC      *oidc.OIDC // signs
	PublicURL string
	Logger    *slog.Logger
	Now       func() time.Time
	Look      time.Duration // how often it looks for events to push; default 200 ms
	Wait      time.Duration // for how long a poll waits for events; default 15 s
	Within    time.Duration // for how long a push waits for the answer; default 5 s
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
	slowAfter    = time.Second      // a receiver that takes longer for an answer is slow
	turnWithin   = 5 * time.Second  // after that another stream has its turn
	pushersMost  = 32               // streams that a node pushes at the same time
	unprovenMost = 24               // of them to receivers that have not proven quick
	rememberMost = 1000             // receivers that have
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
	if d.Within == 0 {
		d.Within = pushWithin
	}
	return &Delivery{Deps: d, client: egress.Client(d.Within, developing(d.PublicURL))}
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

// A turn is one stream's: the next of its events were pushed.
type turn struct {
	stream id.EventStream
	proven bool // before it
	quick  bool
}

// Run pushes events until ctx ends. Any number of nodes may. Receivers that are
// slow, or never answer, leave a share of the turns to those that are quick.
func (d *Delivery) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	over := make(chan turn, pushersMost) // so that nobody waits for a Run that has ended
	proven := map[id.EventStream]bool{}
	underWay, unproven := 0, 0
	for ctx.Err() == nil {
		wait := d.Look
		if s, header := d.claim(ctx, underWay, unproven, proven); s != nil {
			wait = 0 // others may have some as well
			t := turn{stream: s.ID, proven: proven[s.ID]}
			if underWay++; !t.proven {
				unproven++
			}
			running.Go(func() {
				t.quick = d.push(ctx, s, header)
				over <- t
			})
		}
		select {
		case <-ctx.Done():
		case t := <-over:
			if underWay--; !t.proven {
				unproven--
			}
			if delete(proven, t.stream); t.quick && len(proven) < rememberMost {
				proven[t.stream] = true
			}
		case <-time.After(wait):
		}
	}
	return nil
}

// claim takes over a stream, if there is one that may have its turn.
func (d *Delivery) claim(ctx context.Context, underWay, unproven int, proven map[id.EventStream]bool) (*events.Stream, secret.Text) {
	var among []id.EventStream // all
	if unproven >= unprovenMost {
		among = slices.Sorted(maps.Keys(proven))
	}
	if underWay >= pushersMost || unproven >= unprovenMost && len(among) == 0 {
		return nil, secret.Text{}
	}
	s, header, err := d.Events.ClaimPush(ctx, among)
	if err != nil {
		if !errors.Is(err, fault.NotFound) && ctx.Err() == nil {
			d.Logger.ErrorContext(ctx, "events can't be read", "err", err)
		}
		return nil, secret.Text{}
	}
	return s, header
}

// push posts the next events of a claimed stream, one after the other, until one
// fails or its turn is over. It reports whether the receiver was quick.
func (d *Delivery) push(ctx context.Context, s *events.Stream, header secret.Text) bool {
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), events.PushLease)
	defer cancel()
	var slowest time.Duration
	err := fault.Caught(func() (err error) {
		slowest, err = d.pushAll(ctx, record, s, header)
		return err
	})
	release, cancelRelease := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancelRelease()
	if err = errors.Join(err, d.Events.ReleasePush(release, s)); err != nil {
		d.Logger.ErrorContext(ctx, "events can't be written", "stream", s.ID, "err", err)
	}
	return slowest <= slowAfter
}

// pushAll posts in ctx and writes down what came of it in record, which goes on
// when the server ends. It returns how long the slowest answer took.
func (d *Delivery) pushAll(ctx, record context.Context, s *events.Stream, header secret.Text) (slowest time.Duration, err error) {
	batch, err := d.Events.Next(record, s)
	if err != nil {
		return 0, err
	}
	began := d.Now()
	for i := range batch {
		if ctx.Err() != nil || d.Now().Sub(began) > turnWithin {
			return slowest, nil //nolint:nilerr // another turn goes on
		}
		posted := d.Now()
		failure := d.post(ctx, s, &batch[i], header)
		slowest = max(slowest, d.Now().Sub(posted))
		if failure != nil && ctx.Err() != nil {
			return slowest, nil //nolint:nilerr // the server ends
		}
		if more, err := d.settle(record, s, &batch[i], failure); err != nil || !more {
			return slowest, err
		}
	}
	return slowest, nil
}

// settle writes down what became of an event, and reports whether the next one
// can be posted.
func (d *Delivery) settle(ctx context.Context, s *events.Stream, event *events.Event, failure error) (more bool, err error) {
	var refusal *refusal
	switch {
	case failure == nil:
		return true, d.Events.Delivered(ctx, s, event)
	case errors.As(failure, &refusal):
		d.Logger.WarnContext(ctx, "event not accepted", "stream", s.ID, "event", event.ID, "err", failure)
		return true, d.Events.Reject(ctx, s, event.ID, failure.Error())
	}
	d.Logger.WarnContext(ctx, "event not delivered", "stream", s.ID, "event", event.ID, "failures", s.Failures+1, "err", failure)
	return false, d.Events.Failed(ctx, s, failure.Error())
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
