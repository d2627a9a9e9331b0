-- Orders with their locked quote, and what each of them asks for on chain.

CREATE TABLE orders (
    id            text PRIMARY KEY CHECK (id ~ '^ord_[a-z2-7]{26}$'),
    link_token    text NOT NULL UNIQUE CHECK (length(link_token) >= 22),  -- 128 bits, apart from every other id
    citizen_id    text NOT NULL CHECK (length(citizen_id) BETWEEN 1 AND 64),
    package       text,                                                  -- null: a custom purchase
    price_cents   bigint NOT NULL CHECK (price_cents > 0),               -- USD
    ducat_units   bigint NOT NULL CHECK (ducat_units > 0),               -- millionths of a ducat, without the bonus
    bonus_units   bigint NOT NULL CHECK (bonus_units >= 0),
    rate_nano_usd bigint NOT NULL CHECK (rate_nano_usd > 0),             -- USD per ducat, in billionths
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL CHECK (expires_at > created_at)
);
CREATE INDEX ON orders (citizen_id, created_at);

-- The router's order id commits to every other column, so a row can never be changed, only added.
CREATE TABLE chain_terms (
    on_chain_order_id bytea PRIMARY KEY CHECK (octet_length(on_chain_order_id) = 32),
    order_id          text NOT NULL REFERENCES orders,
    chain_id          bigint NOT NULL,
    router            text NOT NULL CHECK (router ~ '^0x[0-9a-fA-F]{40}$'),
    token             text NOT NULL REFERENCES ledger.assets,
    token_address     text NOT NULL CHECK (token_address ~ '^0x[0-9a-fA-F]{40}$'),
    units             numeric NOT NULL CHECK (units > 0 AND units = trunc(units)),
    expires_at        bigint NOT NULL,                                   -- Unix time, seconds
    salt              bytea NOT NULL CHECK (octet_length(salt) = 32),
    UNIQUE (order_id, chain_id, router, token)
);
