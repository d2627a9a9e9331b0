"""The only SQL. Every function takes the connection whose transaction it belongs to."""
