-- Dust costs whoever sends it next to nothing, so it must cost us next to nothing: it is booked, and nobody is told.

-- In suspense and below a cent. Both stablecoins have six decimals. Lists leave it out, and sum it up.
ALTER TABLE payments ADD COLUMN dust boolean NOT NULL
    GENERATED ALWAYS AS (rail = 'chain' AND outcome = 'suspense' AND units < 10000) STORED;
CREATE INDEX payments_of_order ON payments (order_id, recorded_at, reference) WHERE NOT dust;
CREATE INDEX payments_in_suspense ON payments (recorded_at, reference) WHERE outcome = 'suspense' AND NOT dust;
CREATE INDEX payments_dust ON payments (order_key, recorded_at) INCLUDE (asset, units) WHERE dust;

-- When the watcher looks at a transfer that was not collected: at first at once, then when something can have changed.
-- Infinity: when more comes for its order, or the router tells of a collect.
ALTER TABLE deposit_transfers ADD COLUMN look_due timestamptz NOT NULL DEFAULT '-infinity';
CREATE INDEX deposit_transfers_to_look_at ON deposit_transfers (look_due) WHERE NOT collected;
CREATE INDEX chain_terms_of_order ON chain_terms (order_id);
