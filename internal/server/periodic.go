package server

import (
	"context"
	"log/slog"
	"time"
)

// Periodic is a Worker that does its tasks once and then every so often, such as
// removing what has expired. A task that fails is logged and tried again the next
// time.
type Periodic struct {
	First  time.Duration // after which they are done for the first time; 0: at once
	Every  time.Duration
	Tasks  map[string]func(ctx context.Context) error
	Logger *slog.Logger
}

// Run implements Worker.
func (p Periodic) Run(ctx context.Context) error {
	due := time.NewTimer(p.First)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
			due.Reset(p.Every)
		}
		for name, task := range p.Tasks {
			if err := task(ctx); err != nil && ctx.Err() == nil {
				p.Logger.ErrorContext(ctx, "periodic task failed", "task", name, "err", err)
			}
		}
	}
}
