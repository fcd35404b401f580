-- +goose Up
-- A mapping's priority, from 1, which comes first, decides in role systems in
-- which a member has only so many roles. The default role is that of people whom
-- a directory pushes and to whom nothing else gives one.
ALTER TABLE group_roles ADD COLUMN priority integer NOT NULL DEFAULT 100;
ALTER TABLE tenants ADD COLUMN default_role text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE tenants DROP COLUMN default_role;
ALTER TABLE group_roles DROP COLUMN priority;
