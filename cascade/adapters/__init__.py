"""Everything outside: the chain, Stripe, Venice, mail servers, webhooks. An adapter never calls upward."""
