"""`ape run propose` at Safe's transaction service, through ape-safe: the same steps without any file."""

import pytest

from sandbox.ape_shell import ApeShell
from sandbox.polygon.rpc import calldata
from tests.fork.operators.conftest import NETWORK, OWNERS, Operators
from tests.fork.operators.safe_service import SafeService, serving
from tests.fork.operators.test_propose import BOTH, FIRST, SECOND, SENDER


@pytest.fixture(scope="module")
def service(_operators):
    everybody, _ = _operators
    polygon = everybody.polygon
    return SafeService(everybody.safe, [polygon.accounts[i] for i in OWNERS], threshold=2)


@pytest.fixture(scope="module")
def ape(_operators, service):
    everybody, _ = _operators
    with serving(service) as url, ApeShell(everybody.polygon.rpc_url, SAFE_TRANSACTION_SERVICE_URL=url) as ape:
        yield ape


@pytest.fixture
def propose(operators: Operators, service, ape):
    service.proposals.clear()
    return lambda step, *words: ape.run(
        "propose", step, *NETWORK, "--record", str(operators.record_path), "--yes", *words
    )


def paused(operators) -> bool:
    return operators.read("paused()", returns="bool")


def test_signatures_are_collected_there(operators, propose, service):
    outcome = propose("pause", "--signer", FIRST)
    assert (outcome.code, "1 of 2 signatures" in outcome.output) == (0, True), outcome.output
    (safe_tx_hash,) = service.proposals

    outcome = propose("execute", "--hash", safe_tx_hash, *SENDER)
    assert (outcome.code, "1 more signature(s) are needed" in outcome.output) == (1, True), outcome.output
    outcome = propose("sign", "--hash", safe_tx_hash, "--signer", SECOND)
    assert (outcome.code, "2 of 2 signatures" in outcome.output) == (0, True), outcome.output
    outcome = propose("execute", "--hash", safe_tx_hash, *SENDER)
    assert (outcome.code, "It is executed" in outcome.output) == (0, True), outcome.output
    assert paused(operators)


def test_the_same_proposal_again_is_found_there(operators, propose, service):
    assert propose("pause", "--signer", FIRST).code == 0
    posted = service.posted

    outcome = propose("pause", "--signer", FIRST)

    assert "It is proposed already" in outcome.output
    assert (len(service.proposals), service.posted) == (1, posted)


def test_another_proposal_waits_behind_it(operators, propose, service):
    assert propose("pause", "--signer", FIRST).code == 0
    assert propose("set-partner", "--partner", operators.polygon.accounts[8], "--signer", FIRST).code == 0

    assert sorted(proposal["nonce"] for proposal in service.proposals.values()) == [0, 1]


def test_a_safe_that_is_offered_the_router_accepts_there(operators, propose, service):
    new = operators.polygon.create_safe([operators.polygon.accounts[i] for i in OWNERS], threshold=2, salt=9)
    operators.as_safe(calldata("transferOwnership(address)", new))
    assert propose("accept-ownership", "--signer", FIRST).code == 0
    (safe_tx_hash,) = service.proposals

    outcome = propose("sign", "--hash", safe_tx_hash, "--signer", SECOND, *SENDER)

    assert outcome.code == 0, outcome.output
    assert operators.read("owner()", returns="address") == new.lower()


def test_it_is_not_believed_either(operators, propose, service):
    assert propose("pause", "--signer", FIRST).code == 0
    (safe_tx_hash,) = service.proposals
    service.proposals[safe_tx_hash]["data"] = "0x3f4ba83a"

    outcome = propose("sign", "--hash", safe_tx_hash, "--signer", SECOND, *SENDER)

    assert (outcome.code, "its contents have" in outcome.output) == (1, True)


def test_nothing_is_posted_without_an_owner(propose, service):
    outcome = propose("pause")

    assert (outcome.code, "add --signer" in outcome.output) == (1, True)


def test_without_a_key_for_it_files_are_named(operators):
    words = ("--record", str(operators.record_path), "--yes")

    outcome = operators.run("propose", "pause", *NETWORK, *words, *BOTH)

    assert (outcome.code, "APE_SAFE_GATEWAY_API_KEY" in outcome.output, "--file" in outcome.output) == (1, True, True)
