-- +goose Up

-- A second factor is demanded of this member, whatever is asked of the others.
ALTER TABLE memberships ADD COLUMN second_factor boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE memberships DROP COLUMN second_factor;
