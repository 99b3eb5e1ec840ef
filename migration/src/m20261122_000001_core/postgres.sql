CREATE TABLE installation (
    singleton smallint PRIMARY KEY CHECK (singleton = 1),
    id uuid NOT NULL,
    created_at bigint NOT NULL,
    key_fingerprint bytea,
    oldest_binary text NOT NULL
);

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL CONSTRAINT users_email_key UNIQUE,
    name text NOT NULL,
    password_scheme text NOT NULL,
    password_cost int NOT NULL,
    password_pepper text NOT NULL,
    password_hash text NOT NULL,
    tier text NOT NULL,
    role text NOT NULL,
    epoch bigint NOT NULL,
    disabled_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    version bigint NOT NULL
);
CREATE INDEX users_admins ON users (id) WHERE role = 'admin' AND disabled_at IS NULL;

CREATE TABLE registrations (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    password_scheme text NOT NULL,
    password_cost int NOT NULL,
    password_pepper text NOT NULL,
    password_hash text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    completed_as uuid,
    voided_at bigint
);
CREATE INDEX registrations_email ON registrations (email, created_at DESC);
CREATE INDEX registrations_expiry ON registrations (expires_at);

CREATE TABLE one_time_tokens (
    hash bytea PRIMARY KEY,
    purpose text NOT NULL,
    subject_kind smallint NOT NULL,
    subject_id uuid,
    email text,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    used_at bigint,
    voided_at bigint
);
CREATE INDEX one_time_tokens_subject ON one_time_tokens (subject_id);
CREATE INDEX one_time_tokens_expiry ON one_time_tokens (expires_at);

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    created_at bigint NOT NULL,
    last_used_at bigint NOT NULL,
    generation int NOT NULL,
    rotated_at bigint,
    methods text NOT NULL,
    authenticated_at bigint NOT NULL,
    user_agent text,
    ended_at bigint,
    end_reason text
);
CREATE INDEX sessions_live ON sessions (user_id, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_used ON sessions (last_used_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_created ON sessions (created_at) WHERE ended_at IS NULL;

CREATE TABLE revocations (
    sequence bigserial PRIMARY KEY,
    kind smallint NOT NULL,
    subject_id uuid NOT NULL,
    epoch bigint,
    at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX revocations_expiry ON revocations (expires_at);

CREATE TABLE sign_in_failures (
    account bytea NOT NULL,
    day int NOT NULL,
    failures bigint NOT NULL,
    PRIMARY KEY (account, day)
);
CREATE INDEX sign_in_failures_day ON sign_in_failures (day);

CREATE TABLE sign_in_clients (
    account bytea NOT NULL,
    client bytea NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (account, client)
);
CREATE INDEX sign_in_clients_at ON sign_in_clients (at);

CREATE TABLE signing_keys (
    kid text PRIMARY KEY,
    public text NOT NULL,
    sealed_secret bytea NOT NULL,
    status text NOT NULL,
    created_at bigint NOT NULL,
    activates_at bigint NOT NULL,
    retired_at bigint
);
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (status) WHERE status = 'active';

CREATE TABLE events (
    id uuid PRIMARY KEY,
    shard smallint NOT NULL,
    user_id uuid NOT NULL,
    type text NOT NULL,
    subject text,
    time bigint NOT NULL,
    data text,
    salt bytea,
    digest bytea NOT NULL,
    actor text NOT NULL,
    impersonator uuid,
    request_id uuid,
    client_id boolean NOT NULL
);

CREATE TABLE event_pending (
    sequence bigserial PRIMARY KEY,
    event_id uuid NOT NULL,
    shard smallint NOT NULL
);

CREATE TABLE event_log (
    shard smallint NOT NULL,
    position bigint NOT NULL,
    event_id uuid NOT NULL,
    user_id uuid NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (shard, position)
);
CREATE UNIQUE INDEX event_log_event ON event_log (event_id);
CREATE INDEX event_log_user ON event_log (user_id, position);

-- Few rows, updated all the time: room in their page lets an update stay in it, without an index entry.
CREATE TABLE log_shards (
    shard smallint PRIMARY KEY,
    position bigint NOT NULL,
    hash bytea NOT NULL,
    lease_owner text,
    lease_until bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE cursors (
    group_name text NOT NULL,
    shard smallint NOT NULL,
    position bigint NOT NULL,
    lease_owner text,
    lease_until bigint NOT NULL,
    PRIMARY KEY (group_name, shard)
) WITH (fillfactor = 50);

CREATE TABLE inbox (
    group_name text NOT NULL,
    event_id uuid NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (group_name, event_id)
);
CREATE INDEX inbox_at ON inbox (at);

CREATE TABLE usage (
    user_id uuid NOT NULL,
    month int NOT NULL,
    meter text NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (user_id, month, meter)
) WITH (fillfactor = 80);

CREATE TABLE mails (
    id uuid PRIMARY KEY,
    user_id uuid,
    recipient text NOT NULL,
    template text NOT NULL,
    locale text NOT NULL,
    data text NOT NULL,
    sealed_token bytea,
    state text NOT NULL,
    attempts int NOT NULL,
    next_attempt_at bigint NOT NULL,
    lease_owner text,
    lease_until bigint,
    last_reply text,
    created_at bigint NOT NULL,
    sent_at bigint,
    request_id uuid
);
CREATE INDEX mails_due ON mails (next_attempt_at) WHERE state IN ('queued', 'sending');
CREATE INDEX mails_dead ON mails (id) WHERE state = 'dead';
CREATE INDEX mails_user ON mails (user_id, id);
CREATE INDEX mails_recipient ON mails (recipient, template, created_at);

CREATE TABLE mail_attempts (
    mail_id uuid NOT NULL,
    number int NOT NULL,
    at bigint NOT NULL,
    accepted boolean NOT NULL,
    reply text NOT NULL,
    PRIMARY KEY (mail_id, number)
);

CREATE TABLE files (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    blob_key text NOT NULL,
    backend text NOT NULL,
    size bigint NOT NULL,
    media_type text NOT NULL,
    sha256 bytea NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX files_user ON files (user_id, id);

CREATE TABLE file_reservations (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    backend text NOT NULL,
    blob_key text NOT NULL,
    bytes bigint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    removed boolean NOT NULL
);
CREATE INDEX file_reservations_expiry ON file_reservations (expires_at);

CREATE TABLE storage_usage (
    user_id uuid PRIMARY KEY,
    files bigint NOT NULL,
    bytes bigint NOT NULL,
    reserved bigint NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE idempotency (
    user_id uuid NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    begun_at bigint NOT NULL,
    status int,
    resources text,
    PRIMARY KEY (user_id, route, key)
);
CREATE INDEX idempotency_age ON idempotency (begun_at);
