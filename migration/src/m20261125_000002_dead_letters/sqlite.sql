CREATE TABLE held_events (
    group_name TEXT NOT NULL,
    event_id BLOB NOT NULL,
    id BLOB NOT NULL,
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    user_id BLOB NOT NULL,
    type TEXT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    first_failed_at INTEGER,
    last_failed_at INTEGER,
    reason_code TEXT,
    reason TEXT,
    redrives INTEGER NOT NULL,
    PRIMARY KEY (group_name, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_events_waiting ON held_events (group_name, shard, position) WHERE state = 'waiting';
CREATE INDEX held_events_user ON held_events (group_name, user_id, position) WHERE state = 'waiting';
CREATE UNIQUE INDEX held_events_id ON held_events (id);
CREATE INDEX held_events_dead ON held_events (id) WHERE state = 'dead';

CREATE TABLE group_members (
    group_name TEXT NOT NULL,
    owner TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (group_name, owner)
) STRICT, WITHOUT ROWID;
