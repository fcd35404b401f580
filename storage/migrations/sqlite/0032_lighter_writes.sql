-- +goose Up
-- What each request to a directory writes goes to pages all over these indexes.
-- Without the id of the entry they are smaller; few entries are of one resource.
DROP INDEX provisioning_log_resource;
CREATE INDEX provisioning_log_resource ON provisioning_log (tenant_id, resource_id) WHERE resource_id <> '';
DROP INDEX provisioning_log_name;
CREATE INDEX provisioning_log_name ON provisioning_log (tenant_id, name_key) WHERE name_key <> '';
DROP INDEX provisioning_log_external;
CREATE INDEX provisioning_log_external ON provisioning_log (tenant_id, external_id) WHERE external_id <> '';

-- +goose Down
DROP INDEX provisioning_log_resource;
CREATE INDEX provisioning_log_resource ON provisioning_log (tenant_id, resource_id, id) WHERE resource_id <> '';
DROP INDEX provisioning_log_name;
CREATE INDEX provisioning_log_name ON provisioning_log (tenant_id, name_key, id) WHERE name_key <> '';
DROP INDEX provisioning_log_external;
CREATE INDEX provisioning_log_external ON provisioning_log (tenant_id, external_id, id) WHERE external_id <> '';
