"""Cascade sells ducats, the credit of Venice. This library knows money; it knows neither HTTP nor Ape."""

__version__ = "0.1.0"
