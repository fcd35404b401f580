-- +goose Up

-- For whom an application's subjects are (OpenID Connect Core §8.1); empty: they are
-- the same for all.
ALTER TABLE applications ADD COLUMN sector text NOT NULL DEFAULT '';

-- What pairwise subjects are made from, sealed. There is one row at most.
CREATE TABLE subject_salt (
    id         integer PRIMARY KEY CHECK (id = 1),
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- +goose Down
DROP TABLE subject_salt;
ALTER TABLE applications DROP COLUMN sector;
