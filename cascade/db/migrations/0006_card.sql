-- The card rail: payments begun at Stripe, what it last said of them, and the inbox of its events.

ALTER TABLE payments
    DROP CONSTRAINT payments_rail_check,
    ADD CONSTRAINT payments_rail_check CHECK (rail IN ('chain', 'card'));

-- One row a try, written before Stripe is asked: a lost answer is asked for again under the same key.
CREATE TABLE card_attempts (
    order_id      text NOT NULL REFERENCES orders,
    flow          text NOT NULL CHECK (flow IN ('checkout_session', 'payment_intent')),
    number        integer NOT NULL CHECK (number > 0),
    payable_until timestamptz NOT NULL,
    stripe_id     text UNIQUE,                             -- null: Stripe's answer is not known
    begun_at      timestamptz NOT NULL DEFAULT now(),
    closed_at     timestamptz,                             -- nobody can pay it any more
    PRIMARY KEY (order_id, flow, number)
);
CREATE UNIQUE INDEX one_open_attempt ON card_attempts (order_id, flow) WHERE closed_at IS NULL;
CREATE INDEX ON card_attempts (payable_until) WHERE closed_at IS NULL;

-- Evidence is numbered when it is asked for; an older answer never replaces a younger one.
CREATE SEQUENCE stripe_evidence;

CREATE TABLE card_intents (
    intent_id    text PRIMARY KEY,
    order_id     text REFERENCES orders,                   -- null: not one of ours
    status       text NOT NULL,
    failure_code text,
    evidence     bigint NOT NULL
);
CREATE INDEX ON card_intents (order_id);

CREATE TABLE card_cases (
    case_id     text PRIMARY KEY,
    payment     text NOT NULL REFERENCES payments,
    kind        text NOT NULL CHECK (kind IN ('dispute', 'inquiry', 'early_fraud_warning')),
    status      text NOT NULL,
    reason      text NOT NULL,
    cents       bigint CHECK (cents > 0),                  -- null: a warning names no amount
    respond_by  timestamptz,
    evidence    bigint NOT NULL,
    opened_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON card_cases (payment);

-- The envelope only: contents may be old by the time they are read, and hold secrets and names.
CREATE TABLE stripe_events (
    event_id    text PRIMARY KEY,
    type        text NOT NULL,
    object_id   text NOT NULL,                             -- what it is about
    intent_id   text,                                      -- and the payment intent that this belongs to
    created_at  timestamptz NOT NULL,                      -- by Stripe's clock
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts    integer NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    error       text,                                      -- why the last attempt failed
    handled_at  timestamptz,                               -- set in the transaction that booked what it is about
    outcome     text CHECK (outcome IN ('booked', 'ignored')),
    CHECK ((handled_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX ON stripe_events (due_at) WHERE handled_at IS NULL;

-- How far Stripe's own list of events has been read.
CREATE TABLE stripe_catch_up (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    read_until timestamptz NOT NULL,                       -- by Stripe's clock
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
