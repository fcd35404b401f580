package directory

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/rolecall/rolecall/internal/id"
)

// bookmarkTime is how long a client may take from one page to the next.
const bookmarkTime = time.Hour

// Walk names the pages that one caller reads of one query: a hash of both.
type Walk [sha256.Size]byte

// Place is a [Position] in a list over several types of resources.
type Place struct {
	Kind string // the name of the resource type
	Position
}

// BookmarkStore keeps where pages ended.
type BookmarkStore interface {
	// Bookmark returns nil where none is valid.
	Bookmark(ctx context.Context, tenant id.Tenant, walk Walk, startIndex int, now time.Time) (*Place, error)
	// SaveBookmark takes the place of an earlier one of the same number.
	SaveBookmark(ctx context.Context, tenant id.Tenant, walk Walk, startIndex int, place Place, expires time.Time) error
	// DeleteBookmarks removes those of all tenants that expired before.
	DeleteBookmarks(ctx context.Context, before time.Time) error
}

// Bookmark returns where the page ended that the walk's page from startIndex
// follows, or nil where that is not known: the walk didn't come there, or long ago.
func (d *Directory) Bookmark(ctx context.Context, tenant id.Tenant, walk Walk, startIndex int) (*Place, error) {
	return d.store.Bookmark(ctx, tenant, walk, startIndex, d.now())
}

// SaveBookmark remembers for an hour that the walk's page from startIndex begins
// behind place. It changes nothing that anybody sees, and makes no event.
func (d *Directory) SaveBookmark(ctx context.Context, tenant id.Tenant, walk Walk, startIndex int, place Place) error {
	return d.store.SaveBookmark(ctx, tenant, walk, startIndex, place, d.now().Add(bookmarkTime))
}

// DeleteBookmarks removes those that are over, in all tenants.
func (d *Directory) DeleteBookmarks(ctx context.Context) error {
	return d.store.DeleteBookmarks(ctx, d.now())
}
