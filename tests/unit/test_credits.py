"""What becomes of a credit, by what Venice shows of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cascade.domain.credits import (
    CreditOutcome,
    CreditState,
    VeniceTransfer,
    credit_state,
    problem_of,
    reconcile_credit,
)
from cascade.domain.delivery_states import DeliveryState, Problem
from cascade.domain.money import DUCAT, Money
from cascade.domain.order_events import EventType
from cascade.workers.retry_policy import RetryPolicy

DUE = Money.parse("525.5", DUCAT)
LAST = 3


def transfer(
    status: str, *, number: int = LAST, amount: str = "525.5", times: int = 0, error: str = ""
) -> VeniceTransfer:
    return VeniceTransfer(number, status, Decimal(amount), times, error)


DONE = transfer("executed", times=1)
OPEN = transfer("active")
POOR = transfer("failed", error="Insufficient funds: 1 < 525.5")
STRANGER = transfer("failed", error="Receiver Marco not found.")
HALF_DONE = transfer("failed", error="Processing error: timed out")


@pytest.mark.parametrize(
    ("transfers", "expected"),
    [
        ([], CreditOutcome.ABSENT),
        ([DONE], CreditOutcome.CREDITED),
        ([transfer("executed")], CreditOutcome.CREDITED),
        ([transfer("executed", amount="525.50")], CreditOutcome.CREDITED),
        ([transfer("executed", number=1, times=1)], CreditOutcome.CREDITED),
        ([POOR, DONE], CreditOutcome.CREDITED),
        ([OPEN], CreditOutcome.WAITING),
        ([transfer("active", number=1)], CreditOutcome.WAITING),
        ([transfer("failed", number=1, error="Processing error")], CreditOutcome.ABSENT),
        ([DONE, transfer("executed", number=2)], Problem.CREDITED_TWICE),
        ([transfer("executed", times=2)], Problem.CREDITED_TWICE),
        ([DONE, OPEN], Problem.CREDITED_TWICE),
        ([DONE, HALF_DONE], Problem.CREDITED_TWICE),
        ([DONE, transfer("failed", number=1, error="Processing error")], CreditOutcome.CREDITED),
        ([transfer("executed", amount="525.6")], Problem.UNCLEAR),
        ([VeniceTransfer(LAST, "executed", None)], Problem.UNCLEAR),
        ([HALF_DONE], Problem.UNCLEAR),
        ([POOR, HALF_DONE], Problem.UNCLEAR),
        ([transfer("failed", times=1, error="Insufficient funds: 1 < 2")], Problem.UNCLEAR),
        ([transfer("expired")], Problem.UNCLEAR),
        ([transfer("something new")], Problem.UNCLEAR),
        ([POOR], Problem.INSUFFICIENT_FUNDS),
        ([STRANGER], Problem.UNKNOWN_CITIZEN),
    ],
)
def test_a_credit_is_judged_by_what_venice_shows(
    transfers: list[VeniceTransfer], expected: CreditOutcome | Problem
) -> None:
    verdict = reconcile_credit(transfers, DUE, LAST)
    assert (verdict.problem or verdict.finding) is expected


def test_what_earlier_tries_failed_at_is_settled_and_says_nothing_of_this_one() -> None:
    assert reconcile_credit([POOR, HALF_DONE], DUE, None).finding is CreditOutcome.ABSENT
    assert reconcile_credit([POOR, HALF_DONE], DUE, None).problem is None


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ("Sender CASCADE_PAYMENT_PROCESSOR has insufficient funds (1.0 ducats)", Problem.INSUFFICIENT_FUNDS),
        ("Target citizen 'Marco' not found", Problem.UNKNOWN_CITIZEN),
        ("Sender citizen 'CASCADE_PAYMENT_PROCESSOR' not found", Problem.REFUSED),
        ('Unknown field name: "InfluenceCost"', Problem.REFUSED),
        ("", Problem.REFUSED),
    ],
)
def test_venices_words_are_understood(error: str, problem: Problem) -> None:
    assert problem_of(error) is problem


def test_every_problem_has_a_next_step_and_only_certain_ones_give_ducats_back() -> None:
    assert all(problem.next_step for problem in Problem)
    assert {p for p in Problem if p.is_certain} == {
        Problem.UNKNOWN_CITIZEN,
        Problem.INSUFFICIENT_FUNDS,
        Problem.REFUSED,
    }


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], CreditState.CREDITED),
        ([DeliveryState.DELIVERED, DeliveryState.VOID], CreditState.CREDITED),
        ([DeliveryState.DELIVERED, DeliveryState.PENDING], CreditState.ON_ITS_WAY),
        ([DeliveryState.PENDING, DeliveryState.PARKED], CreditState.IN_REVIEW),
    ],
)
def test_the_credit_of_an_order_stands_as_its_worst_delivery(
    states: list[DeliveryState], expected: CreditState
) -> None:
    assert credit_state(states) is expected


def test_pauses_double_up_to_the_longest_and_end_after_days() -> None:
    patience = RetryPolicy(days=2, first_pause_seconds=1)
    age, tries = 0.0, 0
    while (pause := patience.pause_after(age, 3600)) is not None and tries < 1000:
        assert 0.75 * min(3600, max(1, age)) <= pause <= 1.25 * min(3600, max(1, age))
        age, tries = age + pause, tries + 1
    assert age > 2 * 86_400
    assert 50 < tries < 90


def test_no_letter_is_sent_for_what_a_stranger_can_cause_for_nothing() -> None:
    assert not EventType.ORDER_EXPIRED.is_mailed
    assert not EventType.PAYMENT_FAILED.is_mailed
    assert EventType.ORDER_FULFILLED.is_mailed
