"""What our verbs cost when somebody last looked, and what they may cost at most: tests/fork/gas.json.

The fork tests hold the contracts to it. Only `gas` is ever written by a program; a ceiling is raised by hand, or not.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from benchmarks.gas import ROOT
from benchmarks.gas.ours import REST, WAYS
from benchmarks.gas.scene import Scene
from benchmarks.gas.ways import measure

PATH = ROOT / "tests/fork/gas.json"
REFRESH = "make bench-gas ARGS=--write"
TOLERANCE = 100
"""Comments decide a contract's metadata, and that the zero bytes of an address: a dozen gas each. Code costs more."""

_WARM = (
    "Gas of the second time: the router has been paid before, both sides and every payer have the token before and"
    " after, an allowance is not used up, unless the payment brings it (payWithPermit). Approvals and a plain transfer"
    " to a deposit address do not count. What can be relayed is sent by somebody else than its payer. Per payment where"
    " there are several, by payers who are strangers to each other."
)


@dataclass(frozen=True)
class Row:
    """One verb with one token; `payments` in one transaction, `gas` and `ceiling` for each of them."""

    verb: str
    token: str
    payments: int
    gas: int
    ceiling: int

    def __str__(self) -> str:
        token = f" of {self.token}" if self.token else ""
        return f"{self.verb}{token}" + (f", {self.payments} at once" if self.payments > 1 else "")

    def complaint(self, measured: int, exact: bool) -> str | None:
        """What is wrong with a measurement, and what to do; `exact` where the tokens are those of the box."""
        if measured > self.ceiling:
            return f"{self} costs {measured:,} gas, its ceiling is {self.ceiling:,}"
        if exact and abs(measured - self.gas) > TOLERANCE:
            return f"{self} costs {measured:,} gas, {PATH.name} says {self.gas:,}: refresh it with `{REFRESH}`"
        return None


def load() -> list[Row]:
    return [Row(**row) for row in json.loads(PATH.read_text(encoding="utf-8"))["rows"]]


def expected() -> set[tuple[str, str, int]]:
    """What has to have a row: verb, token and payments of all that the router does."""
    ways = {(way.name, token, way.payments) for way in (*WAYS, *REST) for token in way.tokens}
    return ways | {("deployment", "", 1)}


def measure_again(scene: Scene, row: Row) -> int:
    """What a row of the snapshot costs in this scene."""
    if row.verb == "deployment":
        return scene.deployment_gas
    (way,) = (way for way in (*WAYS, *REST) if (way.name, way.payments) == (row.verb, row.payments))
    (token,) = (token for token in scene.tokens if token.symbol == row.token)
    return measure(scene, way, token).last


def refresh(measured: dict[tuple[str, str, int], int]) -> list[str]:
    """Writes what was measured, by verb, token and payments.

    Returns what is above its ceiling; then nothing is written. A verb that is new gets a ceiling half a per cent above
    what it costs.
    """
    known = {(row.verb, row.token, row.payments): row for row in load()} if PATH.exists() else {}
    rows = [
        replace(known[key], gas=gas) if key in known else Row(*key, gas, -(-gas * 201 // 20_000) * 100)
        for key, gas in measured.items()
    ]
    above = [text for row in rows if row.gas > row.ceiling and (text := row.complaint(row.gas, exact=True))]
    if not above:
        lines = ",\n".join("    " + json.dumps(asdict(row)) for row in rows)
        PATH.write_text(f'{{\n  "warm": {json.dumps(_WARM)},\n  "rows": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
    return above
