-- +goose Up

-- The longest time that a session was not used for since the person signed in, in
-- seconds, so that a tenant's limit holds though something else woke it up since.
ALTER TABLE sessions ADD COLUMN idle_seconds bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE sessions DROP COLUMN idle_seconds;
