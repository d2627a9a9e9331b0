-- What the indexer knows: how far it has read, what it found, and what is in blocks that are not final yet.

-- One row a router. The checkpoint moves only together with the credits that it covers.
CREATE TABLE chain_cursors (
    stream           text PRIMARY KEY,                 -- chain:<chain id>:<router>
    height           bigint NOT NULL,                  -- every block up to here is booked
    hash             bytea NOT NULL CHECK (octet_length(hash) = 32),
    last_seq         bigint NOT NULL DEFAULT 0,        -- the router's number of the last payment booked
    finalized_height bigint NOT NULL,                  -- the node called this block final
    finalized_at     timestamptz NOT NULL,             -- that block's own time
    alarm            text,                             -- why the stream stands still
    -- The lease: who leads, until when; the epoch fences every write of a leader that was replaced.
    epoch            bigint NOT NULL DEFAULT 0,
    leader           text,
    leased_until     timestamptz NOT NULL DEFAULT '-infinity'
);

-- Evidence, stored in the transaction that booked it.
CREATE TABLE chain_logs (
    chain_id          bigint NOT NULL,
    block_number      bigint NOT NULL,
    log_index         bigint NOT NULL,
    block_hash        bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    transaction_hash  bytea NOT NULL CHECK (octet_length(transaction_hash) = 32),
    router            text NOT NULL,
    on_chain_order_id bytea NOT NULL CHECK (octet_length(on_chain_order_id) = 32),
    payer             text NOT NULL,
    token_address     text NOT NULL,
    units             numeric NOT NULL,
    partner_units     numeric NOT NULL,
    seq               bigint NOT NULL,
    PRIMARY KEY (chain_id, block_number, log_index),
    UNIQUE (chain_id, router, seq)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON chain_logs
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Payments in blocks above the checkpoint. Disposable: replaced as a whole whenever the head is read again.
CREATE TABLE chain_sightings (
    stream            text NOT NULL REFERENCES chain_cursors,
    on_chain_order_id bytea NOT NULL,
    block_number      bigint NOT NULL,
    log_index         bigint NOT NULL,
    block_hash        bytea NOT NULL,
    transaction_hash  bytea NOT NULL,
    PRIMARY KEY (stream, block_number, log_index)
);
CREATE INDEX ON chain_sightings (on_chain_order_id);
