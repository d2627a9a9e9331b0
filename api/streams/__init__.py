"""Streams that stay open, served by one task over one connection to the database."""
