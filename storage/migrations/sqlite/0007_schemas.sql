-- +goose Up
-- What a tenant adds to the schemas of RFC 7643. Whoever changes it counts the
-- version up, and so waits for those who are writing resources by the old one.
CREATE TABLE scim_versions (
    tenant_id text PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    version   bigint NOT NULL
);

CREATE TABLE scim_schemas (
    tenant_id   text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    uri_key     text NOT NULL,
    definition  text        NOT NULL,
    modified_at datetime    NOT NULL,
    PRIMARY KEY (tenant_id, uri_key)
);

CREATE TABLE scim_resource_types (
    tenant_id   text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name_key    text NOT NULL,
    definition  text        NOT NULL,
    modified_at datetime    NOT NULL,
    PRIMARY KEY (tenant_id, name_key)
);

-- Resources of the tenants' own types; profile and search are as in memberships.
CREATE TABLE scim_resources (
    tenant_id   text NOT NULL,
    type        text NOT NULL,
    id          text NOT NULL,
    external_id text,
    profile     text        NOT NULL,
    search      text        NOT NULL,
    version     bigint      NOT NULL,
    created_at  datetime    NOT NULL,
    modified_at datetime    NOT NULL,
    PRIMARY KEY (tenant_id, type, id)
);
CREATE INDEX scim_resources_external_id ON scim_resources (tenant_id, type, external_id) WHERE external_id IS NOT NULL;

-- The values of attributes that tenants have indexed or want unique, of people,
-- groups and their own types: rows rather than an index for each attribute,
-- which every tenant's writes would have to pass.
CREATE TABLE scim_keys (
    tenant_id   text NOT NULL,
    type        text NOT NULL,
    resource_id text NOT NULL,
    attribute   text NOT NULL,
    value       text NOT NULL,
    is_unique   boolean NOT NULL,
    PRIMARY KEY (tenant_id, type, resource_id, attribute, value)
);
CREATE INDEX scim_keys_value ON scim_keys (tenant_id, type, attribute, value, resource_id);
CREATE UNIQUE INDEX scim_keys_unique ON scim_keys (tenant_id, type, attribute, value) WHERE is_unique;

-- +goose Down
DROP TABLE scim_keys;
DROP TABLE scim_resources;
DROP TABLE scim_resource_types;
DROP TABLE scim_schemas;
DROP TABLE scim_versions;
