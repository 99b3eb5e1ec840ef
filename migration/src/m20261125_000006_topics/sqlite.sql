ALTER TABLE held_events ADD COLUMN topic TEXT;
ALTER TABLE held_events ADD COLUMN partition INTEGER;
ALTER TABLE held_events ADD COLUMN event_user BLOB;
ALTER TABLE held_events ADD COLUMN record TEXT;
