-- Every table that belongs to a tenant leads its primary key and its indexes
-- with tenant_id, so that it can be partitioned or distributed by tenant.
-- Identifiers and folded keys compare byte by byte, which is what SQLite does.

-- +goose Up
CREATE TABLE tenants (
    id          text PRIMARY KEY,
    slug        text NOT NULL UNIQUE,
    name        text NOT NULL,
    blueprint   text NOT NULL,
    type        text        NOT NULL DEFAULT '',
    tier        text        NOT NULL DEFAULT '',
    status      text NOT NULL,
    policy      text NOT NULL,
    version     bigint      NOT NULL,
    created_at  datetime NOT NULL,
    modified_at datetime NOT NULL
);

CREATE TABLE tenant_relations (
    tenant_id text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    relation  text NOT NULL,
    parent_id text NOT NULL REFERENCES tenants (id),
    PRIMARY KEY (tenant_id, relation)
);
CREATE INDEX tenant_relations_parent ON tenant_relations (parent_id, relation);

CREATE TABLE tenant_entitlements (
    tenant_id text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    key       text NOT NULL,
    source    text NOT NULL,
    grantable boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, key)
);

CREATE TABLE tenant_domains (
    tenant_id   text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    domain      text NOT NULL,
    verified_at datetime NOT NULL,
    PRIMARY KEY (tenant_id, domain)
);
CREATE INDEX tenant_domains_domain ON tenant_domains (domain);

-- users: one login per person in the instance. They belong to no tenant.
CREATE TABLE users (
    id             text PRIMARY KEY,
    email          text        NOT NULL DEFAULT '',
    email_key      text,
    email_verified boolean     NOT NULL DEFAULT false,
    given_name     text        NOT NULL DEFAULT '',
    family_name    text        NOT NULL DEFAULT '',
    display_name   text        NOT NULL DEFAULT '',
    locale         text        NOT NULL DEFAULT '',
    operator       boolean     NOT NULL DEFAULT false,
    disabled       boolean     NOT NULL DEFAULT false,
    version        bigint      NOT NULL,
    created_at     datetime NOT NULL,
    modified_at    datetime NOT NULL
);
CREATE UNIQUE INDEX users_email_key ON users (email_key);

CREATE TABLE passwords (
    user_id    text PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    hash       text NOT NULL,
    changed_at datetime NOT NULL
);

CREATE TABLE totp_keys (
    id         text PRIMARY KEY,
    user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret     blob       NOT NULL,
    status     text NOT NULL,
    last_step  bigint      NOT NULL DEFAULT 0,
    created_at datetime NOT NULL
);
CREATE INDEX totp_keys_user ON totp_keys (user_id);

