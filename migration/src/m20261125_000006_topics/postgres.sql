ALTER TABLE held_events ADD COLUMN topic text;
ALTER TABLE held_events ADD COLUMN partition int;
ALTER TABLE held_events ADD COLUMN event_user uuid;
ALTER TABLE held_events ADD COLUMN record text;
