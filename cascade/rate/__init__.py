"""The ducat's rate in one package: formula, rule, signals, ticks, their stores, and the steps of its two workers."""
