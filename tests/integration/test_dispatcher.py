"""The dispatcher: at least once, each destination apart, in order for each citizen, and nothing ever vanishes."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from cascade.db import credits, outbox, webhook_endpoints
from cascade.db.database import Database
from cascade.db.delivery_queue import Filter
from cascade.domain.delivery_states import DeliveryState, webhook
from cascade.domain.order_events import EventType
from cascade.errors import LedgerConflict
from cascade.services.booking import book_payment, book_reversal
from cascade.workers.retry_policy import RetryPolicy
from tests.support.delivery import (
    DispatcherConfig,
    WebhookEndpoint,
    add_endpoint,
    deliver_all,
    dispatching,
    make_due,
    rows,
    told,
    until,
)
from tests.support.purchases import came_again, confirmed, open_order, refund

LEDGER_MODE = DispatcherConfig()


def buy(database: Database, citizen: str = "Marco_Polo") -> str:
    """An order that is paid; returns its id."""
    view = open_order(database, citizen=citizen)
    with database.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0]))
    return view.order.id


def types(database: Database, order_id: str) -> list[str]:
    """The life of an order."""
    with database.transaction() as connection:
        found = connection.execute("SELECT type FROM order_events WHERE order_id = %s ORDER BY number", (order_id,))
        return [row["type"] for row in found.fetchall()]


def test_a_citizen_is_told_only_after_the_credit_is_acknowledged(database: Database) -> None:
    order_id = buy(database)
    assert told(database) == []
    assert types(database, order_id) == ["order.opened", "order.confirmed"]
    deliver_all(database, LEDGER_MODE)
    (notice,) = told(database)
    assert notice["type"] == "order.fulfilled"
    assert notice["data"]["ducats_credited"] == "2750"
    assert types(database, order_id) == ["order.opened", "order.confirmed", "order.fulfilled"]


def test_a_payment_that_is_booked_again_tells_nothing_again(database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    for _ in range(2):
        with database.transaction() as connection:
            book_payment(connection, payment)
        deliver_all(database, LEDGER_MODE)
    assert [notice["type"] for notice in told(database)] == ["order.fulfilled"]


def test_what_is_rolled_back_leaves_nothing_to_deliver(database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    with database.transaction() as connection:
        book_payment(connection, payment)
    before = rows(database)
    with pytest.raises(LedgerConflict), database.transaction() as connection:
        other = open_order(database)
        book_payment(connection, confirmed(other.terms[0]))
        book_payment(connection, replace(payment, payer="0x" + "44" * 20))
    assert rows(database) == before


def test_money_that_goes_back_is_told_and_what_comes_again_only_when_it_is_credited(database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    back = refund(payment)
    with database.transaction() as connection:
        book_payment(connection, payment)
    deliver_all(database, LEDGER_MODE)
    with database.transaction() as connection:
        book_reversal(connection, back)
    assert [notice["type"] for notice in told(database)] == ["order.fulfilled", "payment.refunded"]
    with database.transaction() as connection:
        book_reversal(connection, came_again(back))
    assert len(told(database)) == 2
    deliver_all(database, LEDGER_MODE)
    assert told(database)[-1]["type"] == "payment.refund_failed"
    assert told(database)[-1]["data"]["ducats_credited"] == "2750"
    assert types(database, view.order.id)[3:] == ["payment.refunded", "order.reversed", "payment.refund_failed"]


@pytest.mark.parametrize(("percent", "credited"), [(50, "2062.5"), (100, "1375")])
def test_what_was_taken_back_before_it_could_be_told_is_not_told_as_credited(
    database: Database, percent: int, credited: str
) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    with database.transaction() as connection:
        book_payment(connection, payment)
        book_reversal(connection, refund(payment, payment.landed["treasury"] * percent // 100))
    deliver_all(database, LEDGER_MODE)
    assert [notice["type"] for notice in told(database)] == ["payment.refunded", "order.fulfilled"]
    assert told(database)[-1]["data"]["ducats_credited"] == credited


def test_of_ducats_that_all_went_back_nobody_is_told_that_they_came(database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    with database.transaction() as connection:
        book_payment(connection, payment)
        book_reversal(connection, refund(payment))
    deliver_all(database, LEDGER_MODE)
    assert [notice["type"] for notice in told(database)] == ["payment.refunded"]
    assert types(database, view.order.id)[-1] == "order.reversed"


def test_money_in_suspense_is_told_as_waiting_for_review(database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0], amount=replace(view.terms[0].amount, units=10_000)))
    (notice,) = told(database)
    assert (notice["type"], notice["data"]["reason"]) == ("payment.in_review", "short")
    assert rows(database, destination="venice") == []


def test_every_event_reaches_every_endpoint_signed_and_in_order(database: Database) -> None:
    with WebhookEndpoint.open() as all_of_it, WebhookEndpoint.open() as credits_only:
        _, secret = add_endpoint(database, all_of_it.url)
        add_endpoint(database, credits_only.url, [EventType.ORDER_FULFILLED])
        order_ids = [buy(database) for _ in range(5)]
        deliver_all(database, LEDGER_MODE)
    lives: dict[str, list[str]] = {order_id: [] for order_id in order_ids}
    for message in all_of_it.messages:
        lives[message["data"]["order_id"]].append(message["type"])
    assert lives == {order_id: ["order.opened", "order.confirmed", "order.fulfilled"] for order_id in order_ids}
    assert [m["data"]["order_id"] for m in credits_only.messages] == order_ids
    headers, body = all_of_it.heard[0]
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"2500", b"2501"), headers)


def test_a_failed_delivery_is_repeated_with_the_same_id_and_body_and_the_citizens_next_one_waits(
    database: Database,
) -> None:
    with WebhookEndpoint.open() as hearer:
        add_endpoint(database, hearer.url, [EventType.ORDER_OPENED])
        answers = iter([500, 503, 204])
        hearer.answer = lambda _: next(answers, 204)
        for _ in range(2):
            open_order(database)
        deliver_all(database, LEDGER_MODE)
    ids = [headers["webhook-id"] for headers, _ in hearer.heard]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert len({body for _, body in hearer.heard[:3]}) == 1
    assert len(ids) == 4
    first = rows(database, "delivered")[0]
    with database.transaction() as connection:
        log = outbox.QUEUE.attempts(connection, first["id"])
    assert [attempt["error"] for attempt in log] == [None, "answered 503", "answered 500"]


def test_another_citizens_deliveries_do_not_wait_for_one_that_fails(database: Database) -> None:
    with WebhookEndpoint.open() as hearer:
        add_endpoint(database, hearer.url, [EventType.ORDER_OPENED])
        hearer.answer = lambda body: 500 if b"blocked" in body else 204
        open_order(database, citizen="blocked")
        open_order(database, citizen="blocked")
        for _ in range(3):
            open_order(database, citizen="free")
        with dispatching(database, LEDGER_MODE):
            until(lambda: len(hearer.of("free")) == 3)
    assert len({message["data"]["order_id"] for message in hearer.of("blocked")}) == 1


def test_a_receiver_that_hangs_for_ever_does_not_delay_another(database: Database) -> None:
    with WebhookEndpoint.open() as dead, WebhookEndpoint.open() as well:
        add_endpoint(database, dead.url, [EventType.ORDER_OPENED])
        add_endpoint(database, well.url, [EventType.ORDER_OPENED])
        dead.answer = lambda _: 200 + dead.released.wait(60)
        for number in range(20):
            open_order(database, citizen=f"citizen{number}")
        begun = time.monotonic()
        with dispatching(database, LEDGER_MODE):
            until(lambda: len(well.heard) == 20)
            assert time.monotonic() - begun < LEDGER_MODE.webhook_timeout_seconds
            assert dead.heard  # it was tried, and holds its own room only
            dead.released.set()


def test_what_was_tried_for_too_long_is_parked_and_can_be_replayed(database: Database) -> None:
    impatient = replace(LEDGER_MODE, retries=RetryPolicy(days=0.3 / 86_400, first_pause_seconds=0.02))
    with WebhookEndpoint.open() as hearer:
        endpoint_id, _ = add_endpoint(database, hearer.url, [EventType.ORDER_OPENED])
        hearer.answer = lambda _: 500
        view = open_order(database)
        deliver_all(database, impatient)
        (entry,) = rows(database, "parked")
        assert (entry["problem"], entry["error"]) == ("exhausted", "answered 500")
        assert entry["attempts"] > 2
        hearer.answer = lambda _: 204
        with database.transaction() as connection:
            assert outbox.QUEUE.replay(connection, Filter(order="ord_other")) == 0
            assert outbox.QUEUE.replay(connection, Filter(destination=webhook(endpoint_id), order=view.order.id)) == 1
        deliver_all(database, impatient)
    assert rows(database, "parked") == []
    assert len(rows(database, "delivered")) == 1


def test_an_endpoint_that_fails_for_long_is_disabled_keeps_its_events_and_the_operator_is_told(
    database: Database,
) -> None:
    wishes = replace(LEDGER_MODE, disable_after_seconds=0.2, operator="operator@venice.example")
    with WebhookEndpoint.open() as hearer:
        endpoint_id, _ = add_endpoint(database, hearer.url, [EventType.ORDER_OPENED])
        hearer.answer = lambda _: 500
        open_order(database)
        deliver_all(database, wishes, destination=webhook(endpoint_id))
        heard = len(hearer.heard)
        with database.transaction() as connection:
            endpoint = webhook_endpoints.by_id(connection, endpoint_id)
        assert endpoint is not None
        assert endpoint.disabled_at is not None
        open_order(database)
        deliver_all(database, wishes, destination=webhook(endpoint_id))
        assert len(hearer.heard) == heard
        assert [row["problem"] for row in rows(database, "parked")] == ["endpoint_disabled"] * 2
        (letter,) = rows(database, destination="email")
        assert letter["payload"]["to"] == "operator@venice.example"
        assert endpoint_id in letter["payload"]["text"]["title"]
        hearer.answer = lambda _: 204
        with database.transaction() as connection:
            webhook_endpoints.set_enabled(connection, endpoint_id, True)
            outbox.QUEUE.replay(connection, Filter(destination=webhook(endpoint_id)))
        deliver_all(database, wishes, destination=webhook(endpoint_id))
        assert len(hearer.heard) == heard + 2


def test_after_a_rotation_both_secrets_verify_and_after_the_overlap_only_the_new_one(database: Database) -> None:
    with WebhookEndpoint.open() as hearer:
        endpoint_id, old = add_endpoint(database, hearer.url, [EventType.ORDER_OPENED])
        new = "whsec_" + "bmV3IHNlY3JldCBvZiAyNCBieXRlcyE="
        with database.transaction() as connection:
            webhook_endpoints.rotate(connection, endpoint_id, new, overlap_seconds=3600)
        open_order(database)
        deliver_all(database, LEDGER_MODE)
        newest = "whsec_" + "bmV3ZXN0IHNlY3JldCBvZiBieXRlcyE="
        with database.transaction() as connection:
            webhook_endpoints.rotate(connection, endpoint_id, newest, overlap_seconds=0)
        open_order(database)
        deliver_all(database, LEDGER_MODE)
    (first, body), (second, other) = hearer.heard
    for secret in (old, new):
        Webhook(secret).verify(body, first)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(other, second)
    Webhook(newest).verify(other, second)


def test_a_deleted_endpoint_hears_nothing_more_and_holds_up_nothing(database: Database) -> None:
    with WebhookEndpoint.open() as hearer:
        endpoint_id, _ = add_endpoint(database, hearer.url)
        open_order(database)
        with database.transaction() as connection:
            webhook_endpoints.delete(connection, endpoint_id)
        open_order(database)
        deliver_all(database, LEDGER_MODE)
        assert hearer.heard == []
        with database.transaction() as connection:
            assert webhook_endpoints.secrets_of(connection, endpoint_id) == []


def test_two_dispatchers_share_the_work_and_nothing_is_delivered_twice(database: Database) -> None:
    with WebhookEndpoint.open() as hearer:
        add_endpoint(database, hearer.url, [EventType.ORDER_OPENED])
        for number in range(60):
            open_order(database, citizen=f"citizen{number % 20}")
        with dispatching(database, LEDGER_MODE, count=3):
            until(lambda: not rows(database, "pending"))
    assert len(Counter(headers["webhook-id"] for headers, _ in hearer.heard)) == len(hearer.heard) == 60


def test_a_try_that_was_overtaken_changes_nothing(database: Database) -> None:
    open_order(database)
    buy(database)
    with database.transaction() as connection:
        (stale,) = credits.QUEUE.claim(connection, "venice", limit=5, seconds=0)
    with database.transaction() as connection:
        (fresh,) = credits.QUEUE.claim(connection, "venice", limit=5, seconds=60)
    with database.transaction() as connection:
        assert not credits.QUEUE.settle(connection, stale, DeliveryState.DELIVERED)
        assert not credits.QUEUE.postpone(connection, stale, 1, None, "late")
        assert not credits.note_sent(connection, stale)
        assert credits.QUEUE.hold(connection, stale) is None
        assert credits.QUEUE.settle(connection, fresh, DeliveryState.DELIVERED)


@pytest.mark.parametrize("channel", ["cascade_outbox", "cascade_credits"])
def test_each_wakes_up_at_once_when_something_is_enqueued(database: Database, channel: str) -> None:
    make = LEDGER_MODE.credit_sender if channel == "cascade_credits" else LEDGER_MODE.dispatcher
    stop = threading.Event()
    thread = threading.Thread(target=make(database, poll_seconds=30).run, args=(stop,))

    def is_listening() -> bool:
        with database.transaction() as connection:
            query = "SELECT FROM pg_stat_activity WHERE application_name = %s AND state = 'idle'"
            return connection.execute(query, (channel,)).fetchone() is not None

    with WebhookEndpoint.open() as hearer:
        add_endpoint(database, hearer.url, [EventType.ORDER_OPENED])
        thread.start()
        try:
            until(is_listening)
            time.sleep(0.3)  # it looks once when it begins to listen
            buy(database)
            until(lambda: hearer.heard if channel == "cascade_outbox" else rows(database, "delivered", "venice"), 5)
        finally:
            stop.set()
            thread.join(30)


def test_an_order_that_nobody_paid_expires_once_and_only_who_began_to_pay_is_told(database: Database) -> None:
    ignored, begun = open_order(database), open_order(database)
    with database.transaction() as connection:
        connection.execute("UPDATE orders SET expiry_due = now() - interval '1 minute'")
        connection.execute(
            "INSERT INTO card_attempts (order_id, flow, number, payable_until, closed_at)"
            " VALUES (%s, 'checkout_session', 1, now(), now())",
            (begun.order.id,),
        )
    for _ in range(2):
        with dispatching(database, LEDGER_MODE):
            until(lambda: types(database, begun.order.id)[-1] == "order.expired")
            until(lambda: types(database, ignored.order.id)[-1] == "order.expired")
    assert types(database, ignored.order.id) == types(database, begun.order.id) == ["order.opened", "order.expired"]
    assert [notice["order_id"] for notice in told(database)] == [begun.order.id]


def test_what_was_delivered_long_ago_is_forgotten_but_never_what_waits_or_a_credit(database: Database) -> None:
    with WebhookEndpoint.open() as hearer:
        add_endpoint(database, hearer.url)
        buy(database)
        deliver_all(database, LEDGER_MODE)
        hearer.answer = lambda _: 410
        open_order(database)
        deliver_all(database, LEDGER_MODE)
    with database.transaction() as connection:
        connection.execute("UPDATE outbox SET settled_at = settled_at - interval '91 days'")
        assert outbox.prune(connection, 90) == 4
    assert [(row["destination"][:7], row["state"]) for row in rows(database)] == [
        ("venice", "delivered"), ("webhook", "parked")]  # fmt: skip
    make_due(database)
