package storage

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Bookmark implements directory.BookmarkStore.
func (s *Store) Bookmark(ctx context.Context, tenant id.Tenant, walk directory.Walk, startIndex int, now time.Time) (*directory.Place, error) {
	place := &directory.Place{}
	err := classify(s.queryRow(ctx, `SELECT kind, sort_key, resource_id FROM list_bookmarks
		WHERE tenant_id = ? AND walk = ? AND start_index = ? AND expires_at > ?`,
		string(tenant), walk[:], startIndex, at(now)).Scan(&place.Kind, &place.Key, &place.ID), "")
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return place, err
}

// SaveBookmark implements directory.BookmarkStore.
func (s *Store) SaveBookmark(ctx context.Context, tenant id.Tenant, walk directory.Walk, startIndex int, place directory.Place, expires time.Time) error {
	save := func(ctx context.Context) error {
		return classify(s.exec(ctx, `INSERT INTO list_bookmarks (tenant_id, walk, start_index, kind, sort_key, resource_id, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, walk, start_index) DO UPDATE
			SET kind = excluded.kind, sort_key = excluded.sort_key, resource_id = excluded.resource_id, expires_at = excluded.expires_at`,
			string(tenant), walk[:], startIndex, place.Kind, place.Key, place.ID, at(expires)), "")
	}
	if s.sqlite {
		return s.InTx(ctx, save) // which waits in line with the other writers
	}
	return save(ctx)
}

// DeleteBookmarks implements directory.BookmarkStore.
func (s *Store) DeleteBookmarks(ctx context.Context, before time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		return classify(s.exec(ctx, `/* across tenants: what is over is over for all */ DELETE FROM list_bookmarks WHERE expires_at < ?`, at(before)), "")
	})
}
