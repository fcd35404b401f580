-- +goose Up

-- What a tenant's pages look like: colors is JSON, logo_type empty where there
-- is no logo.
CREATE TABLE tenant_branding (
    tenant_id   text PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    colors     text NOT NULL,
    logo        blob NOT NULL,
    logo_type   text NOT NULL,
    modified_at datetime NOT NULL
);

-- +goose Down
DROP TABLE tenant_branding;
