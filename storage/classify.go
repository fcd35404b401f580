package storage

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	sqlitedriver "modernc.org/sqlite"
	sqlitecode "modernc.org/sqlite/lib"

	"github.com/rolecall/rolecall/internal/fault"
)

// classify turns gorm's and the drivers' errors into the domain's. field is the
// attribute that a violated unique index stands for, as the client spells it.
func classify(err error, field string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gorm.ErrRecordNotFound), errors.Is(err, sql.ErrNoRows):
		return &fault.Error{Kind: fault.NotFound}
	case errors.Is(err, gorm.ErrDuplicatedKey):
		return &fault.Error{Kind: fault.Conflict, Field: field, Detail: field + " is already in use"}
	}
	if _, classified := errors.AsType[*fault.Error](err); classified {
		return err
	}
	return fmt.Errorf("storage: %w", err)
}

// sqliteDialector translates the errors of modernc's driver; gorm's own
// translator knows only mattn's.
type sqliteDialector struct{ sqlite.Dialector }

// Translate implements gorm.ErrorTranslator.
func (sqliteDialector) Translate(err error) error {
	if e, ok := errors.AsType[*sqlitedriver.Error](err); ok {
		switch e.Code() {
		case sqlitecode.SQLITE_CONSTRAINT_UNIQUE, sqlitecode.SQLITE_CONSTRAINT_PRIMARYKEY:
			return fmt.Errorf("%w: %w", gorm.ErrDuplicatedKey, err)
		case sqlitecode.SQLITE_CONSTRAINT_FOREIGNKEY:
			return fmt.Errorf("%w: %w", gorm.ErrForeignKeyViolated, err)
		}
	}
	return err
}

// Explain implements gorm.Dialector. Whenever gorm scans rows it has the statement
// explained, with each value written into its text, for a log that is not kept; that
// took as long as the rest of the statement.
func (sqliteDialector) Explain(query string, _ ...any) string { return query }

// postgresDialector keeps the driver's error, which names the violated
// constraint, beside gorm's.
type postgresDialector struct{ gorm.Dialector }

// Translate implements gorm.ErrorTranslator.
func (d postgresDialector) Translate(err error) error {
	if _, ok := errors.AsType[*pgconn.PgError](err); !ok {
		return err
	}
	translator, ok := d.Dialector.(*postgres.Dialector)
	if !ok {
		return err
	}
	translated := translator.Translate(err)
	if errors.Is(translated, gorm.ErrDuplicatedKey) || errors.Is(translated, gorm.ErrForeignKeyViolated) {
		return fmt.Errorf("%w: %w", translated, err)
	}
	return err
}

// Explain implements gorm.Dialector as sqliteDialector does.
func (postgresDialector) Explain(query string, _ ...any) string { return query }

// violated returns the name of the constraint that PostgreSQL says a statement
// violates, or "".
func violated(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.ConstraintName
	}
	return ""
}
