-- +goose Up
-- async_requests: SCIM requests that were answered before they were carried out
-- (RFC 9967). The body is sealed, because it may hold passwords, and removed
-- once the request is done. caller is the JSON of who sent it. A request of a
-- connection ends with the connection.
CREATE TABLE async_requests (
    tenant_id     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id            text NOT NULL,
    connection_id text,
    caller        text        NOT NULL,
    actor_kind    text        NOT NULL,
    actor_id      text        NOT NULL,
    profile       text        NOT NULL,
    base          text        NOT NULL,
    single        boolean     NOT NULL,
    operations    integer     NOT NULL,
    body          blob,
    attempts      integer     NOT NULL DEFAULT 0,
    claimed_until datetime,
    created_at    datetime NOT NULL,
    completed_at  datetime,
    expires_at    datetime,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX async_requests_waiting ON async_requests (created_at) WHERE completed_at IS NULL;
CREATE INDEX async_requests_expiring ON async_requests (expires_at) WHERE expires_at IS NOT NULL;

-- async_results: what each operation of such a request led to, written with the
-- change. That there is one row for an operation is why none is carried out twice.
CREATE TABLE async_results (
    tenant_id   text NOT NULL,
    request_id  text NOT NULL,
    position    integer     NOT NULL,
    resource_id text NOT NULL,
    operation   text        NOT NULL,
    PRIMARY KEY (tenant_id, request_id, position),
    FOREIGN KEY (tenant_id, request_id) REFERENCES async_requests (tenant_id, id) ON DELETE CASCADE
);

-- +goose Down
DROP TABLE async_results;
DROP TABLE async_requests;
