-- +goose Up

-- When an application last proved itself by the secret, to an hour.
ALTER TABLE application_secrets ADD COLUMN last_used_at timestamptz;

-- +goose Down
ALTER TABLE application_secrets DROP COLUMN last_used_at;
