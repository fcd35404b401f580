-- +goose Up

-- A password that lets its person do nothing but choose another one.
ALTER TABLE passwords ADD COLUMN must_change boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE passwords DROP COLUMN must_change;
