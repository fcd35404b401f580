-- +goose Up

-- Passwords that were replaced, as many as the strictest of the person's tenants
-- keeps from being chosen again. The ids are in the order of replacement.
CREATE TABLE old_passwords (
    id          text PRIMARY KEY,
    user_id     text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash        text NOT NULL,
    replaced_at datetime NOT NULL
);
CREATE INDEX old_passwords_user ON old_passwords (user_id, id);

-- +goose Down
DROP TABLE old_passwords;
