"""What bounds payments that their payers only sign: limits, the order's state, bad input, and a node that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.adapters.chain.log_reader import Node
from cascade.chains import Deployment
from cascade.db import orders, relay_queue
from cascade.db.database import Conn, Database
from cascade.domain.relay_items import RejectReason
from cascade.errors import AuthorizationRefused
from cascade.services.booking import book_payment
from cascade.services.signed_payments import SignedPayments
from sandbox.polygon import LocalPolygon
from sandbox.polygon import addresses as at
from tests.support.concurrency import run_concurrently
from tests.support.purchases import NOWHERE, confirmed, open_order
from tests.support.signing_shop import MERCHANT, PAYER, SigningShop, refused

Open = Callable[..., SigningShop]


def signature_for(shop: SigningShop, order_id: str) -> bytes:
    offer = shop.ask(order_id, shop.polygon.accounts[PAYER])
    assert offer.status_code == 200, offer.json()
    return shop.sign(offer.json()["typed_data"])


def test_a_payer_has_a_share_of_the_day(open_shop: Open, database: Database) -> None:
    shop = open_shop(relayer_payments_per_payer_per_day="2")
    payer, ids = shop.fund(PAYER), [shop.order() for _ in range(3)]
    signed = [(order_id, signature_for(shop, order_id)) for order_id in ids]
    assert [shop.send(order_id, payer, signature).status_code for order_id, signature in signed[:2]] == [202, 202]
    refused(shop.send(ids[2], payer, signed[2][1]), "limit")
    assert shop.send(ids[0], payer, signed[0][1]).status_code == 202  # what was taken stays taken
    with database.transaction() as connection:
        connection.execute("UPDATE relay_items SET created_at = created_at - interval '25 h'")
    assert shop.send(ids[2], payer, signed[2][1]).status_code == 202


def test_requests_at_the_same_moment_share_one_limit(database: Database) -> None:
    signed_payments = SignedPayments(Node("http://127.0.0.1:1"), NOWHERE, per_payer_per_day=3)
    views = [open_order(database) for _ in range(8)]

    def queue(i: int) -> str | None:
        try:
            with database.transaction() as connection:
                view = views[i]
                signed_payments.queue(connection, view.order.id, view.terms[0], "0x" + "22" * 20, b"\1" * 65, False)
        except AuthorizationRefused as error:
            return error.reason
        return None

    assert sorted(run_concurrently(8, queue), key=str) == [None] * 3 + [RejectReason.LIMIT] * 5
    signed_payments.close()


def test_the_same_one_at_the_same_moment_is_queued_once(database: Database) -> None:
    signed_payments = SignedPayments(Node("http://127.0.0.1:1"), NOWHERE, per_payer_per_day=1)
    view = open_order(database)

    def queue() -> int:
        with database.transaction() as connection:
            return queue_in(connection)

    def queue_in(connection: Conn) -> int:
        signed = ("0x" + "22" * 20, b"\1" * 65)
        return signed_payments.queue(connection, view.order.id, view.terms[0], *signed, False).id

    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            first = queue_in(connection)
            second = pool.submit(queue)
            with pytest.raises(TimeoutError):
                second.result(0.5)  # the order is ours until we are done
        assert second.result(10) == first
    signed_payments.close()


def test_after_a_refusal_it_can_be_sent_again(open_shop: Open, database: Database) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    signature = signature_for(shop, order_id)
    shop.send(order_id, payer, signature)
    with database.transaction() as connection:
        (item,) = relay_queue.of_order(connection, order_id)
        relay_queue.refuse(connection, item.id, RejectReason.REVERTED)
    first = shop.http.get(f"/api/payments/orders/{order_id}").json()["relay"][0]
    assert (first["state"], first["reason"], first["next_step"]) == (
        "refused",
        "reverted",
        RejectReason.REVERTED.next_step,
    )
    assert shop.send(order_id, payer, signature).json()["state"] == "queued"


def expire(database: Database, order_id: str) -> None:
    with database.transaction() as connection:
        connection.execute(
            "UPDATE orders SET created_at = now() - interval '1 h', expires_at = now() - interval '1 s' WHERE id = %s",
            (order_id,),
        )


def book(database: Database, order_id: str) -> None:
    with database.transaction() as connection:
        book_payment(connection, confirmed(orders.chain_terms(connection, order_id)[0]))


@pytest.mark.parametrize(("reason", "deed"), [("expired", expire), ("already_paid", book)])
def test_an_order_that_is_not_open_is_refused(
    open_shop: Open, database: Database, reason: str, deed: Callable[[Database, str], None]
) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    signature = signature_for(shop, order_id)
    deed(database, order_id)
    refused(shop.ask(order_id, payer), reason)
    refused(shop.send(order_id, payer, signature), reason)


@pytest.mark.parametrize(("reason", "deed"), [("expired", expire), ("already_paid", book)])
def test_what_happens_while_the_node_is_asked_is_seen_before_it_is_queued(
    database: Database, reason: str, deed: Callable[[Database, str], None]
) -> None:
    signed_payments = SignedPayments(Node("http://127.0.0.1:1"), NOWHERE, per_payer_per_day=1)
    view = open_order(database)
    deed(database, view.order.id)
    with pytest.raises(AuthorizationRefused) as error, database.transaction() as connection:
        signed_payments.queue(connection, view.order.id, view.terms[0], "0x" + "22" * 20, b"\1" * 65, False)
    assert error.value.reason == reason
    signed_payments.close()


def test_a_node_that_does_not_answer_is_a_503(open_shop: Open) -> None:
    shop = open_shop(rpc_url="http://127.0.0.1:1")
    order_id, payer = shop.order(), shop.polygon.accounts[PAYER]
    for answer in (shop.ask(order_id, payer), shop.send(order_id, payer, b"\1" * 65)):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "Nothing was sent" in answer.json()["detail"]


@contextmanager
def watched(node_url: str, database: Database) -> Iterator[tuple[str, list[int]]]:
    """An address that leads to the node, and how many transactions were open at each request."""
    open_at: list[int] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with database.transaction() as connection:
                row = connection.execute(
                    "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
                ).fetchone()
            open_at.append(row["n"] if row else -1)
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = httpx.post(node_url, content=body, headers={"content-type": "application/json"})
            self.send_response(200)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", open_at
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_no_transaction_is_open_while_the_node_is_asked(
    open_shop: Open, polygon: LocalPolygon, database: Database
) -> None:
    with watched(polygon.rpc_url, database) as (url, open_at):
        shop = open_shop(rpc_url=url)
        payer, order_id = shop.fund(PAYER), shop.order()
        assert shop.send(order_id, payer, signature_for(shop, order_id)).status_code == 202
    assert open_at == [0, 0]  # one request to offer, one to check


def test_a_flood_is_refused(open_shop: Open) -> None:
    shop = open_shop(authorizations_per_minute="3")
    order_id, payer = shop.order(), shop.polygon.accounts[PAYER]
    assert [shop.ask(order_id, payer).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert shop.send(order_id, payer, b"\1" * 65).status_code == 429
    assert shop.http.get(f"/api/payments/orders/{order_id}").status_code == 200


def test_a_method_that_is_not_taken_is_told_those_that_are(environment: Path) -> None:
    with TestClient(create_app()) as client:
        answer = client.put("/api/payments/orders/x/authorization")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def test_without_a_relayer_it_says_what_to_set(environment: Path) -> None:
    with TestClient(create_app()) as client:
        order_id = client.post("/api/payments/crypto-payment-intent", json=MERCHANT).json()["order_id"]
        where = f"/api/payments/orders/{order_id}/authorization"
        body = {"payer": "0x" + "22" * 20, "signature": "0x01"}
        for answer in (client.get(where, params={"payer": "0x" + "22" * 20}), client.post(where, json=body)):
            assert answer.status_code == 409
            assert "CASCADE_RELAYER_KEYSTORE or CASCADE_RELAYER_KEY" in answer.json()["detail"]


BAD_PAYERS = {
    "zero": "0x" + "00" * 20,
    "the router": None,
    "a token": at.USDC,
    "Permit2": at.PERMIT2.lower(),
    "a checksum": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
    "short": "0x1234",
}


@pytest.mark.parametrize("payer", BAD_PAYERS.values(), ids=BAD_PAYERS)
def test_who_cannot_pay_is_refused(open_shop: Open, deployment: Path, payer: str | None) -> None:
    shop = open_shop()
    who, order_id = payer or Deployment.load(deployment).router.lower(), shop.order()
    for answer in (shop.ask(order_id, who), shop.send(order_id, who, b"\1" * 65)):
        assert (answer.status_code, answer.json()["field"]) == (422, "payer")


def test_a_payer_in_small_letters_is_the_same_payer(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    assert shop.ask(order_id, payer.lower()).json()["payer"] == payer
    assert shop.send(order_id, payer.lower(), signature_for(shop, order_id)).status_code == 202


@pytest.mark.parametrize("signature", ["", "0x", "0x123", "0xzz", "11" * 65, "0x" + "11" * 2049, 5])
def test_a_signature_that_is_none_is_refused(open_shop: Open, signature: object) -> None:
    shop = open_shop()
    body = {"payer": shop.polygon.accounts[PAYER], "signature": signature}
    answer = shop.http.post(f"/api/payments/orders/{shop.order()}/authorization", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, "signature")


def test_other_tokens_and_orders_are_refused(open_shop: Open) -> None:
    shop = open_shop()
    payer = shop.polygon.accounts[PAYER]
    assert shop.ask(shop.order(), payer, "DAI").json()["field"] == "token"
    for answer in (shop.ask("ord_" + "a" * 26, payer), shop.send("ord_" + "a" * 26, payer, b"\1" * 65)):
        assert answer.status_code == 404
