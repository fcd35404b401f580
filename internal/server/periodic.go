package server

import (
	"context"
	"log/slog"
	"time"
)

// Periodic is a Worker that does its tasks once at the start and then every
// so often, such as removing what has expired. A task that fails is logged and
// tried again the next time.
type Periodic struct {
	Every  time.Duration
	Tasks  map[string]func(ctx context.Context) error
	Logger *slog.Logger
}

// Run implements Worker.
func (p Periodic) Run(ctx context.Context) error {
	ticker := time.NewTicker(p.Every)
	defer ticker.Stop()
	for {
		for name, task := range p.Tasks {
			if err := task(ctx); err != nil && ctx.Err() == nil {
				p.Logger.ErrorContext(ctx, "periodic task failed", "task", name, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
