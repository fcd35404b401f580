-- +goose Up

-- How an application was registered by itself (RFC 7591), as JSON, and the hash of
-- the token by which it changes that (RFC 7592); empty and null: it was not.
ALTER TABLE applications ADD COLUMN registration text NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN registration_hash blob;
CREATE INDEX applications_owner ON applications (owner_id, client_id);
CREATE INDEX grants_application ON grants (client_id);

-- registration_tokens: initial access tokens, by which applications of a tenant
-- register themselves, registrations times at most.
CREATE TABLE registration_tokens (
    tenant_id     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id            text NOT NULL,
    hash          blob NOT NULL UNIQUE,
    description   text NOT NULL,
    registrations integer NOT NULL,
    used          integer NOT NULL,
    created_at    datetime NOT NULL,
    expires_at    datetime NOT NULL,
    last_used_at  datetime,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX registration_tokens_expires ON registration_tokens (expires_at);

-- +goose Down
DROP TABLE registration_tokens;
DROP INDEX grants_application;
DROP INDEX applications_owner;
ALTER TABLE applications DROP COLUMN registration_hash;
ALTER TABLE applications DROP COLUMN registration;
