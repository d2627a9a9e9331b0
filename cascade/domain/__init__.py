"""Pure rules: standard library only. The clock and every id are passed in."""
