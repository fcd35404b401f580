-- +goose Up

-- By which tenant's own provider somebody has signed in, if by one.
ALTER TABLE sessions ADD COLUMN provider_tenant text;
ALTER TABLE sessions ADD COLUMN provider_id text;
CREATE INDEX sessions_provider ON sessions (provider_id) WHERE provider_id IS NOT NULL;
ALTER TABLE grants ADD COLUMN provider_tenant text NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN provider_id text NOT NULL DEFAULT '';

-- upstream_sign_ins: who was sent to a provider and has not come back. state_hash
-- is of what the browser brings back, which works once, and only in the browser with
-- that cookie. about is JSON; verifier_box is sealed (RFC 7636).
CREATE TABLE upstream_sign_ins (
    state_hash   blob PRIMARY KEY,
    browser_hash blob NOT NULL,
    tenant_id    text NOT NULL,
    provider_id  text NOT NULL,
    nonce_hash   blob NOT NULL,
    verifier_box blob NOT NULL,
    about        text NOT NULL,
    created_at   datetime NOT NULL,
    expires_at   datetime NOT NULL,
    FOREIGN KEY (tenant_id, provider_id) REFERENCES identity_providers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX upstream_sign_ins_provider ON upstream_sign_ins (tenant_id, provider_id);
CREATE INDEX upstream_sign_ins_expires ON upstream_sign_ins (expires_at);

-- +goose Down
DROP TABLE upstream_sign_ins;
DROP INDEX sessions_provider;
ALTER TABLE grants DROP COLUMN provider_id;
ALTER TABLE grants DROP COLUMN provider_tenant;
ALTER TABLE sessions DROP COLUMN provider_id;
ALTER TABLE sessions DROP COLUMN provider_tenant;
