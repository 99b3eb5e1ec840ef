CREATE TABLE held_events (
    group_name text NOT NULL,
    event_id uuid NOT NULL,
    id uuid NOT NULL,
    shard smallint NOT NULL,
    position bigint NOT NULL,
    user_id uuid NOT NULL,
    type text NOT NULL,
    origin text NOT NULL,
    state text NOT NULL,
    attempts int NOT NULL,
    next_attempt_at bigint NOT NULL,
    first_failed_at bigint,
    last_failed_at bigint,
    reason_code text,
    reason text,
    redrives int NOT NULL,
    PRIMARY KEY (group_name, event_id)
);
CREATE INDEX held_events_waiting ON held_events (group_name, shard, position) WHERE state = 'waiting';
CREATE INDEX held_events_user ON held_events (group_name, user_id, position) WHERE state = 'waiting';
CREATE UNIQUE INDEX held_events_id ON held_events (id);
CREATE INDEX held_events_dead ON held_events (id) WHERE state = 'dead';

CREATE TABLE group_members (
    group_name text NOT NULL,
    owner text NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (group_name, owner)
) WITH (fillfactor = 50);
