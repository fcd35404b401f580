package storage

import "context"

type observerKey struct{}

// WithObserver returns ctx such that each statement made under it is handed to
// observe before it runs, as the database gets it and without its values. What
// runs beside each other calls observe beside each other.
func WithObserver(ctx context.Context, observe func(statement string)) context.Context {
	return context.WithValue(ctx, observerKey{}, observe)
}

func observe(ctx context.Context, statement string) {
	if f, ok := ctx.Value(observerKey{}).(func(string)); ok {
		f(statement)
	}
}
