-- +goose Up
-- support_sessions: staff who act as a user of a tenant, with the state that
-- decides whether their token is still accepted. tenant_id is the user's tenant.
-- Rows outlive the people in them: they are the record of who acted as whom.
CREATE TABLE support_sessions (
    tenant_id       text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id              text NOT NULL,
    user_id         text NOT NULL,
    membership_id   text NOT NULL,
    staff_id        text NOT NULL,
    staff_tenant_id text NOT NULL,
    grant_id        text NOT NULL,
    role            text NOT NULL DEFAULT '',
    reason          text NOT NULL,
    client_id       text NOT NULL,
    created_at      datetime NOT NULL,
    expires_at      datetime NOT NULL,
    ended_at        datetime,
    end_reason      text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX support_sessions_user ON support_sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX support_sessions_staff ON support_sessions (staff_id) WHERE ended_at IS NULL;
CREATE INDEX support_sessions_expiry ON support_sessions (expires_at);

-- +goose Down
DROP TABLE support_sessions;
