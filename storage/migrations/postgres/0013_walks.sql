-- +goose Up
-- list_bookmarks: where a page of a list ended, for the client that asks for the
-- next one by its number. Unlogged: it spares every page a wait for the disk,
-- and what a crash loses is found again by counting rows.
CREATE TABLE list_bookmarks (
    tenant_id   text COLLATE "C" NOT NULL,
    walk        bytea       NOT NULL,
    start_index bigint      NOT NULL,
    kind        text        NOT NULL,
    sort_key    text,
    resource_id text        NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, walk, start_index)
);
CREATE INDEX list_bookmarks_expires ON list_bookmarks (expires_at);
ALTER TABLE list_bookmarks SET UNLOGGED;

-- +goose Down
DROP TABLE list_bookmarks;
