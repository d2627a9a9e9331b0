-- The waist: every confirmed payment once, whatever became of it.

CREATE TABLE payments (
    -- Recomputable from the evidence; the ledger transaction carries the same one.
    reference   text PRIMARY KEY REFERENCES ledger.transactions (reference),
    rail        text NOT NULL CHECK (rail IN ('chain')),
    order_id    text REFERENCES orders,                -- null: no such order
    asset       text NOT NULL REFERENCES ledger.assets,
    units       numeric NOT NULL CHECK (units > 0 AND units = trunc(units)),
    payer       text NOT NULL,
    transaction text NOT NULL,                         -- the rail's own name, for people to look up
    outcome     text NOT NULL CHECK (outcome IN ('fulfilled', 'suspense')),
    reason      text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((outcome = 'suspense') = (reason IS NOT NULL)),
    CHECK (outcome = 'suspense' OR order_id IS NOT NULL)
);
-- The second guard: whatever the references say, an order is fulfilled at most once.
CREATE UNIQUE INDEX one_fulfilment_per_order ON payments (order_id) WHERE outcome = 'fulfilled';
CREATE INDEX ON payments (order_id);
CREATE INDEX ON payments (recorded_at) WHERE outcome = 'suspense';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payments
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
