package server_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/server"
)

func TestPeriodic(t *testing.T) {
	for first, want := range map[time.Duration]int{0: 4, 2 * time.Minute: 3, time.Hour: 0} {
		synctest.Test(t, func(t *testing.T) {
			done := 0
			ctx, stop := context.WithTimeout(t.Context(), 31*time.Minute)
			defer stop()
			p := server.Periodic{First: first, Every: 10 * time.Minute, Logger: slog.New(slog.DiscardHandler), Tasks: map[string]func(context.Context) error{
				"fails": func(context.Context) error { done++; return errors.New("again") },
			}}
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
			if done != want {
				t.Errorf("first after %s, within 31 minutes: %d times, want %d", first, done, want)
			}
		})
	}
}
