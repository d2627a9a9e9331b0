-- Attempts by card: one at a time for an order, whichever way it is paid, and none forgotten that Stripe may have made.

ALTER TABLE card_attempts
    ADD COLUMN given_up_at timestamptz,                         -- no payer gets it any more: the worker ends it
    ADD COLUMN handed_at timestamptz,                           -- a payer got it: only such attempts are counted
    ADD COLUMN key_spent boolean NOT NULL DEFAULT false,        -- Stripe repeats a failure for its idempotency key
    ADD COLUMN stripe_ahead_seconds integer NOT NULL DEFAULT 0, -- Stripe's clock less ours, when it was begun
    ADD COLUMN due_at timestamptz NOT NULL DEFAULT 'epoch';      -- when ending it is tried again

UPDATE card_attempts SET handed_at = begun_at WHERE stripe_id IS NOT NULL;
-- Until now a page and a form could be open side by side. The younger one stays.
UPDATE card_attempts older SET given_up_at = now() WHERE closed_at IS NULL AND EXISTS (
    SELECT FROM card_attempts younger WHERE younger.order_id = older.order_id AND younger.closed_at IS NULL
        AND (younger.begun_at, younger.flow) > (older.begun_at, older.flow)
);

DROP INDEX one_open_attempt;
CREATE UNIQUE INDEX one_open_attempt ON card_attempts (order_id) WHERE closed_at IS NULL AND given_up_at IS NULL;
CREATE INDEX ON card_attempts (due_at) WHERE closed_at IS NULL;

-- Postponed because Stripe gave no answer: due at once when it answers again.
ALTER TABLE stripe_events ADD COLUMN no_answer boolean NOT NULL DEFAULT false;
