"""How an account pays best: a table of cases, and what holds whatever the chain says of two stablecoins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from cascade.adapters.chain import eip2612, eip3009_permit2
from cascade.adapters.chain.account_state import Account, Payer, PayerSnapshot
from cascade.adapters.chain.view_calls import Reverted
from cascade.domain.gas_fees import GWEI
from cascade.domain.money import USDC, USDT, Asset
from cascade.domain.relay_items import RejectReason
from cascade.services.wallet_plan import EFFORTS, Method, Plan, best_plan
from tests.unit.test_eip3009_permit2 import PAYER, terms_in

PRICE = terms_in(USDC).units
WORDLESS = Reverted(b"")
RICH = 10**20


def text(words: str) -> Reverted:
    return Reverted(keccak(text="Error(string)")[:4] + encode(["string"], [words]))


def expired() -> Reverted:
    return Reverted(keccak(text="OrderExpired(uint256,uint64)")[:4] + bytes(64))


def look(token: Asset, **changes: Any) -> PayerSnapshot:
    """A key that has the price, and that may sign; of USDT nothing is approved."""
    terms = terms_in(token)
    plain = PayerSnapshot(
        terms=terms,
        account=Account.KEY,
        balance=PRICE,
        allowance=0,
        permit2_allowance=0,
        nonce=7,
        verifier_separator=eip3009_permit2.domain_separator(terms),
        token_separator=eip2612.domain_separator(terms),
        blocked=False,
        paused=False,
        paid=False,
        erc1271_result=WORDLESS,
        unknown=WORDLESS,
        simulated=WORDLESS,
        paying=text("ERC20: transfer amount exceeds allowance"),
    )
    return replace(plain, **changes)


def payer(*looks: PayerSnapshot, wei: int = RICH) -> Payer:
    return Payer(PAYER, looks[0].account, wei, 30 * GWEI, looks)


def best(*looks: PayerSnapshot, wei: int = RICH, relays: bool = True, token: Asset | None = None) -> Plan:
    return best_plan(payer(*looks, wei=wei), relays=relays, token=token)


ALLOWED = {"allowance": PRICE, "paying": b""}
RENAMED = {"verifier_separator": b"\1" * 32, "token_separator": b"\1" * 32}
POOR = {"balance": PRICE - 1}
WITH_PERMIT2 = {"permit2_allowance": PRICE}
CONTRACT = {"account": Account.CONTRACT}
MUTE = {"account": Account.DELEGATED}
SPEAKING = {"account": Account.DELEGATED, "erc1271_result": b"\0" * 32}

METHODS: list[tuple[str, Asset, dict[str, Any], bool, Method]] = [
    ("a signature", USDC, {}, True, Method.AUTHORIZATION),
    ("nobody sends it", USDC, {}, False, Method.PERMIT),
    ("an allowance, but a signature costs nothing", USDC, ALLOWED, True, Method.AUTHORIZATION),
    ("an allowance", USDC, ALLOWED, False, Method.PAY),
    ("one unit less than the price", USDC, {"allowance": PRICE - 1}, False, Method.PERMIT),
    ("a new name", USDC, RENAMED, True, Method.APPROVE),
    ("a new name, and an allowance", USDC, RENAMED | ALLOWED, True, Method.PAY),
    ("no permits", USDC, {"nonce": None}, False, Method.APPROVE),
    ("Permit2", USDT, WITH_PERMIT2, True, Method.PERMIT2),
    ("Permit2, nobody sends it", USDT, WITH_PERMIT2, False, Method.PERMIT),
    ("Permit2 may spend one unit less", USDT, {"permit2_allowance": PRICE - 1}, True, Method.PERMIT),
    ("no Permit2", USDT, {}, True, Method.PERMIT),
    ("no Permit2, an allowance", USDT, ALLOWED, True, Method.PAY),
    ("no Permit2, a new name", USDT, {"token_separator": WORDLESS}, True, Method.APPROVE),
    ("a contract", USDC, CONTRACT, True, Method.APPROVE),
    ("a contract with an allowance", USDC, CONTRACT | ALLOWED, True, Method.PAY),
    ("delegated code that cannot vouch", USDC, MUTE, True, Method.APPROVE),
    ("delegated code that can", USDC, SPEAKING, True, Method.AUTHORIZATION),
    ("delegated code, nobody sends it", USDC, SPEAKING, False, Method.APPROVE),
    ("no money changes nothing of it", USDT, WITH_PERMIT2 | POOR, True, Method.PERMIT2),
]


@pytest.mark.parametrize(
    ("token", "changes", "relays", "method"), [row[1:] for row in METHODS], ids=[row[0] for row in METHODS]
)
def test_each_account_has_its_method(token: Asset, changes: dict[str, Any], relays: bool, method: Method) -> None:
    plan = best(look(token, **changes), relays=relays)
    assert plan.method is method
    signed = {
        Method.AUTHORIZATION: "ReceiveWithAuthorization",
        Method.PERMIT2: "PermitTransferFrom",
        Method.PERMIT: "Permit",
    }
    assert (plan.typed_data or {}).get("primaryType") == signed.get(method)
    assert plan.typed_data is None or "EIP712Domain" in plan.typed_data["types"]
    allowed = changes.get("allowance") == PRICE
    assert [call.label.split()[0] for call in plan.calls] == (["Pay"] if allowed else ["Approve", "Pay"])


OBSTACLES: list[tuple[str, dict[str, Any], RejectReason | None]] = [
    ("nothing", {}, None),
    ("paid", {"paid": True, "balance": 0}, RejectReason.ALREADY_PAID),
    (
        "paid, says the router",
        {"paying": Reverted(keccak(text="OrderAlreadyPaid(bytes32)")[:4])},
        RejectReason.ALREADY_PAID,
    ),
    ("late", {"paying": expired(), "blocked": True}, RejectReason.EXPIRED),
    ("paused", {"paused": True}, RejectReason.PAUSED),
    ("the token is paused", {"paying": text("Pausable: paused")}, RejectReason.PAUSED),
    ("blocked", {"blocked": True, "balance": 0}, RejectReason.BLOCKED),
    ("blocked, says the token", {"paying": text("USDT0: sender is blocked")}, RejectReason.BLOCKED),
    ("one unit short", POOR, RejectReason.INSUFFICIENT_BALANCE),
    (
        "what a simulation without an allowance says",
        {"paying": text("exceeds balance")},
        RejectReason.INSUFFICIENT_BALANCE,
    ),
]


@pytest.mark.parametrize(("changes", "obstacle"), [row[1:] for row in OBSTACLES], ids=[row[0] for row in OBSTACLES])
def test_what_is_in_the_way_is_named(changes: dict[str, Any], obstacle: RejectReason | None) -> None:
    assert best(look(USDC, **changes)).obstacle is obstacle


NEEDS_POL = {Method.PAY: ALLOWED, Method.PERMIT: {}, Method.APPROVE: RENAMED}


@pytest.mark.parametrize(("method", "changes"), NEEDS_POL.items(), ids=NEEDS_POL)
def test_who_sends_needs_pol_to_the_last_wei(method: Method, changes: dict[str, Any]) -> None:
    least = EFFORTS[method].gas * (30 + 25) * GWEI
    enough, short = (best(look(USDC, **changes), wei=wei, relays=False) for wei in (least, least - 1))
    assert (enough.method, enough.obstacle) == (method, None)
    assert (short.method, short.obstacle) == (method, RejectReason.NO_POL)


@pytest.mark.parametrize("changes", [CONTRACT, MUTE, CONTRACT | ALLOWED], ids=["contract", "delegated", "allowed"])
def test_for_an_account_with_code_somebody_else_may_pay_the_fee(changes: dict[str, Any]) -> None:
    assert best(look(USDC, **changes), wei=0).obstacle is None


def test_a_signature_needs_no_pol() -> None:
    assert best(look(USDC), wei=0).obstacle is None


CHOICES: list[tuple[str, dict[str, Any], dict[str, Any], int, bool, tuple[Asset, Method, RejectReason | None]]] = [
    ("the first of equals", {}, WITH_PERMIT2, RICH, True, (USDC, Method.AUTHORIZATION, None)),
    ("the one with the money", POOR, {}, RICH, True, (USDT, Method.PERMIT, None)),
    ("one question rather than two", RENAMED, WITH_PERMIT2, RICH, True, (USDT, Method.PERMIT2, None)),
    ("one question rather than two, also for a fee", {}, ALLOWED, RICH, False, (USDT, Method.PAY, None)),
    ("no fee rather than one", RENAMED | ALLOWED, WITH_PERMIT2, RICH, True, (USDT, Method.PERMIT2, None)),
    ("one fee rather than two", RENAMED, {}, RICH, False, (USDT, Method.PERMIT, None)),
    ("the first of two permits", {}, {}, RICH, False, (USDC, Method.PERMIT, None)),
    ("without POL what is signed", {}, ALLOWED, 0, True, (USDC, Method.AUTHORIZATION, None)),
    ("the one that is not blocked", {"blocked": True}, {}, RICH, True, (USDT, Method.PERMIT, None)),
    ("the one that takes money", {"paying": text("Pausable: paused")}, {}, RICH, True, (USDT, Method.PERMIT, None)),
    ("none", POOR, {"balance": 0}, RICH, True, (USDC, Method.AUTHORIZATION, RejectReason.INSUFFICIENT_BALANCE)),
    (
        "none, and least is missing",
        {"balance": 0},
        POOR,
        RICH,
        True,
        (USDT, Method.PERMIT, RejectReason.INSUFFICIENT_BALANCE),
    ),
    ("money, but no POL", POOR, {}, 0, True, (USDT, Method.PERMIT, RejectReason.NO_POL)),
    ("money, but blocked", POOR, {"blocked": True}, RICH, True, (USDT, Method.PERMIT, RejectReason.BLOCKED)),
    ("blocked money, or POL", {"blocked": True}, {}, 0, True, (USDT, Method.PERMIT, RejectReason.NO_POL)),
    (
        "no money, and one of them blocked",
        {"blocked": True, "balance": 0},
        POOR,
        RICH,
        True,
        (USDT, Method.PERMIT, RejectReason.INSUFFICIENT_BALANCE),
    ),
    ("paid in the other", {}, {"paid": True}, RICH, True, (USDC, Method.AUTHORIZATION, RejectReason.ALREADY_PAID)),
    (
        "paused",
        {"paused": True, "balance": 0},
        {"paused": True},
        RICH,
        True,
        (USDT, Method.PERMIT, RejectReason.PAUSED),
    ),
]


@pytest.mark.parametrize(
    ("usdc", "usdt", "wei", "relays", "expected"), [row[1:] for row in CHOICES], ids=[row[0] for row in CHOICES]
)
def test_the_better_stablecoin_is_chosen(
    usdc: dict[str, Any],
    usdt: dict[str, Any],
    wei: int,
    relays: bool,
    expected: tuple[Asset, Method, RejectReason | None],
) -> None:
    plan = best(look(USDC, **usdc), look(USDT, **usdt), wei=wei, relays=relays)
    assert (plan.terms.token, plan.method, plan.obstacle) == expected
    missing = [PRICE - {"balance": PRICE, **changes}["balance"] for changes in (usdc, usdt)]
    assert [(h.held.asset, h.missing.units) for h in plan.holdings] == list(zip((USDC, USDT), missing, strict=True))


def test_the_stablecoin_that_is_asked_for_is_taken_whatever_it_takes() -> None:
    plan = best(look(USDC), look(USDT, **POOR), token=USDT)
    assert (plan.terms.token, plan.obstacle) == (USDT, RejectReason.INSUFFICIENT_BALANCE)
    assert [holding.missing.units for holding in plan.holdings] == [0, 1]


def states(token: Asset, account: dict[str, Any]) -> Iterator[PayerSnapshot]:
    for allowed, with_permit2, renamed, poor in product((False, True), repeat=4):
        changes = dict(account)
        for there, what in ((allowed, ALLOWED), (with_permit2, WITH_PERMIT2), (renamed, RENAMED), (poor, POOR)):
            changes |= what if there else {}
        yield look(token, **changes)


@pytest.mark.parametrize("wei", [0, RICH], ids=["no POL", "POL"])
@pytest.mark.parametrize("relays", [False, True], ids=["no relayer", "a relayer"])
@pytest.mark.parametrize("account", [{}, CONTRACT, MUTE, SPEAKING], ids=["key", "contract", "mute", "speaking"])
def test_no_way_is_better_than_the_best(account: dict[str, Any], relays: bool, wei: int) -> None:
    prompts = {Method.AUTHORIZATION: 1, Method.PERMIT2: 1, Method.PAY: 1, Method.PERMIT: 2, Method.APPROVE: 2}
    alone = {
        token: [(each, best(each, wei=wei, relays=relays)) for each in states(token, account)] for token in (USDC, USDT)
    }
    for (usdc, in_usdc), (usdt, in_usdt) in product(alone[USDC], alone[USDT]):
        both = best(usdc, usdt, wei=wei, relays=relays)
        each = {plan.terms.token: plan for plan in (in_usdc, in_usdt)}
        assert replace(both, holdings=()) == replace(each[both.terms.token], holdings=())
        free = [plan for plan in each.values() if plan.obstacle is None]
        assert (both.obstacle is None) == bool(free)
        if free:
            assert prompts[both.method] == min(prompts[plan.method] for plan in free)
        elif all(holding.missing.units for holding in both.holdings):
            assert both.obstacle is RejectReason.INSUFFICIENT_BALANCE
        if not relays or account == CONTRACT:
            assert both.method not in (Method.AUTHORIZATION, Method.PERMIT2)
        if account:
            assert both.method is not Method.PERMIT
