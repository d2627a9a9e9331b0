"""`ape run create_safe`: a real Safe at an address that is known before; run again, it sends nothing."""

import json
from pathlib import Path

import pytest

from sandbox.polygon.rpc import calldata
from scripts import _safe
from tests.fork.operators.conftest import ACCOUNT, NETWORK, OWNERS

RECORDS = Path(__file__).parents[3] / "node_modules/@safe-global/safe-deployments/src/assets"


def create_safe(operators, *words, owners=OWNERS, threshold=2):
    named = [word for i in owners for word in ("--owner", operators.polygon.accounts[i])]
    return operators.run("create_safe", *NETWORK, *ACCOUNT, *named, "--threshold", str(threshold), *words)


@pytest.mark.parametrize(("singleton", "kind"), [((), "SafeL2"), (("--l1",), "Safe")])
def test_creates_a_safe_that_deploy_takes(operators, singleton, kind):
    outcome = create_safe(operators, "--salt-nonce", "5", *singleton)
    assert outcome.code == 0, outcome.output
    address = outcome.output.split("Safe 0x")[-1].split(":")[0]

    assert operators.read("VERSION()", returns="string", of="0x" + address) == "1.4.1"
    assert operators.read("getThreshold()", returns="uint256", of="0x" + address) == 2
    outcome = operators.deploy(operators.record_path.with_name("new.json"), treasury="0x" + address)
    assert f"({kind} 1.4.1, 2 of 3)" in outcome.output


def test_finds_the_one_that_is_there(operators):
    sent = operators.sent_by(0)

    outcome = create_safe(operators)

    assert outcome.code == 0, outcome.output
    assert f"belong at {operators.safe} " in outcome.output  # where Safe's own factory put it for the sandbox
    assert operators.sent_by(0) == sent


def test_one_that_was_changed_since_is_a_clear_error(operators):
    operators.as_safe(calldata("changeThreshold(uint256)", 3), to=operators.safe)

    outcome = create_safe(operators)

    assert outcome.code == 1
    assert "belongs to 3 of" in outcome.output
    assert "expected 2 of" in outcome.output


@pytest.mark.parametrize(("owners", "threshold"), [(OWNERS, 4), ((2, 2), 2)])
def test_a_threshold_that_nobody_can_reach_is_refused(operators, owners, threshold):
    outcome = create_safe(operators, owners=owners, threshold=threshold)

    assert (outcome.code, "is no Safe" in outcome.output) == (2, True)


def test_without_safes_contracts_nothing_is_sent(operators):
    sent = operators.sent_by(0)
    operators.rpc("anvil_setCode", _safe.FACTORY.address, "0x00")

    outcome = create_safe(operators, "--salt-nonce", "5")

    assert (outcome.code, "SafeProxyFactory is not at" in outcome.output) == (1, True)
    assert operators.sent_by(0) == sent


@pytest.mark.parametrize(
    ("contract", "record"),
    [
        (_safe.FACTORY, "safe_proxy_factory"),
        (_safe.SAFE, "safe"),
        (_safe.SAFE_L2, "safe_l2"),
        (_safe.HANDLER, "compatibility_fallback_handler"),
        (_safe.MULTI_SEND, "multi_send_call_only"),
    ],
)
def test_knows_safes_contracts_by_safes_own_records(contract, record):
    canonical = json.loads((RECORDS / f"v1.4.1/{record}.json").read_text())["deployments"]["canonical"]

    assert (contract.address, contract.code_hash) == (canonical["address"], canonical["codeHash"])


def test_knows_the_singletons_by_safes_own_records():
    known = {
        json.loads((RECORDS / f"v{version}/{name}.json").read_text())["deployments"]["canonical"]["codeHash"]
        for version, name in (
            ("1.3.0", "gnosis_safe"),
            ("1.3.0", "gnosis_safe_l2"),
            ("1.4.1", "safe"),
            ("1.4.1", "safe_l2"),
        )
    }

    assert set(_safe.SINGLETONS) == known
