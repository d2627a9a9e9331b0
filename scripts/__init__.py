"""The operators' scripts. A package, so that a copy of this tree uses its own modules and never those of another."""
