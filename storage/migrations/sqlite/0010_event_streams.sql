-- +goose Up
-- event_streams: who is told of the changes of a tenant's resources by security
-- event tokens (RFC 9967), and how. authorization_box is sealed: the header
-- that a push carries. token_hash is that of the token which a poll carries.
-- audience and requested are JSON lists. A node pushes while claimed_until lies
-- ahead; no other one does.
CREATE TABLE event_streams (
    tenant_id         text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id                text NOT NULL,
    name              text NOT NULL,
    method            text NOT NULL,
    endpoint          text NOT NULL,
    authorization_box blob,
    token_hash        blob,
    format            text NOT NULL,
    audience          text NOT NULL,
    requested         text NOT NULL,
    status            text NOT NULL,
    reason            text NOT NULL,
    failures          integer NOT NULL,
    last_error        text NOT NULL,
    due_at            datetime NOT NULL,
    claimed_until     datetime NOT NULL,
    dropped           bigint NOT NULL,
    created_at        datetime NOT NULL,
    modified_at       datetime NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX event_streams_name ON event_streams (tenant_id, name);
CREATE UNIQUE INDEX event_streams_token ON event_streams (tenant_id, token_hash);
CREATE INDEX event_streams_push ON event_streams (due_at) WHERE method = 'push' AND status = 'enabled';

-- event_queue: what a stream has yet to tell, in the order of seq, written with
-- the change. id is the claim jti; payload the JSON of the claims sub_id and
-- events. An event is out with a receiver until due_at, or set aside at dead_at.
CREATE TABLE event_queue (
    seq        integer PRIMARY KEY AUTOINCREMENT,
    tenant_id  text NOT NULL,
    stream_id  text NOT NULL,
    id         text NOT NULL,
    at         datetime NOT NULL,
    txn        text NOT NULL,
    payload    text NOT NULL,
    due_at     datetime NOT NULL,
    dead_at    datetime,
    reason     text NOT NULL DEFAULT '',
    FOREIGN KEY (tenant_id, stream_id) REFERENCES event_streams (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX event_queue_id ON event_queue (tenant_id, stream_id, id);
CREATE INDEX event_queue_waiting ON event_queue (tenant_id, stream_id, seq) WHERE dead_at IS NULL;
CREATE INDEX event_queue_dead ON event_queue (tenant_id, stream_id, seq) WHERE dead_at IS NOT NULL;

-- +goose Down
DROP TABLE event_queue;
DROP TABLE event_streams;
