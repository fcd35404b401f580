package fault_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

func TestErrorShowsItsKindAndCause(t *testing.T) {
	err := fmt.Errorf("create user: %w", &fault.Error{Kind: fault.Conflict, Field: "userName", Err: io.EOF})
	if !errors.Is(err, fault.Conflict) {
		t.Error("the kind is hidden by wrapping")
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is hidden by wrapping")
	}
	if errors.Is(err, fault.NotFound) {
		t.Error("an error of one kind is also of another")
	}
}

func TestAsHidesUnclassifiedErrors(t *testing.T) {
	got := fault.As(io.EOF)
	if got.Kind != fault.Internal || got.Detail != "" {
		t.Errorf("As(io.EOF) = kind %v, detail %q; want an internal error without a detail", got.Kind, got.Detail)
	}
}

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]fault.Kind{}
	for k := fault.Internal; k <= fault.Unsupported; k++ {
		if other, dup := seen[k.Error()]; dup {
			t.Errorf("kinds %d and %d are both called %q", other, k, k)
		}
		seen[k.Error()] = k
	}
}

// RFC 9110 §10.2.3: whole seconds, and never too few.
func TestCaughtMakesAPanicAnError(t *testing.T) {
	known := errors.New("known")
	if err := fault.Caught(func() error { return known }); err != known { //nolint:errorlint // the very same
		t.Errorf("got %v, want the function's own error", err)
	}
	err := fault.Caught(func() error { panic("nobody has foreseen this") })
	if got := err.Error(); !strings.Contains(got, "panic: nobody has foreseen this\n") || !strings.Contains(got, "fault_test.go") {
		t.Errorf("got %q, want the panic with its place", got)
	}
	if got := fault.As(err); got.Kind != fault.Internal || got.Detail != "" {
		t.Errorf("clients are told %q of kind %v", got.Detail, got.Kind)
	}
}

func TestSecondsRoundUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "0", 1: "1", time.Second: "1", time.Second + 1: "2", 1500 * time.Millisecond: "2", 2 * time.Second: "2"} {
		if got := fault.Seconds(wait); got != want {
			t.Errorf("%v: got %s, want %s", wait, got, want)
		}
	}
}
