"""A soak: honest payments of every kind beside hostile wallets, a limited provider and a database that fails by turns.

Usage: python -m benchmarks.soak --minutes 30 [--seed N] [--json FILE]

Modules: ``world`` starts the parts, ``outages`` disturbs the database, ``honest`` and ``hostile`` pay, ``probe``
watches the API from a process of its own, ``judge`` decides, ``report`` prints.
"""
