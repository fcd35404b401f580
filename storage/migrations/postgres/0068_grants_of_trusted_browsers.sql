-- +goose Up

-- Of the trusted browser that stood in for the second factor, if one did: what a
-- tenant makes of that it may change.
ALTER TABLE grants ADD COLUMN trusted_at timestamptz;
ALTER TABLE grants ADD COLUMN trusted_by_mail boolean NOT NULL DEFAULT false;
UPDATE grants SET trusted_at = d.trusted_at, trusted_by_mail = d.by_mail
FROM sessions s JOIN trusted_devices d ON d.id = s.device_id
WHERE s.id = grants.session_id AND s.auth_time = grants.auth_time AND grants.revoked_at IS NULL;

-- +goose Down
ALTER TABLE grants DROP COLUMN trusted_by_mail;
ALTER TABLE grants DROP COLUMN trusted_at;
