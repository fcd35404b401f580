package storage

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

// Everything that many callers ask for one at a time, and at the same time, is a
// question. On PostgreSQL those of one kind share a statement, and the statements
// of one round a way to and fro: a look-up costs a third of what it costs alone.

// A question is what one caller wants to know.
type question interface {
	// statement is the same for all questions of a kind. Its only value is the list
	// of what is asked, as JSON; the last column of its rows says, as an integer,
	// whose answer a row is.
	statement() string
	// asked is what the list has of the n-th question.
	asked(n int) []any
	// read takes over a row.
	read(row scanner) error
}

// A scanner is a row.
type scanner interface{ Scan(into ...any) error }

// errand is the questions of one kind in a round.
type errand struct {
	statement string
	list      []any
	questions []question
	places    []int // of the questions, among all of the round
	begun     bool  // a row was read
	err       error
}

// together reports whether a question may be asked with others: what one
// transaction sees is its own, and a value that PostgreSQL has no text for would
// refuse the others too.
func (s *Store) together(ctx context.Context, value string) bool {
	_, inTx := ctx.Value(txKey{}).(*gorm.DB)
	return !s.sqlite && !inTx && utf8.ValidString(value) && !strings.ContainsRune(value, 0)
}

// answer answers the questions of a round. A statement that fails takes those
// with it that were sent along: they are sent again, each by itself.
func (s *Store) answer(ctx context.Context, questions []question) []error {
	errands := errandsOf(questions)
	s.run(ctx, errands)
	for i := range errands {
		if e := &errands[i]; len(errands) > 1 && e.err != nil && !e.begun {
			s.run(ctx, errands[i:i+1])
		}
	}
	answers := make([]error, len(questions))
	for _, e := range errands {
		for _, place := range e.places {
			answers[place] = classify(s.translate(e.err), "")
		}
	}
	return answers
}

// errandsOf sorts the questions by kind.
func errandsOf(questions []question) []errand {
	var errands []errand
	for place, q := range questions {
		statement := q.statement()
		i := slices.IndexFunc(errands, func(e errand) bool { return e.statement == statement })
		if i < 0 {
			i, errands = len(errands), append(errands, errand{statement: statement, list: []any{}})
		}
		e := &errands[i]
		e.list = append(e.list, q.asked(len(e.questions))...)
		e.questions, e.places = append(e.questions, q), append(e.places, place)
	}
	return errands
}

// run sends the errands together and reads what comes back.
func (s *Store) run(ctx context.Context, errands []errand) {
	fail := func(err error) {
		for i := range errands {
			errands[i].err = err
		}
	}
	batch := &pgx.Batch{}
	for i := range errands {
		list, err := encode(errands[i].list)
		if err != nil {
			fail(err)
			return
		}
		batch.Queue(errands[i].statement, list)
	}
	pool, ok := s.db.Statement.ConnPool.(batchPool)
	if !ok {
		fail(errors.New("storage: the pool sends no batches"))
		return
	}
	err := pool.sendBatch(ctx, batch, func(results pgx.BatchResults) {
		for i := range errands {
			rows, err := results.Query()
			if err == nil {
				err = errands[i].take(rows)
			}
			errands[i].err = err
		}
	})
	if err != nil {
		fail(err)
	}
}

// take reads the rows of an errand.
func (e *errand) take(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		e.begun = true
		raw := rows.RawValues()
		number := raw[len(raw)-1]
		if len(number) != 4 {
			return fmt.Errorf("storage: a row says whose it is in %d bytes, want an integer: %.80s", len(number), e.statement)
		}
		n := binary.BigEndian.Uint32(number)
		if int(n) >= len(e.questions) {
			return fmt.Errorf("storage: a row for question %d of %d: %.80s", n, len(e.questions), e.statement)
		}
		if err := e.questions[n].read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// batchPool is a pool that sends several statements on one way.
type batchPool interface {
	// sendBatch hands the results, in order, to read. It fails where nothing was
	// sent; what became of a statement its results say.
	sendBatch(ctx context.Context, batch *pgx.Batch, read func(results pgx.BatchResults)) error
}

// sendBatch implements batchPool, for PostgreSQL.
func (g guard) sendBatch(ctx context.Context, batch *pgx.Batch, read func(results pgx.BatchResults)) error {
	for _, queued := range batch.QueuedQueries {
		if err := checkTenant(queued.SQL); err != nil {
			return err
		}
		observe(ctx, queued.SQL)
	}
	pool, ok := g.ConnPool.(*sql.DB)
	if !ok {
		return fmt.Errorf("storage: a batch on a pool of the type %T", g.ConnPool)
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	err = conn.Raw(func(driverConn any) error {
		p, ok := driverConn.(*pipeline)
		if !ok {
			return fmt.Errorf("storage: a batch on a connection of the type %T", driverConn)
		}
		results := p.Conn.Conn().SendBatch(ctx, batch)
		read(results)
		_ = results.Close() // says what the results have said
		return nil
	})
	return errors.Join(err, conn.Close())
}
