-- +goose Up
-- requests: what a tenant asks for and may not do itself. The fields are a JSON
-- object of texts, by the names that the blueprint gives them.
CREATE TABLE requests (
    tenant_id      text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id             text NOT NULL,
    kind           text        NOT NULL,
    fields         text        NOT NULL,
    status         text        NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'withdrawn')),
    requester_kind text        NOT NULL,
    requester_id   text NOT NULL,
    decider_kind   text        NOT NULL DEFAULT '',
    decider_id     text NOT NULL DEFAULT '',
    reason         text        NOT NULL DEFAULT '',
    created_at     datetime NOT NULL,
    decided_at     datetime,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX requests_pending ON requests (tenant_id, kind) WHERE status = 'pending';

-- +goose Down
DROP TABLE requests;
