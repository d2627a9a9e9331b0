"""Decides what became of payments and of the API. Pure: it compares what was recorded, and asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Window = tuple[float, float]
"""From and until, in Unix seconds."""


class Verdict(StrEnum):
    """What became of a payment."""

    CREDITED = "credited"
    LOST = "lost"
    """Money moved, or a signature was accepted, and less than the right ducats are there."""
    DOUBLED = "doubled"
    """More than the right ducats are there, or more money was taken than was asked for."""
    LATE = "late"
    """Booked as late although it was made in time, or credited after the bound."""
    TURNED_AWAY = "turned away"
    """Refused before anything was taken, although nothing was wrong with it."""
    WITHDRAWN = "withdrawn"
    """The payer missed the deadline by itself; nothing is expected."""


@dataclass(slots=True)
class Payment:
    """An honest payment, as its payer knows it. Times are Unix seconds.

    Attributes:
        kind: by which way.
        citizen: who is to get the ducats; nobody else buys for the same one.
        order_id: as the API named it.
        chain_id: the on-chain order id in hex; empty for a card.
        price: the token's smallest units that were asked for; 0 for a card.
        ducats: millionths of a ducat that it must bring.
        made_at: when the payer had done everything; None when it never got so far.
        credited_at: when Venice was first seen to hold all of its ducats.
        refused: why the payer gave up.
        withdrawn: the payer missed the deadline by itself.
    """

    kind: str
    citizen: str
    order_id: str = ""
    chain_id: str = ""
    price: int = 0
    ducats: int = 0
    made_at: float | None = None
    credited_at: float | None = None
    refused: str = ""
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the chain, the ledger and Venice say at the end.

    Attributes:
        on_chain: units that the router took, by on-chain order id in hex.
        ledger: millionths of a ducat that were ever credited, by citizen.
        venice: the same, as Venice holds them.
        suspense: why money of an order fits it not, by order id.
        refusals: why an order's signature was not sent, by order id.
    """

    on_chain: Mapping[str, int] = field(default_factory=dict)
    ledger: Mapping[str, int] = field(default_factory=dict)
    venice: Mapping[str, int] = field(default_factory=dict)
    suspense: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """A payment, what became of it, and the evidence."""

    payment: Payment
    verdict: Verdict
    why: str = ""


def judge(payment: Payment, facts: Facts, outages: Sequence[Window], late_seconds: float) -> Judged:
    """Compare a payment with the chain, the ledger and Venice.

    Args:
        payment: what its payer knows.
        facts: what the others know.
        outages: when the database was away; that time does not count as delay.
        late_seconds: longest allowed time from made to credited.
    """
    ledger, venice = facts.ledger.get(payment.citizen, 0), facts.venice.get(payment.citizen, 0)
    taken = facts.on_chain.get(payment.chain_id, 0) if payment.chain_id else 0
    seen = f"expected {payment.ducats}, ledger {ledger}, Venice {venice}, router {taken} of {payment.price}"
    if max(ledger, venice) > payment.ducats or taken > payment.price:
        return Judged(payment, Verdict.DOUBLED, seen)
    if payment.withdrawn:
        return Judged(payment, Verdict.WITHDRAWN)
    if min(ledger, venice) < payment.ducats or not payment.ducats:
        return _missing(payment, facts, seen, taken)
    delay = net_delay(payment, outages)
    if delay is not None and delay > late_seconds:
        return Judged(payment, Verdict.LATE, f"credited after {delay:.1f} s beside outages")
    return Judged(payment, Verdict.CREDITED)


def _missing(payment: Payment, facts: Facts, seen: str, taken: int) -> Judged:
    if payment.made_at is None and not taken:
        return Judged(payment, Verdict.TURNED_AWAY, payment.refused or "not begun")
    suspense = facts.suspense.get(payment.order_id, "")
    refusal = facts.refusals.get(payment.order_id, "")
    verdict = Verdict.LATE if suspense == "late" else Verdict.LOST
    why = [seen, suspense and f"suspense: {suspense}", refusal and f"refused: {refusal}", payment.refused]
    return Judged(payment, verdict, "; ".join(part for part in why if part))


def net_delay(payment: Payment, outages: Sequence[Window]) -> float | None:
    """Seconds from made to credited, without those in which the database was away; None when it was not credited."""
    if payment.made_at is None or payment.credited_at is None:
        return None
    return payment.credited_at - payment.made_at - covered((payment.made_at, payment.credited_at), outages)


def covered(window: Window, others: Iterable[Window]) -> float:
    """Seconds of a window that lie in any of the others."""
    return sum(
        end - start
        for start, end in merged((max(window[0], low), min(window[1], high)) for low, high in others)
        if end > start
    )


def merged(windows: Iterable[Window]) -> list[Window]:
    """The same time, as windows that do not touch; those that end before they begin are left out."""
    out: list[Window] = []
    for start, end in sorted(window for window in windows if window[1] > window[0]):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of the probe: when it was sent, how long it took, and the status (0: no answer)."""

    route: str
    sent_at: float
    seconds: float
    status: int
    retry_after: bool = False
    degraded: bool = False
    """An answer of the health page that says what is wrong: no outage."""

    @property
    def is_down(self) -> bool:
        """No answer, or a fault of the server's."""
        return (self.status == 0 or self.status >= 500) and not self.degraded


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a route failed, and how much of it the database was not away."""

    route: str
    start: float
    end: float
    beyond: float


def outages_of(samples: Iterable[Sample], database: Sequence[Window]) -> list[Outage]:
    """Runs of failing requests, by route: from the first of them to the next one that was answered."""
    by_route: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda one: one.sent_at):
        by_route.setdefault(sample.route, []).append(sample)
    found = []
    for route, requests in by_route.items():
        start: float | None = None
        for sample in requests:
            if sample.is_down and start is None:
                start = sample.sent_at
            elif not sample.is_down and start is not None:
                found.append(_outage(route, start, sample.sent_at, database))
                start = None
        if start is not None:
            last = requests[-1]
            found.append(_outage(route, start, last.sent_at + last.seconds, database))
    return sorted(found, key=lambda one: one.start)


def _outage(route: str, start: float, end: float, database: Sequence[Window]) -> Outage:
    return Outage(route, start, end, end - start - covered((start, end), database))
