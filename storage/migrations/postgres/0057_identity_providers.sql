-- +goose Up

-- identity_providers: a tenant's own OpenID providers. settings is JSON;
-- secret_box is sealed.
CREATE TABLE identity_providers (
    tenant_id   text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id          text COLLATE "C" NOT NULL UNIQUE,
    name        text NOT NULL,
    issuer      text COLLATE "C" NOT NULL,
    client_id   text NOT NULL,
    secret_box  bytea,
    settings    text NOT NULL,
    enabled     boolean NOT NULL,
    created_at  timestamptz NOT NULL,
    modified_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX identity_providers_name ON identity_providers (tenant_id, name);

-- identity_provider_domains: whose addresses lead to which provider. A domain
-- counts while the tenant has verified it (tenant_domains).
CREATE TABLE identity_provider_domains (
    tenant_id   text COLLATE "C" NOT NULL,
    provider_id text COLLATE "C" NOT NULL,
    domain      text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, provider_id, domain),
    FOREIGN KEY (tenant_id, provider_id) REFERENCES identity_providers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX identity_provider_domains_domain ON identity_provider_domains (domain);

-- identity_links: which account at a provider a member signs in with. What names
-- the account is the issuer with the subject; email is what the provider last
-- said, for people to tell accounts apart.
CREATE TABLE identity_links (
    tenant_id     text COLLATE "C" NOT NULL,
    id            text COLLATE "C" NOT NULL,
    provider_id   text COLLATE "C" NOT NULL,
    issuer        text COLLATE "C" NOT NULL,
    subject       text COLLATE "C" NOT NULL,
    membership_id text COLLATE "C" NOT NULL,
    user_id       text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email         text NOT NULL,
    created_at    timestamptz NOT NULL,
    used_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, provider_id) REFERENCES identity_providers (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, membership_id) REFERENCES memberships (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX identity_links_subject ON identity_links (tenant_id, provider_id, issuer, subject);
CREATE INDEX identity_links_membership ON identity_links (tenant_id, membership_id);
CREATE INDEX identity_links_user ON identity_links (user_id);

-- +goose Down
DROP TABLE identity_links;
DROP TABLE identity_provider_domains;
DROP TABLE identity_providers;
