-- STRICT: a value of another type than its column's is refused. WITHOUT ROWID: small rows that live in their key.
CREATE TABLE installation (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    key_fingerprint BLOB,
    oldest_binary TEXT NOT NULL
) STRICT;

CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password_scheme TEXT NOT NULL,
    password_cost INTEGER NOT NULL,
    password_pepper TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    tier TEXT NOT NULL,
    role TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    disabled_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX users_admins ON users (id) WHERE role = 'admin' AND disabled_at IS NULL;

CREATE TABLE registrations (
    id BLOB NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    password_scheme TEXT NOT NULL,
    password_cost INTEGER NOT NULL,
    password_pepper TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    completed_as BLOB,
    voided_at INTEGER
) STRICT;
CREATE INDEX registrations_email ON registrations (email, created_at DESC);
CREATE INDEX registrations_expiry ON registrations (expires_at);

CREATE TABLE one_time_tokens (
    hash BLOB NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    subject_kind INTEGER NOT NULL,
    subject_id BLOB,
    email TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    voided_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX one_time_tokens_subject ON one_time_tokens (subject_id);
CREATE INDEX one_time_tokens_expiry ON one_time_tokens (expires_at);

CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    rotated_at INTEGER,
    methods TEXT NOT NULL,
    authenticated_at INTEGER NOT NULL,
    user_agent TEXT,
    ended_at INTEGER,
    end_reason TEXT
) STRICT;
CREATE INDEX sessions_live ON sessions (user_id, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_used ON sessions (last_used_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_created ON sessions (created_at) WHERE ended_at IS NULL;

CREATE TABLE revocations (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    subject_id BLOB NOT NULL,
    epoch INTEGER,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX revocations_expiry ON revocations (expires_at);

CREATE TABLE sign_in_failures (
    account BLOB NOT NULL,
    day INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_failures_day ON sign_in_failures (day);

CREATE TABLE sign_in_clients (
    account BLOB NOT NULL,
    client BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (account, client)
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_clients_at ON sign_in_clients (at);

CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    public TEXT NOT NULL,
    sealed_secret BLOB NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    activates_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (status) WHERE status = 'active';

CREATE TABLE events (
    id BLOB NOT NULL PRIMARY KEY,
    shard INTEGER NOT NULL,
    user_id BLOB NOT NULL,
    type TEXT NOT NULL,
    subject TEXT,
    time INTEGER NOT NULL,
    data TEXT,
    salt BLOB,
    digest BLOB NOT NULL,
    actor TEXT NOT NULL,
    impersonator BLOB,
    request_id BLOB,
    client_id INTEGER NOT NULL
) STRICT;

CREATE TABLE event_pending (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id BLOB NOT NULL,
    shard INTEGER NOT NULL
) STRICT;

CREATE TABLE event_log (
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (shard, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX event_log_event ON event_log (event_id);
CREATE INDEX event_log_user ON event_log (user_id, position);

CREATE TABLE log_shards (
    shard INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    lease_owner TEXT,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
    group_name TEXT NOT NULL,
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    lease_owner TEXT,
    lease_until INTEGER NOT NULL,
    PRIMARY KEY (group_name, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    group_name TEXT NOT NULL,
    event_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (group_name, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_at ON inbox (at);

CREATE TABLE usage (
    user_id BLOB NOT NULL,
    month INTEGER NOT NULL,
    meter TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (user_id, month, meter)
) STRICT, WITHOUT ROWID;

CREATE TABLE mails (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB,
    recipient TEXT NOT NULL,
    template TEXT NOT NULL,
    locale TEXT NOT NULL,
    data TEXT NOT NULL,
    sealed_token BLOB,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    lease_owner TEXT,
    lease_until INTEGER,
    last_reply TEXT,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    request_id BLOB
) STRICT;
CREATE INDEX mails_due ON mails (next_attempt_at) WHERE state IN ('queued', 'sending');
CREATE INDEX mails_dead ON mails (id) WHERE state = 'dead';
CREATE INDEX mails_user ON mails (user_id, id);
CREATE INDEX mails_recipient ON mails (recipient, template, created_at);

CREATE TABLE mail_attempts (
    mail_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    reply TEXT NOT NULL,
    PRIMARY KEY (mail_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE files (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    blob_key TEXT NOT NULL,
    backend TEXT NOT NULL,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX files_user ON files (user_id, id);

CREATE TABLE file_reservations (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL,
    backend TEXT NOT NULL,
    blob_key TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    removed INTEGER NOT NULL
) STRICT;
CREATE INDEX file_reservations_expiry ON file_reservations (expires_at);

CREATE TABLE storage_usage (
    user_id BLOB NOT NULL PRIMARY KEY,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    reserved INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    user_id BLOB NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    begun_at INTEGER NOT NULL,
    status INTEGER,
    resources TEXT,
    PRIMARY KEY (user_id, route, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (begun_at);
