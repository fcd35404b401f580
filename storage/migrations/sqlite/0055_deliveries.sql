-- +goose Up

-- What became of a tenant's deliveries of a kind, the latest first.
CREATE INDEX outbox_tenant ON outbox (tenant_id, kind, id);

-- +goose Down
DROP INDEX outbox_tenant;
