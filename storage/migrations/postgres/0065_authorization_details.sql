-- +goose Up

-- Types of authorization details (RFC 9396), which are the instance's: a JSON Schema of
-- their objects, and how people read them.
CREATE TABLE authorization_details_types (
    name        text COLLATE "C" PRIMARY KEY,
    definition  text NOT NULL,
    names       text NOT NULL,
    fields      text NOT NULL,
    created_at  timestamptz NOT NULL,
    modified_at timestamptz NOT NULL
);

-- What people have allowed, what a token has of it, and what a device asks for: JSON;
-- empty: nothing.
ALTER TABLE grants ADD COLUMN details text NOT NULL DEFAULT '';
ALTER TABLE access_tokens ADD COLUMN details text NOT NULL DEFAULT '';
ALTER TABLE device_codes ADD COLUMN details text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE device_codes DROP COLUMN details;
ALTER TABLE access_tokens DROP COLUMN details;
ALTER TABLE grants DROP COLUMN details;
DROP TABLE authorization_details_types;
