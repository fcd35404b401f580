package storage

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
)

// A statement of ours is mostly a journey: two processes are woken for it, and
// of what it costs both together, its execution is a third. So in a transaction
// what nobody waits for goes along with what somebody waits for: BEGIN with the
// first statement, what Store.later was given with the next one or with COMMIT.

type laterKey struct{}

// later is exec of a statement that the database has no reason to refuse, and
// whose outcome the transaction does not depend on. On PostgreSQL it is sent with
// the next statement, or with the transaction's end, and fails there if it does.
func (s *Store) later(ctx context.Context, query string, args ...any) error {
	return s.exec(context.WithValue(ctx, laterKey{}, true), query, args...)
}

// pipelines makes connections of the type pipeline.
type pipelines struct{ driver.Connector }

// Connect implements driver.Connector.
func (p pipelines) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	plain, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("storage: a connection of the type %T", conn)
	}
	return &pipeline{Conn: plain}, nil
}

// pipeline is a connection to PostgreSQL that keeps statements of a transaction
// back until one comes whose answer is asked for.
type pipeline struct {
	*stdlib.Conn
	within bool      // a transaction is open
	kept   pgx.Batch // in a transaction only
}

// BeginTx implements driver.ConnBeginTx, for transactions without options.
func (p *pipeline) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if opts != (driver.TxOptions{}) {
		return nil, errors.New("storage: a transaction with options")
	}
	if p.Conn.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	p.within = true
	p.kept.Queue("begin")
	return &pipelineTx{ctx, p}, nil
}

// ExecContext implements driver.ExecerContext.
func (p *pipeline) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if later, _ := ctx.Value(laterKey{}).(bool); later && p.within {
		p.keep(query, args)
		return driver.RowsAffected(0), nil
	}
	if alone, err := p.alone(ctx, args); err != nil || alone {
		if err != nil {
			return nil, err
		}
		return p.Conn.ExecContext(ctx, query, args)
	}
	p.keep(query, args)
	results, err := p.send(ctx)
	if err != nil {
		return nil, err
	}
	tag, err := results.Exec()
	return driver.RowsAffected(tag.RowsAffected()), closed(results, err)
}

// QueryContext implements driver.QueryerContext.
func (p *pipeline) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if alone, err := p.alone(ctx, args); err != nil || alone {
		if err != nil {
			return nil, err
		}
		return p.Conn.QueryContext(ctx, query, args)
	}
	p.keep(query, args)
	results, err := p.send(ctx)
	if err != nil {
		return nil, err
	}
	found, err := results.Query()
	if err != nil {
		return nil, closed(results, err)
	}
	rows := &pipelineRows{types: p.Conn.Conn().TypeMap(), results: results, rows: found}
	// Read ahead: a refusal is an error of the statement and not of its rows.
	if rows.more = found.Next(); found.Err() != nil {
		return nil, closed(results, found.Err())
	}
	return rows, nil
}

// PrepareContext implements driver.ConnPrepareContext.
func (p *pipeline) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := p.flush(ctx); err != nil {
		return nil, err
	}
	return p.Conn.PrepareContext(ctx, query)
}

// keep keeps a statement back.
func (p *pipeline) keep(query string, args []driver.NamedValue) {
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg.Value
	}
	p.kept.Queue(query, values...)
}

// send sends all that is kept and reads the answers but the last one, which the
// caller has to read.
func (p *pipeline) send(ctx context.Context) (pgx.BatchResults, error) {
	batch := p.kept
	p.kept = pgx.Batch{}
	results := p.Conn.Conn().SendBatch(ctx, &batch)
	for range batch.Len() - 1 {
		if _, err := results.Exec(); err != nil {
			return nil, closed(results, err)
		}
	}
	return results, nil
}

// flush sends all that is kept.
func (p *pipeline) flush(ctx context.Context) error {
	if p.kept.Len() == 0 {
		return nil
	}
	results, err := p.send(ctx)
	if err != nil {
		return err
	}
	_, err = results.Exec()
	return closed(results, err)
}

