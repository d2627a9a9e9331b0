-- Plain transfers to orders' deposit addresses, as the tokens tell of them. The books follow the router, not this.

-- Null: the order was made before this column was there; the watcher fills it in.
ALTER TABLE chain_terms ADD COLUMN deposit_address text;
CREATE UNIQUE INDEX ON chain_terms (deposit_address);
CREATE INDEX ON chain_terms (expires_at);

CREATE TABLE deposit_transfers (
    chain_id          bigint NOT NULL,
    block_number      bigint NOT NULL,
    log_index         bigint NOT NULL,
    block_hash        bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    transaction_hash  bytea NOT NULL CHECK (octet_length(transaction_hash) = 32),
    on_chain_order_id bytea NOT NULL REFERENCES chain_terms,
    token_address     text NOT NULL,
    sender            text NOT NULL,
    units             numeric NOT NULL CHECK (units > 0),
    collected         boolean NOT NULL DEFAULT false,    -- the router has told of this much
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, block_number, log_index)
);
CREATE INDEX ON deposit_transfers (on_chain_order_id);
CREATE INDEX ON deposit_transfers (on_chain_order_id) WHERE NOT collected;
CREATE INDEX ON chain_logs (on_chain_order_id);
