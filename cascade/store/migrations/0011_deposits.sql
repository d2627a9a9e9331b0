-- Plain transfers to the address that the router keeps for each order: where they go, and which arrived.

-- Follows from router and order id by keccak, which PostgreSQL does not know: the watcher fills in what is older.
ALTER TABLE chain_terms ADD COLUMN deposit_address bytea CHECK (octet_length(deposit_address) = 20);
CREATE UNIQUE INDEX ON chain_terms (deposit_address);
CREATE INDEX ON chain_terms (on_chain_order_id) WHERE deposit_address IS NULL;
CREATE INDEX ON chain_terms (chain_id, router, expires_at);

-- Evidence: what arrived at an order's address, in final blocks.
CREATE TABLE deposit_transfers (
    chain_id          bigint NOT NULL,
    block_number      bigint NOT NULL,
    log_index         bigint NOT NULL,
    block_hash        bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    transaction_hash  bytea NOT NULL CHECK (octet_length(transaction_hash) = 32),
    on_chain_order_id bytea NOT NULL REFERENCES chain_terms,
    token_address     text NOT NULL,                   -- of what came, whatever the order asks for
    sender            text NOT NULL,
    units             numeric NOT NULL CHECK (units > 0),
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, block_number, log_index)
);
CREATE INDEX ON deposit_transfers (on_chain_order_id, token_address);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON deposit_transfers
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Where something may still lie. Only a list of work: what lies there follows from the transfers and from chain_logs.
CREATE TABLE deposits_waiting (
    on_chain_order_id bytea NOT NULL REFERENCES chain_terms,
    token_address     text NOT NULL,
    PRIMARY KEY (on_chain_order_id, token_address)
);

-- Which transfers were collected: those before a payment from their own address.
CREATE INDEX ON chain_logs (on_chain_order_id);
