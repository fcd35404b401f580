-- +goose Up
-- Nothing here: SQLite has one writer, and so no lock of a person's default tenant.
SELECT 1;

-- +goose Down
SELECT 1;
