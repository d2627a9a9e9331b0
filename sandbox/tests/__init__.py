"""Tests of what stands in for Polygon, Stripe, Venice and PostgreSQL; nothing of the product is in them."""
