package storage

import (
	"context"
	"database/sql"
	"errors"

	"gorm.io/gorm"
)

// errRehearsed ends the transaction of a rehearsal.
var errRehearsed = errors.New("storage: only rehearsed")

// rehearsalKey is the context key of a bool: whether InTx, outside of which
// statements would commit one by one, is a savepoint of a rehearsal.
type rehearsalKey struct{}

// Rehearse implements provisioning.Store: it runs fn in a transaction that is
// rolled back whatever comes of it. In it InTx is what it is elsewhere, all or
// nothing, by means of a savepoint; and a statement that fails outside of InTx
// does not spoil what follows.
func (s *Store) Rehearse(ctx context.Context, fn func(ctx context.Context) error) error {
	var failure error
	err := s.InTx(ctx, func(ctx context.Context) error {
		tx := s.conn(ctx)
		if !s.sqlite { // there a failed statement leaves the transaction as it is
			tx.Statement.ConnPool = forgiving{tx.Statement.ConnPool}
		}
		failure = fn(context.WithValue(context.WithValue(ctx, txKey{}, tx), rehearsalKey{}, true))
		return errRehearsed
	})
	if !errors.Is(err, errRehearsed) {
		return err
	}
	return failure
}

// inSavepoint runs fn so that what it did is taken back if it fails.
func (s *Store) inSavepoint(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.savepoint(ctx, "rehearsed", func() error { return fn(context.WithValue(ctx, rehearsalKey{}, false)) })
}

// Attempt implements directory.Store.
func (s *Store) Attempt(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.savepoint(ctx, "attempt", func() error { return fn(ctx) })
}

func (s *Store) savepoint(ctx context.Context, name string, fn func() error) error {
	if err := s.exec(ctx, "SAVEPOINT "+name); err != nil {
		return err
	}
	if err := fn(); err != nil {
		if failure := s.exec(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT "+name); failure != nil {
			return errors.Join(err, failure)
		}
		return err
	}
	return s.exec(ctx, "RELEASE SAVEPOINT "+name)
}

// forgiving is a transaction of PostgreSQL that survives statements that fail.
type forgiving struct{ gorm.ConnPool }

func (f forgiving) trying(ctx context.Context, run func() error) error {
	if _, err := f.ConnPool.ExecContext(ctx, "SAVEPOINT statement"); err != nil {
		return err
	}
	err := run()
	if err != nil {
		if _, failure := f.ConnPool.ExecContext(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT statement"); failure != nil {
			return errors.Join(err, failure)
		}
	}
	return err // not released: rows may be open
}

// ExecContext implements gorm.ConnPool.
func (f forgiving) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	err = f.trying(ctx, func() error {
		result, err = f.ConnPool.ExecContext(ctx, query, args...)
		return err
	})
	return result, err
}

// QueryContext implements gorm.ConnPool.
func (f forgiving) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	err = f.trying(ctx, func() error {
		rows, err = f.ConnPool.QueryContext(ctx, query, args...) //nolint:sqlclosecheck,rowserrcheck // the caller's
		return err
	})
	return rows, err
}

// QueryRowContext implements gorm.ConnPool. A savepoint that can't be made shows
// in the row's error as well, since the transaction is then of no use.
func (f forgiving) QueryRowContext(ctx context.Context, query string, args ...any) (row *sql.Row) {
	_ = f.trying(ctx, func() error {
		row = f.ConnPool.QueryRowContext(ctx, query, args...)
		return row.Err()
	})
	if row == nil {
		row = f.ConnPool.QueryRowContext(ctx, query, args...)
	}
	return row
}
