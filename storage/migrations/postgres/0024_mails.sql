-- +goose Up

-- Letters that have not been sent, sealed. Without a mail server they stay here
-- for the operator to read.
CREATE TABLE mails (
    id         text PRIMARY KEY,
    letter     bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE mails;
