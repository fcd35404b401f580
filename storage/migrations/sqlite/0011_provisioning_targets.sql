-- +goose Up
-- provisioning_targets: SCIM servers that a tenant pushes its people and groups
-- to. settings is JSON; secret_box is sealed. A node works on a target while
-- claimed_until lies ahead; no other one does. Nothing is sent before due_at.
-- scan_at and run_at are when what is there is next compared with the links, and
-- with the server. capabilities is the JSON of what the server says of itself.
CREATE TABLE provisioning_targets (
    tenant_id     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id            text NOT NULL,
    name          text NOT NULL,
    base_url      text NOT NULL,
    settings      text NOT NULL,
    secret_box    blob,
    status        text NOT NULL,
    failures      integer NOT NULL,
    last_error    text NOT NULL,
    due_at        datetime NOT NULL,
    claimed_until datetime NOT NULL,
    scan_at       datetime,
    run_at        datetime,
    succeeded_at  datetime,
    capabilities  text NOT NULL,
    created_at    datetime NOT NULL,
    modified_at   datetime NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX provisioning_targets_name ON provisioning_targets (tenant_id, name);
CREATE INDEX provisioning_targets_due ON provisioning_targets (due_at);

-- provisioning_queue: what has to be looked at for a target, one row for each
-- resource however often it changes. generation counts the changes: only who has
-- seen the last one removes the row. It is set aside at dead_at.
CREATE TABLE provisioning_queue (
    tenant_id   text NOT NULL,
    target_id   text NOT NULL,
    kind        text NOT NULL,
    resource_id text NOT NULL,
    generation  bigint NOT NULL,
    queued_at   datetime NOT NULL,
    due_at      datetime NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    dead_at     datetime,
    reason      text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, target_id, kind, resource_id),
    FOREIGN KEY (tenant_id, target_id) REFERENCES provisioning_targets (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX provisioning_queue_due ON provisioning_queue (tenant_id, target_id, kind, due_at) WHERE dead_at IS NULL;
CREATE INDEX provisioning_queue_failing ON provisioning_queue (tenant_id, target_id, kind, resource_id) WHERE reason <> '';

-- provisioning_links: what a resource is there. sent is JSON: hashes of the
-- values that were sent, by path. local_version is that of the resource then.
-- refers_to is a resource that it refers to. A person who was deactivated there
-- is not live, nor is a resource that is just being made: its remote_id is its
-- own id behind a question mark.
CREATE TABLE provisioning_links (
    tenant_id      text NOT NULL,
    target_id      text NOT NULL,
    kind           text NOT NULL,
    resource_id    text NOT NULL,
    remote_id      text NOT NULL,
    remote_version text NOT NULL,
    sent           text NOT NULL,
    local_version  bigint NOT NULL,
    refers_to      text,
    live           boolean NOT NULL,
    seen_run       text,
    PRIMARY KEY (tenant_id, target_id, kind, resource_id),
    FOREIGN KEY (tenant_id, target_id) REFERENCES provisioning_targets (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX provisioning_links_remote ON provisioning_links (tenant_id, target_id, kind, remote_id);
CREATE INDEX provisioning_links_reference ON provisioning_links (tenant_id, target_id, refers_to) WHERE refers_to IS NOT NULL;

-- provisioning_members: the members that a group has there, by their ids there.
CREATE TABLE provisioning_members (
    tenant_id text NOT NULL,
    target_id text NOT NULL,
    group_id  text NOT NULL,
    remote_id text NOT NULL,
    PRIMARY KEY (tenant_id, target_id, group_id, remote_id),
    FOREIGN KEY (tenant_id, target_id) REFERENCES provisioning_targets (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX provisioning_members_remote ON provisioning_members (tenant_id, target_id, remote_id);

-- provisioning_runs: comparisons of all that a target should have with what it
-- has. counts and items are JSON.
CREATE TABLE provisioning_runs (
    tenant_id    text NOT NULL,
    id           text NOT NULL,
    target_id    text NOT NULL,
    dry          boolean NOT NULL,
    state        text NOT NULL,
    counts       text NOT NULL,
    items        text NOT NULL,
    error        text NOT NULL,
    requested_at datetime NOT NULL,
    started_at   datetime,
    ended_at     datetime,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, target_id) REFERENCES provisioning_targets (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX provisioning_runs_target ON provisioning_runs (tenant_id, target_id, id);
CREATE INDEX provisioning_runs_open ON provisioning_runs (tenant_id, target_id) WHERE ended_at IS NULL;

-- +goose Down
DROP TABLE provisioning_runs;
DROP TABLE provisioning_members;
DROP TABLE provisioning_links;
DROP TABLE provisioning_queue;
DROP TABLE provisioning_targets;
