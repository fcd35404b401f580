-- +goose Up
-- What a statement is planned for once it is prepared for any tenant is the
-- average one. Where most are small that leads to plans that read all rows of the
-- tenant, which for the one with a million people is not to be borne. So the
-- planner is told that there are few tenants, each large: by the whole key is then
-- always cheaper. It counts from the next ANALYZE on.
ALTER TABLE memberships ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE groups ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE group_members ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE group_roles ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE assignments ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE scim_resources ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE scim_keys ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE grants ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE application_tokens ALTER COLUMN tenant_id SET (n_distinct = 2);
ALTER TABLE provisioning_log ALTER COLUMN tenant_id SET (n_distinct = 2);

-- memberships_search: people by the values of their addresses and, where the
-- extensions are there or may be made, by parts of displayName. Parts of userName
-- as well would cost a write as much again. Searches read what is yet to be sorted
-- in, so that list is kept short. Room in the pages lets changes that concern no
-- index leave all of them alone.
ALTER TABLE memberships SET (fillfactor = 90);
-- +goose StatementBegin
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE INDEX memberships_search ON memberships USING gin (tenant_id, ((search ->> 'displayName') COLLATE "C") gin_trgm_ops,
        jsonb_path_query_array(search, '$.emails[*].value') jsonb_path_ops) WITH (gin_pending_list_limit = 2048);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR undefined_object OR feature_not_supported THEN
    CREATE INDEX memberships_search ON memberships USING gin (jsonb_path_query_array(search, '$.emails[*].value') jsonb_path_ops) WITH (gin_pending_list_limit = 512);
END $$;
-- +goose StatementEnd

-- +goose Down
-- The extensions stay: somebody else may use them.
DROP INDEX memberships_search;
ALTER TABLE memberships RESET (fillfactor);
ALTER TABLE provisioning_log ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE application_tokens ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE grants ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE scim_keys ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE scim_resources ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE assignments ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE group_roles ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE group_members ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE groups ALTER COLUMN tenant_id RESET (n_distinct);
ALTER TABLE memberships ALTER COLUMN tenant_id RESET (n_distinct);
