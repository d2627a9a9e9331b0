"""Gathers what the chain, the ledger and Venice say in the end, and prints what became of everything."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.soak import honest, probe
from benchmarks.soak.judge import Facts, Judged, Outage, Sample, Verdict, Window, covered, judge, net_delay, outages_of
from benchmarks.soak.shop import Book
from benchmarks.soak.world import LOG_RANGE_LIMIT, World
from cascade.adapters.chain.router_logs import PAID_TOPIC, decode_paid

_SETTLING_SECONDS = 30.0
"""After the database is back a payment is not counted as one of calm times for so long."""
_POL = 10**18
_EXAMPLES = 10


@dataclass(frozen=True)
class Limits:
    """What may be."""

    late_seconds: float
    beyond_seconds: float
    refusal_seconds: float


@dataclass
class Result:
    """What the soak found."""

    minutes: float
    seed: int
    limits: Limits
    database: list[tuple[str, float, float]]
    judged: list[Judged]
    outages: list[Outage]
    samples: list[Sample]
    hostile: dict[str, dict[str, int]]
    relayer: dict[str, Any]
    faults: dict[str, int]
    deaths: list[str]
    tracebacks: int
    most_bytes: int
    failures: list[str] = field(default_factory=list)

    def windows(self) -> list[Window]:
        """When the database was away."""
        return [(start, end) for _, start, end in self.database]

    def count(self, verdict: Verdict) -> int:
        """How many payments ended so."""
        return sum(one.verdict is verdict for one in self.judged)


def gather(parts: World) -> Facts:
    """Read the three books. The database must be well."""
    with psycopg.connect(parts.database.url) as connection:
        ledger: Counter[str] = Counter()
        for name, units in connection.execute(
            "SELECT split_part(name, ':', 2), units FROM ledger.accounts"
            " WHERE asset = 'DUCAT' AND (name LIKE 'citizen:Soak%' OR name LIKE 'venice:Soak%')"
        ):
            ledger[name] += int(units)
        suspense: dict[str, str] = dict(
            connection.execute("SELECT order_id, reason FROM payments WHERE outcome = 'suspense' AND order_id <> ''")
        )
        refusals: dict[str, str] = dict(
            connection.execute(
                "SELECT order_id, kind || ' ' || reason FROM relay_items WHERE state = 'refused' ORDER BY id"
            )
        )
    return Facts(_paid(parts), ledger, honest.held_by_venice(parts), suspense, refusals)


def _paid(parts: World) -> dict[str, int]:
    """Units that the router took, by on-chain order id; asked of the honest node."""
    paid: Counter[str] = Counter()
    for log in _logs(parts):
        event = decode_paid(log)
        paid["0x" + event.on_chain_order_id.hex()] += event.units
    return paid


def _logs(parts: World) -> Iterator[dict[str, Any]]:
    head = int(parts.polygon.rpc("eth_blockNumber"), 16)
    for first in range(parts.deployment.block_number, head + 1, LOG_RANGE_LIMIT):
        query = {
            "address": parts.deployment.router,
            "topics": ["0x" + PAID_TOPIC.hex()],
            "fromBlock": hex(first),
            "toBlock": hex(min(first + LOG_RANGE_LIMIT - 1, head)),
        }
        yield from parts.polygon.rpc("eth_getLogs", query)


def relayer_costs(parts: World, hostile_orders: set[str]) -> dict[str, Any]:
    """What the relayer spent, and on what; a transaction with a hostile item in it counts among the hostile ones."""
    with psycopg.connect(parts.database.url) as connection:
        rows = connection.execute(
            "SELECT t.state, coalesce(t.cost_wei, 0), array_agg(i.order_id) FROM relay_transactions t"
            " LEFT JOIN relay_items i ON i.transaction_id = t.id GROUP BY t.id ORDER BY t.id"
        ).fetchall()
        states = connection.execute(
            "SELECT state, reason, count(*) FROM relay_items WHERE order_id = ANY(%s) GROUP BY 1, 2",
            (list(hostile_orders),),
        ).fetchall()
    cost = {True: 0, False: 0}
    number = {True: 0, False: 0}
    for _, wei, orders in rows:
        is_hostile = any(order in hostile_orders for order in orders)
        cost[is_hostile] += int(wei)
        number[is_hostile] += 1
    return {
        "transactions": number[False],
        "pol": cost[False] / _POL,
        "transactions_with_hostile_items": number[True],
        "pol_of_those": cost[True] / _POL,
        "hostile_items": {f"{state} {reason or ''}".strip(): n for state, reason, n in states},
        "not_final": sum(state != "final" for state, _, _ in rows),
    }


def decide(result: Result) -> None:
    """Name everything that may not be."""
    failures = result.failures
    for verdict in (Verdict.LOST, Verdict.DOUBLED, Verdict.LATE, Verdict.TURNED_AWAY):
        if n := result.count(verdict):
            failures.append(f"{n} honest payments {verdict}")
    if not result.count(Verdict.CREDITED):
        failures.append("no honest payment was credited")
    worst = max((outage.beyond for outage in result.outages), default=0.0)
    if worst > result.limits.beyond_seconds:
        failures.append(f"the API was down for {worst:.1f} s beyond the database")
    failures.extend(_bad_answers(result))
    if result.deaths:
        failures.append(f"cascade up ended {len(result.deaths)} times by itself")


def _bad_answers(result: Result) -> Iterator[str]:
    windows = result.windows()
    slow = [one for one in result.samples if one.seconds > result.limits.refusal_seconds and _met(one, windows)]
    if slow:
        worst = max(one.seconds for one in slow)
        yield f"{len(slow)} requests waited up to {worst:.1f} s for an answer while the database was away"
    if n := sum(one.status >= 500 and one.status != 503 for one in result.samples):
        yield f"{n} requests of the probe were answered with another 5xx than 503"
    if n := sum(number for what, number in result.faults.items() if what.startswith("HTTP 5")):
        yield f"{n} requests of payers were answered with another 5xx than 503"
    refusals = [one for one in result.samples if one.status == 503 and one.route != probe.HEALTH]
    if n := sum(not one.retry_after for one in refusals):
        yield f"{n} of {len(refusals)} 503s had no Retry-After"


def _met(sample: Sample, windows: Sequence[Window]) -> bool:
    """It was waiting while the database was away."""
    return covered((sample.sent_at, sample.sent_at + sample.seconds), windows) > 0


def judge_all(book: Book, facts: Facts, windows: Sequence[Window], late_seconds: float) -> list[Judged]:
    """What became of every honest payment."""
    return [judge(payment, facts, windows, late_seconds) for payment in book.payments]


def outages(samples: Sequence[Sample], windows: Sequence[Window]) -> list[Outage]:
    """What the probe saw."""
    return outages_of(samples, windows)


def show(result: Result, console: Console) -> None:
    """Print the tables, and what may not be."""
    console.print(_payments(result))
    console.print(_api(result))
    console.print(_others(result))
    bad = [one for one in result.judged if one.verdict not in (Verdict.CREDITED, Verdict.WITHDRAWN)]
    for one in bad[:_EXAMPLES]:
        console.print(f"[red]{one.verdict}[/] {one.payment.kind} {one.payment.order_id} {one.why}", soft_wrap=True)
    for what, number in result.faults.items():
        console.print(f"[yellow]{number} times[/] {what}", soft_wrap=True)
    for death in result.deaths[:_EXAMPLES]:
        console.print(f"[red]cascade up[/] {death}")
    for failure in result.failures:
        console.print(f"[red]FAILED[/] {failure}")
    if not result.failures:
        console.print("[green]Nothing was lost, doubled or late, and the API was there.[/]")


def _payments(result: Result) -> Table:
    windows = result.windows()
    wide = [(start, end + _SETTLING_SECONDS) for start, end in windows]
    table = Table(title=f"Honest payments in {result.minutes:g} minutes (seed {result.seed})")
    for name in ("kind", "begun", *Verdict, "calm p50 s", "calm worst s", "worst s"):
        table.add_column(str(name), justify="left" if name == "kind" else "right")
    for kind in (*honest.KINDS, "all"):
        mine = [one for one in result.judged if kind in (one.payment.kind, "all")]
        calm, every = [], []
        for one in mine:
            made, credited = one.payment.made_at, one.payment.credited_at
            if made is None or credited is None:
                continue
            every.append(net_delay(one.payment, windows) or 0.0)
            if not covered((made, credited), wide):
                calm.append(credited - made)
        counts = [str(sum(one.verdict is verdict for one in mine)) for verdict in Verdict]
        median = f"{statistics.median(calm):.1f}" if calm else "-"
        worst = [f"{max(delays):.1f}" if delays else "-" for delays in (calm, every)]
        table.add_row(kind, str(len(mine)), *counts, median, *worst, style="bold" if kind == "all" else None)
    return table


def _api(result: Result) -> Table:
    away = sum(end - start for start, end in result.windows())
    title = f"The API from outside; the database was away {len(result.database)} times, {away:.0f} s"
    table = Table(title=title)
    names = ("route", "requests", "no answer", "5xx", "outages", "longest s", "beyond the database s", "longest wait s")
    for name in (*names, "p50 ms", "p99 ms"):
        table.add_column(name, justify="left" if name == "route" else "right")
    for route in (probe.HEALTH, probe.READ, probe.WRITE):
        mine = [sample for sample in result.samples if sample.route == route]
        seen = [outage for outage in result.outages if outage.route == route]
        good = sorted(sample.seconds * 1000 for sample in mine if not sample.is_down) or [0.0]
        table.add_row(
            route,
            str(len(mine)),
            str(sum(sample.status == 0 for sample in mine)),
            str(sum(sample.status >= 500 and sample.is_down for sample in mine)),
            str(len(seen)),
            f"{max((outage.end - outage.start for outage in seen), default=0.0):.1f}",
            f"{max((outage.beyond for outage in seen), default=0.0):.1f}",
            f"{max((sample.seconds for sample in mine), default=0.0):.1f}",
            f"{good[len(good) // 2]:.0f}",
            f"{good[len(good) * 99 // 100]:.0f}",
        )
    return table


def _others(result: Result) -> Table:
    table = Table(title="Hostile wallets, the relayer, the process")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for kind, numbers in result.hostile.items():
        table.add_row(f"hostile: {kind}", f"{numbers['begun']} begun, {numbers['accepted']} accepted")
    for name, value in result.relayer.items():
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        table.add_row(f"relayer: {name.replace('_', ' ')}", shown)
    degraded = sum(sample.degraded for sample in result.samples)
    table.add_row("health said degraded", f"{degraded} times")
    table.add_row("most memory of cascade up", f"{result.most_bytes / 2**20:.0f} MB")
    table.add_row("tracebacks in its log", str(result.tracebacks))
    table.add_row("ended by itself", str(len(result.deaths)))
    return table


def as_json(result: Result) -> dict[str, Any]:
    """The figures, without the single requests of the probe."""
    kept = asdict(result) | {"samples": len(result.samples)}
    kept["judged"] = [one for one in kept["judged"] if one["verdict"] != Verdict.CREDITED]
    kept["verdicts"] = {str(verdict): result.count(verdict) for verdict in Verdict}
    windows = result.windows()
    delays = [d for one in result.judged if (d := net_delay(one.payment, windows)) is not None]
    kept["worst_delay_seconds"] = max(delays, default=0.0)
    kept["statuses"] = Counter(f"{sample.route} {sample.status}" for sample in result.samples)
    return kept
