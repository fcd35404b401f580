-- +goose Up

-- Streams that an application has made for itself (Shared Signals Framework 1.0)
-- have its client_id. People that it does not want to hear of are in
-- event_stream_exclusions.
ALTER TABLE event_streams ADD COLUMN client_id text COLLATE "C" REFERENCES applications (client_id) ON DELETE CASCADE;
ALTER TABLE event_streams ADD COLUMN description text NOT NULL DEFAULT '';
CREATE INDEX event_streams_application ON event_streams (client_id) WHERE client_id IS NOT NULL;
CREATE TABLE event_stream_exclusions (
    tenant_id text COLLATE "C" NOT NULL,
    stream_id text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, stream_id, user_id),
    FOREIGN KEY (tenant_id, stream_id) REFERENCES event_streams (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX event_stream_exclusions_user ON event_stream_exclusions (user_id);

-- +goose Down
DROP TABLE event_stream_exclusions;
DROP INDEX event_streams_application;
ALTER TABLE event_streams DROP COLUMN description;
ALTER TABLE event_streams DROP COLUMN client_id;
