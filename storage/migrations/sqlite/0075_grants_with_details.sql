-- +goose Up

-- Whoever removes a type of authorization details ends the grants that hold one of
-- it. Few grants hold any.
CREATE INDEX grants_with_details ON grants (tenant_id, id) WHERE details <> '' AND revoked_at IS NULL;

-- +goose Down
DROP INDEX grants_with_details;
