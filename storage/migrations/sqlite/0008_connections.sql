-- +goose Up
-- A token can be named without its secret. The index leaves out what a server
-- of the version before adds.
ALTER TABLE connection_tokens ADD COLUMN id text NOT NULL DEFAULT '';
ALTER TABLE connection_tokens ADD COLUMN last_used_at datetime;
UPDATE connection_tokens SET id = lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))) WHERE tenant_id <> '';
CREATE UNIQUE INDEX connection_tokens_id ON connection_tokens (tenant_id, id) WHERE id <> '';

-- connection_applications: the machine that may act as the connection by its
-- client credentials.
CREATE TABLE connection_applications (
    tenant_id     text NOT NULL,
    connection_id text NOT NULL,
    client_id     text NOT NULL UNIQUE REFERENCES applications (client_id) ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
);

ALTER TABLE connections ADD COLUMN paused_at datetime;
ALTER TABLE connections ADD COLUMN pause_reason text NOT NULL DEFAULT '';
-- Requests per second, 0 for any number, and how many may come at once.
ALTER TABLE connections ADD COLUMN rate_per_second integer NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN rate_burst integer NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN deprovisioning text NOT NULL DEFAULT 'delete';
-- A JSON list of {"from", "to"}, both SCIM paths.
ALTER TABLE connections ADD COLUMN mapping text NOT NULL DEFAULT '[]';
-- The guard: 0 for no limit; the window in seconds. Its state is empty while it
-- counts.
ALTER TABLE connections ADD COLUMN guard_people integer NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN guard_percent integer NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN guard_window integer NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN guard_state text NOT NULL DEFAULT '';
ALTER TABLE connections ADD COLUMN guard_since datetime;
ALTER TABLE connections ADD COLUMN guard_until datetime;

-- switch_offs: whom a guarded connection has switched off of late. people is how
-- many were active before, where they were counted with this one, else 0.
CREATE TABLE switch_offs (
    tenant_id     text NOT NULL,
    connection_id text NOT NULL,
    membership_id text NOT NULL,
    people        bigint NOT NULL,
    at            datetime NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, membership_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX switch_offs_at ON switch_offs (tenant_id, connection_id, at);

-- A membership that a directory has deleted and its connection keeps: suspended,
-- and gone for SCIM.
ALTER TABLE memberships ADD COLUMN retired_at datetime;
CREATE INDEX memberships_retired ON memberships (tenant_id, id) WHERE retired_at IS NOT NULL;

-- +goose Down
DROP INDEX memberships_retired;
ALTER TABLE memberships DROP COLUMN retired_at;
DROP TABLE switch_offs;
ALTER TABLE connections DROP COLUMN guard_until;
ALTER TABLE connections DROP COLUMN guard_since;
ALTER TABLE connections DROP COLUMN guard_state;
ALTER TABLE connections DROP COLUMN guard_window;
ALTER TABLE connections DROP COLUMN guard_percent;
ALTER TABLE connections DROP COLUMN guard_people;
ALTER TABLE connections DROP COLUMN mapping;
ALTER TABLE connections DROP COLUMN deprovisioning;
ALTER TABLE connections DROP COLUMN rate_burst;
ALTER TABLE connections DROP COLUMN rate_per_second;
ALTER TABLE connections DROP COLUMN pause_reason;
ALTER TABLE connections DROP COLUMN paused_at;
DROP TABLE connection_applications;
DROP INDEX connection_tokens_id;
ALTER TABLE connection_tokens DROP COLUMN last_used_at;
ALTER TABLE connection_tokens DROP COLUMN id;
