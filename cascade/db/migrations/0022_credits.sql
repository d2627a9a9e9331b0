-- Credits to Venice get a table of their own. Until now they were rows of the outbox, which carries messages only.

LOCK TABLE outbox, outbox_attempts IN ACCESS EXCLUSIVE MODE;

-- One row a credit, written in the transaction of the booking that owes it. They are kept: orders read their states.
CREATE TABLE credits (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    citizen_id   text NOT NULL,                            -- of one citizen only the oldest pending credit is tried
    order_id     text NOT NULL REFERENCES orders,
    reference    text NOT NULL UNIQUE,                     -- of the payment or the reversal; stands in Venice's transfer
    ducat_units  numeric NOT NULL CHECK (ducat_units > 0 AND ducat_units = trunc(ducat_units)),
    -- The event of the order that is recorded once the credit is confirmed.
    event_type   text NOT NULL,
    event_key    text NOT NULL,
    event_data   jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'void', 'parked')),
    problem      text,                                     -- why it waits for an operator, in one word
    error        text,                                     -- what the last try met
    attempts     integer NOT NULL DEFAULT 0,               -- also the fence: only the newest try may settle it
    created_at   timestamptz NOT NULL DEFAULT now(),
    tried_since  timestamptz,                              -- of the first try since it was enqueued or replayed
    due_at       timestamptz NOT NULL DEFAULT now(),
    settled_at   timestamptz,
    handed_units numeric CHECK (handed_units > 0),         -- what was taken out of our ledger for it
    sent_at      timestamptz,                              -- when it was last sent; null: nothing that was sent is open
    sent_number  integer,                                  -- which try sent it
    CHECK ((state = 'pending') = (settled_at IS NULL))
);

CREATE TABLE credit_attempts (
    delivery bigint NOT NULL REFERENCES credits ON DELETE CASCADE,
    number   integer NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds  real NOT NULL,
    error    text,                                         -- null: delivered
    PRIMARY KEY (delivery, number)
);

-- A credit keeps its number: it is a part of the references under which the ledger booked its ducats
-- (handover:<id>:<try>). New numbers go on after all that the outbox has given, so that none is used twice.
INSERT INTO credits (id, citizen_id, order_id, reference, ducat_units, event_type, event_key, event_data, state, problem,
    error, attempts, created_at, tried_since, due_at, settled_at, handed_units, sent_at, sent_number)
OVERRIDING SYSTEM VALUE
SELECT id, citizen_id, order_id, reference, (payload ->> 'units')::numeric, payload #>> '{told,type}',
    payload #>> '{told,key}', payload #> '{told,data}', state, problem,
    error, attempts, created_at, tried_since, due_at, settled_at, handed_units, sent_at, sent_number
FROM outbox WHERE destination = 'venice' ORDER BY id;
SELECT setval(pg_get_serial_sequence('credits', 'id'), last_value, is_called) FROM outbox_id_seq;

INSERT INTO credit_attempts (delivery, number, ended_at, seconds, error)
SELECT a.delivery, a.number, a.ended_at, a.seconds, a.error
FROM outbox_attempts a JOIN outbox o ON o.id = a.delivery WHERE o.destination = 'venice';

CREATE INDEX ON credits (due_at) WHERE state = 'pending';
CREATE INDEX ON credits (citizen_id, id) WHERE state = 'pending';
CREATE INDEX ON credits (id) WHERE state IN ('pending', 'parked');
CREATE INDEX ON credits (order_id);

DELETE FROM outbox WHERE destination = 'venice';
ALTER TABLE outbox
    DROP COLUMN handed_units,
    DROP COLUMN sent_at,
    DROP COLUMN sent_number,
    -- A process of an earlier release, still running, must fail to book rather than leave a credit that is never sent.
    ADD CONSTRAINT outbox_carries_no_credits CHECK (destination <> 'venice');

-- As before, and each queue of deliveries wakes the workers of its own table.
CREATE OR REPLACE FUNCTION wake_listeners() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'order_events' THEN
        PERFORM pg_notify('cascade_feeds', 'order:' || NEW.order_id);
    ELSIF TG_TABLE_NAME = 'notifications' THEN
        PERFORM pg_notify('cascade_feeds', 'citizen:' || NEW.citizen_id);
    ELSE
        PERFORM pg_notify('cascade_' || TG_TABLE_NAME, '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER wake AFTER INSERT ON credits FOR EACH ROW EXECUTE FUNCTION wake_listeners();
