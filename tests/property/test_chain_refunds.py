"""Any payments of an order, and any refunds for it, against PostgreSQL: nothing is lost and nothing is taken twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade.domain.money import USDC, USDT, Money
from cascade.domain.reversals import Refund, kept
from cascade.fulfillment import fulfill, refund
from cascade.store import balances, payments
from cascade.store.database import Conn, Database
from tests.purchases import NOWHERE, confirmed, open_order

PRICE = 10_000_000
_places = count(1)

tokens = st.sampled_from([USDC, USDT])
amounts = st.one_of(st.just(PRICE), st.integers(1, 2 * PRICE))
deeds = st.lists(st.tuples(st.sampled_from(["pay", "refund", "refund again"]), tokens, amounts), max_size=12)


def holdings(connection: Conn, *accounts: str) -> Counter[tuple[str, str]]:
    """Debits minus credits by account and token."""
    found: Counter[tuple[str, str]] = Counter()
    for account in accounts:
        for token in (USDC, USDT):
            found[account, token.code] = -balances.balance(connection, account, token.code).units
    return found


@given(deeds=deeds)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_paid_and_given_back_adds_up(database: Database, deeds: list[tuple[str, object, int]]) -> None:
    view = open_order(database, NOWHERE, citizen=f"citizen{next(_places)}", package=None, usd="10.00")
    terms, quote = view.terms[0], view.order.quote
    money = ("treasury", "partner", "refunds:unmatched")
    expected: Counter[tuple[str, str]] = Counter()
    made: list[Refund] = []
    with database.transaction() as connection:
        before = holdings(connection, *money)
        for deed, token, units in deeds:
            amount = Money(token, units)  # type: ignore[arg-type]
            if deed == "pay":
                payment = confirmed(terms, amount=amount)
                fulfill(connection, payment)
                for side, part in payment.landed.items():
                    expected[side, amount.asset.code] += part
                continue
            if deed == "refund again" and made:
                refund(connection, made[-1])
                continue
            place = f"chain:137:{10**9 + next(_places)}:0"
            made.append(Refund(place, terms.on_chain_order_id, amount, "0xto", "0xhash"))
            rest = refund(connection, made[-1])
            expected["treasury", amount.asset.code] -= units
            expected["refunds:unmatched", amount.asset.code] += rest.units
        after = holdings(connection, *money)
        booked = payments.of_order(connection, view.order.id)
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
        sold = next((p for p in booked if p.reason is None), None)
        granted = (quote.ducats, quote.bonus)
        assert held == (sum(kept(g, sold.received, sold.returned).units for g in granted) if sold else 0)
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []


def test_a_second_look_at_any_refund_is_a_no_op(database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    back = Refund("chain:137:1:1", payment.order_key, Money(USDC, 7), "0xto", "0xhash")
    with database.transaction() as connection:
        fulfill(connection, payment)
        refund(connection, back)
        once = holdings(connection, "treasury")
        refund(connection, back)
        refund(connection, replace(back))
        assert holdings(connection, "treasury") == once
