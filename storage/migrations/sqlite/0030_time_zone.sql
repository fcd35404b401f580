-- +goose Up

-- The IANA name of the zone that times are shown in; empty: UTC.
ALTER TABLE users ADD COLUMN time_zone text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE users DROP COLUMN time_zone;
