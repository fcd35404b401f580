-- +goose Up

-- What devices without a browser ask for (RFC 8628), until somebody has answered
-- and the device has heard of it. It has no tenant before it is allowed.
CREATE TABLE device_codes (
    id           text PRIMARY KEY,
    hash         bytea       NOT NULL UNIQUE,
    user_code    bytea       NOT NULL UNIQUE,
    client_id    text        NOT NULL REFERENCES applications (client_id) ON DELETE CASCADE,
    scopes       text        NOT NULL,
    tenant_name  text        NOT NULL,
    address      text        NOT NULL,
    user_agent   text        NOT NULL,
    status       text        NOT NULL,
    grant_tenant text,
    grant_id     text,
    wait_seconds integer     NOT NULL,
    polled_at    timestamptz,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    FOREIGN KEY (grant_tenant, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX device_codes_grant ON device_codes (grant_tenant, grant_id);
CREATE INDEX device_codes_application ON device_codes (client_id);
CREATE INDEX device_codes_expiry ON device_codes (expires_at);

-- +goose Down
DROP TABLE device_codes;
