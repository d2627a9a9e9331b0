"""What payments cost in gas: ours, the least that is possible, and what others ship. `python -m benchmarks.gas`."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]

# As the Makefile has it; Ape looks for its compiler as soon as it is imported.
os.environ.setdefault("SOLCX_BINARY_PATH", str(ROOT / "sandbox/polygon/solc"))
