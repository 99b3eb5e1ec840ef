CREATE TABLE event_types (
    type TEXT NOT NULL PRIMARY KEY,
    compatibility TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

CREATE TABLE event_schemas (
    type TEXT NOT NULL,
    version INTEGER NOT NULL,
    schema TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by BLOB NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (type, version)
) STRICT;
CREATE INDEX event_schemas_revision ON event_schemas (revision);

-- One row, taken by every change: what is committed is numbered in the order of the commits.
CREATE TABLE schema_revision (
    singleton INTEGER NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO schema_revision (singleton, revision) VALUES (1, 0);

-- Without a default the rows that are there are not touched.
ALTER TABLE events ADD COLUMN schema_version INTEGER;
