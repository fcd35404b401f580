-- +goose Up
-- The tenant that a person signs in to when none is named. One column of the
-- user, so that it is one at most, and so that nobody who changes it waits for
-- the memberships that others are changing.
ALTER TABLE users ADD COLUMN default_tenant_id text;
UPDATE users SET default_tenant_id = (SELECT min(m.tenant_id) FROM memberships m WHERE m.user_id = users.id AND m.is_default);
ALTER TABLE memberships DROP COLUMN is_default;

-- +goose Down
ALTER TABLE memberships ADD COLUMN is_default boolean NOT NULL DEFAULT false;
UPDATE memberships SET is_default = true WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = memberships.user_id AND u.default_tenant_id = memberships.tenant_id);
ALTER TABLE users DROP COLUMN default_tenant_id;
