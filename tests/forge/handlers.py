"""Says how often each handler of the latest stateful campaign got its way: one that hardly ever does tests nothing.

Usage: python -m tests.forge.handlers
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

from eth_utils.crypto import keccak

HERE = Path(__file__).parent
TALLY = HERE.parents[1] / ".build" / "forge" / "tally.csv"
FEWEST_SUCCESSES = 10
REFUSED_ALWAYS = "tryAsStranger"  # whose every success would be a broken rule


def names() -> dict[str, str]:
    """The handlers' names by their selectors, as RouterHandler.report writes them."""
    source = (HERE / "Histories.t.sol").read_text()
    return {
        str(int.from_bytes(keccak(text=f"{name}(uint256)")[:4], "big")): name
        for name in re.findall(r"handler\.(\w+)\.selector", source)
    }


def main() -> None:
    """Print the sums of all histories; exit 1 when something hardly ever succeeded."""
    known = names()
    done: Counter[str] = Counter(dict.fromkeys(known.values(), 0))
    refused: Counter[str] = Counter()
    for line in TALLY.read_text().splitlines():
        selector, *counts = line.split(",")
        name = known.get(selector, selector)
        done[name] += int(counts[0])
        refused[name] += int(counts[1])

    for name in sorted(done):
        print(f"{name:24}{done[name]:>10,} done{refused[name]:>10,} refused")  # noqa: T201
    idle = [name for name in done if done[name] < FEWEST_SUCCESSES and name != REFUSED_ALWAYS]
    if idle:
        sys.exit(f"succeeded less than {FEWEST_SUCCESSES} times: {', '.join(sorted(idle))}")


if __name__ == "__main__":
    main()
