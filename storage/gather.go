package storage

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

// Bounds of a gathering.
const (
	maxAnswering   = 4                     // rounds that run at once
	maxQuestions   = 256                   // in one round
	patience       = 10 * time.Millisecond // with a round before another begins beside it
	answerDeadline = 30 * time.Second      // of a round, which no single caller may end
)

// A gathering answers questions of many callers. While a round is under way, new
// questions gather, and the next one answers all of them; one that takes long is
// not waited for. Each is so answered by a statement that began after it was asked,
// and sees what was committed before. A database that is idle answers at once; a
// busy one is spared a round trip per question, most of what a look-up by index costs.
type gathering[Q any] struct {
	answer func(ctx context.Context, questions []Q) []error // one for each question

	mu        sync.Mutex
	waiting   []asked[Q]
	answering int // rounds
	slow      int // those of them that patience has ended with
}

type asked[Q any] struct {
	question Q
	done     chan error
}

func gather[Q any](answer func(ctx context.Context, questions []Q) []error) *gathering[Q] {
	return &gathering[Q]{answer: answer}
}

// ask returns when the question is answered, or ctx has ended: then the answer
// may still be written to the question.
func (g *gathering[Q]) ask(ctx context.Context, question Q) error {
	a := asked[Q]{question, make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, a)
	begin := g.begin()
	g.mu.Unlock()
	if begin {
		go g.run(context.WithoutCancel(ctx))
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin reports whether another round may begin, and counts it. The caller
// holds the lock.
func (g *gathering[Q]) begin() bool {
	begin := g.answering == g.slow && g.answering < maxAnswering && len(g.waiting) > 0
	if begin {
		g.answering++
	}
	return begin
}

// run answers until nothing waits.
func (g *gathering[Q]) run(ctx context.Context) {
	for {
		g.mu.Lock()
		batch := g.waiting
		if len(batch) > maxQuestions {
			batch, g.waiting = batch[:maxQuestions:maxQuestions], batch[maxQuestions:]
		} else {
			g.waiting = nil
		}
		if len(batch) == 0 {
			g.answering--
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		g.answerAll(ctx, batch)
	}
}

func (g *gathering[Q]) answerAll(ctx context.Context, batch []asked[Q]) {
	defer g.watch(ctx)()
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	questions := make([]Q, len(batch))
	for i, a := range batch {
		questions[i] = a.question
	}
	for i, err := range g.caught(ctx, questions) {
		batch[i].done <- err
	}
}

// caught is answer, whose panic is the error of all who asked.
func (g *gathering[Q]) caught(ctx context.Context, questions []Q) []error {
	var answers []error
	if err := fault.Caught(func() error {
		answers = g.answer(ctx, questions)
		return nil
	}); err != nil {
		return slices.Repeat([]error{err}, len(questions))
	}
	return answers
}

// watch lets others begin if the round that begins now takes long. What it
// returns is to be called at its end.
func (g *gathering[Q]) watch(ctx context.Context) (end func()) {
	ended, slow := false, false
	timer := time.AfterFunc(patience, func() {
		g.mu.Lock()
		if ended {
			g.mu.Unlock()
			return
		}
		slow = true
		g.slow++
		begin := g.begin()
		g.mu.Unlock()
		if begin {
			g.run(ctx)
		}
	})
	return func() {
		timer.Stop()
		g.mu.Lock()
		defer g.mu.Unlock()
		if ended = true; slow {
			g.slow--
		}
	}
}
