-- +goose Up

-- A browser in which a person is not asked for the second factor. A tenant
-- believes it for so long after trusted_at; expires_at is the longest.
CREATE TABLE trusted_devices (
    id           text PRIMARY KEY,
    user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash   blob NOT NULL UNIQUE,
    user_agent   text NOT NULL,
    address      text NOT NULL,
    trusted_at   datetime NOT NULL,
    last_used_at datetime NOT NULL,
    expires_at   datetime NOT NULL
);
CREATE INDEX trusted_devices_user ON trusted_devices (user_id);

-- What was spared by which device; it may be gone since.
ALTER TABLE sessions ADD COLUMN device_id text;

-- Recovery codes that have not been used.
CREATE TABLE recovery_codes (
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash    blob NOT NULL,
    PRIMARY KEY (user_id, hash)
);

-- +goose Down
DROP TABLE recovery_codes;
ALTER TABLE sessions DROP COLUMN device_id;
DROP TABLE trusted_devices;
