"""The chain: what is read of it, asked of it and sent to it."""
