-- +goose Up

-- The grant whose token was exchanged for one of this grant (RFC 8693): it ends with
-- that one. Null: a person has signed in for it.
ALTER TABLE grants ADD COLUMN from_tenant text;
ALTER TABLE grants ADD COLUMN from_id text;
CREATE INDEX grants_exchanged ON grants (from_tenant, from_id) WHERE from_id IS NOT NULL;

-- +goose Down
DROP INDEX grants_exchanged;
ALTER TABLE grants DROP COLUMN from_id;
ALTER TABLE grants DROP COLUMN from_tenant;
