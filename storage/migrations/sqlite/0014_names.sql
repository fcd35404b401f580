-- +goose Up
-- People by displayName. PostgreSQL's twin also finds parts of names.
CREATE INDEX memberships_search ON memberships (tenant_id, json_extract(search, '$.displayName'));

-- +goose Down
DROP INDEX memberships_search;
