"""Writes Permit2's bytecode where forge's tests read it: no package carries it, but anvil does.

Its cached chain id stays as it is, that of no chain: Permit2 then computes its domain separator for the chain it is on.

Usage: python -m tests.forge.permit2
"""

from pathlib import Path

from sandbox.polygon.addresses import PERMIT2
from sandbox.polygon.preinstalls import harvest

FILE = Path(__file__).parents[2] / ".build" / "forge" / "permit2.hex"


def main() -> None:
    """Write it."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text("0x" + harvest()[PERMIT2].hex())


if __name__ == "__main__":
    main()
