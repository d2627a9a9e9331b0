from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain import postings
from cascade.domain.money import DUCAT, USDC, USDT, Money
from cascade.domain.partial_payments import Grant
from cascade.domain.payments import ConfirmedPayment, Rail, SuspenseReason, judge
from cascade.domain.postings import Kind, Posting, Transaction

PRICE = {USDC: Money(USDC, 250_000_000)}


def payment(units: int, partner: int | None = None) -> ConfirmedPayment:
    share = units // 2 if partner is None else partner
    landed = {postings.TREASURY: units - share, postings.PARTNER: share}
    return ConfirmedPayment("chain:137:1:0", Rail.CHAIN, b"\1" * 32, Money(USDC, units), landed, "0xpayer", "0xhash")


@pytest.mark.parametrize(
    ("received", "expected", "already_paid", "reason"),
    [
        (Money(USDC, 250_000_000), PRICE, False, None),
        (Money(USDC, 250_000_000), PRICE, True, SuspenseReason.DUPLICATE),
        (Money(USDC, 249_999_999), PRICE, False, SuspenseReason.SHORT),
        (Money(USDC, 250_000_001), PRICE, False, SuspenseReason.OVER),
        (Money(USDT, 250_000_000), PRICE, False, SuspenseReason.WRONG_TOKEN),
        (Money(USDC, 250_000_000), None, False, SuspenseReason.UNKNOWN_ORDER),
    ],
)
def test_a_payment_is_judged(
    received: Money, expected: dict[object, Money] | None, already_paid: bool, reason: SuspenseReason | None
) -> None:
    assert judge(received, expected, already_paid=already_paid) is reason  # type: ignore[arg-type]


def test_a_late_payment_is_judged_last() -> None:
    price = PRICE[USDC]
    assert judge(price, PRICE, already_paid=False, late=True) is SuspenseReason.LATE
    assert judge(price, PRICE, already_paid=True, late=True) is SuspenseReason.DUPLICATE


@pytest.mark.parametrize("reason", SuspenseReason)
def test_every_reason_has_a_next_step_on_every_rail(reason: SuspenseReason) -> None:
    assert "from the Safe" in reason.next_step(Rail.CHAIN)
    assert "Stripe's Dashboard" in reason.next_step(Rail.CARD)
    assert "Never send to the deposit address" in reason.next_step(Rail.CHAIN, collected=True)
    assert "deposit address" not in reason.next_step(Rail.CHAIN)


def test_a_payment_must_add_up() -> None:
    with pytest.raises(ValueError, match="does not add up"):
        ConfirmedPayment("r", Rail.CHAIN, b"", Money(USDC, 3), {"treasury": 1, "partner": 1}, "p", "t")


def sums(transaction: Transaction) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for posting in transaction.postings:
        total[posting.debit, posting.amount.asset.code] -= posting.amount.units
        total[posting.credit, posting.amount.asset.code] += posting.amount.units
    return total


@given(st.integers(min_value=1, max_value=10**15), st.integers(min_value=0, max_value=10**12))
def test_a_sale_moves_money_to_both_halves_and_ducats_to_the_citizen(units: int, bonus: int) -> None:
    grant = Grant(Money(DUCAT, 5), Money(DUCAT, bonus), fulfils=True)
    sale = postings.sale(payment(units), "Marco", grant)
    total = sums(sale)
    assert total["citizen:Marco", "DUCAT"] == 5 + bonus
    assert total["treasury", "USDC"] + total["partner", "USDC"] == -units
    assert total["sales", "USDC"] == units
    assert all(posting.amount.units > 0 for posting in sale.postings)  # an odd unit, a missing bonus: no empty posting
    assert sale.kind is Kind.SALE


def test_suspense_gives_no_ducats() -> None:
    booked = postings.suspense(payment(7))
    assert sums(booked) == {("suspense", "USDC"): 7, ("treasury", "USDC"): -4, ("partner", "USDC"): -3}


def test_contents_tell_a_replay_from_a_second_use() -> None:
    first = Transaction("r", Kind.SALE, (Posting("a", "b", Money(USDC, 1)),))
    assert first.contents_hash() == Transaction("r", Kind.SALE, (Posting("a", "b", Money(USDC, 1)),)).contents_hash()
    for other in (
        Transaction("r", Kind.SUSPENSE, first.postings),
        Transaction("r", Kind.SALE, (Posting("b", "a", Money(USDC, 1)),)),
        Transaction("r", Kind.SALE, (Posting("a", "b", Money(USDT, 1)),)),
        Transaction("r", Kind.SALE, (Posting("a", "b", Money(USDC, 2)),)),
        Transaction("r", Kind.SALE, first.postings * 2),
    ):
        assert other.contents_hash() != first.contents_hash()
