"""A proposal in a file: what it says is believed as far as its signatures reach, and it is done once."""

import json
import shutil

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from sandbox.polygon.addresses import USDC
from sandbox.polygon.rpc import calldata
from tests.fork.operators.test_propose import BOTH, FIRST, SECOND, SENDER, THIRD


@pytest.fixture
def signed_once(operators, tmp_path):
    """A pause with one signature."""
    file = tmp_path / "pause.json"
    assert operators.propose("pause", file, "--signer", FIRST).code == 0
    return file


def paused(operators) -> bool:
    return operators.read("paused()", returns="bool")


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_the_same_proposal_again_is_found_pending(operators, signed_once):
    before = json.loads(signed_once.read_text())

    outcome = operators.propose("pause", signed_once, "--signer", FIRST)

    assert f"It is proposed already: {before['safeTxHash']}" in outcome.output
    assert json.loads(signed_once.read_text()) == before  # and not signed twice


def test_a_file_is_not_overwritten_by_another_proposal(operators, signed_once):
    before = signed_once.read_bytes()

    outcome = operators.propose("set-partner", signed_once, "--partner", operators.polygon.accounts[8])

    assert (outcome.code, "holds another proposal" in outcome.output) == (1, True)
    assert signed_once.read_bytes() == before


def test_copies_that_were_signed_apart_come_together(operators, signed_once, tmp_path):
    copy = tmp_path / "copy.json"
    shutil.copy(signed_once, copy)
    change(copy, confirmations=[])
    assert operators.propose("sign", copy, "--signer", THIRD).code == 0

    outcome = operators.propose("execute", signed_once, "--copy", str(copy), *SENDER)

    assert outcome.code == 0, outcome.output
    assert paused(operators)


def test_a_copy_of_another_proposal_is_refused(operators, signed_once, tmp_path):
    copy = tmp_path / "other.json"
    assert operators.propose("set-partner", copy, "--partner", operators.polygon.accounts[8]).code == 0

    outcome = operators.propose("execute", signed_once, "--copy", str(copy), *SENDER)

    assert (outcome.code, "holds the proposal" in outcome.output) == (1, True)


def test_what_was_executed_from_another_copy_is_told(operators, signed_once, tmp_path):
    copy = tmp_path / "copy.json"
    shutil.copy(signed_once, copy)
    assert operators.propose("sign", copy, "--signer", SECOND, *SENDER).code == 0
    operators.as_safe(calldata("unpause()"))
    before = signed_once.read_bytes()

    outcome = operators.propose("sign", signed_once, "--signer", SECOND, *SENDER)

    assert (outcome.code, "It is executed" in outcome.output) == (0, True)
    assert signed_once.read_bytes() == before
    assert not paused(operators)


def test_a_nonce_that_went_to_something_else_is_told(operators, signed_once, tmp_path):
    other = ("--partner", operators.polygon.accounts[8], *BOTH)
    assert operators.propose("set-partner", tmp_path / "other.json", *other).code == 0

    outcome = operators.propose("sign", signed_once, "--signer", SECOND, *SENDER)

    assert (outcome.code, "used nonce 0 for something else" in outcome.output) == (1, True)
    assert not paused(operators)


def test_proposals_wait_for_those_before_them(operators, tmp_path):
    outcome = operators.propose("pause", tmp_path / "later.json", "--nonce", "1", *BOTH)

    assert (outcome.code, "the Safe's next one is 0" in outcome.output) == (1, True)
    assert not paused(operators)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"data": "0x3f4ba83a"}, "its contents have"),
        ({"nonce": 7}, "its contents have"),
        ({"safe": USDC}, "is for the Safe"),
        ({"chainId": 1}, "on chain 1"),
    ],
)
def test_a_file_that_was_changed_is_refused(operators, signed_once, changed, why):
    change(signed_once, **changed)

    outcome = operators.propose("sign", signed_once, "--signer", SECOND, *SENDER)

    assert (outcome.code, why in outcome.output) == (1, True), outcome.output


