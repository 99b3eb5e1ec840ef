-- Apart from log_shards, whose rows the sequencer moves all the time.
CREATE TABLE log_floors (
    shard smallint PRIMARY KEY,
    position bigint NOT NULL,
    hash bytea NOT NULL,
    removable bigint NOT NULL,
    blanked bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE audit_state (
    singleton smallint PRIMARY KEY CHECK (singleton = 1),
    serial bigint NOT NULL,
    at bigint NOT NULL,
    events bigint NOT NULL
) WITH (fillfactor = 50);

-- Times ascend with the events, so that an insert goes to the last page.
CREATE INDEX events_time ON events (time);

-- Retention asks each shard for the first event that is still held.
CREATE INDEX held_events_place ON held_events (shard, position);
