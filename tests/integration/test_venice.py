"""Credits to Venice: sent once, looked for after all that is not clear, and visible when an operator has to act."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import balances, credits
from cascade.db.database import Database
from cascade.db.delivery_queue import Filter
from cascade.domain.payments import ConfirmedPayment
from cascade.services.booking import book_payment, book_reversal
from cascade.services.credits import confirm_credit
from sandbox.venice import Transfer, VeniceDouble
from tests.support.delivery import DispatcherConfig, deliver_all, dispatching, make_due, rows, told, until
from tests.support.purchases import balance_of, came_again, confirmed, open_order, refund

MARCO = "Marco_Polo"


@dataclass
class City:
    """Venice, and who delivers to it."""

    database: Database
    venice: VeniceDouble
    wishes: DispatcherConfig

    def buy(self, citizen: str = MARCO, reference: str | None = None) -> ConfirmedPayment:
        """An Explorer package that is paid: 500 ducats and 25 bonus; nothing is delivered yet."""
        view = open_order(self.database, citizen=citizen, package="explorer")
        payment = confirmed(view.terms[0], reference=reference)
        with self.database.transaction() as connection:
            book_payment(connection, payment)
        return payment

    def deliver(self) -> None:
        """Until no credit waits."""
        deliver_all(self.database, self.wishes, destination="venice")

    def transfers(self, payment: ConfirmedPayment) -> list[Transfer]:
        """What really moved for a payment."""
        return self.venice.control.transfers(f"[cascade:{payment.reference}#")

    def credit(self) -> dict[str, Any]:
        """The one credit in the credits."""
        (row,) = rows(self.database, destination="venice")
        return row

    def held(self, citizen: str = MARCO) -> tuple[int, int]:
        """Millionths with us, and handed over to Venice."""
        return balance_of(self.database, f"citizen:{citizen}"), balance_of(self.database, f"venice:{citizen}")


@pytest.fixture
def city(database: Database) -> Iterator[City]:
    with VeniceDouble.start() as venice:
        yield City(database, venice, DispatcherConfig(venice_url=venice.url))


def test_a_credit_arrives_with_its_exact_amount_and_then_the_citizen_is_told(city: City) -> None:
    payment = city.buy()
    assert told(city.database) == []
    city.deliver()
    assert [(t.target, t.amount) for t in city.transfers(payment)] == [(MARCO, Decimal(525))]
    assert city.held() == (0, 525_000_000)
    assert [notice["type"] for notice in told(city.database)] == ["order.fulfilled"]
    deliver_all(city.database, city.wishes)
    (message,) = city.venice.control.messages(MARCO)
    assert "525 ducats" in message["content"]


def test_a_fraction_of_a_ducat_crosses_without_a_float(city: City) -> None:
    view = open_order(city.database, usd="25.01", package=None)
    payment = confirmed(view.terms[0])
    with city.database.transaction() as connection:
        book_payment(connection, payment)
        book_reversal(connection, refund(payment, 1))
    city.deliver()
    (transfer,) = city.transfers(payment)
    assert transfer.amount == Decimal("250.09999")


@pytest.mark.parametrize(
    "switch",
    ["error_after_effect_rate", "lost_answer_rate", "hang_rate", "malformed_rate", "late_effect_rate"],
)
def test_what_took_effect_without_an_answer_is_found_and_not_sent_again(city: City, switch: str) -> None:
    payment = city.buy()
    city.venice.control.set_chaos(**{switch: 1.0}, late_effect_seconds=0.3)
    with dispatching(city.database, city.wishes):
        until(lambda: city.transfers(payment))
        city.venice.control.reset_chaos()
        make_due_again(city)
        until(lambda: not rows(city.database, "pending", "venice"))
    assert len(city.transfers(payment)) == 1
    assert len(told(city.database)) == 1


def make_due_again(city: City) -> None:
    """Waits until the first try has ended, and lets the next one begin."""
    until(lambda: city.credit()["error"] or city.credit()["state"] == "delivered")
    make_due(city.database)


@pytest.mark.parametrize("switch", ["error_rate", "hang_before_rate", "forget_rate"])
def test_what_did_not_take_effect_is_sent_again_once_it_surely_did_not(city: City, switch: str) -> None:
    payment = city.buy()
    city.venice.control.set_chaos(**{switch: 1.0})
    with dispatching(city.database, city.wishes):
        until(lambda: city.credit()["error"])
        city.venice.control.reset_chaos()
        until(lambda: not rows(city.database, "pending", "venice"))
    assert len(city.transfers(payment)) == 1


def test_after_a_lost_answer_nothing_is_sent_before_it_has_had_time_to_take_effect(city: City) -> None:
    payment = city.buy()
    city.wishes = replace(city.wishes, settle_seconds=3600)
    city.venice.control.set_chaos(hang_before_rate=1.0)
    with dispatching(city.database, city.wishes):
        until(lambda: city.credit()["error"])
        city.venice.control.reset_chaos()
        time.sleep(0.5)
        make_due(city.database)
        until(lambda: "may still take effect" in city.credit()["error"])
    assert city.transfers(payment) == []
    assert city.credit()["attempts"] > 1


def test_a_list_that_stands_in_for_another_is_not_taken_for_an_empty_one(city: City) -> None:
    payment = city.buy()
    city.wishes = replace(city.wishes, settle_seconds=0)
    city.venice.control.set_chaos(lost_answer_rate=1.0, fallback_rate=1.0)
    with dispatching(city.database, city.wishes):
        until(lambda: city.credit()["attempts"] > 2)
    assert "stands in" in city.credit()["error"]
    city.venice.control.reset_chaos()
    city.deliver()
    assert len(city.transfers(payment)) == 1


def test_a_transfer_that_waits_to_be_executed_is_waited_for(city: City) -> None:
    payment = city.buy()
    city.wishes = replace(city.wishes, settle_seconds=0)
    city.venice.control.set_chaos(process_seconds=-1)
    with dispatching(city.database, city.wishes):
        until(lambda: city.credit()["attempts"] > 3)
        assert told(city.database) == []
        city.venice.control.process_now()
        until(lambda: not rows(city.database, "pending", "venice"))
    assert len(city.transfers(payment)) == 1
    assert city.venice.control.balance(MARCO) == 525


def test_one_reference_that_begins_like_another_is_not_taken_for_it(city: City) -> None:
    longer = city.buy(reference="chain:137:9:11")
    city.deliver()
    shorter = city.buy(reference="chain:137:9:1")
    city.venice.control.set_chaos(hang_before_rate=1.0)
    with dispatching(city.database, city.wishes):
        until(lambda: rows(city.database, "pending", "venice")[0]["error"])
        city.venice.control.reset_chaos()
        until(lambda: not rows(city.database, "pending", "venice"))
    assert len(city.transfers(longer)) == len(city.transfers(shorter)) == 1


def test_an_unknown_citizen_is_parked_the_ducats_stay_and_a_replay_works(city: City) -> None:
    payment = city.buy("stranger")
    city.deliver()
    credit = city.credit()
    assert (credit["state"], credit["problem"]) == ("parked", "unknown_citizen")
    assert city.held("stranger") == (525_000_000, 0)
    assert [notice["type"] for notice in told(city.database, "stranger")] == ["credit.in_review"]
    city.venice.control.add_citizen("stranger")
    with city.database.transaction() as connection:
        assert credits.replay(connection, Filter(problem="unknown_citizen")) == 1
    city.deliver()
    assert len(city.transfers(payment)) == 1
    assert told(city.database, "stranger")[-1]["type"] == "order.fulfilled"


def test_a_processor_without_funds_is_waited_for_and_a_refund_meanwhile_is_taken_in_full(city: City) -> None:
    payment = city.buy()
    city.venice.control.fund_processor(Decimal(10))
    with dispatching(city.database, city.wishes):
        until(lambda: city.credit()["problem"] == "insufficient_funds")
        until(lambda: city.held() == (525_000_000, 0))
    assert city.credit()["state"] == "pending"
    with city.database.transaction() as connection:
        book_reversal(connection, refund(payment, payment.received.units * 2 // 5))  # of what the treasury got
    city.venice.control.fund_processor(Decimal(10**6))
    city.deliver()
    assert [t.amount for t in city.transfers(payment)] == [Decimal(315)]
    assert balance_of(city.database, f"receivable:{city.credit()['order_id']}") == 0


@pytest.mark.parametrize(
    ("switch", "problem"),
    [
        ("unknown_field_rate", "refused"),
        ("half_done_rate", "unclear"),
        ("execute_twice_rate", "credited_twice"),
        ("duplicate_request_rate", "credited_twice"),
    ],
)
def test_what_an_operator_has_to_see_is_parked_with_a_next_step(city: City, switch: str, problem: str) -> None:
    payment = city.buy()
    city.venice.control.set_chaos(**{switch: 1.0})
    city.deliver()
    credit = city.credit()
    assert (credit["state"], credit["problem"]) == ("parked", problem)
    moved = bool(city.transfers(payment))
    assert city.held() == ((0, 525_000_000) if moved else (525_000_000, 0))
    city.venice.control.reset_chaos()
    with city.database.transaction() as connection:
        (entry,) = credits.QUEUE.parked(connection, Filter(), limit=10)
        assert entry.problem is not None
        assert entry.problem.next_step
        if moved:  # the operator has seen the ducats
            delivery = credits.QUEUE.take_parked(connection, entry.id)
            assert delivery is not None
            confirm_credit(connection, delivery)
        else:
            credits.replay(connection, Filter(id=entry.id))
    city.deliver()
    assert city.credit()["state"] == "delivered"
    assert len(city.transfers(payment)) == (2 if problem == "credited_twice" else 1)
    assert told(city.database)[-1]["type"] == "order.fulfilled"


def test_what_was_unclear_and_did_not_arrive_is_sent_again_when_an_operator_says_so(city: City) -> None:
    payment = city.buy()
    city.venice.control.set_chaos(process_seconds=-1)
    with dispatching(city.database, city.wishes):
        until(lambda: "not executed" in (city.credit()["error"] or ""))
        with city.venice._city.lock:
            city.venice._city._db.execute("UPDATE stratagems SET status = 'expired'")
        until(lambda: city.credit()["state"] == "parked")
    assert city.credit()["problem"] == "unclear"
    city.venice.control.reset_chaos()
    with city.database.transaction() as connection:
        credits.replay(connection, Filter())
    city.deliver()
    assert len(city.transfers(payment)) == 1


def test_a_refund_before_the_handover_voids_the_credit_and_one_after_it_is_owed(city: City) -> None:
    before, after = city.buy(), city.buy("Veronica")
    city.venice.control.add_citizen("Veronica")
    with city.database.transaction() as connection:
        book_reversal(connection, refund(before))
    city.deliver()
    with city.database.transaction() as connection:
        book_reversal(connection, refund(after))
    assert city.transfers(before) == []
    assert [t.amount for t in city.transfers(after)] == [Decimal(525)]
    states = {row["citizen_id"]: (row["state"], row["order_id"]) for row in rows(city.database, destination="venice")}
    assert states[MARCO][0] == "void"
    assert balance_of(city.database, f"receivable:{states['Veronica'][1]}") == -525_000_000
    assert city.held("Veronica") == (0, 525_000_000)


def test_money_that_comes_again_settles_the_debt_first_and_only_the_rest_goes_to_venice(city: City) -> None:
    payment = city.buy()
    back = refund(payment)
    with city.database.transaction() as connection:
        book_reversal(connection, back)  # before the handover: the credit is void
    city.deliver()
    with city.database.transaction() as connection:
        book_reversal(connection, came_again(back))
    assert [notice["type"] for notice in told(city.database)] == ["payment.refunded"]
    city.deliver()
    assert [t.amount for t in city.venice.control.transfers()] == [Decimal(525)]
    assert told(city.database)[-1]["data"]["ducats_credited"] == "525"


def test_what_comes_again_before_anything_was_handed_over_is_told_although_there_is_nothing_more_to_send(
    city: City,
) -> None:
    payment = city.buy()
    back = refund(payment)
    with city.database.transaction() as connection:
        book_reversal(connection, back)
        book_reversal(connection, came_again(back))
    city.deliver()
    assert [t.amount for t in city.venice.control.transfers()] == [Decimal(525)]
    assert [row["state"] for row in rows(city.database, destination="venice")] == ["delivered", "void"]
    types = [notice["type"] for notice in told(city.database)]
    assert types == ["payment.refunded", "order.fulfilled", "payment.refund_failed"]


def test_a_refund_that_took_another_orders_ducats_leaves_that_order_told_and_its_citizen_alone(city: City) -> None:
    first = city.buy()
    city.deliver()
    city.buy()  # on its way when the first one's money goes back
    with city.database.transaction() as connection:
        book_reversal(connection, refund(first))
    city.deliver()
    assert [t.amount for t in city.venice.control.transfers()] == [Decimal(525)]
    assert [notice["type"] for notice in told(city.database)] == ["order.fulfilled", "payment.refunded"]
    with city.database.transaction() as connection:
        found = connection.execute(
            "SELECT data ->> 'ducats_credited' AS ducats FROM order_events WHERE type = 'order.fulfilled' ORDER BY 1"
        ).fetchall()
    assert [row["ducats"] for row in found] == ["0", "525"]


def test_a_city_that_is_down_delays_and_loses_nothing(city: City) -> None:
    payments = [city.buy(f"citizen{number}") for number in range(5)]
    for number in range(5):
        city.venice.control.add_citizen(f"citizen{number}")
    down = replace(city.wishes, venice_url="http://127.0.0.1:1")
    with dispatching(city.database, down):
        until(lambda: all(row["attempts"] > 1 for row in rows(city.database, "pending", "venice")))
    city.deliver()
    assert [len(city.transfers(payment)) for payment in payments] == [1] * 5


def test_the_books_balance_after_all_of_it(city: City) -> None:
    city.buy("stranger")
    city.buy()
    city.deliver()
    with city.database.transaction() as connection:
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []


# What citizens see


@pytest.fixture
def client(city: City, environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_VENICE_URL", city.venice.url)
    monkeypatch.setenv("CASCADE_PUBLIC_BALANCES", "true")
    with TestClient(create_app()) as client:
        yield client


def test_an_order_is_confirmed_until_venice_has_the_ducats(city: City, client: TestClient) -> None:
    city.buy()
    path = f"/api/payments/orders/{city.credit()['order_id']}"
    order = client.get(path).json()
    assert (order["status"], order["credit"]) == ("confirmed", "on_its_way")
    city.deliver()
    order = client.get(path).json()
    assert (order["status"], order["credit"]) == ("fulfilled", "credited")
    balance = client.get(f"/api/citizens/{MARCO}/balance").json()
    assert (balance["ducats"], balance["in_venice"]) == ("0", "525")


def test_an_order_whose_credit_is_parked_says_so(city: City, client: TestClient) -> None:
    city.buy("stranger")
    city.deliver()
    order = client.get(f"/api/payments/orders/{city.credit()['order_id']}").json()
    assert (order["status"], order["credit"]) == ("confirmed", "in_review")


def test_nobody_can_buy_for_somebody_whom_venice_does_not_know(city: City, client: TestClient) -> None:
    path, wish = "/api/payments/crypto-payment-intent", {"package": "starter"}
    refused = client.post(path, json=wish | {"citizen_id": "stranger"})
    assert (refused.status_code, refused.json()["field"]) == (422, "citizen_id")
    assert "Venice knows no citizen stranger" in refused.json()["detail"]
    assert client.post(path, json=wish | {"citizen_id": MARCO}).status_code == 201


@pytest.mark.parametrize("switches", [{"error_rate": 1.0}, {"fallback_rate": 1.0}, {"slow_seconds": 5.0}])
def test_while_venice_does_not_answer_orders_are_taken(
    city: City, client: TestClient, switches: dict[str, float]
) -> None:
    city.venice.control.set_chaos(**switches)
    wish = {"package": "starter", "citizen_id": "compagno"}
    assert client.post("/api/payments/crypto-payment-intent", json=wish).status_code == 201
