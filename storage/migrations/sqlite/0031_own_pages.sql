-- +goose Up

-- What people look up about themselves: what they did, what was done to their
-- account, and what applications hold of theirs. The events of directories,
-- which are most of them, are in neither index.
CREATE INDEX events_of_person ON events (actor_id, id) WHERE actor_kind = 'user';
CREATE INDEX events_about_person ON events (target_id, id) WHERE target_kind = 'user';
CREATE INDEX grants_of_user ON grants (user_id, client_id);

-- +goose Down
DROP INDEX grants_of_user;
DROP INDEX events_about_person;
DROP INDEX events_of_person;
