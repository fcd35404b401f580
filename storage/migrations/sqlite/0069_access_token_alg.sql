-- +goose Up

-- What an application's signed access tokens are signed by.
ALTER TABLE applications ADD COLUMN access_token_alg text NOT NULL DEFAULT 'ES256';

-- +goose Down
ALTER TABLE applications DROP COLUMN access_token_alg;
