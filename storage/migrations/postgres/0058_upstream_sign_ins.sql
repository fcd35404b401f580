-- +goose Up

-- By which tenant's own provider somebody has signed in, if by one.
ALTER TABLE sessions ADD COLUMN provider_tenant text COLLATE "C";
ALTER TABLE sessions ADD COLUMN provider_id text COLLATE "C";
CREATE INDEX sessions_provider ON sessions (provider_id) WHERE provider_id IS NOT NULL;
ALTER TABLE grants ADD COLUMN provider_tenant text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN provider_id text COLLATE "C" NOT NULL DEFAULT '';

-- upstream_sign_ins: who was sent to a provider and has not come back. state_hash
-- is of what the browser brings back, which works once, and only in the browser with
-- that cookie. about is JSON; verifier_box is sealed (RFC 7636).
CREATE TABLE upstream_sign_ins (
    state_hash   bytea PRIMARY KEY,
    browser_hash bytea NOT NULL,
    tenant_id    text COLLATE "C" NOT NULL,
    provider_id  text COLLATE "C" NOT NULL,
    nonce_hash   bytea NOT NULL,
    verifier_box bytea NOT NULL,
    about        text NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
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
