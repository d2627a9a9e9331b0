"""A shop that takes payments which their payers only sign, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_typed_data
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.adapters.chain.router import pay_with_authorization, pay_with_permit2
from cascade.chains import Deployment
from cascade.db import orders, relay_queue
from cascade.db.database import Database
from cascade.domain.relay_items import RelayKind
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon import addresses as at
from sandbox.polygon.rpc import Rpc, calldata
from sandbox.wallet import Wallet
from tests.support import hostile_wallets

PRICE = 250_000_000
USDC = "USDC"
MERCHANT = {"citizen_id": "Marco_Polo", "package": "merchant"}
PAYER, OTHER, STRANGER = 1, 2, 9
"""Development accounts: two who pay, and one who sends for them."""

_WALLET = "0x0000000000000000000000000000000000007702"
_WALLET_CODE = (
    "5f3560e01c631626ba7e14600f5700"  # isValidSignature(bytes32,bytes) alone; anything else is answered with nothing
    "5b6004355f5260a43560f81c602052606435604052608435606052"  # hash, v, r and s, as ecrecover wants them
    "6020608060805f60015afa506080513014"  # is it the key of this very account?
    "6041575f5ffd5b631626ba7e60e01b5f5260205ff3"  # no: an error without a word; yes: the magic word
)
"""A small wallet for EIP-7702."""


@dataclass(frozen=True)
class SigningShop:
    """An API on a real chain, whose operator sends payments, and what its payers do."""

    http: TestClient
    polygon: LocalPolygon
    database: Database
    router: str

    @classmethod
    @contextmanager
    def open(
        cls,
        polygon: LocalPolygon,
        deployment: Path,
        database: Database,
        setenv: Callable[[str, str], None],
        *,
        relays: bool = True,
        **variables: str,
    ) -> Iterator[SigningShop]:
        """Opens its application; keyword arguments become further CASCADE_ variables.

        Args:
            polygon: the chain.
            deployment: the router's record.
            database: where it books.
            setenv: sets a variable for as long as the test runs.
            relays: the operator sends payments.
            variables: the rest, in small letters and without CASCADE_.
        """
        for name, value in {
            "rpc_url": polygon.rpc_url,
            "deployment": str(deployment),
            **({"relayer_key": polygon.keys[STRANGER]} if relays else {}),
            "authorizations_per_minute": "1000",
            **variables,
        }.items():
            setenv(f"CASCADE_{name.upper()}", value)
        with TestClient(create_app(), raise_server_exceptions=False) as client:
            yield cls(client, polygon, database, Deployment.load(deployment).router)

    def order(self, token: str = USDC) -> str:
        """Opens an order; returns its id."""
        intent = self.http.post("/api/payments/crypto-payment-intent", json={**MERCHANT, "token": token})
        return str(intent.json()["order_id"])

    def ask(self, order_id: str, payer: str, token: str = USDC) -> httpx.Response:
        """Asks what to sign."""
        query = {"payer": payer, "token": token}
        answer: httpx.Response = self.http.get(f"/api/payments/orders/{order_id}/authorization", params=query)
        return answer

    def send(self, order_id: str, payer: str, signature: bytes, token: str = USDC) -> httpx.Response:
        """Sends what was signed."""
        body = {"payer": payer, "signature": "0x" + signature.hex(), "token": token}
        answer: httpx.Response = self.http.post(f"/api/payments/orders/{order_id}/authorization", json=body)
        return answer

    def ask_plan(self, order_id: str, payer: str, token: str | None = None) -> httpx.Response:
        """Asks how an account pays best."""
        query = {"payer": payer} | ({} if token is None else {"token": token})
        answer: httpx.Response = self.http.get(f"/api/payments/orders/{order_id}/wallet", params=query)
        return answer

    def plan(self, order_id: str, payer: str, token: str | None = None) -> dict[str, Any]:
        """How an account pays best."""
        answer = self.ask_plan(order_id, payer, token)
        assert answer.status_code == 200, answer.json()
        return dict(answer.json())

    def permit(self, order_id: str, payer: str, signature: bytes, token: str) -> httpx.Response:
        """Sends a signed permit."""
        body = {"payer": payer, "signature": "0x" + signature.hex(), "token": token}
        answer: httpx.Response = self.http.post(f"/api/payments/orders/{order_id}/permit", json=body)
        return answer

    def send_calls(self, calls: list[dict[str, Any]], payer: int = PAYER) -> int:
        """What a payer's wallet does with calls; returns the gas that they used."""
        wallet = Wallet(self.polygon.rpc_url, self.polygon.keys[payer])
        receipts = [wallet.receipt(wallet.send(call["to"], call["data"])) for call in calls]
        wallet.close()
        return sum(int(receipt["gasUsed"], 16) for receipt in receipts)

    def allow(self, payer: int, token: str, units: int = PRICE) -> None:
        """Lets the router spend a development account's tokens."""
        self.act(payer, TOKENS[token].address, calldata("approve(address,uint256)", self.router, units))

    def fund(self, payer: int, token: str = USDC, units: int = PRICE, *, allow: bool = True) -> str:
        """Gives a development account money and, for Permit2, its allowance."""
        account = self.polygon.accounts[payer]
        if units:
            self.polygon.mint(token, account, units)
        if token == "USDT" and allow:
            self.act(payer, at.USDT, calldata("approve(address,uint256)", at.PERMIT2, 2**256 - 1))
        return account

    def act(self, sender: int, to: str, data: bytes) -> None:
        """A transaction of a development account."""
        wallet = Wallet(self.polygon.rpc_url, self.polygon.keys[sender])
        wallet.receipt(wallet.send(to, "0x" + data.hex()))
        wallet.close()

    def act_as(self, role: str, to: str, data: bytes) -> None:
        """As an account whose key nobody holds."""
        rpc = Rpc(self.polygon.rpc_url)
        rpc.receipt(rpc.submit_as(role, to, data))
        rpc.close()

    def block(self, payer: str, token: str = USDC) -> None:
        """Puts an account on a token's block list."""
        if token == USDC:
            self.act_as(at.USDC_BLACKLISTER, at.USDC, calldata("blacklist(address)", payer))
        else:
            self.act_as(at.USDT_OWNER, at.USDT, calldata("addToBlockedList(address)", payer))

    def pause(self) -> None:
        """Stops payments, as the Safe would."""
        rpc = Rpc(self.polygon.rpc_url)
        owner = rpc.call(self.router, "owner()", returns="address")
        rpc.close()
        self.act_as(owner, self.router, calldata("pause()"))

    def let_an_hour_pass(self) -> None:
        """On chain alone."""
        now = int(self.polygon.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self.polygon.rpc("evm_setNextBlockTimestamp", now + 3600)
        self.polygon.mine()

    def delegate_to_a_wallet(self, payer: int = PAYER) -> None:
        """Lets a development account run code that vouches for its signatures."""
        self.polygon.rpc("anvil_setCode", _WALLET, "0x" + _WALLET_CODE)
        self.delegate(_WALLET, payer)

    def delegate(self, code_at: str, payer: int = PAYER) -> None:
        """A real EIP-7702 transaction that lets a development account run a contract's code."""
        hostile_wallets.delegate(self.polygon, [self.polygon.keys[payer]], code_at)
        rpc = Rpc(self.polygon.rpc_url)
        assert rpc.code(self.polygon.accounts[payer]) == bytes.fromhex("ef0100" + code_at[2:])
        rpc.close()

    def sign(self, typed_data: dict[str, Any], payer: int = PAYER) -> bytes:
        """What a development account signs."""
        return sign(typed_data, self.polygon.keys[payer])

    def settle(self, order_id: str) -> None:
        """A stranger sends what is queued, as the relayer will: the router takes it, so the check was right."""
        with self.database.transaction() as connection:
            (item,) = relay_queue.of_order(connection, order_id)
            (terms,) = (t for t in orders.chain_terms(connection, order_id) if t.token_address == item.token_address)
        assert item.payer is not None
        assert item.signature is not None
        pay = pay_with_authorization if item.kind is RelayKind.AUTHORIZATION else pay_with_permit2
        self.act(STRANGER, self.router, pay(terms, item.payer, item.signature))


def sign(typed_data: dict[str, Any], key: str) -> bytes:
    """A signature as a wallet makes it."""
    return bytes(Account.sign_message(encode_typed_data(full_message=typed_data), key).signature)


def refused(answer: httpx.Response, reason: str) -> None:
    """The answer says why a payment is not sent, and what to do instead."""
    body = answer.json()
    assert (answer.status_code, body.get("reason")) == (409, reason), body
    assert body["next_step"]
    assert answer.headers["content-type"] == "application/problem+json"
