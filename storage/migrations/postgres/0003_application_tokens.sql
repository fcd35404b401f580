-- +goose Up
ALTER TABLE application_tokens ADD COLUMN description text COLLATE "C" NOT NULL DEFAULT '';
-- Permission keys, separated by spaces; empty for a token without a list of its own.
ALTER TABLE application_tokens ADD COLUMN permissions text COLLATE "C" NOT NULL DEFAULT '';
-- Networks from which alone the token is accepted, separated by spaces; empty for any.
ALTER TABLE application_tokens ADD COLUMN cidrs text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE application_tokens ADD COLUMN last_used_at timestamptz;
-- The secret before the last rotation, and when it ends.
ALTER TABLE application_tokens ADD COLUMN previous_hash bytea;
ALTER TABLE application_tokens ADD COLUMN previous_until timestamptz;
CREATE UNIQUE INDEX application_tokens_previous ON application_tokens (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE UNIQUE INDEX application_tokens_name ON application_tokens (tenant_id, name) WHERE revoked_at IS NULL;
CREATE INDEX application_tokens_list ON application_tokens (tenant_id, id);

-- Whether people's access tokens for the application may have the scope "api".
ALTER TABLE applications ADD COLUMN api boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE applications DROP COLUMN api;
DROP INDEX application_tokens_list;
DROP INDEX application_tokens_name;
DROP INDEX application_tokens_previous;
ALTER TABLE application_tokens DROP COLUMN previous_until;
ALTER TABLE application_tokens DROP COLUMN previous_hash;
ALTER TABLE application_tokens DROP COLUMN last_used_at;
ALTER TABLE application_tokens DROP COLUMN cidrs;
ALTER TABLE application_tokens DROP COLUMN permissions;
ALTER TABLE application_tokens DROP COLUMN description;
