-- Payment links: what is to be paid for, without a price; and orders that take the place of expired ones.

CREATE TABLE payment_links (
    id             text PRIMARY KEY CHECK (id ~ '^lnk_[a-z2-7]{26}$'),     -- manages it, and opens nothing
    number         bigint GENERATED ALWAYS AS IDENTITY UNIQUE,            -- in this order they are listed
    token          text NOT NULL UNIQUE CHECK (length(token) >= 22),      -- 128 bits, apart from the id; opens it
    package        text,
    usd_cents      bigint CHECK (usd_cents > 0),
    citizen_id     text CHECK (length(citizen_id) BETWEEN 1 AND 64),      -- null: who opens it is asked
    single_use     boolean NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz CHECK (expires_at > created_at),
    deactivated_at timestamptz,
    CHECK ((package IS NULL) <> (usd_cents IS NULL)),
    UNIQUE (id, single_use)
);

-- Whoever was sent a link relies on what it is for: only its end can be written, and once.
CREATE FUNCTION refuse_other_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'link % stays what it is: make another link', OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER link_stays BEFORE UPDATE ON payment_links FOR EACH ROW
    WHEN (OLD.deactivated_at IS NOT NULL
          OR (OLD.id, OLD.token, OLD.package, OLD.usd_cents, OLD.citizen_id, OLD.single_use, OLD.created_at,
              OLD.expires_at)
          IS DISTINCT FROM
             (NEW.id, NEW.token, NEW.package, NEW.usd_cents, NEW.citizen_id, NEW.single_use, NEW.created_at,
              NEW.expires_at))
    EXECUTE FUNCTION refuse_other_link();

ALTER TABLE orders
    ADD COLUMN link_id text,                               -- of the link that opened it
    ADD COLUMN link_single_use boolean,
    -- The order whose place this one took. An order is followed by one at most, so there is one newest of each.
    ADD COLUMN renewal_of text CONSTRAINT orders_renewed_once UNIQUE REFERENCES orders,
    ADD CHECK (renewal_of <> id),
    ADD FOREIGN KEY (link_id, link_single_use) REFERENCES payment_links (id, single_use) MATCH FULL,
    ADD CONSTRAINT orders_of_a_link UNIQUE (id, link_id),
    ADD CONSTRAINT renewals_stay_with_their_link FOREIGN KEY (renewal_of, link_id) REFERENCES orders (id, link_id);

-- A single-use link has one order that follows no other; together with orders_renewed_once its orders are one line, of
-- which only the last can be the one to pay. That an order is followed only when nobody paid it, no index can say: it is
-- decided under the locks of the link and of the order, which a booking needs as well.
CREATE UNIQUE INDEX single_use_is_one_line ON orders (link_id) WHERE link_single_use AND renewal_of IS NULL;
CREATE INDEX ON orders (link_id, created_at) WHERE link_id IS NOT NULL;

CREATE FUNCTION refuse_other_origin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'order % keeps its link and the order that it follows', OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER origin_is_locked BEFORE UPDATE OF link_id, link_single_use, renewal_of ON orders
    FOR EACH ROW EXECUTE FUNCTION refuse_other_origin();
