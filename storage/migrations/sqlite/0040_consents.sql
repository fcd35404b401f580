-- +goose Up

-- third_party: people are asked before the application gets anything of theirs.
-- require_pkce: false is for confidential applications that cannot send a challenge.
ALTER TABLE applications ADD COLUMN third_party boolean NOT NULL DEFAULT false;
ALTER TABLE applications ADD COLUMN require_pkce boolean NOT NULL DEFAULT true;

-- The claims that were asked for by name (OIDC Core §5.5), as JSON; empty: none.
ALTER TABLE grants ADD COLUMN claims text NOT NULL DEFAULT '';

-- consents: what people allowed third-party applications, until they take it back.
CREATE TABLE consents (
    tenant_id   text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id     text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id   text NOT NULL REFERENCES applications (client_id) ON DELETE CASCADE,
    scopes      text NOT NULL,
    created_at  datetime NOT NULL,
    modified_at datetime NOT NULL,
    PRIMARY KEY (tenant_id, user_id, client_id)
);
CREATE INDEX consents_user ON consents (user_id, client_id);
CREATE INDEX consents_application ON consents (client_id);

-- +goose Down
DROP TABLE consents;
ALTER TABLE grants DROP COLUMN claims;
ALTER TABLE applications DROP COLUMN require_pkce;
ALTER TABLE applications DROP COLUMN third_party;
