"""The workers. Each can be killed at any moment and started again, here or elsewhere."""
