CREATE TABLE event_types (
    type text PRIMARY KEY,
    compatibility text NOT NULL,
    revision bigint NOT NULL
);

CREATE TABLE event_schemas (
    type text NOT NULL,
    version int NOT NULL,
    schema text NOT NULL,
    created_at bigint NOT NULL,
    created_by uuid NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (type, version)
);
CREATE INDEX event_schemas_revision ON event_schemas (revision);

-- One row, taken by every change: what is committed is numbered in the order of the commits.
CREATE TABLE schema_revision (
    singleton smallint PRIMARY KEY,
    revision bigint NOT NULL
);
INSERT INTO schema_revision (singleton, revision) VALUES (1, 0);

-- Without a default the rows that are there are not touched.
ALTER TABLE events ADD COLUMN schema_version int;
