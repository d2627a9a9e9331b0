"""Measurements that print a table: ratios of one run, never a test."""
