-- The ledger: double entry, append-only, guarded by the database itself.
--
-- A posting holds both of its sides and one positive whole amount, so an unbalanced one cannot be written down.
-- Balances are kept by a trigger and refuse to be written by anybody else.

CREATE SCHEMA ledger;

CREATE TABLE ledger.assets (
    code  text PRIMARY KEY,
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 18)  -- decimal places of the smallest unit
);
INSERT INTO ledger.assets VALUES ('USD', 2), ('USDC', 6), ('USDT', 6), ('DUCAT', 6);

CREATE TABLE ledger.accounts (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    asset   text NOT NULL REFERENCES ledger.assets,
    -- Must not fall below zero, unless a reversal takes it there (a citizen has spent what is taken back).
    guarded boolean NOT NULL GENERATED ALWAYS AS (starts_with(name, 'citizen:')) STORED,
    -- Credits minus debits, in the asset's smallest units.
    units   numeric NOT NULL DEFAULT 0,
    UNIQUE (name, asset),
    UNIQUE (id, asset)
) WITH (fillfactor = 70);

CREATE TABLE ledger.transactions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference     text NOT NULL UNIQUE CHECK (length(reference) BETWEEN 1 AND 200),
    kind          text NOT NULL CHECK (kind IN ('sale', 'suspense', 'reversal')),
    reverses      text UNIQUE REFERENCES ledger.transactions (reference),
    contents_hash bytea NOT NULL CHECK (octet_length(contents_hash) = 32),
    posted_at     timestamptz NOT NULL DEFAULT now(),
    -- The database transaction that wrote it: postings can only join their transaction there.
    written_by    xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CHECK ((kind = 'reversal') = (reverses IS NOT NULL))
);

CREATE TABLE ledger.postings (
    transaction_id bigint NOT NULL REFERENCES ledger.transactions,
    leg            smallint NOT NULL CHECK (leg >= 0),
    asset          text NOT NULL,
    debit          bigint NOT NULL,
    credit         bigint NOT NULL,
    -- numeric(78, 0) would round a fraction silently; the check refuses it.
    units          numeric NOT NULL CHECK (units > 0 AND units = trunc(units) AND units < 2::numeric ^ 256),
    PRIMARY KEY (transaction_id, leg),
    FOREIGN KEY (debit, asset) REFERENCES ledger.accounts (id, asset),
    FOREIGN KEY (credit, asset) REFERENCES ledger.accounts (id, asset),
    CHECK (debit <> credit)
);
CREATE INDEX ON ledger.postings (debit);
CREATE INDEX ON ledger.postings (credit);

-- Moves the balances by what was just posted.
CREATE FUNCTION ledger.apply_postings() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    overdrawn text;
BEGIN
    IF EXISTS (SELECT FROM posted JOIN ledger.transactions t ON t.id = posted.transaction_id
               WHERE t.written_by <> pg_current_xact_id()) THEN
        RAISE EXCEPTION 'a posting cannot join a transaction that was posted before'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    WITH moved AS (
        SELECT account, sum(units) AS units, sum(units) FILTER (WHERE kind <> 'reversal') AS ordinary
        FROM (SELECT debit AS account, -p.units AS units, t.kind
              FROM posted p JOIN ledger.transactions t ON t.id = p.transaction_id
              UNION ALL
              SELECT credit, p.units, t.kind
              FROM posted p JOIN ledger.transactions t ON t.id = p.transaction_id) AS legs
        GROUP BY account
    ), locked AS (  -- in one order, so that two writers wait for each other and never deadlock
        SELECT id FROM ledger.accounts WHERE id IN (SELECT account FROM moved) ORDER BY id FOR NO KEY UPDATE
    ), updated AS (
        UPDATE ledger.accounts a SET units = a.units + moved.units
        FROM moved JOIN locked ON locked.id = moved.account
        WHERE a.id = moved.account
        RETURNING a.name, a.guarded, a.units, moved.ordinary
    )
    SELECT string_agg(name, ', ') INTO overdrawn FROM updated WHERE guarded AND units < 0 AND ordinary < 0;
    IF overdrawn IS NOT NULL THEN
        RAISE EXCEPTION 'not enough in %: only a reversal may take it below zero', overdrawn
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER apply_postings AFTER INSERT ON ledger.postings
    REFERENCING NEW TABLE AS posted FOR EACH STATEMENT EXECUTE FUNCTION ledger.apply_postings();

-- At commit: a transaction has postings, and a reversal is the exact mirror of what it reverses.
CREATE FUNCTION ledger.check_complete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ledger.postings WHERE transaction_id = NEW.id) THEN
        RAISE EXCEPTION 'transaction % has no postings', NEW.reference USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.reverses IS NOT NULL AND
        (SELECT array_agg(ROW (p.asset, p.debit, p.credit, p.units) ORDER BY p.leg)
         FROM ledger.postings p WHERE p.transaction_id = NEW.id)
        IS DISTINCT FROM
        (SELECT array_agg(ROW (p.asset, p.credit, p.debit, p.units) ORDER BY p.leg)
         FROM ledger.postings p JOIN ledger.transactions t ON t.id = p.transaction_id
         WHERE t.reference = NEW.reverses AND t.reverses IS NULL)
    THEN
        RAISE EXCEPTION 'transaction % is not the mirror of %', NEW.reference, NEW.reverses
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_complete AFTER INSERT ON ledger.transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.check_complete();

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: post a reversal instead', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.postings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- A balance moves only inside apply_postings, that is one trigger deeper than anybody's own statement.
CREATE FUNCTION ledger.refuse_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'balances follow from postings and cannot be set'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER no_direct_update BEFORE UPDATE ON ledger.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_balance();

CREATE FUNCTION ledger.open_at_zero() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.units <> 0 THEN
        RAISE EXCEPTION 'account % must open at zero, not %', NEW.name, NEW.units
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER open_at_zero BEFORE INSERT ON ledger.accounts
    FOR EACH ROW EXECUTE FUNCTION ledger.open_at_zero();

-- Every posting as its two sides: the journal as an accountant reads it.
CREATE VIEW ledger.journal AS
    SELECT t.id AS transaction_id, t.reference, t.kind, t.posted_at, p.leg, a.name AS account, p.asset, sides.units
    FROM ledger.transactions t
    JOIN ledger.postings p ON p.transaction_id = t.id
    CROSS JOIN LATERAL (VALUES (p.debit, -p.units), (p.credit, p.units)) AS sides (account_id, units)
    JOIN ledger.accounts a ON a.id = sides.account_id;
