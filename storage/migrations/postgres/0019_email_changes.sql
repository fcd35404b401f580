-- +goose Up

-- An address that a person wants instead of theirs, until it is confirmed by a
-- link to each of the two.
CREATE TABLE email_changes (
    user_id       text PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    old_address   text NOT NULL,
    new_address   text NOT NULL,
    old_hash      bytea NOT NULL UNIQUE,
    new_hash      bytea NOT NULL UNIQUE,
    old_confirmed boolean NOT NULL DEFAULT false,
    new_confirmed boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL
);

-- +goose Down
DROP TABLE email_changes;
