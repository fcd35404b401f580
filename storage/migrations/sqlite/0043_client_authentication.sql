-- +goose Up

-- How the application proves who it is and what its requests must have: JSON.
ALTER TABLE applications ADD COLUMN security text NOT NULL DEFAULT '{}';

-- What may be used once, by its hash: assertions of applications and the like.
CREATE TABLE used_once (
    thing      blob PRIMARY KEY,
    expires_at datetime NOT NULL
);
CREATE INDEX used_once_expires ON used_once (expires_at);

-- +goose Down
DROP TABLE used_once;
ALTER TABLE applications DROP COLUMN security;
