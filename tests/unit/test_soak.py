"""The soak's judge sees what is lost, doubled and late, and which part of an outage is the API's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.soak import probe
from benchmarks.soak.judge import Facts, Judged, Payment, Sample, Verdict, covered, judge, merged, outages_of
from benchmarks.soak.report import Limits, Result, decide

PAID = Payment("transfer", "Soak_1", "ord_1", "0xab", price=250, ducats=100, made_at=1000.0, credited_at=1020.0)
ALL_RIGHT = Facts(on_chain={"0xab": 250}, ledger={"Soak_1": 100}, venice={"Soak_1": 100})
CARD = replace(PAID, kind="card", chain_id="", price=0)


def verdict(payment: Payment, facts: Facts, outages: list[tuple[float, float]] | None = None) -> Verdict:
    return judge(payment, facts, outages or [], late_seconds=60).verdict


def but(where: str, ducats: dict[str, int]) -> Facts:
    """All is right but for one of the two books of ducats."""
    return replace(ALL_RIGHT, ledger=ducats) if where == "ledger" else replace(ALL_RIGHT, venice=ducats)


def test_payment_that_is_right_everywhere_is_credited() -> None:
    assert verdict(PAID, ALL_RIGHT) is Verdict.CREDITED
    assert verdict(CARD, replace(ALL_RIGHT, on_chain={})) is Verdict.CREDITED


@pytest.mark.parametrize("where", ["ledger", "venice"])
@pytest.mark.parametrize("payment", [PAID, CARD])
def test_missing_ducats_are_lost(where: str, payment: Payment) -> None:
    assert verdict(payment, but(where, {"Soak_1": 99})) is Verdict.LOST
    assert verdict(payment, but(where, {})) is Verdict.LOST


def test_accepted_signature_that_was_refused_later_is_lost() -> None:
    judged = judge(PAID, Facts(refusals={"ord_1": "reverted"}), [], 60)
    assert judged.verdict is Verdict.LOST
    assert "refused: reverted" in judged.why


def test_money_that_moved_for_a_payer_who_got_no_answer_is_lost() -> None:
    assert verdict(replace(PAID, made_at=None), Facts(on_chain={"0xab": 250})) is Verdict.LOST


@pytest.mark.parametrize("where", ["ledger", "venice"])
def test_too_many_ducats_are_doubled(where: str) -> None:
    assert verdict(PAID, but(where, {"Soak_1": 101})) is Verdict.DOUBLED


def test_money_taken_twice_is_doubled() -> None:
    assert verdict(PAID, replace(ALL_RIGHT, on_chain={"0xab": 500})) is Verdict.DOUBLED
    withdrawn = replace(PAID, withdrawn=True)
    assert verdict(withdrawn, replace(ALL_RIGHT, ledger={"Soak_1": 101})) is Verdict.DOUBLED


def test_payment_in_time_that_was_booked_as_late_is_late() -> None:
    assert verdict(PAID, Facts(on_chain={"0xab": 250}, suspense={"ord_1": "late"})) is Verdict.LATE
    assert verdict(PAID, Facts(on_chain={"0xab": 250}, suspense={"ord_1": "over"})) is Verdict.LOST


def test_credit_after_the_bound_is_late_unless_the_database_was_away() -> None:
    slow = replace(PAID, credited_at=1061.0)
    assert verdict(slow, ALL_RIGHT) is Verdict.LATE
    assert verdict(slow, ALL_RIGHT, [(1010.0, 1015.0), (1012.0, 1016.0)]) is Verdict.CREDITED
    assert verdict(slow, ALL_RIGHT, [(900.0, 1000.5)]) is Verdict.LATE


def test_payer_who_was_refused_before_paying_was_turned_away() -> None:
    turned = replace(PAID, made_at=None, credited_at=None, refused="HTTP 409")
    assert verdict(turned, Facts()) is Verdict.TURNED_AWAY
    assert verdict(replace(turned, ducats=0), Facts()) is Verdict.TURNED_AWAY


def test_payer_who_missed_the_deadline_by_itself_expects_nothing() -> None:
    withdrawn = replace(PAID, withdrawn=True)
    assert verdict(withdrawn, Facts(on_chain={"0xab": 250}, suspense={"ord_1": "late"})) is Verdict.WITHDRAWN


def test_windows_are_counted_once() -> None:
    assert merged([(5, 7), (1, 3), (2, 4), (9, 8)]) == [(1, 4), (5, 7)]
    assert covered((0, 10), [(-5, 2), (1, 3), (9, 20)]) == 4


def samples(*statuses: int, route: str = "GET order") -> list[Sample]:
    return [Sample(route, float(second), 0.1, status) for second, status in enumerate(statuses)]


def test_outage_lasts_until_the_next_answer_and_counts_beyond_the_database() -> None:
    (outage,) = outages_of(samples(200, 503, 0, 500, 503, 404, 201), database=[(0.5, 2.5)])
    assert (outage.start, outage.end, outage.beyond) == (1.0, 5.0, 2.5)


def test_outage_at_the_end_is_one() -> None:
    (outage,) = outages_of(samples(200, 0, 0), database=[])
    assert (outage.start, outage.end) == (1.0, 2.1)


def test_routes_fail_by_themselves_and_a_health_page_that_tells_is_up() -> None:
    told = [replace(one, degraded=True) for one in samples(503, 503, route="health")]
    mixed = [*samples(503, 200), *samples(200, 200, route="POST order"), *told]
    assert [outage.route for outage in outages_of(mixed, [])] == ["GET order"]


def failures(*requests: Sample, deaths: int = 0, verdicts: tuple[Verdict, ...] = (Verdict.CREDITED,)) -> list[str]:
    database = [("freeze", 10.0, 20.0)]
    result = Result(
        minutes=1,
        seed=1,
        limits=Limits(late_seconds=60, beyond_seconds=3, refusal_seconds=3),
        database=database,
        judged=[Judged(PAID, one) for one in verdicts],
        outages=outages_of(requests, [(start, end) for _, start, end in database]),
        samples=list(requests),
        hostile={},
        relayer={},
        faults={},
        deaths=["ended"] * deaths,
        tracebacks=0,
        most_bytes=0,
    )
    decide(result)
    return result.failures


def test_soak_passes_when_nothing_is_wrong() -> None:
    refused = Sample(probe.READ, 12.0, 2.1, 503, retry_after=True)
    assert failures(refused, Sample(probe.READ, 21.0, 0.1, 200), Sample(probe.READ, 30.0, 9.0, 200)) == []
    assert failures(verdicts=(Verdict.CREDITED, Verdict.WITHDRAWN)) == []


@pytest.mark.parametrize("verdict", [Verdict.LOST, Verdict.DOUBLED, Verdict.LATE, Verdict.TURNED_AWAY])
def test_soak_fails_by_one_payment(verdict: Verdict) -> None:
    assert failures(verdicts=(Verdict.CREDITED, verdict)) == [f"1 honest payments {verdict}"]


def test_soak_in_which_nobody_paid_fails() -> None:
    assert failures(verdicts=()) == ["no honest payment was credited"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Sample(probe.READ, 12.0, 3.1, 503, retry_after=True), "waited up to 3.1 s"),
        (Sample(probe.READ, 8.0, 3.1, 200), "waited up to 3.1 s"),
        (Sample(probe.READ, 12.0, 0.1, 500), "another 5xx"),
        (Sample(probe.READ, 12.0, 0.1, 503), "no Retry-After"),
        (Sample(probe.HEALTH, 17.0, 6.5, 0), "down for 3.5 s beyond"),
    ],
)
def test_soak_fails_by_one_answer(request_: Sample, words: str) -> None:
    assert words in "; ".join(failures(request_))


def test_soak_fails_when_the_process_ended() -> None:
    assert failures(deaths=2) == ["cascade up ended 2 times by itself"]