// closed closes results. The error of a statement comes before that of the
// closing, which says the same once more.
func closed(results pgx.BatchResults, err error) error {
	if closing := results.Close(); err == nil {
		return closing
	}
	return err
}

// alone reports whether the statement that comes next has no company: nothing is
// kept, or it has an option for the driver, which a batch can't.
func (p *pipeline) alone(ctx context.Context, args []driver.NamedValue) (bool, error) {
	if p.kept.Len() == 0 {
		return true, nil
	}
	if len(args) > 0 {
		if _, option := args[0].Value.(pgx.QueryExecMode); option {
			return true, p.flush(ctx)
		}
	}
	return false, nil
}

// pipelineTx is a transaction of a pipeline.
type pipelineTx struct {
	ctx      context.Context //nolint:containedctx // that of the beginning; driver.Tx takes none
	pipeline *pipeline
}

// Commit implements driver.Tx.
func (tx *pipelineTx) Commit() error {
	p := tx.pipeline
	p.within = false
	if p.Conn.Conn().PgConn().TxStatus() == 'I' && p.kept.Len() == 1 { // BEGIN alone
		p.kept = pgx.Batch{}
		return nil
	}
	p.kept.Queue("commit")
	results, err := p.send(tx.ctx)
	if err == nil {
		var tag pgconn.CommandTag
		tag, err = results.Exec()
		err = closed(results, err)
		if err == nil && tag.String() == "ROLLBACK" { // after an error that was not returned
			err = pgx.ErrTxCommitRollback
		}
	}
	if ending := tx.end(); err == nil {
		err = ending
	}
	return err
}

// Rollback implements driver.Tx.
func (tx *pipelineTx) Rollback() error {
	tx.pipeline.within, tx.pipeline.kept = false, pgx.Batch{}
	return tx.end()
}

// rollbackTimeout bounds the wait for the end of a transaction whose caller may
// be gone.
const rollbackTimeout = 5 * time.Second

// end rolls back what is still open, or closes the connection where it can't: it
// is not for others then.
func (tx *pipelineTx) end() error {
	conn := tx.pipeline.Conn.Conn()
	if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tx.ctx), rollbackTimeout)
	defer cancel()
	if _, err := conn.Exec(ctx, "rollback"); err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	return nil
}

// pipelineRows are the rows of a statement that had company.
type pipelineRows struct {
	types   *pgtype.Map
	results pgx.BatchResults
	rows    pgx.Rows
	more    bool // the row ahead is there
	columns []string
}

// Columns implements driver.Rows.
func (r *pipelineRows) Columns() []string {
	if r.columns == nil {
		r.columns = make([]string, len(r.rows.FieldDescriptions()))
		for i, field := range r.rows.FieldDescriptions() {
			r.columns[i] = field.Name
		}
	}
	return r.columns
}

// Next implements driver.Rows.
func (r *pipelineRows) Next(into []driver.Value) error {
	if !r.more {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	fields := r.rows.FieldDescriptions()
	for i, raw := range r.rows.RawValues() {
		if raw == nil {
			into[i] = nil
			continue
		}
		kind, known := r.types.TypeForOID(fields[i].DataTypeOID)
		if !known { // such as void, and comes as text
			into[i] = string(raw)
			continue
		}
		if _, array := kind.Codec.(*pgtype.ArrayCodec); array { // not as text here, while it is alone
			return fmt.Errorf("storage: the column %s is an array, which has to be cast to text", fields[i].Name)
		}
		var err error
		if into[i], err = kind.Codec.DecodeDatabaseSQLValue(r.types, fields[i].DataTypeOID, fields[i].Format, raw); err != nil {
			return fmt.Errorf("storage: the column %s: %w", fields[i].Name, err)
		}
	}
	r.more = r.rows.Next()
	return nil
}

// Close implements driver.Rows.
func (r *pipelineRows) Close() error {
	r.rows.Close()
	return r.results.Close()
}