def test_signatures_count_for_what_was_signed_only(operators, signed_once, tmp_path):
    """Whoever changes the contents and the hash with them is left without signatures."""
    other = tmp_path / "other.json"
    assert operators.propose("set-partner", other, "--partner", operators.polygon.accounts[8]).code == 0
    change(other, confirmations=json.loads(signed_once.read_text())["confirmations"])

    outcome = operators.propose("sign", other, "--signer", SECOND, *SENDER)

    assert "1 signature(s) do not count" in outcome.output
    assert (outcome.code, "1 more signature(s) are needed" in outcome.output) == (1, True)


def test_one_signature_does_not_count_twice(operators, signed_once):
    (confirmation,) = json.loads(signed_once.read_text())["confirmations"]
    forged = confirmation | {"owner": operators.polygon.accounts[3]}
    change(signed_once, confirmations=[confirmation, confirmation, forged])

    outcome = operators.propose("execute", signed_once, *SENDER)

    assert (outcome.code, "1 more signature(s) are needed" in outcome.output) == (1, True)


def test_a_wallet_that_signs_only_text_signs_as_well(operators, signed_once):
    proposal = json.loads(signed_once.read_text())
    text = encode_defunct(hexstr=proposal["safeTxHash"])
    signed = Account.sign_message(text, operators.polygon.keys[3])
    marked = signed.signature[:64] + bytes([signed.signature[64] + 4])  # as Safe asks for
    more = proposal["confirmations"][0] | {"owner": operators.polygon.accounts[3], "signature": "0x" + marked.hex()}
    change(signed_once, confirmations=[*proposal["confirmations"], more])

    outcome = operators.propose("execute", signed_once, *SENDER)

    assert outcome.code == 0, outcome.output
    assert paused(operators)


def test_nobody_but_an_owner_signs(operators, signed_once):
    outcome = operators.propose("sign", signed_once, "--signer", "TEST::7")

    assert (outcome.code, "is no owner of the Safe" in outcome.output) == (1, True)


ATTACKS = {
    "another call of the owner's": ({"data": "0x715018a6"}, "none of the owner's calls"),  # renounceOwnership()
    "a call of something else": ({"to": USDC, "data": "0xa9059cbb" + "00" * 64}, "none of the owner's calls"),
    "more than the arguments": ({"data": "0x8456cb59" + "00" * 32}, "carries more than its arguments"),
    "a delegate call": ({"operation": 1}, "could do anything with the Safe"),
    "native currency": ({"value": 1}, "pays out of the Safe"),
    "a price for gas": ({"gasPrice": 1}, "pays out of the Safe"),
    "pay for gas": ({"baseGas": 1}, "pays out of the Safe"),
    "a receiver of gas": ({"refundReceiver": USDC}, "pays out of the Safe"),
    "an approval of a stranger": (
        {"to": USDC, "data": "0x" + calldata("approve(address,uint256)", "0x" + "66" * 20, 1).hex()},
        "do not sign it",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_cannot_be_told_in_words_is_not_signed(operators, signed_once, attack):
    changed, why = ATTACKS[attack]
    change(signed_once, confirmations=[], **changed)
    before = json.loads(signed_once.read_text())
    fields = [before[name] for name in ("to", "value", "data", "operation", "safeTxGas", "baseGas", "gasPrice")]
    more = [before[name] for name in ("gasToken", "refundReceiver", "nonce")]
    types = "address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,uint256"
    fields[2] = bytes.fromhex(fields[2][2:])
    true_hash = operators.read(f"getTransactionHash({types})", *fields, *more, returns="bytes32", of=operators.safe)
    change(signed_once, safeTxHash="0x" + true_hash.hex())

    outcome = operators.propose("sign", signed_once, "--signer", SECOND, *SENDER)

    assert (outcome.code, why in outcome.output) == (1, True), outcome.output
    assert json.loads(signed_once.read_text())["confirmations"] == []
