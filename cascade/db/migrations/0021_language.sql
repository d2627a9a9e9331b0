-- The language that a citizen reads an order in: letters about it are written in the same one.

ALTER TABLE orders
    ADD COLUMN language text CHECK (language ~ '^[a-z]{2,3}$');   -- null: nobody who reads a language has opened it
