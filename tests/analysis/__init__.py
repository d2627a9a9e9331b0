"""What machines say of the contracts: slither's findings, halmos's proofs, slither's mutants.

slither and halmos live in an environment of their own, `.analysis`, so these modules import nothing of ours.
"""
