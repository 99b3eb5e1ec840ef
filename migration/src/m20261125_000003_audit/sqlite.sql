CREATE TABLE log_floors (
    shard INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    removable INTEGER NOT NULL,
    blanked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_state (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    serial INTEGER NOT NULL,
    at INTEGER NOT NULL,
    events INTEGER NOT NULL
) STRICT;

CREATE INDEX events_time ON events (time);

-- Retention asks each shard for the first event that is still held.
CREATE INDEX held_events_place ON held_events (shard, position);
