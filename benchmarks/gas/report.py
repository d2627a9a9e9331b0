"""The tables: on the terminal, and for a reader in docs/contract-gas.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from benchmarks.gas import ROOT, peers
from benchmarks.gas.contracts import source_lines
from benchmarks.gas.scene import Scene
from benchmarks.gas.ways import Blocked, Cost, Way

PATH = ROOT / "docs/contract-gas.md"

_READING = """\
`make bench-gas ARGS=--write` measures this and writes this page: one run on one local Polygon, with Circle's own USDC
and the box's stand-in for USDT0, which is behind the bridge's own proxy. The order is 25 dollars, half to each side.
Both sides and the payer have had the token before, an allowance is not used up, approvals do not count. Several at
once: gas of each.

- **payer** is what the payer sends himself, **others** what anybody else sends: a relayer of ours, or whoever splits.
- **id**: an event names the order. Without one, whose payment it was has to be found out elsewhere.
- **no replay**: an order that is presented again takes nothing from its payer. "-" is a plain transfer: whoever sends
  twice has paid twice, and our router counts and splits that too.
- **survives block**: with the partner on USDC's block list the payer can pay, and the treasury has its half.
- **1 call**: one transaction brings both halves to both sides (after the payer's own, where that is a plain transfer).
- Request's references are its own 8 bytes. Its SingleRequestProxy is a contract per order that stays; our deposit
  address leaves no code.
- thirdweb's Split stands behind the smallest proxy (EIP-1167). Its `distribute` pays both sides or none; it can also
  release to one side at a time, as OpenZeppelin's does.
- `payMany` and `collectMany` pull each payment, and push each side's sum once.
- Who sends a transaction is warm in it: relayed, an authorization costs 2,500 more than when its payer sends it.
"""


@dataclass
class Finding:
    """All that was found out about a way to pay."""

    way: Way
    costs: dict[str, Cost] = field(default_factory=dict)
    refuses_replay: bool | None = None
    blocked: Blocked | None = None

    @property
    def name(self) -> str:
        return self.way.name + (f", {self.way.payments} at once" if self.way.payments > 1 else "")

    @property
    def cells(self) -> list[str]:
        """One row of the table."""
        usdc, usdt = self.costs.get("USDC"), self.costs.get("USDT0")
        gas = [usdc and usdc.payer, usdc and usdc.others, usdc and usdc.total, usdt and usdt.total]
        marks = (self.way.names_order, self.refuses_replay, self._survives, self._splits_at_once)
        return [self.name, *(f"{one:,}" if one else "" for one in gas), *map(_mark, marks)]

    @property
    def _survives(self) -> bool | None:
        return self.blocked.treasury_got_half if self.blocked else None

    @property
    def _splits_at_once(self) -> bool:
        transactions = next(iter(self.costs.values())).transactions
        transfers = self.way.payments if self.way.by_plain_transfer else 0
        return self.way.splits and transactions - transfers == 1


def _mark(mark: bool | None) -> str:
    return "-" if mark is None else "yes" if mark else "no"


_COLUMNS = (
    *("way", "USDC\npayer", "USDC\nothers", "USDC\nall", "USDT0\nall"),
    *("id", "no\nreplay", "survives\nblock", "1 call"),
)


@dataclass(frozen=True)
class Report:
    """All that one run found."""

    others: Sequence[Finding]
    ours: Sequence[Finding]
    rest: Sequence[Finding]
    scene: Scene

    def tables(self) -> list[Table]:
        """For the terminal: ways to pay, the blocked partner, the rest and the contract itself."""
        paying = Table(title="Gas of a payment of 25 dollars, half to each side")
        for column in _COLUMNS:
            paying.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
        for group in (self.others, self.ours):
            for finding in group:
                paying.add_row(*finding.cells)
            paying.add_section()
        blocked = _table(
            "The partner is on USDC's block list", ("way", "what happens", "partner's half once unblocked")
        )
        for row in self._blocked_rows():
            blocked.add_row(*row)
        rest = _table("What else the router does", ("", "USDC", "USDT0"))
        for row in [*self._rest_rows(), *self._size_rows()]:
            rest.add_row(*row)
        return [paying, blocked, rest]

    def markdown(self) -> str:
        """For a reader."""
        versions = ", ".join(f"`{name}` {peers.version(name)}" for name in self._packages())
        paying = _markdown(
            [column.replace("\n", " ") for column in _COLUMNS],
            [finding.cells for finding in (*self.others, *self.ours)],
        )
        blocked = _markdown(("way", "what happens", "partner's half once unblocked"), self._blocked_rows())
        rest = _markdown(("gas", "USDC", "USDT0"), self._rest_rows())
        sizes = _markdown(("the contract", "", ""), self._size_rows())
        return (
            f"# What a payment costs\n\n{_READING}- Peers, with the bytecode that they ship: {versions}.\n\n{paying}\n"
            f"## While the partner is blocked\n\nUSDC blocks receivers; USDT0 blocks senders alone.\n\n{blocked}\n"
            f"## What else the router does\n\n{rest}\n{sizes}\n"
            "The fork tests hold these numbers: [gas.json](../tests/fork/gas.json) has a ceiling for each of ours.\n"
        )

    def _packages(self) -> list[str]:
        return sorted({finding.way.package for finding in self.others if finding.way.package})

    def _blocked_rows(self) -> list[list[str]]:
        return [
            [finding.name, str(found), "delivered" if found.partner_got_half_later else "there is none"]
            for finding in (*self.others, *self.ours)
            if (found := finding.blocked)
        ]

    def _rest_rows(self) -> list[list[str]]:
        columns = ("USDC", "USDT0")
        return [
            [one.way.name, *(f"{one.costs[symbol].last:,}" if symbol in one.costs else "" for symbol in columns)]
            for one in self.rest
        ]

    def _size_rows(self) -> list[list[str]]:
        lines = source_lines()
        contracts = sum(count for name, count in lines.items() if "/" not in name)
        return [
            ["deployment, gas", f"{self.scene.deployment_gas:,}", ""],
            ["runtime size, bytes of 24,576", f"{len(self.scene.code.runtime):,}", ""],
            ["lines of code: contracts, interfaces", f"{contracts:,}", f"{sum(lines.values()) - contracts:,}"],
        ]


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right" if column.startswith("USD") else "left")
    return table


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = [":--" if index == 0 else "--:" for index in range(len(columns))]
    return "".join("| " + " | ".join(row) + " |\n" for row in (columns, ruler, *rows))
