package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// warmUp runs before each measurement and is not counted.
const warmUp = 300 * time.Millisecond

// longest is the longest window that is tried for what is slow.
const longest = 20 * time.Second

// A worker is one client of a measurement. It does one operation; how long the
// part that counts took is its result, or 0 for the whole call.
type worker func(ctx context.Context) (time.Duration, error)

// A measurement is one operation under load.
type measurement struct {
	name    string
	clients int
	pace    time.Duration // between the starts of a client's operations; 0: as fast as they go
	// worker makes the n-th client, from 0. Whatever it needs is made here.
	worker func(n int) (worker, error)

	workers []worker
	rates   []float64         // operations per second, one a round
	costs   [][]time.Duration // of each operation, one list a round, sorted
}

// run measures one round.
func (m *measurement) run(ctx context.Context, window time.Duration) error {
	for n := len(m.workers); n < m.clients; n++ {
		worker, err := m.worker(n)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		m.workers = append(m.workers, worker)
	}
	costs := make([][]time.Duration, m.clients)
	failures := make([]error, m.clients)
	begin := time.Now().Add(warmUp)
	end := begin.Add(window)
	var group sync.WaitGroup
	for n, worker := range m.workers {
		group.Go(func() { costs[n], failures[n] = drive(ctx, worker, m.pace, begin, end) })
	}
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	all := slices.Concat(costs...)
	slices.Sort(all)
	if len(all) == 0 && window < longest {
		return m.run(ctx, 4*window) // it takes longer
	}
	if len(all) == 0 {
		return fmt.Errorf("%s: nothing was done in %s", m.name, window)
	}
	m.rates = append(m.rates, float64(len(all))/window.Seconds())
	m.costs = append(m.costs, all)
	return nil
}

// drive repeats an operation until end, and returns the cost of those that
// began and ended between begin and end. At a pace, an operation begins when it is
// due, whether or not the one before is done: the time that it waits counts.
func drive(ctx context.Context, do worker, pace time.Duration, begin, end time.Time) ([]time.Duration, error) {
	var costs []time.Duration
	due := time.Now().Add(rand.N(pace + 1)) //nolint:gosec // clients do not begin at once
	for ctx.Err() == nil {
		start := time.Now()
		if pace > 0 {
			time.Sleep(due.Sub(start))
			start, due = due, due.Add(pace)
		}
		if start.After(end) {
			return costs, nil
		}
		cost, err := do(ctx)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		if cost == 0 {
			cost = now.Sub(start)
		}
		if start.After(begin) && now.Before(end) {
			costs = append(costs, cost)
		}
	}
	return nil, ctx.Err()
}

// rate is the median of the rounds, per second.
func (m *measurement) rate() float64 { return median(m.rates) }

// to is the median of the rounds' ratios to what was measured in the same round.
func (m *measurement) to(limit *measurement) float64 {
	ratios := make([]float64, len(m.rates))
	for round := range m.rates {
		ratios[round] = m.rates[round] / limit.rates[round]
	}
	return median(ratios)
}

// percentile is the median over the rounds of the p-th part of all operations.
func (m *measurement) percentile(p float64) time.Duration {
	var values []float64
	for _, round := range m.costs {
		values = append(values, float64(round[min(len(round)-1, int(p*float64(len(round))))]))
	}
	return time.Duration(median(values))
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
