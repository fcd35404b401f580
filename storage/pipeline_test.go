package storage

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/rolecall/rolecall/internal/fault"
)

// KeptBack is TestStatementsKeptBack, which has the databases.
func KeptBack(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	const insert = "INSERT INTO kept (n) VALUES (?)"
	if err := s.exec(ctx, "CREATE TABLE kept (n integer PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	count := func(ctx context.Context) (n int) {
		if err := s.queryRow(ctx, "SELECT count(*) FROM kept").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	holds := func(t *testing.T, want int) {
		t.Helper()
		if got := count(ctx); got != want {
			t.Fatalf("%d rows, want %d", got, want)
		}
		if err := s.exec(ctx, "DELETE FROM kept"); err != nil {
			t.Fatal(err)
		}
	}
	refused := errors.New("refused")

	t.Run("a query sees what was kept back before it, and the commit keeps it", func(t *testing.T) {
		err := s.InTx(ctx, func(ctx context.Context) error {
			if err := errors.Join(s.later(ctx, insert, 1), s.later(ctx, insert, 2)); err != nil {
				return err
			}
			if got := count(ctx); got != 2 {
				t.Errorf("%d rows within, want 2", got)
			}
			return s.later(ctx, insert, 3)
		})
		if err != nil {
			t.Fatal(err)
		}
		holds(t, 3)
	})
	t.Run("the rows changed are those of the last statement", func(t *testing.T) {
		err := s.InTx(ctx, func(ctx context.Context) error {
			if err := errors.Join(s.later(ctx, insert, 1), s.later(ctx, insert, 2), s.later(ctx, insert, 3)); err != nil {
				return err
			}
			n, err := s.execCount(ctx, "DELETE FROM kept WHERE n > ?", 1)
			if n != 2 {
				t.Errorf("%d deleted, want 2", n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		holds(t, 1)
	})
	t.Run("who fails leaves nothing", func(t *testing.T) {
		for name, fail := range map[string]func(ctx context.Context) error{
			"by itself":                       func(ctx context.Context) error { return errors.Join(s.later(ctx, insert, 1), refused) },
			"before anything":                 func(context.Context) error { return refused },
			"in what was kept, at the commit": func(ctx context.Context) error { return errors.Join(s.later(ctx, insert, 1), s.later(ctx, insert, 1)) },
			"in what was kept, and is ignored": func(ctx context.Context) error {
				_ = errors.Join(s.later(ctx, insert, 1), s.later(ctx, insert, 1), s.exec(ctx, insert, 2))
				return refused
			},
			"in a query after it": func(ctx context.Context) error {
				return errors.Join(s.later(ctx, insert, 1), s.query(ctx, func(*sql.Rows) error { return nil }, "SELECT nothing FROM nowhere"))
			},
			"in a statement after it": func(ctx context.Context) error { return errors.Join(s.later(ctx, insert, 1), s.exec(ctx, insert, 1)) },
		} {
			t.Run(name, func(t *testing.T) {
				if err := s.InTx(ctx, fail); err == nil {
					t.Error("no error")
				}
				holds(t, 0)
			})
		}
	})
	t.Run("a conflict is told from other errors", func(t *testing.T) {
		err := s.InTx(ctx, func(ctx context.Context) error {
			if err := s.later(ctx, insert, 1); err != nil {
				return err
			}
			return classify(s.exec(ctx, insert, 1), "n")
		})
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("got %v, want a conflict", err)
		}
		holds(t, 0)
	})
	t.Run("a savepoint keeps what was before it", func(t *testing.T) {
		err := s.InTx(ctx, func(ctx context.Context) error {
			if err := s.later(ctx, insert, 1); err != nil {
				return err
			}
			if err := s.inSavepoint(ctx, func(ctx context.Context) error { return errors.Join(s.later(ctx, insert, 2), refused) }); !errors.Is(err, refused) {
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		holds(t, 1)
	})
	t.Run("outside of a transaction nothing is kept back", func(t *testing.T) {
		if err := s.later(ctx, insert, 1); err != nil {
			t.Fatal(err)
		}
		if err := s.later(ctx, insert, 1); !errors.Is(err, gorm.ErrDuplicatedKey) {
			t.Errorf("got %v, want a duplicate", err)
		}
		holds(t, 1)
	})
	t.Run("nobody left, nothing kept", func(t *testing.T) {
		ctx, leave := context.WithCancel(ctx)
		err := s.InTx(ctx, func(ctx context.Context) error {
			err := s.later(ctx, insert, 1)
			leave()
			return err
		})
		if err == nil {
			t.Error("no error")
		}
		holds(t, 0)
	})
}

// PipelineReads is TestPipelineReadsWhatTheDriverReads, which has a database.
func PipelineReads(t *testing.T, s *Store) {
	t.Helper()
	const values = `SELECT true, NULL::text, 'ä'::text, 7::smallint, 8::int, 9::bigint, 1.5::real, 2.5::double precision, 12.75::numeric, '{"a": [1]}'::json, '{"a": [1]}'::jsonb,
		'\x00ff'::bytea, timestamptz '2026-11-22 12:00:00.123456+00', date '2026-11-22', '019aab6c-7f5e-7cc1-9c43-0f4f1b6d7a55'::uuid, 'name'::name, pg_advisory_xact_lock(1)`
	read := func(ctx context.Context, mode ...any) []any {
		t.Helper()
		var got []any
		err := s.query(ctx, func(rows *sql.Rows) error {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			got = make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range got {
				into[i] = &got[i]
			}
			err = rows.Scan(into...)
			for i, value := range got {
				switch value := value.(type) {
				case []byte:
					got[i] = string(value) // whoever scans text takes either
				case time.Time:
					got[i] = value.UTC()
				}
			}
			return err
		}, values, mode...)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := read(t.Context())
	array := s.InTx(t.Context(), func(ctx context.Context) error {
		return s.query(ctx, func(rows *sql.Rows) error { return nil }, "SELECT ARRAY['a']")
	})
	if array == nil {
		t.Error("an array is read in a form that nobody expects")
	}
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		if diff := cmp.Diff(want, read(ctx)); diff != "" { // beside BEGIN
			t.Errorf("in company (-alone +in company):\n%s", diff)
		}
		if err := s.later(ctx, "SELECT 1"); err != nil {
			return err
		}
		if diff := cmp.Diff(want, read(ctx, pgx.QueryExecModeDescribeExec)); diff != "" {
			t.Errorf("with an option (-alone +with an option):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
