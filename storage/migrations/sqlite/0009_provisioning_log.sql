-- +goose Up
-- provisioning_log: what directories asked for over SCIM and what came of it.
-- id is a UUIDv7 of the time at. There is no reference to tenants: rows come in
-- batches, and one whose tenant is gone must not refuse the others. name_key is
-- name folded; changes a JSON list; body and answer are without secrets.
CREATE TABLE provisioning_log (
    tenant_id     text NOT NULL,
    id            text NOT NULL,
    at            datetime NOT NULL,
    connection_id text NOT NULL,
    actor_kind    text NOT NULL,
    actor_id      text NOT NULL,
    method        text NOT NULL,
    path          text NOT NULL,
    resource_type text NOT NULL,
    resource_id   text NOT NULL,
    name          text NOT NULL,
    name_key      text NOT NULL,
    external_id   text NOT NULL,
    status        integer NOT NULL,
    scim_type     text NOT NULL,
    code          text NOT NULL,
    detail        text NOT NULL,
    duration_us   bigint NOT NULL,
    request_id    text NOT NULL,
    if_match      text NOT NULL,
    changes       text NOT NULL,
    body          text NOT NULL,
    answer        text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX provisioning_log_resource ON provisioning_log (tenant_id, resource_id, id) WHERE resource_id <> '';
CREATE INDEX provisioning_log_name ON provisioning_log (tenant_id, name_key, id) WHERE name_key <> '';
CREATE INDEX provisioning_log_external ON provisioning_log (tenant_id, external_id, id) WHERE external_id <> '';
CREATE INDEX provisioning_log_refused ON provisioning_log (tenant_id, id) WHERE status >= 400;

-- +goose Down
DROP TABLE provisioning_log;
