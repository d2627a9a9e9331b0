"""Serve people over HTTP: parse, call cascade, serialise. No rule of money lives here."""
