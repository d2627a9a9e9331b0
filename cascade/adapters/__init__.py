"""Adapters to the outside: the chain, Stripe, Venice, mail servers, webhooks. An adapter never calls upward."""
