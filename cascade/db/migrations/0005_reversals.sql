-- Money that goes back in parts and comes again, instead of one exact mirror; a citizen never falls below zero.

ALTER TABLE ledger.transactions
    DROP CONSTRAINT transactions_reverses_key,
    DROP CONSTRAINT transactions_kind_check,
    DROP CONSTRAINT transactions_check,
    ADD CONSTRAINT transactions_kind_check CHECK (kind IN ('sale', 'suspense', 'reversal', 'reinstatement')),
    ADD CONSTRAINT transactions_check CHECK ((kind IN ('reversal', 'reinstatement')) = (reverses IS NOT NULL));
CREATE INDEX ON ledger.transactions (reverses) WHERE reverses IS NOT NULL;

-- As before, but without the exception for reversals: what a citizen has spent is owed by its order instead.
CREATE OR REPLACE FUNCTION ledger.apply_postings() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    overdrawn text;
BEGIN
    IF EXISTS (SELECT FROM posted JOIN ledger.transactions t ON t.id = posted.transaction_id
               WHERE t.written_by <> pg_current_xact_id()) THEN
        RAISE EXCEPTION 'a posting cannot join a transaction that was posted before'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    WITH moved AS (
        SELECT account, sum(units) AS units
        FROM (SELECT debit AS account, -units AS units FROM posted UNION ALL SELECT credit, units FROM posted) AS legs
        GROUP BY account
    ), locked AS (  -- in one order, so that two writers wait for each other and never deadlock
        SELECT id FROM ledger.accounts WHERE id IN (SELECT account FROM moved) ORDER BY id FOR NO KEY UPDATE
    ), updated AS (
        UPDATE ledger.accounts a SET units = a.units + moved.units
        FROM moved JOIN locked ON locked.id = moved.account
        WHERE a.id = moved.account
        RETURNING a.name, a.guarded, a.units
    )
    SELECT string_agg(name, ', ') INTO overdrawn FROM updated
    WHERE (guarded AND units < 0) OR (starts_with(name, 'receivable:') AND units > 0);
    IF overdrawn IS NOT NULL THEN
        RAISE EXCEPTION 'not enough in %: nothing is taken that is not there', overdrawn
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE VIEW ledger.journal AS
    SELECT t.id AS transaction_id, t.reference, t.kind, t.posted_at, p.leg, a.name AS account, p.asset, sides.units,
        t.reverses
    FROM ledger.transactions t
    JOIN ledger.postings p ON p.transaction_id = t.id
    CROSS JOIN LATERAL (VALUES (p.debit, -p.units), (p.credit, p.units)) AS sides (account_id, units)
    JOIN ledger.accounts a ON a.id = sides.account_id;

-- At commit: a transaction has postings. What reverses a payment leaves its accounts between what the payment posted
-- and nothing: ducats exactly so; of money more may go back than came (a dispute after a refund), but never more come
-- again than came.
CREATE OR REPLACE FUNCTION ledger.check_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    beyond text;
BEGIN
    IF NOT EXISTS (SELECT FROM ledger.postings WHERE transaction_id = NEW.id) THEN
        RAISE EXCEPTION 'transaction % has no postings', NEW.reference USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.reverses IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM ledger.transactions WHERE reference = NEW.reverses AND reverses IS NULL) THEN
        RAISE EXCEPTION 'transaction % reverses a reversal, %', NEW.reference, NEW.reverses
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT string_agg(account, ', ') INTO beyond
    FROM (
        SELECT account, asset, sum(units) AS units, coalesce(sum(units) FILTER (WHERE reverses IS NULL), 0) AS original
        FROM ledger.journal WHERE reference = NEW.reverses OR reverses = NEW.reverses
        GROUP BY account, asset
    ) AS family
    WHERE CASE WHEN original > 0 THEN units > original
               WHEN original < 0 THEN units < original OR (asset = 'DUCAT' AND units > 0)
               ELSE units > 0 OR asset <> 'DUCAT' END;  -- only a receivable joins later
    IF beyond IS NOT NULL THEN
        RAISE EXCEPTION 'transaction % takes % beyond what % posted', NEW.reference, beyond, NEW.reverses
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

-- Every movement of money that came after its payment, once.
CREATE TABLE reversals (
    reference   text PRIMARY KEY REFERENCES ledger.transactions (reference),
    payment     text NOT NULL REFERENCES payments,
    kind        text NOT NULL CHECK (kind IN ('refund', 'refund_failed', 'dispute', 'dispute_reinstated')),
    units       numeric NOT NULL CHECK (units > 0 AND units = trunc(units)),  -- in the payment's asset
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON reversals (payment);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reversals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
