"""Use cases: each runs in the database transaction of its caller."""
