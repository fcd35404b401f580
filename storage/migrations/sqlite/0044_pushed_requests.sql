-- +goose Up

-- Authorization requests that applications have pushed (RFC 9126), by the hash of
-- their address. They stay for as long as a sign-in takes, so that a completed one
-- is told from one that was never there.
CREATE TABLE pushed_requests (
    hash       blob PRIMARY KEY,
    client_id  text NOT NULL REFERENCES applications (client_id) ON DELETE CASCADE,
    parameters text NOT NULL,
    expires_at datetime NOT NULL
);
CREATE INDEX pushed_requests_expires ON pushed_requests (expires_at);

-- Thumbprints of the keys that codes and tokens are bound to (RFC 9449); empty: to
-- none. For whom tokens are, as JSON lists; none: for this server (RFC 8707).
ALTER TABLE codes ADD COLUMN dpop_jkt text NOT NULL DEFAULT '';
ALTER TABLE refresh_tokens ADD COLUMN dpop_jkt text NOT NULL DEFAULT '';
ALTER TABLE access_tokens ADD COLUMN dpop_jkt text NOT NULL DEFAULT '';
ALTER TABLE access_tokens ADD COLUMN audience text NOT NULL DEFAULT '[]';
ALTER TABLE grants ADD COLUMN resources text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE grants DROP COLUMN resources;
ALTER TABLE access_tokens DROP COLUMN audience;
ALTER TABLE access_tokens DROP COLUMN dpop_jkt;
ALTER TABLE refresh_tokens DROP COLUMN dpop_jkt;
ALTER TABLE codes DROP COLUMN dpop_jkt;
DROP TABLE pushed_requests;
