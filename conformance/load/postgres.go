package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// commits measures transactions of so many single-row inserts, each into a
// table of its own with nothing but a primary key: what a change costs at least.
type commits struct {
	pool *pgxpool.Pool
}

// payload is about what a row of a person or an event has beside its key.
const payload = `{"emails":[{"primary":true,"type":"work","value":"somebody@main.example"}],"name":{"familyName":"Body","givenName":"Some"},"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]}`

func openCommits(ctx context.Context, url string, clients int) (*commits, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(clients) //nolint:gosec // a small number
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	for n := range 3 {
		if _, err := pool.Exec(ctx, fmt.Sprintf("CREATE TABLE raw%d (id text PRIMARY KEY, data text NOT NULL)", n)); err != nil {
			pool.Close()
			return nil, err
		}
	}
	return &commits{pool: pool}, nil
}

func (c *commits) measurement(name string, inserts, clients int) *measurement {
	return &measurement{name: name, clients: clients, worker: func(int) (worker, error) {
		return func(ctx context.Context) (time.Duration, error) {
			id := rand.Text()
			if inserts == 1 {
				_, err := c.pool.Exec(ctx, "INSERT INTO raw0 VALUES ($1, $2)", id, payload)
				return 0, err
			}
			return 0, pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
				for n := range inserts {
					if _, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO raw%d VALUES ($1, $2)", n), id, payload); err != nil {
						return err
					}
				}
				return nil
			})
		}, nil
	}}
}

// analyze brings the planner's statistics up to date, as autovacuum does within
// a minute of such a change.
func analyze(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ANALYZE")
	return closed(ctx, conn, err)
}

// version returns what the server says it is, and the settings that durability
// depends on.
func version(ctx context.Context, url string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	var text string
	err = conn.QueryRow(ctx, `SELECT 'PostgreSQL ' || current_setting('server_version') ||
		', fsync ' || current_setting('fsync') || ', synchronous_commit ' || current_setting('synchronous_commit') ||
		', shared_buffers ' || current_setting('shared_buffers')`).Scan(&text)
	return text, closed(ctx, conn, err)
}

func closed(ctx context.Context, conn *pgx.Conn, err error) error {
	if closing := conn.Close(ctx); err == nil {
		return closing
	}
	return err
}
