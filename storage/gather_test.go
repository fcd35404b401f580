package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// Questions that come while a statement runs share the next one; each caller
// gets the own answer.
func TestGathering(t *testing.T) {
	type numbered struct{ n, answer int }
	synctest.Test(t, func(t *testing.T) {
		var batches [][]int
		release := make(chan struct{})
		g := gather(func(_ context.Context, questions []*numbered) []error {
			<-release
			batch := make([]int, 0, len(questions))
			for _, q := range questions {
				q.answer = 2 * q.n
				batch = append(batch, q.n)
			}
			batches = append(batches, batch)
			return make([]error, len(questions))
		})
		var wg sync.WaitGroup
		for n := range 9 {
			wg.Go(func() {
				q := &numbered{n: n}
				if err := g.ask(t.Context(), q); err != nil || q.answer != 2*n {
					t.Errorf("question %d: answer %d, %v", n, q.answer, err)
				}
			})
			synctest.Wait()
		}
		close(release)
		wg.Wait()
		if got := fmt.Sprint(batches); got != "[[0] [1 2 3 4 5 6 7 8]]" {
			t.Errorf("batches: %s", got)
		}
	})
}

// A caller who goes away ends nobody else's statement, a failure reaches all
// who asked, and one long statement does not hold up the rest.
func TestGatheringFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		stuck := make(chan struct{})
		g := gather(func(ctx context.Context, questions []string) []error {
			answers := make([]error, len(questions))
			for i, question := range questions {
				switch question {
				case "stuck":
					<-stuck
					answers[i] = ctx.Err()
				case "refused":
					answers[i] = refused
				}
			}
			return answers
		})
		gone, leave := context.WithCancel(t.Context())
		left, kept := make(chan error, 1), make(chan error, 1)
		go func() { left <- g.ask(gone, "stuck") }()
		synctest.Wait()
		go func() { kept <- g.ask(t.Context(), "refused") }()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who went away: %v", err)
		}
		select {
		case err := <-kept:
			t.Errorf("answered while a statement runs: %v", err)
		default:
		}
		// The clock here moves on when all wait, to the end of the patience.
		if err := <-kept; !errors.Is(err, refused) {
			t.Errorf("who waited beside a long statement: %v", err)
		}
		if err := g.ask(t.Context(), "third"); err != nil {
			t.Errorf("who came later: %v", err)
		}
		close(stuck)
	})
}

// A panic is an error, with its place, of those who asked together, and of nobody
// else; the next round begins.
func TestGatheringPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := gather(func(_ context.Context, questions []string) []error {
			<-release
			if slices.Contains(questions, "mistake") {
				panic("no such column")
			}
			return make([]error, len(questions))
		})
		failures := map[string]chan error{}
		for _, question := range []string{"before", "mistake", "beside"} {
			failures[question] = make(chan error, 1)
			go func() { failures[question] <- g.ask(t.Context(), question) }()
			synctest.Wait()
		}
		close(release)
		if err := <-failures["before"]; err != nil {
			t.Errorf("who asked before: %v", err)
		}
		for _, question := range []string{"mistake", "beside"} {
			err := <-failures[question]
			if err == nil || !strings.Contains(err.Error(), "no such column") || !strings.Contains(err.Error(), "gather_test.go") {
				t.Errorf("%s: got %v, want the panic with its place", question, err)
			}
		}
		if err := g.ask(t.Context(), "later"); err != nil {
			t.Errorf("who came later: %v", err)
		}
	})
}
