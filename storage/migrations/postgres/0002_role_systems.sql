-- +goose Up
-- blueprints: every version of every role system that a tenant is or was on. New
-- tenants begin on the one in force.
CREATE TABLE blueprints (
    name       text COLLATE "C" NOT NULL,
    version    bigint      NOT NULL,
    source     text        NOT NULL,
    in_force   boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE UNIQUE INDEX blueprints_in_force ON blueprints (name) WHERE in_force;

-- Together with blueprint: the version that the tenant is on.
ALTER TABLE tenants ADD COLUMN blueprint_version bigint NOT NULL DEFAULT 1;
CREATE INDEX tenants_blueprint ON tenants (blueprint, blueprint_version);
-- The contact person: a membership's marker, which gives no right.
ALTER TABLE tenants ADD COLUMN contact_id text COLLATE "C" NOT NULL DEFAULT '';

-- The same entitlement may come from several sources; giver_id is the tenant
-- that passed it on, for source 'delegated'.
ALTER TABLE tenant_entitlements RENAME TO tenant_entitlements_before;
CREATE TABLE tenant_entitlements (
    tenant_id text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    key       text    NOT NULL,
    source    text    NOT NULL CHECK (source IN ('operator', 'delegated')),
    giver_id  text COLLATE "C" NOT NULL DEFAULT '',
    grantable boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, key, source)
);
INSERT INTO tenant_entitlements (tenant_id, key, source, grantable)
    SELECT tenant_id, key, source, grantable FROM tenant_entitlements_before;
DROP TABLE tenant_entitlements_before;
CREATE INDEX tenant_entitlements_giver ON tenant_entitlements (giver_id, key);

-- Why a role on one resource was given.
ALTER TABLE assignments ADD COLUMN comment text NOT NULL DEFAULT '';

-- The tenant of the membership by which a grant reaches its tenant.
ALTER TABLE grants ADD COLUMN home_id text COLLATE "C" NOT NULL DEFAULT '';
UPDATE grants SET home_id = tenant_id;
DROP INDEX grants_membership;
CREATE INDEX grants_membership ON grants (home_id, membership_id);

-- +goose Down
DROP INDEX grants_membership;
CREATE INDEX grants_membership ON grants (tenant_id, membership_id);
ALTER TABLE grants DROP COLUMN home_id;
ALTER TABLE assignments DROP COLUMN comment;
DELETE FROM tenant_entitlements WHERE source <> 'operator';
ALTER TABLE tenant_entitlements RENAME TO tenant_entitlements_after;
CREATE TABLE tenant_entitlements (
    tenant_id text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    key       text    NOT NULL,
    source    text    NOT NULL,
    grantable boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, key)
);
INSERT INTO tenant_entitlements (tenant_id, key, source, grantable)
    SELECT tenant_id, key, source, grantable FROM tenant_entitlements_after;
DROP TABLE tenant_entitlements_after;
DROP INDEX tenants_blueprint;
ALTER TABLE tenants DROP COLUMN contact_id;
ALTER TABLE tenants DROP COLUMN blueprint_version;
DROP TABLE blueprints;
