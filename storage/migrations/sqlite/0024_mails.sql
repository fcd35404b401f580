-- +goose Up

-- Letters that have not been sent, sealed. Without a mail server they stay here
-- for the operator to read.
CREATE TABLE mails (
    id         text PRIMARY KEY,
    letter     blob NOT NULL,
    created_at datetime NOT NULL,
    expires_at datetime NOT NULL
);

-- +goose Down
DROP TABLE mails;
