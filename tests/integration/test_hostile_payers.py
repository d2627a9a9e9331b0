"""What the API says of payers whose code attacks whoever asks it: an answer that helps, in bounds, and never a 5xx."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from eth_abi.abi import encode

from cascade.adapters.chain import account_state
from cascade.adapters.chain.rpc import Endpoint
from cascade.adapters.chain.view_calls import MAX_FOREIGN_BYTES, Failed, Reverted, ViewCall, ask
from cascade.db.database import Database
from cascade.errors import NodeUnavailable
from sandbox.polygon import LocalPolygon
from sandbox.polygon.rpc import calldata
from tests.support import hostile_wallets
from tests.support.hostile_wallets import ATTACKS, SIGNATURE, Attack, Manner
from tests.support.signing_shop import PAYER, PRICE, SigningShop, refused

NOBODY = "0x" + "00" * 20
WRAPPED = encode(["address", "bytes", "bytes"], ["0x" + "11" * 20, b"\1" * 32, SIGNATURE]) + bytes.fromhex("6492" * 16)
"""A signature of a wallet that is not deployed (ERC-6492)."""


@pytest.fixture
def shop(
    environment: Path,
    polygon: LocalPolygon,
    deployment: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[SigningShop]:
    with SigningShop.open(polygon, deployment, database, monkeypatch.setenv) as shop:
        yield shop


def attack(shop: SigningShop, name: str) -> str:
    """A wallet that attacks everybody, with the price in USDT."""
    wallet = hostile_wallets.deploy(shop.polygon, name, replace(ATTACKS[name], on_everybody=True), NOBODY)
    hostile_wallets.fund(shop.polygon, wallet, "USDT", PRICE)
    return wallet


ALWAYS_REFUSED = set(ATTACKS) - {"burns 299 000 gas", "true to simulations alone", "burns in a batch alone"}
"""The others attack nobody whose simulation has enough gas and no price; and one attacks by the block."""


def test_no_code_of_a_payer_is_a_server_error(shop: SigningShop) -> None:
    order_id = shop.order("USDT")
    for name in ATTACKS:
        wallet = attack(shop, name)
        offer, plan = shop.ask(order_id, wallet, "USDT"), shop.ask_plan(order_id, wallet)
        assert (offer.status_code, plan.status_code) == (200, 200), name
        assert [call["to"] for call in plan.json()["calls"]]  # its owners can pay by transactions of the wallet
        if name in ALWAYS_REFUSED - {"another answer each block"}:
            answer = shop.send(order_id, wallet, SIGNATURE, "USDT")
            assert answer.status_code == 409, (name, answer.json())
            assert "from the wallet" in answer.json()["next_step"], name


def test_code_that_only_fails_is_not_told_to_sign_again(shop: SigningShop) -> None:
    order_id = shop.order("USDT")
    for name in ("burns memory", "an invalid opcode", "burns all gas"):
        refused(shop.send(order_id, attack(shop, name), SIGNATURE, "USDT"), "delegated_code")


def test_a_delegate_that_fails_cannot_vouch(shop: SigningShop) -> None:
    payer, order_id = shop.fund(PAYER, "USDC"), shop.order()
    shop.delegate(hostile_wallets.implementation(shop.polygon))
    hostile_wallets.configure(shop.polygon, payer, Attack(Manner.INVALID_OPCODE, on_everybody=True), NOBODY)
    assert shop.ask(order_id, payer).json()["obstacle"]["reason"] == "delegated_code"
    assert shop.plan(order_id, payer, "USDC")["method"] == "approve"


def test_an_undeployed_wallet_is_told_to_pay_by_its_own_transaction(shop: SigningShop) -> None:
    payer, order_id = shop.fund(PAYER), shop.order()
    for signature in (WRAPPED, b"\7" * 4000 + WRAPPED, b"\7" * 130):  # by its end, and by what no key can make
        answer = shop.send(order_id, payer, signature)
        refused(answer, "undeployed_wallet")
        assert "pay from the wallet" in answer.json()["next_step"]
        assert "Sign again" not in answer.json()["next_step"]
    refused(shop.send(order_id, payer, b"\7" * 65), "wrong_signer")


def test_the_signature_of_a_wallet_that_is_deployed_now_is_not_asked_for_again(shop: SigningShop) -> None:
    wallet = shop.polygon.create_safe([shop.polygon.accounts[PAYER]], 1, salt=6492)
    shop.polygon.mint("USDC", wallet, PRICE)
    refused(shop.send(shop.order(), wallet, WRAPPED), "undeployed_wallet")


def test_the_plan_of_an_undeployed_wallet_has_transactions_of_its_own(shop: SigningShop) -> None:
    payer, order_id = shop.fund(PAYER), shop.order()
    plan = shop.plan(order_id, payer, "USDC")
    assert (plan["method"], plan["obstacle"], len(plan["calls"])) == ("authorization", None, 2)
    refused(shop.send(order_id, payer, WRAPPED), "undeployed_wallet")
    refused(shop.permit(order_id, payer, WRAPPED, "USDC"), "undeployed_wallet")
    shop.send_calls(plan["calls"])
    assert shop.plan(order_id, payer, "USDC")["obstacle"]["reason"] == "already_paid"


def test_a_thousand_accounts_at_once_hold_no_more_than_eight_looks(
    shop: SigningShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id, wallet = shop.order("USDT"), shop.fund(PAYER, "USDT")
    monkeypatch.setattr(account_state, "_LONGEST_WAIT_SECONDS", 0.01)
    for _ in range(8):
        assert account_state._AT_ONCE.acquire(blocking=False)
    try:
        answer = shop.ask(order_id, wallet, "USDT")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert not account_state._AT_ONCE.acquire(blocking=False)
    finally:
        account_state._AT_ONCE.release(8)
    assert shop.ask(order_id, wallet, "USDT").status_code == 200


@contextmanager
def server(body: Iterator[bytes] | list[bytes], *, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A node that answers with these chunks, and with whatever headers."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for chunk in body:
                    self.wfile.write(chunk)
                    sent.append(len(chunk))
            except OSError:  # the other side has hung up
                pass

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    sent: list[int] = []
    node = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=node.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{node.server_port}"
    finally:
        node.shutdown()
        thread.join()
        node.server_close()


def long(chunk: bytes, stop: threading.Event, pause: float = 0.0) -> Iterator[bytes]:
    """Far more than the bounds allow, in bytes and in seconds; but a reader without bounds comes to an end too."""
    for _ in range(500):
        if stop.wait(pause):
            return
        yield chunk


@pytest.mark.parametrize(("chunk", "pause", "says"), [(b"x" * 65_536, 0.0, "more than"), (b" ", 0.02, "longer than")])
def test_an_answer_without_end_is_given_up(chunk: bytes, pause: float, says: str) -> None:
    stop = threading.Event()
    with server(long(chunk, stop, pause)) as url:
        node = Endpoint(url, timeout_seconds=0.3)
        try:
            with pytest.raises(NodeUnavailable, match=says):
                node.answers([("eth_chainId", [])], max_bytes=MAX_FOREIGN_BYTES)
        finally:
            stop.set()
            node.close()


def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    with server([b"x"], headers={"content-encoding": "gzip"}) as url:
        node = Endpoint(url)
        with pytest.raises(NodeUnavailable, match="identity was asked for"):
            node.answers([("eth_chainId", [])])
        node.close()


def test_one_call_that_breaks_every_answer_is_found_and_the_others_are_answered(polygon: LocalPolygon) -> None:
    """Calls into twenty wallets, of which two answer more than the bound allows and one fails without a revert."""
    wallets = [
        hostile_wallets.deploy(polygon, f"of many {n}", replace(Attack(Manner.HONEST), on_everybody=True), NOBODY)
        for n in range(20)
    ]
    for n in (3, 11):
        hostile_wallets.configure(polygon, wallets[n], Attack(Manner.RETURNS_MANY, 700_000, on_everybody=True), NOBODY)
    hostile_wallets.configure(polygon, wallets[7], Attack(Manner.INVALID_OPCODE, on_everybody=True), NOBODY)
    question = calldata("isValidSignature(bytes32,bytes)", bytes(32), SIGNATURE)
    calls = [ViewCall(wallet, question, gas=3_000_000, foreign=True) for wallet in wallets]
    control = ViewCall(wallets[0], calldata("manner()"))
    node = Endpoint(polygon.rpc_url)
    _, told = ask(node, calls, control=control)
    node.close()
    answers = [told[call] for call in calls]
    assert [n for n, answer in enumerate(answers) if isinstance(answer, Failed)] == [3, 7, 11]
    assert all(isinstance(answer, bytes) and answer[:4] == question[:4] for answer in answers if answer != Failed())


def test_when_the_control_call_fails_too_nobody_is_judged(polygon: LocalPolygon) -> None:
    wallet = hostile_wallets.deploy(polygon, "out of order", ATTACKS["an invalid opcode"], NOBODY)
    hostile_wallets.configure(polygon, wallet, Attack(Manner.INVALID_OPCODE, on_everybody=True), NOBODY)
    question = calldata("isValidSignature(bytes32,bytes)", bytes(32), SIGNATURE)
    node = Endpoint(polygon.rpc_url)
    with pytest.raises(NodeUnavailable):
        ask(node, [ViewCall(wallet, question, foreign=True)], control=ViewCall(wallet, question))
    node.close()


def test_nothing_that_code_says_is_kept_beyond_its_first_bytes(polygon: LocalPolygon) -> None:
    wallet = hostile_wallets.deploy(polygon, "talkative", ATTACKS["reverts with all it can"], NOBODY)
    question = calldata("isValidSignature(bytes32,bytes)", bytes(32), SIGNATURE)
    control = ViewCall(wallet, calldata("manner()"))
    call = ViewCall(wallet, question, sender=NOBODY, foreign=True)
    node = Endpoint(polygon.rpc_url)
    _, told = ask(node, [call], control=control)
    node.close()
    said = told[call]
    assert isinstance(said, Reverted)
    assert len(said.data) == 256
