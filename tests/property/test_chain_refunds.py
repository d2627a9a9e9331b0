"""Any payments of an order, and any refunds for it, against PostgreSQL: nothing is lost and nothing is taken twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from cascade.db import balances, payments
from cascade.db.database import Conn, Database
from cascade.domain.money import USDC, USDT, Money
from cascade.domain.reversals import Refund, kept
from cascade.services.booking import book_payment, book_refund
from tests.support.purchases import NOWHERE, collected, confirmed, open_order
from tests.support.soak import histories

PRICE = 10_000_000
_places = count(1)

tokens = st.sampled_from([USDC, USDT])
amounts = st.one_of(st.sampled_from([PRICE, PRICE // 2, PRICE - 10_000, 10_000]), st.integers(1, 2 * PRICE))
deeds = st.lists(st.tuples(st.sampled_from(["pay", "collect", "refund", "refund again"]), tokens, amounts), max_size=12)


def holdings(connection: Conn, *accounts: str) -> Counter[tuple[str, str]]:
    """Debits minus credits by account and token."""
    found: Counter[tuple[str, str]] = Counter()
    for account in accounts:
        for token in (USDC, USDT):
            found[account, token.code] = -balances.balance(connection, account, token.code).units
    return found


@given(deeds=deeds, usd=st.sampled_from(["10.00", None]))
@histories(20)
def test_whatever_is_paid_and_given_back_adds_up(
    database: Database, deeds: list[tuple[str, object, int]], usd: str | None
) -> None:
    view = open_order(database, NOWHERE, citizen=f"citizen{next(_places)}", package="explorer", usd=usd)
    terms, quote = view.terms[0], view.order.quote
    money = ("treasury", "partner", "refunds:unmatched")
    expected: Counter[tuple[str, str]] = Counter()
    made: list[Refund] = []
    with database.transaction() as connection:
        before = holdings(connection, *money)
        for deed, token, dollars in deeds:
            units = dollars * terms.units // PRICE  # a package with a bonus costs five times as much
            amount = Money(token, units)  # type: ignore[arg-type]
            if deed in ("pay", "collect"):
                paid = confirmed(terms, amount=amount)
                payment = paid if deed == "pay" else collected(terms, units, amount.asset)
                book_payment(connection, payment)
                for side, part in payment.landed.items():
                    expected[side, amount.asset.code] += part
                continue
            if deed == "refund again" and made:
                book_refund(connection, made[-1])
                continue
            place = f"chain:137:{10**9 + next(_places)}:0"
            made.append(Refund(place, terms.on_chain_order_id, amount, "0xto", "0xhash"))
            rest = book_refund(connection, made[-1])
            expected["treasury", amount.asset.code] -= units
            expected["refunds:unmatched", amount.asset.code] += rest.units
        after = holdings(connection, *money)
        booked = payments.on_chain(connection, terms.on_chain_order_id)  # dust too: a refund may fit it
        assert all(p.returned.units <= p.received.units for p in booked)
        assert {key: after[key] - before[key] for key in after if after[key] != before[key]} == {
            key: units for key, units in expected.items() if units
        }
        # A dollar is unmatched only when nothing is left of any payment.
        out, back = (sum(p.received.units for p in booked), sum(p.returned.units for p in booked))
        assert sum(r.amount.units for r in made) == back + sum(
            expected["refunds:unmatched", token.code] for token in (USDC, USDT)
        )
        assert back <= out
        held = balances.citizen_ducats(connection, view.order.citizen_id).units
        sold = [(p, p.grant) for p in booked if p.grant]
        ducats = sum(kept(grant.ducats, p.received, p.returned).units for p, grant in sold)
        bonus = sum(kept(grant.bonus, p.received, p.returned).units for p, grant in sold)
        assert held == ducats + bonus
        # Never more than what stayed is worth, but for the units that completed a price after its parts were rounded.
        stayed = sum((p.received - p.returned).units for p, _ in sold)
        assert ducats <= quote.ducats.units * stayed // quote.price_in(USDC).units + len(booked)
        assert bonus <= quote.bonus.units
        assert stayed or not held
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []


def test_a_second_look_at_any_refund_is_a_no_op(database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    back = Refund("chain:137:1:1", payment.order_key, Money(USDC, 7), "0xto", "0xhash")
    with database.transaction() as connection:
        book_payment(connection, payment)
        book_refund(connection, back)
        once = holdings(connection, "treasury")
        book_refund(connection, back)
        book_refund(connection, replace(back))
        assert holdings(connection, "treasury") == once
