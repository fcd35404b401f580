-- +goose Up
-- progress is how far a run has come, as JSON: where the next node goes on.
ALTER TABLE provisioning_runs ADD COLUMN progress text NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE provisioning_runs DROP COLUMN progress;
