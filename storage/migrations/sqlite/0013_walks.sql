-- +goose Up
-- list_bookmarks: where a page of a list ended, for the client that asks for the
-- next one by its number.
CREATE TABLE list_bookmarks (
    tenant_id   text NOT NULL,
    walk        blob     NOT NULL,
    start_index integer  NOT NULL,
    kind        text     NOT NULL,
    sort_key    text,
    resource_id text     NOT NULL,
    expires_at  datetime NOT NULL,
    PRIMARY KEY (tenant_id, walk, start_index)
);
CREATE INDEX list_bookmarks_expires ON list_bookmarks (expires_at);

-- +goose Down
DROP TABLE list_bookmarks;
