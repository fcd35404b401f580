-- +goose Up
-- What each request to a directory writes goes to pages all over these indexes,
-- and each page is written whole after a checkpoint. By hashes of eight bytes they
-- are a seventh of the size; what is found by one is compared with what is asked for.
DROP INDEX provisioning_log_resource;
CREATE INDEX provisioning_log_resource ON provisioning_log (hashtextextended(resource_id, 0)) WHERE resource_id <> '';
DROP INDEX provisioning_log_name;
CREATE INDEX provisioning_log_name ON provisioning_log (hashtextextended(name_key, 0)) WHERE name_key <> '';
DROP INDEX provisioning_log_external;
CREATE INDEX provisioning_log_external ON provisioning_log (hashtextextended(external_id, 0)) WHERE external_id <> '';

-- lock_default_tenant has the person's default tenant to itself until the
-- transaction ends, and returns it as it is then. A lock of the row would be a
-- write of its page. The 1 tells the lock from that of a tenant.
-- +goose StatementBegin
CREATE FUNCTION lock_default_tenant(person text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(person, 1));
    RETURN (SELECT default_tenant_id FROM users WHERE id = person);
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION lock_default_tenant;
DROP INDEX provisioning_log_resource;
CREATE INDEX provisioning_log_resource ON provisioning_log (tenant_id, resource_id, id) WHERE resource_id <> '';
DROP INDEX provisioning_log_name;
CREATE INDEX provisioning_log_name ON provisioning_log (tenant_id, name_key, id) WHERE name_key <> '';
DROP INDEX provisioning_log_external;
CREATE INDEX provisioning_log_external ON provisioning_log (tenant_id, external_id, id) WHERE external_id <> '';
