CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    url text NOT NULL,
    types text NOT NULL,
    description text NOT NULL,
    disabled text,
    sealed_secret bytea NOT NULL,
    previous_secret bytea,
    previous_until bigint,
    failing_since bigint,
    failures int NOT NULL,
    last_success_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    version bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX webhooks_user ON webhooks (user_id, id);

CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY,
    webhook_id uuid NOT NULL,
    user_id uuid NOT NULL,
    host text NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    body text,
    state text NOT NULL,
    attempts int NOT NULL,
    base_attempts int NOT NULL,
    next_attempt_at bigint NOT NULL,
    lease_owner text,
    lease_until bigint,
    last_status int,
    last_fault text,
    created_at bigint NOT NULL,
    done_at bigint
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at, id) WHERE state IN ('queued', 'sending');
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (id) WHERE state = 'dead';
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at);

CREATE TABLE webhook_attempts (
    delivery_id uuid NOT NULL,
    number int NOT NULL,
    at bigint NOT NULL,
    took bigint NOT NULL,
    status int,
    fault text,
    PRIMARY KEY (delivery_id, number)
);
