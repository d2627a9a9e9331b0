-- The ducat's rate: what is reported of the city, the formulas that were used, and every tick with what it saw.

-- Keys that the operator gives to programs. Only their hash is here: a key is shown once, when it is made.
CREATE TABLE api_keys (
    name       text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,39}$'),
    hash       bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),      -- SHA-256 of 256 random bits
    scopes     text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,                                -- to the hour
    revoked_at timestamptz
);

CREATE TABLE signals (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text NOT NULL,                             -- the key's name, or venice
    sender_id   text NOT NULL CHECK (length(sender_id) BETWEEN 1 AND 100),
    kind        text NOT NULL,
    micro       bigint NOT NULL,                           -- millionths of the kind's unit
    occurred_at timestamptz NOT NULL,                      -- by the sender's clock
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (source, sender_id)
);
CREATE INDEX ON signals (kind, source, occurred_at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- A version that was used keeps its meaning for ever, whatever becomes of the file that it was read from.
CREATE TABLE rate_formulas (
    version       text PRIMARY KEY,
    data          jsonb NOT NULL,
    first_used_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rate_formulas
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- One chain: every tick follows another one and begins with the rate that it left; only the first follows none.
CREATE TABLE rate_ticks (
    at                timestamptz PRIMARY KEY,
    previous_at       timestamptz,
    previous_nano_usd bigint,
    nano_usd          bigint NOT NULL CHECK (nano_usd > 0),          -- USD per ducat, in billionths
    target_nano_usd   bigint NOT NULL CHECK (target_nano_usd > 0),
    formula           text NOT NULL REFERENCES rate_formulas,
    inputs            jsonb NOT NULL,
    contributions     jsonb NOT NULL,
    computed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (at, nano_usd),
    UNIQUE NULLS NOT DISTINCT (previous_at),
    FOREIGN KEY (previous_at, previous_nano_usd) REFERENCES rate_ticks (at, nano_usd) MATCH FULL,
    CHECK (previous_at < at),
    -- Whatever the formula: no tick moves the price by more than a tenth.
    CHECK (abs(nano_usd - previous_nano_usd) * 10 <= previous_nano_usd)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rate_ticks
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Which tick priced an order; null: it was opened before the first one.
ALTER TABLE orders
    ADD COLUMN rate_tick timestamptz,
    ADD FOREIGN KEY (rate_tick, rate_nano_usd) REFERENCES rate_ticks (at, nano_usd);

-- A quote is locked: whatever happens to the rate, an order keeps what it was opened with.
CREATE FUNCTION refuse_new_quote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'order % keeps its quote: open another order', OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER quote_is_locked
    BEFORE UPDATE OF citizen_id, package, price_cents, ducat_units, bonus_units, rate_nano_usd, rate_tick ON orders
    FOR EACH ROW EXECUTE FUNCTION refuse_new_quote();

-- The ledger tells what was sold in the last days.
CREATE INDEX ON ledger.transactions (posted_at);

-- Wakes who listens to the city: at commit, lost without harm.
CREATE FUNCTION wake_city_listeners() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cascade_feeds', 'city:');
    RETURN NULL;
END $$;
CREATE TRIGGER wake AFTER INSERT ON signals FOR EACH STATEMENT EXECUTE FUNCTION wake_city_listeners();
CREATE TRIGGER wake AFTER INSERT ON rate_ticks FOR EACH STATEMENT EXECUTE FUNCTION wake_city_listeners();
