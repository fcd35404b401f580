-- +goose Up
-- What an index is for comes first in it. Where the tenant and the target did,
-- PostgreSQL took it for look-ups by other columns as well, as long as it did
-- not yet know how much the tables had grown, and read all that a target has.
DROP INDEX provisioning_links_remote;
CREATE UNIQUE INDEX provisioning_links_remote ON provisioning_links (remote_id, tenant_id, target_id, kind);
DROP INDEX provisioning_links_reference;
CREATE INDEX provisioning_links_reference ON provisioning_links (refers_to, tenant_id, target_id) WHERE refers_to IS NOT NULL;
DROP INDEX provisioning_members_remote;
CREATE INDEX provisioning_members_remote ON provisioning_members (remote_id, tenant_id, target_id);

-- +goose Down
DROP INDEX provisioning_links_remote;
CREATE UNIQUE INDEX provisioning_links_remote ON provisioning_links (tenant_id, target_id, kind, remote_id);
DROP INDEX provisioning_links_reference;
CREATE INDEX provisioning_links_reference ON provisioning_links (tenant_id, target_id, refers_to) WHERE refers_to IS NOT NULL;
DROP INDEX provisioning_members_remote;
CREATE INDEX provisioning_members_remote ON provisioning_members (tenant_id, target_id, remote_id);