-- memberships: user x tenant; the SCIM User resource. search is the twin of
-- profile that filters compare with: names spelt canonically, values folded.
-- There is no foreign key to tenants: all that a directory pushes at the same
-- time would lock the one row of its tenant.
CREATE TABLE memberships (
    tenant_id     text NOT NULL,
    id            text NOT NULL,
    user_id       text NOT NULL REFERENCES users (id),
    status        text NOT NULL,
    accepted      boolean     NOT NULL,
    managed       boolean     NOT NULL,
    is_default    boolean     NOT NULL DEFAULT false,
    source        text NOT NULL,
    user_name     text NOT NULL,
    user_name_key text NOT NULL,
    external_id   text,
    profile       text NOT NULL,
    search        text NOT NULL,
    version       bigint      NOT NULL,
    created_at    datetime NOT NULL,
    modified_at   datetime NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX memberships_user_name ON memberships (tenant_id, user_name_key);
CREATE INDEX memberships_external_id ON memberships (tenant_id, external_id) WHERE external_id IS NOT NULL;
-- One index for "is this user a member here" and "where is this user a member".
CREATE UNIQUE INDEX memberships_user ON memberships (user_id, tenant_id);

CREATE TABLE groups (
    tenant_id        text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id               text NOT NULL,
    display_name     text NOT NULL,
    display_name_key text NOT NULL,
    external_id      text,
    profile          text NOT NULL,
    search           text NOT NULL,
    version          bigint      NOT NULL,
    created_at       datetime NOT NULL,
    modified_at      datetime NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX groups_display_name ON groups (tenant_id, display_name_key);
CREATE INDEX groups_external_id ON groups (tenant_id, external_id) WHERE external_id IS NOT NULL;

-- group_members: member_kind says whether member_id is a membership or a group.
CREATE TABLE group_members (
    tenant_id   text NOT NULL,
    group_id    text NOT NULL,
    member_id   text NOT NULL,
    member_kind text NOT NULL CHECK (member_kind IN ('user', 'group')),
    PRIMARY KEY (tenant_id, group_id, member_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX group_members_member ON group_members (tenant_id, member_id, group_id);

-- group_roles: a mapping may name a group that the directory has not pushed
-- yet; it is bound to the first group of that name and follows it from then on.
CREATE TABLE group_roles (
    tenant_id      text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    group_name     text NOT NULL,
    group_name_key text NOT NULL,
    group_id       text,
    role           text NOT NULL,
    created_at     datetime NOT NULL,
    PRIMARY KEY (tenant_id, group_name_key, role)
);
CREATE INDEX group_roles_group ON group_roles (tenant_id, group_id);

-- assignments: the roles that do not come from a group (those are derived).
CREATE TABLE assignments (
    tenant_id     text NOT NULL,
    membership_id text NOT NULL,
    role          text NOT NULL,
    resource      text NOT NULL DEFAULT '',
    source        text NOT NULL CHECK (source IN ('direct', 'founder', 'operator')),
    created_at    datetime NOT NULL,
    PRIMARY KEY (tenant_id, membership_id, role, resource),
    FOREIGN KEY (tenant_id, membership_id) REFERENCES memberships (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX assignments_role ON assignments (tenant_id, role);

CREATE TABLE connections (
    tenant_id   text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id          text NOT NULL,
    name        text NOT NULL,
    profile     text        NOT NULL CHECK (profile IN ('rfc', 'entra', 'okta')),
    created_at  datetime NOT NULL,
    modified_at datetime NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE connection_tokens (
    hash          blob PRIMARY KEY,
    tenant_id     text NOT NULL,
    connection_id text NOT NULL,
    created_at    datetime NOT NULL,
    expires_at    datetime,
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX connection_tokens_connection ON connection_tokens (tenant_id, connection_id);

-- applications: OIDC clients. tenant_id is the optional owner.
CREATE TABLE applications (
    client_id                 text PRIMARY KEY,
    owner_id                  text REFERENCES tenants (id),
    name                      text NOT NULL,
    type                      text        NOT NULL CHECK (type IN ('web', 'spa', 'native', 'machine', 'device')),
    roles                     text NOT NULL,
    redirect_uris             text NOT NULL,
    post_logout_redirect_uris text        NOT NULL,
    backchannel_logout_uri    text        NOT NULL DEFAULT '',
    access_token              text        NOT NULL CHECK (access_token IN ('jwt', 'opaque')),
    id_token_alg              text        NOT NULL DEFAULT 'ES256',
    created_at                datetime NOT NULL,
    modified_at               datetime NOT NULL
);

CREATE TABLE application_secrets (
    client_id  text NOT NULL REFERENCES applications (client_id) ON DELETE CASCADE,
    hash       blob       NOT NULL,
    created_at datetime NOT NULL,
    expires_at datetime,
    PRIMARY KEY (client_id, hash)
);

CREATE TABLE application_tokens (
    id         text PRIMARY KEY,
    tenant_id  text,
    name       text NOT NULL,
    creator_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash       blob       NOT NULL UNIQUE,
    created_at datetime NOT NULL,
    expires_at datetime,
    revoked_at datetime
);
CREATE INDEX application_tokens_creator ON application_tokens (tenant_id, creator_id);

CREATE TABLE logins (
    id           text PRIMARY KEY,
    browser_hash blob       NOT NULL,
    step         text NOT NULL,
    state        text NOT NULL,
    expires_at   datetime NOT NULL
);

CREATE TABLE login_attempts (
    key           blob PRIMARY KEY,
    failures      bigint      NOT NULL,
    blocked_until datetime NOT NULL,
    expires_at    datetime NOT NULL
);

CREATE TABLE sessions (
    id           text PRIMARY KEY,
    token_hash   blob       NOT NULL UNIQUE,
    user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    auth_time    datetime NOT NULL,
    acr          text NOT NULL,
    amr          text NOT NULL,
    user_agent   text        NOT NULL DEFAULT '',
    address      text        NOT NULL DEFAULT '',
    created_at   datetime NOT NULL,
    last_seen_at datetime NOT NULL,
    expires_at   datetime NOT NULL,
    ended_at     datetime
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE authorization_requests (
    id           text PRIMARY KEY,
    browser_hash blob       NOT NULL,
    client_id    text NOT NULL REFERENCES applications (client_id) ON DELETE CASCADE,
    parameters   text NOT NULL,
    expires_at   datetime NOT NULL
);

CREATE TABLE grants (
    tenant_id     text NOT NULL,
    id            text NOT NULL,
    membership_id text NOT NULL,
    user_id       text NOT NULL,
    client_id     text NOT NULL REFERENCES applications (client_id) ON DELETE CASCADE,
    session_id    text NOT NULL,
    offline       boolean NOT NULL,
    scopes        text NOT NULL,
    nonce         text        NOT NULL DEFAULT '',
    auth_time     datetime NOT NULL,
    acr           text NOT NULL,
    amr           text NOT NULL,
    created_at    datetime NOT NULL,
    revoked_at    datetime,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX grants_membership ON grants (tenant_id, membership_id);
CREATE INDEX grants_session ON grants (session_id);

CREATE TABLE codes (
    hash           blob PRIMARY KEY,
    tenant_id      text NOT NULL,
    grant_id       text NOT NULL,
    client_id      text NOT NULL,
    redirect_uri   text NOT NULL,
    code_challenge text        NOT NULL,
    expires_at     datetime NOT NULL,
    used_at        datetime,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX codes_grant ON codes (tenant_id, grant_id);

CREATE TABLE refresh_tokens (
    hash       blob PRIMARY KEY,
    tenant_id  text NOT NULL,
    grant_id   text NOT NULL,
    created_at datetime NOT NULL,
    expires_at datetime NOT NULL,
    rotated_at datetime,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_grant ON refresh_tokens (tenant_id, grant_id);

-- access_tokens: opaque ones only. grant_id is null for client_credentials.
CREATE TABLE access_tokens (
    hash       blob PRIMARY KEY,
    tenant_id  text,
    grant_id   text,
    client_id  text NOT NULL REFERENCES applications (client_id) ON DELETE CASCADE,
    scopes     text NOT NULL,
    created_at datetime NOT NULL,
    expires_at datetime NOT NULL,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX access_tokens_grant ON access_tokens (tenant_id, grant_id);

-- revoked_tokens: identifiers of signed access tokens that were revoked one by one.
CREATE TABLE revoked_tokens (
    jti        text PRIMARY KEY,
    expires_at datetime NOT NULL
);

CREATE TABLE signing_keys (
    id           text PRIMARY KEY,
    alg          text NOT NULL,
    state        text        NOT NULL CHECK (state IN ('next', 'active', 'retiring', 'gone')),
    public_key   text NOT NULL,
    private_key  blob       NOT NULL,
    created_at   datetime NOT NULL,
    activated_at datetime,
    retired_at   datetime
);
CREATE UNIQUE INDEX signing_keys_active ON signing_keys (alg) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_next ON signing_keys (alg) WHERE state = 'next';

CREATE TABLE one_time_links (
    hash       blob PRIMARY KEY,
    purpose    text NOT NULL,
    subject    text        NOT NULL DEFAULT '',
    created_at datetime NOT NULL,
    expires_at datetime NOT NULL,
    used_at    datetime
);
CREATE UNIQUE INDEX one_time_links_unused ON one_time_links (purpose, subject) WHERE used_at IS NULL;

-- events: the audit trail, only ever appended to. tenant_id is '' for the instance.
CREATE TABLE events (
    tenant_id   text NOT NULL,
    id          text NOT NULL,
    at          datetime NOT NULL,
    actor_kind  text        NOT NULL,
    actor_id    text NOT NULL,
    action      text NOT NULL,
    target_kind text        NOT NULL,
    target_id   text NOT NULL,
    data        text NOT NULL,
    request_id  text        NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- outbox: work to do after commit, written with the change that causes it.
CREATE TABLE outbox (
    id         text PRIMARY KEY,
    tenant_id  text NOT NULL,
    kind       text NOT NULL,
    payload    text NOT NULL,
    attempts   bigint      NOT NULL DEFAULT 0,
    due_at     datetime NOT NULL,
    last_error text        NOT NULL DEFAULT '',
    created_at datetime NOT NULL,
    done_at    datetime,
    dead_at    datetime
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE done_at IS NULL AND dead_at IS NULL;

-- +goose Down
DROP TABLE outbox;
DROP TABLE events;
DROP TABLE one_time_links;
DROP TABLE signing_keys;
DROP TABLE revoked_tokens;
DROP TABLE access_tokens;
DROP TABLE refresh_tokens;
DROP TABLE codes;
DROP TABLE grants;
DROP TABLE authorization_requests;
DROP TABLE sessions;
DROP TABLE login_attempts;
DROP TABLE logins;
DROP TABLE application_tokens;
DROP TABLE application_secrets;
DROP TABLE applications;
DROP TABLE connection_tokens;
DROP TABLE connections;
DROP TABLE assignments;
DROP TABLE group_roles;
DROP TABLE group_members;
DROP TABLE groups;
DROP TABLE memberships;
DROP TABLE totp_keys;
DROP TABLE passwords;
DROP TABLE users;
DROP TABLE tenant_domains;
DROP TABLE tenant_entitlements;
DROP TABLE tenant_relations;
DROP TABLE tenants;
