-- Plain transfers of any amount: what each payment brought, and parts of a price, which bring their share at once.

ALTER TABLE payments
    ADD COLUMN ducat_units numeric NOT NULL DEFAULT 0 CHECK (ducat_units >= 0 AND ducat_units = trunc(ducat_units)),
    ADD COLUMN bonus_units numeric NOT NULL DEFAULT 0 CHECK (bonus_units >= 0 AND bonus_units = trunc(bonus_units)),
    DROP CONSTRAINT payments_outcome_check,
    ADD CONSTRAINT payments_outcome_check CHECK (outcome IN ('fulfilled', 'credited', 'suspense'));

-- Until now a payment brought all of its order's ducats, or none.
ALTER TABLE payments DISABLE TRIGGER append_only;
UPDATE payments p SET ducat_units = o.ducat_units, bonus_units = o.bonus_units FROM orders o
    WHERE o.id = p.order_id AND p.outcome = 'fulfilled';
ALTER TABLE payments ENABLE TRIGGER append_only;

ALTER TABLE payments
    ADD CONSTRAINT payments_bring_ducats CHECK ((outcome = 'suspense') = (ducat_units = 0)),
    -- One fulfilment an order, so one bonus an order.
    ADD CONSTRAINT payments_one_bonus CHECK (outcome = 'fulfilled' OR bonus_units = 0),
    -- Only a plain transfer may be a part; everything else is the exact price.
    ADD CONSTRAINT payments_parts_are_collected CHECK (outcome <> 'credited' OR collected);
