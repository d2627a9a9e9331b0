-- What the relayer sends: payments that their payers signed, and plain transfers that lie at deposit addresses.

-- Who holds the hot key's lead, as chain_cursors has it; one row a sender.
CREATE TABLE relay_senders (
    chain_id     bigint NOT NULL,
    address      text NOT NULL,
    epoch        bigint NOT NULL DEFAULT 0,
    leader       text,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    balance_wei  numeric,                              -- at the last look
    alarm        text,                                 -- why nothing is sent, or soon nothing will be
    PRIMARY KEY (chain_id, address)
);

-- One row a nonce: it is never given twice, and none is left out. The calldata of a nonce never changes.
CREATE TABLE relay_transactions (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id   bigint NOT NULL,
    sender     text NOT NULL,
    nonce      bigint NOT NULL CHECK (nonce >= 0),
    router     text NOT NULL,
    calldata   bytea NOT NULL,
    gas_limit  bigint NOT NULL CHECK (gas_limit > 0),
    state      text NOT NULL DEFAULT 'sent' CHECK (state IN ('sent', 'final', 'usurped')),
    cost_wei   numeric CHECK (cost_wei >= 0),          -- once final: what it really cost
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (chain_id, sender, nonce),
    CHECK ((state = 'final') = (cost_wei IS NOT NULL)),
    FOREIGN KEY (chain_id, sender) REFERENCES relay_senders
);
CREATE INDEX ON relay_transactions (chain_id, sender) WHERE state = 'sent';

-- Every signed form of a transaction; a later one replaces the earlier ones by paying more. Stored before it is sent.
CREATE TABLE relay_attempts (
    hash            bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    transaction_id  bigint NOT NULL REFERENCES relay_transactions,
    raw             bytea NOT NULL,
    max_fee_wei     numeric NOT NULL CHECK (max_fee_wei > 0),
    tip_wei         numeric NOT NULL CHECK (tip_wei > 0),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON relay_attempts (transaction_id);

CREATE TABLE relay_items (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id          text NOT NULL REFERENCES orders,
    on_chain_order_id bytea NOT NULL REFERENCES chain_terms,
    kind              text NOT NULL CHECK (kind IN ('authorization', 'permit2', 'collect')),
    token_address     text NOT NULL,                   -- of a collect: what lies there
    payer             text,
    signature         bytea,
    has_code          boolean NOT NULL DEFAULT false,  -- at the payer's address: its signature costs more to check
    state             text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'settled', 'refused')),
    reason            text,                            -- of a refusal: the word for it
    tries             integer NOT NULL DEFAULT 0,      -- in how many transactions it was
    transaction_id    bigint REFERENCES relay_transactions,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((kind = 'collect') = (payer IS NULL)),
    CHECK ((payer IS NULL) = (signature IS NULL)),
    CHECK ((state = 'refused') = (reason IS NOT NULL)),
    CHECK (state NOT IN ('sent', 'settled') OR transaction_id IS NOT NULL)
);
-- While one payment of an order is on its way no second is taken, whoever signed it.
CREATE UNIQUE INDEX relay_items_alive ON relay_items (on_chain_order_id, token_address) WHERE state IN ('queued', 'sent');
CREATE INDEX ON relay_items (id) WHERE state = 'queued';
CREATE INDEX ON relay_items (order_id);
CREATE INDEX ON relay_items (payer, created_at);
CREATE INDEX ON relay_items (transaction_id);
