"""`ape run propose`: what the Safe's owners decide together takes effect, once, and with enough signatures only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.polygon.addresses import USDC
from sandbox.polygon.rpc import calldata
from tests.fork.operators.conftest import OWNERS

ORDER = "0x" + "ab" * 32
AMOUNT = 25_010_000
REFUND = ("--order", ORDER, "--amount", "25.01", "--token", USDC)
FIRST, SECOND, THIRD = (f"TEST::{index}" for index in OWNERS)
SENDER = ("--sender", "TEST::0")
BOTH = ("--signer", FIRST, "--signer", SECOND, *SENDER)


def balance(operators, holder: str) -> int:
    return operators.read("balanceOf(address)", holder, returns="uint256", of=USDC)


def other_safe(operators) -> str:
    return operators.polygon.create_safe(operators.polygon.accounts[2:5], threshold=2, salt=9)


@dataclass(frozen=True)
class Action:
    """An action, the scene it needs and the words that follow from it, and what it changes on chain."""

    name: str
    prepare: Callable[[Any], tuple[str, ...]]
    state: Callable[[Any], Any]
    after: Callable[[Any], Any]


def paused(operators) -> bool:
    return operators.read("paused()", returns="bool")


def somebody(operators) -> str:
    return operators.polygon.accounts[8]


def while_paused(operators) -> tuple[str, ...]:
    operators.as_safe(calldata("pause()"))
    return ()


def surplus(operators) -> tuple[str, ...]:
    operators.polygon.mint("USDC", operators.router, AMOUNT)
    return "--token", USDC, "--to", somebody(operators)


def money(operators) -> tuple[str, ...]:
    operators.polygon.mint("USDC", operators.safe, AMOUNT)
    return *REFUND, "--to", somebody(operators)


def money_and_allowance(operators) -> tuple[str, ...]:
    operators.as_safe(calldata("approve(address,uint256)", operators.router, AMOUNT), to=USDC)
    return money(operators)


def offer(operators) -> tuple[str, ...]:
    operators.as_safe(calldata("transferOwnership(address)", other_safe(operators)))
    return ()


def reading(signature: str) -> Callable[[Any], str]:
    return lambda operators: operators.read(signature, returns="address")


def what_somebody_has(operators) -> int:
    return balance(operators, somebody(operators))


ACTIONS = (
    Action("pause", lambda _: (), paused, lambda _: True),
    Action("unpause", while_paused, paused, lambda _: False),
    Action("set-partner", lambda o: ("--partner", somebody(o)), reading("partner()"), lambda o: somebody(o).lower()),
    Action("rescue", surplus, what_somebody_has, lambda _: AMOUNT),
    Action("refund", money, what_somebody_has, lambda _: AMOUNT),
    Action("refund", money_and_allowance, what_somebody_has, lambda _: AMOUNT),
    Action(
        *("transfer-ownership", lambda o: ("--to", other_safe(o))),
        *(reading("pendingOwner()"), lambda o: other_safe(o).lower()),
    ),
    Action("accept-ownership", offer, reading("owner()"), lambda o: other_safe(o).lower()),
)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: f"{action.name}, {action.prepare.__name__}")
def test_takes_effect_with_two_signatures_and_not_with_one(operators, tmp_path, action):
    words, file = action.prepare(operators), tmp_path / "proposal.json"
    before = action.state(operators)

    outcome = operators.propose(action.name, file, *words, "--signer", FIRST)
    assert (outcome.code, "1 of 2 signatures" in outcome.output) == (0, True), outcome.output
    outcome = operators.propose("execute", file, *SENDER)
    assert (outcome.code, "1 more signature(s) are needed" in outcome.output) == (1, True), outcome.output
    assert action.state(operators) == before != action.after(operators)

    outcome = operators.propose("sign", file, "--signer", SECOND)
    assert (outcome.code, "2 of 2 signatures" in outcome.output) == (0, True), outcome.output
    assert action.state(operators) == before
    outcome = operators.propose("execute", file, *SENDER)
    assert (outcome.code, "It is executed" in outcome.output) == (0, True), outcome.output
    assert action.state(operators) == action.after(operators)

    # And every step once more, also as if nobody had kept the file: none of them does anything.
    sent, state = operators.sent_by(0), action.state(operators)
    for again in (
        operators.propose("execute", file, *SENDER),
        operators.propose(action.name, file, *words, *BOTH),
        operators.propose(action.name, tmp_path / "another.json", *words, *BOTH),
    ):
        assert again.code == 0 or "is for the Safe" in again.output, again.output
    assert (operators.sent_by(0), action.state(operators)) == (sent, state)
    assert not (tmp_path / "another.json").exists()


def test_shows_what_changes_before_anything_is_signed(operators, tmp_path):
    polygon = operators.polygon
    words = ("--partner", polygon.accounts[8])

    outcome = operators.propose("set-partner", tmp_path / "proposal.json", *words)

    for told in (operators.partner, polygon.accounts[8], operators.safe, operators.router, "2 of 3", "safeTxHash"):
        assert told in outcome.output


def test_asks_before_it_signs(operators, tmp_path):
    file = tmp_path / "proposal.json"
    options = [word for word in operators.lying_in(file) if word != "--yes"]

    outcome = operators.run("propose", "pause", "--network", "polygon:mainnet:node", *options, "--signer", FIRST)

    assert outcome.code == 1
    assert "Is this what you want?" in outcome.output
    assert not file.exists()


def test_a_refund_is_one_event_and_two_calls_of_one_transaction(operators, tmp_path):
    citizen = operators.polygon.accounts[8]
    operators.polygon.mint("USDC", operators.safe, AMOUNT)

    outcome = operators.propose("refund", tmp_path / "refund.json", *REFUND, "--to", citizen, *BOTH)

    assert "the router's allowance at the token" in outcome.output
    logs = operators.rpc("eth_getLogs", {"address": operators.router, "fromBlock": "latest"})
    assert [log["topics"][1:] for log in logs] == [
        [ORDER, "0x" + "00" * 12 + citizen[2:].lower(), "0x" + "00" * 12 + USDC[2:].lower()]
    ]
    assert int(logs[0]["data"], 16) == AMOUNT
    allowance = operators.read(
        "allowance(address,address)", operators.safe, operators.router, returns="uint256", of=USDC
    )
    assert allowance == 0


def test_an_order_is_refunded_once_unless_the_owners_mean_it(operators, tmp_path):
    citizen = operators.polygon.accounts[8]
    operators.polygon.mint("USDC", operators.safe, 3 * AMOUNT)
    words = (*REFUND, "--to", citizen, *BOTH)
    assert operators.propose("refund", tmp_path / "first.json", *words).code == 0

    outcome = operators.propose("refund", tmp_path / "second.json", *words)
    assert "has a refund of 25.010000 USDC already" in outcome.output
    assert balance(operators, citizen) == AMOUNT

    assert operators.propose("refund", tmp_path / "second.json", *words, "--again").code == 0
    assert balance(operators, citizen) == 2 * AMOUNT


def test_a_refund_that_the_safe_cannot_pay_is_not_proposed(operators, tmp_path):
    outcome = operators.propose(
        "refund", tmp_path / "refund.json", *REFUND, "--to", operators.polygon.accounts[8], *BOTH
    )

    assert (outcome.code, "has 0.000000 USDC, less than" in outcome.output) == (1, True)
    assert not (tmp_path / "refund.json").exists()


@pytest.mark.parametrize("amount", ["0", "-1", "0.0000001", "NaN", "much"])
def test_an_amount_has_six_decimals_at_most(operators, tmp_path, amount):
    words = ("--order", ORDER, "--amount", amount, "--token", USDC, "--to", operators.safe)

    assert operators.propose("refund", tmp_path / "refund.json", *words).code == 2


def test_what_the_router_would_refuse_is_not_proposed(operators, tmp_path):
    outcome = operators.propose("set-partner", tmp_path / "proposal.json", "--partner", operators.safe, *BOTH)

    assert (outcome.code, "InvalidBeneficiary(role=1" in outcome.output) == (1, True)
    assert not (tmp_path / "proposal.json").exists()


def test_ownership_is_not_offered_to_a_single_key(operators, tmp_path):
    words = ("--to", operators.polygon.accounts[8])

    outcome = operators.propose("transfer-ownership", tmp_path / "proposal.json", *words)
    assert (outcome.code, "is no Safe" in outcome.output) == (1, True)

    assert operators.propose("transfer-ownership", tmp_path / "proposal.json", *words, "--to-is-no-safe").code == 0
