-- What each running worker last said of itself, so that /health can name one that fails, whichever process it is in;
-- and a row that /health itself writes, since a database that only answers questions books nothing.

CREATE TABLE worker_heartbeats (
    worker text NOT NULL,
    instance text NOT NULL,
    beat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    fault text,  -- the fault's class; NULL: its last step succeeded
    detail text,
    failing_since timestamptz,
    PRIMARY KEY (worker, instance),
    CHECK ((fault IS NULL) = (failing_since IS NULL))
);

CREATE TABLE health_probe (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
