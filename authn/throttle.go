package authn

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// Throttle says how failed attempts slow down the next ones. It delays and never
// locks for good, so that a stranger can't shut a person out.
type Throttle struct {
	Free    int           // attempts before the first delay
	First   time.Duration // the first delay; each further failure doubles it
	Longest time.Duration // up to this
	Memory  time.Duration // how long after the last attempt failures are remembered
}

// Attempts counts the attempts on one account that have not succeeded.
type Attempts struct {
	Failures     int
	BlockedUntil time.Time
	Expires      time.Time
}

// delay returns how long to wait after the given number of failures.
func (t Throttle) delay(failures int) time.Duration {
	delay := t.First
	if failures < t.Free {
		return 0
	}
	for range failures - t.Free {
		if delay >= t.Longest {
			break
		}
		delay *= 2
	}
	return min(delay, t.Longest)
}

// try takes an attempt. It is counted as failed until forget is called, so that
// a hundred attempts at once are a hundred and not the first. It fails with
// fault.Throttled; what is turned away does not count.
func (a *Authn) try(ctx context.Context, key secret.Hash, limit Throttle) error {
	now := a.now()
	return a.store.UpdateAttempts(ctx, key, now, func(attempts *Attempts) error {
		if wait := attempts.BlockedUntil.Sub(now); wait > 0 {
			return &fault.Error{
				Kind: fault.Throttled, Code: "attempts", RetryAfter: wait,
				Detail: "too many failed attempts; try again later",
			}
		}
		attempts.Failures++
		attempts.BlockedUntil, attempts.Expires = time.Time{}, now.Add(limit.Memory)
		// Without a delay nothing is blocked: not even an attempt that came a moment
		// before and was kept waiting by this one, or that is of a node whose clock is behind.
		if delay := limit.delay(attempts.Failures); delay > 0 {
			attempts.BlockedUntil = now.Add(delay)
			attempts.Expires = attempts.BlockedUntil.Add(limit.Memory)
		}
		return nil
	})
}

// untry gives back an attempt that could not be judged because of err, and
// returns err.
func (a *Authn) untry(ctx context.Context, key secret.Hash, err error) error {
	// The caller may have gone away, which must not count against the person.
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, a.store.UpdateAttempts(ctx, key, a.now(), func(attempts *Attempts) error {
		attempts.Failures = max(attempts.Failures-1, 0)
		attempts.BlockedUntil = time.Time{} // it was over, or the attempt had not been taken
		return nil
	}))
}

// attemptKey names what is counted. It is a hash, so that the table holds no
// addresses of people who have no login here.
func attemptKey(parts ...string) secret.Hash {
	h := sha256.New()
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // the server bounds what it reads
		h.Write([]byte(part))
	}
	return secret.Hash(h.Sum(nil))
}
