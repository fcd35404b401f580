-- +goose Up

-- Who a delivery goes to, so that one who is slow holds no other one up; of the
-- instance's own work its kind.
ALTER TABLE outbox ADD COLUMN destination text COLLATE "C" NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE outbox DROP COLUMN destination;
