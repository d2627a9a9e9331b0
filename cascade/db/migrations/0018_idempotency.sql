-- Answers to requests that were sent with an Idempotency-Key: the same request again gets the same answer for 24 hours.

CREATE TABLE idempotency_keys (
    caller     bytea NOT NULL CHECK (octet_length(caller) = 32),   -- SHA-256 of the API key, or of the address
    key        bytea NOT NULL CHECK (octet_length(key) = 32),      -- SHA-256 of the Idempotency-Key, which is not stored
    number     bigint GENERATED ALWAYS AS IDENTITY UNIQUE,         -- the oldest go when there are too many
    request    bytea NOT NULL CHECK (octet_length(request) = 32),  -- SHA-256 of method, path and body
    holder     bytea NOT NULL CHECK (octet_length(holder) = 16),   -- the request that is answered, or was
    held_until timestamptz NOT NULL,                               -- a holder that died frees the key then
    answer     bytea CHECK (octet_length(answer) <= 20000),        -- sealed with the Idempotency-Key; null: not yet
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX ON idempotency_keys (expires_at);
