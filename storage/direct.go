package storage

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"gorm.io/gorm"
)

// The statements that run with every request go to the pool directly: gorm's
// builder costs them as much as the database does. They are constants with ?
// for values, pass the same guard, and join the transaction in the context.

// exec runs a statement that returns no rows.
func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	_, err := s.execCount(ctx, query, args...)
	return err
}

// execCount is exec that returns how many rows were changed.
func (s *Store) execCount(ctx context.Context, query string, args ...any) (int, error) {
	result, err := s.conn(ctx).Statement.ConnPool.ExecContext(ctx, s.rebind(query), args...)
	if err != nil {
		return 0, s.translate(err)
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// queryRow runs a statement that returns at most one row.
func (s *Store) queryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return s.conn(ctx).Statement.ConnPool.QueryRowContext(ctx, s.rebind(query), args...)
}

// query runs a statement and hands each of its rows to scan.
func (s *Store) query(ctx context.Context, scan func(rows *sql.Rows) error, query string, args ...any) (err error) {
	rows, err := s.conn(ctx).Statement.ConnPool.QueryContext(ctx, s.rebind(query), args...)
	if err != nil {
		return classify(s.translate(err), "")
	}
	defer func() { err = classify(errors.Join(err, rows.Err(), rows.Close()), "") }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return nil
}

// translate turns a driver's error into gorm's, as gorm does for its own
// statements.
func (s *Store) translate(err error) error {
	if err == nil {
		return nil
	}
	if translator, ok := s.db.Dialector.(gorm.ErrorTranslator); ok {
		return translator.Translate(err)
	}
	return err
}

// rebind writes the placeholders as the database wants them.
func (s *Store) rebind(query string) string {
	if s.sqlite {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 32)
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		query = after
	}
}
