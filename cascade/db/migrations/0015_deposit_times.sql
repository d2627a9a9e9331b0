-- A plain transfer is in time by its own block. What the watcher or the indexer read is kept with that block's time.

-- Unix seconds. Null: stored before this column was there; it is read from the chain when a booking needs it.
ALTER TABLE deposit_transfers ADD COLUMN block_time bigint;

-- All transfers to the order's deposit address before its deadline are in deposit_transfers, each with its time.
ALTER TABLE chain_terms ADD COLUMN deposits_read boolean NOT NULL DEFAULT false;
