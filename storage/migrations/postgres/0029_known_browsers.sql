-- +goose Up

-- Browsers in which a person has signed in before: a sign-in from another one is
-- told of. A row lets nobody in.
CREATE TABLE known_browsers (
    user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash       bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, hash)
);

-- +goose Down
DROP TABLE known_browsers;
