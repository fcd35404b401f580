-- +goose Up

-- For whom the tokens of a device are to be (RFC 8707), as a JSON list; none: for this
-- server.
ALTER TABLE device_codes ADD COLUMN resources text NOT NULL DEFAULT '[]';

-- +goose Down
ALTER TABLE device_codes DROP COLUMN resources;
