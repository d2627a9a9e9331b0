-- One payment's fault stays its own: lanes with budgets of their own, batches that are halved, and failures that count.

-- Which kind of payments a transaction carries; what it costs counts against that lane's share of the limits.
ALTER TABLE relay_transactions
    ADD COLUMN lane text NOT NULL DEFAULT 'keys' CHECK (lane IN ('collects', 'keys', 'code'));
ALTER TABLE relay_transactions ALTER COLUMN lane DROP DEFAULT;

ALTER TABLE relay_items
    ADD COLUMN lane text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN kind = 'collect' THEN 'collects' WHEN has_code THEN 'code' ELSE 'keys' END
    ) STORED,
    ADD COLUMN failures     smallint NOT NULL DEFAULT 0 CHECK (failures >= 0),      -- how often it failed by itself
    ADD COLUMN failed_sends smallint NOT NULL DEFAULT 0 CHECK (failed_sends >= 0),  -- of these, how often we paid for it
    ADD COLUMN together     smallint CHECK (together >= 1);  -- after a batch failed as a whole: most in the next one
CREATE INDEX ON relay_items (lane, id) WHERE state = 'queued';
