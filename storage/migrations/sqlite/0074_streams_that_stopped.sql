-- +goose Up

-- An event that says that the stream was paused or disabled reaches the receiver
-- all the same. verified_at is when an application last asked for a proof that the
-- stream works.
ALTER TABLE event_queue ADD COLUMN announces boolean NOT NULL DEFAULT false;
CREATE INDEX event_queue_announced ON event_queue (tenant_id, stream_id, seq) WHERE announces AND dead_at IS NULL;
ALTER TABLE event_streams ADD COLUMN verified_at datetime;

-- +goose Down
ALTER TABLE event_streams DROP COLUMN verified_at;
DROP INDEX event_queue_announced;
ALTER TABLE event_queue DROP COLUMN announces;
