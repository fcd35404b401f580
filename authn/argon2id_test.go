package authn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// The vector is argon2's own, made by the reference implementation:
// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32.
func TestPHCOfTheReferenceImplementation(t *testing.T) {
	t.Parallel()
	const hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	h, err := newHasher(Hashing{Memory: 64, Passes: 1}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{"password": true, "passwore": false, "": false} {
		if got, err := h.verify(t.Context(), secret.NewText(password), hash); got != want || err != nil {
			t.Errorf("%q: got %v, %v, want %v", password, got, err, want)
		}
	}
	if h.current(hash) {
		t.Error("a hash with other parameters passes for current")
	}
}

func TestDefaultCostIsOWASPs(t *testing.T) {
	t.Parallel()
	h, err := newHasher(Hashing{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(h.dummy, "$argon2id$v=19$m=19456,t=2,p=1$") || !h.current(h.dummy) {
		t.Errorf("got %.40s, want 19 MiB, 2 passes, 1 lane", h.dummy)
	}
}

func TestHashingQueueIsBounded(t *testing.T) {
	t.Parallel()
	h, err := newHasher(Hashing{Memory: 64, Passes: 1, Lanes: 1, Parallel: 1, Queue: 1})
	if err != nil {
		t.Fatal(err)
	}
	release, busy := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- h.inTurn(t.Context(), func() { close(busy); <-release })
	}()
	<-busy
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() { waiting <- h.inTurn(ctx, func() { t.Error("computed after its caller had gone") }) }()
	for len(h.queue) < 2 {
		time.Sleep(time.Millisecond)
	}
	err = h.inTurn(t.Context(), func() { t.Error("computed beyond the queue") })
	if !errors.Is(err, fault.Overloaded) || fault.As(err).RetryAfter == 0 {
		t.Errorf("got %v with a full queue, want overloaded", err)
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v for a caller that has gone, want canceled", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := h.inTurn(t.Context(), func() {}); err != nil {
		t.Errorf("got %v after the queue emptied", err)
	}
}

func FuzzParsePHC(f *testing.F) {
	for _, seed := range []string{
		"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2i$v=19$m=1,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=0,t=0,p=0$$", "$argon2id$v=19$m=+1,t=01,p=256$c29tZXNhbHQ$AA==", "", "$$$$$", "$2b$10$abc",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("%q comes back as %q", s, p.String())
		}
		if p.memory > maxMemory || p.passes > maxPasses || p.passes == 0 || p.lanes == 0 || len(p.sum) < 16 {
			t.Errorf("%q asks for too much or too little", s)
		}
	})
}

func TestThrottleDelay(t *testing.T) {
	t.Parallel()
	limit := Throttle{Free: 3, First: time.Second, Longest: 5 * time.Second}
	for failures, seconds := range []int{0, 0, 0, 1, 2, 4, 5, 5} {
		want := time.Duration(seconds) * time.Second
		if got := limit.delay(failures); got != want {
			t.Errorf("after %d failures: got %v, want %v", failures, got, want)
		}
	}
	if got := limit.delay(1 << 30); got != limit.Longest {
		t.Errorf("after many failures: got %v", got)
	}
}

func TestAttemptKeysDoNotRunTogether(t *testing.T) {
	t.Parallel()
	if attemptKey("a", "bc") == attemptKey("ab", "c") {
		t.Error("different parts gave the same key")
	}
}
