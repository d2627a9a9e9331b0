-- What leaves the house: an order's life as events, and one row for each delivery that an event causes.

-- Ducats that leave our ledger for Venice's, and those that come back because Venice did not take them.
ALTER TABLE ledger.transactions
    DROP CONSTRAINT transactions_kind_check,
    ADD CONSTRAINT transactions_kind_check
        CHECK (kind IN ('sale', 'suspense', 'reversal', 'reinstatement', 'handover', 'handback'));

-- An order's life. Numbers are drawn under the order's lock, so they have no gap and no reader can overlook one.
CREATE TABLE order_events (
    order_id    text NOT NULL REFERENCES orders,
    number      integer NOT NULL CHECK (number > 0),
    type        text NOT NULL,
    key         text NOT NULL,                             -- what it is about: of one thing it is told once
    occurred_at timestamptz NOT NULL DEFAULT now(),
    data        jsonb NOT NULL,
    PRIMARY KEY (order_id, number),
    UNIQUE (order_id, type, key)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON order_events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- When an order has to be looked at because its time is over; null: never, since it is told or paid.
ALTER TABLE orders ADD COLUMN expiry_due timestamptz;
CREATE INDEX ON orders (expiry_due) WHERE expiry_due IS NOT NULL;

-- Where receipts go, if the citizen said so.
CREATE TABLE order_contacts (
    order_id text PRIMARY KEY REFERENCES orders,
    email    text NOT NULL CHECK (length(email) BETWEEN 3 AND 254)
);

-- What a citizen is told. The words are found when it is read, in the reader's language.
CREATE TABLE notifications (
    citizen_id   text NOT NULL,
    number       integer NOT NULL CHECK (number > 0),      -- a citizen's own, without gaps
    order_id     text NOT NULL,
    event_number integer NOT NULL,
    read_at      timestamptz,
    PRIMARY KEY (citizen_id, number),
    UNIQUE (order_id, event_number),                       -- of one event a citizen is told once
    FOREIGN KEY (order_id, event_number) REFERENCES order_events
);
CREATE TABLE notification_counters (
    citizen_id text PRIMARY KEY,
    last       integer NOT NULL                            -- its row's lock keeps numbers in the order of commits
);

-- One row a delivery, written in the transaction of what it tells. Several tries may overlap only after a lease ran out.
CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination  text NOT NULL,                            -- venice, message, email, webhook:<endpoint>
    citizen_id   text NOT NULL,                            -- order is kept for each destination and citizen
    order_id     text NOT NULL REFERENCES orders,
    reference    text NOT NULL,                            -- the receiver's idempotency key
    payload      jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'void', 'parked')),
    problem      text,                                     -- why it waits for an operator, in one word
    error        text,                                     -- what the last try met
    attempts     integer NOT NULL DEFAULT 0,               -- also the fence: only the newest try may settle it
    created_at   timestamptz NOT NULL DEFAULT now(),
    due_at       timestamptz NOT NULL DEFAULT now(),
    tried_since  timestamptz,                              -- of the first try since it was enqueued or replayed
    settled_at   timestamptz,
    -- A credit on its way to Venice: what was taken out of our ledger for it, and which try sent it last, and when.
    handed_units numeric CHECK (handed_units > 0),
    sent_at      timestamptz,
    sent_number  integer,
    UNIQUE (destination, reference),
    CHECK ((state = 'pending') = (settled_at IS NULL))
);
CREATE INDEX ON outbox (destination, due_at) WHERE state = 'pending';
CREATE INDEX ON outbox (destination, citizen_id, id) WHERE state = 'pending';
CREATE INDEX ON outbox (settled_at) WHERE state <> 'pending';
CREATE INDEX ON outbox (order_id);

CREATE TABLE outbox_attempts (
    delivery bigint NOT NULL REFERENCES outbox ON DELETE CASCADE,
    number   integer NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds  real NOT NULL,
    error    text,                                         -- null: delivered
    PRIMARY KEY (delivery, number)
);

-- Where the platform wants to hear of events.
CREATE TABLE webhook_endpoints (
    id            text PRIMARY KEY CHECK (id ~ '^ep_[a-z2-7]{16}$'),
    url           text NOT NULL CHECK (length(url) <= 2000),
    event_types   text[] NOT NULL DEFAULT '{}',            -- empty: all of them
    created_at    timestamptz NOT NULL DEFAULT now(),
    failing_since timestamptz,                             -- of the first failure since the last success
    disabled_at   timestamptz,
    disabled_why  text,
    deleted_at    timestamptz
);
CREATE TABLE webhook_secrets (
    endpoint_id text NOT NULL REFERENCES webhook_endpoints,
    secret      text NOT NULL,                             -- signs: it has to be readable here
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,                               -- null: the newest; an older one signs too until then
    PRIMARY KEY (endpoint_id, secret)
);

-- Wakes who waits: the dispatcher, and those who listen to an order or a citizen. Heard at commit, lost without harm.
CREATE FUNCTION wake_listeners() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'order_events' THEN
        PERFORM pg_notify('cascade_feeds', 'order:' || NEW.order_id);
    ELSIF TG_TABLE_NAME = 'notifications' THEN
        PERFORM pg_notify('cascade_feeds', 'citizen:' || NEW.citizen_id);
    ELSE
        PERFORM pg_notify('cascade_outbox', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER wake AFTER INSERT ON order_events FOR EACH ROW EXECUTE FUNCTION wake_listeners();
CREATE TRIGGER wake AFTER INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION wake_listeners();
CREATE TRIGGER wake AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION wake_listeners();
