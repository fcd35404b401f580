-- +goose Up

-- The code that was mailed for a sign-in, as a second factor.
CREATE TABLE mail_codes (
    login_id   text PRIMARY KEY REFERENCES logins (id) ON DELETE CASCADE,
    hash       blob NOT NULL,
    tries      integer NOT NULL DEFAULT 0,
    sent_at    datetime NOT NULL,
    expires_at datetime NOT NULL
);

-- Tenants that take no codes by mail do not believe a browser that was trusted
-- by one.
ALTER TABLE trusted_devices ADD COLUMN by_mail boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE trusted_devices DROP COLUMN by_mail;
DROP TABLE mail_codes;
