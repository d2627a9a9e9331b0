"""The SQL, but for the rate's. Every function takes the connection whose transaction it belongs to."""
