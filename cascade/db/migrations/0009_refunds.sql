-- Refunds on chain, which name an order and not a payment, and plain transfers, which may come late.

-- What a payment was made under: the router's order id, or our own by card. Null: by card, before this column was there.
ALTER TABLE payments
    ADD COLUMN order_key bytea,
    ADD COLUMN collected boolean NOT NULL DEFAULT false;   -- at its deposit address, which then is the payer
ALTER TABLE payments DISABLE TRIGGER append_only;
UPDATE payments p SET order_key = l.on_chain_order_id FROM chain_logs l
    WHERE p.reference = 'chain:' || l.chain_id || ':' || l.block_number || ':' || l.log_index;
ALTER TABLE payments ENABLE TRIGGER append_only;
CREATE INDEX ON payments (order_key);

-- The time of its block, in Unix seconds, of what was collected: evidence of whether it came in time. Else null.
ALTER TABLE chain_logs ADD COLUMN block_time bigint;

-- Evidence, stored in the transaction that booked it. The router does not number refunds.
CREATE TABLE chain_refund_logs (
    chain_id          bigint NOT NULL,
    block_number      bigint NOT NULL,
    log_index         bigint NOT NULL,
    block_hash        bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    transaction_hash  bytea NOT NULL CHECK (octet_length(transaction_hash) = 32),
    router            text NOT NULL,
    on_chain_order_id bytea NOT NULL CHECK (octet_length(on_chain_order_id) = 32),
    recipient         text NOT NULL,
    token_address     text NOT NULL,
    units             numeric NOT NULL CHECK (units > 0),
    PRIMARY KEY (chain_id, block_number, log_index)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON chain_refund_logs
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Every refund once. What it gave back is in reversals; what fits no payment is in the ledger, as <reference>:rest.
CREATE TABLE refunds (
    reference   text PRIMARY KEY CHECK (length(reference) BETWEEN 1 AND 150),
    order_key   bytea NOT NULL,
    asset       text NOT NULL REFERENCES ledger.assets,
    units       numeric NOT NULL CHECK (units > 0 AND units = trunc(units)),
    recipient   text NOT NULL,
    transaction text NOT NULL,                             -- the chain's own name, for people to look up
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON refunds
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

ALTER TABLE ledger.transactions
    DROP CONSTRAINT transactions_kind_check,
    ADD CONSTRAINT transactions_kind_check CHECK (
        kind IN ('sale', 'suspense', 'reversal', 'reinstatement', 'handover', 'handback', 'exchange', 'unmatched')
    );
