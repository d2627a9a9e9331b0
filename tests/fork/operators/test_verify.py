"""`ape run verify` and `ape run export_abi`: what is deployed is what this source tree builds."""

import json

from sandbox.polygon.rpc import calldata
from tests.fork.operators.conftest import NETWORK


def verify(operators, path):
    return operators.run("verify", *NETWORK, "--record", str(path))


def test_agrees_with_what_was_deployed(operators):
    outcome = verify(operators, operators.record_path)

    assert outcome.code == 0, outcome.output


def test_takes_a_new_partner_for_news(operators):
    operators.as_safe(calldata("setPartner(address)", operators.polygon.accounts[8]))

    outcome = verify(operators, operators.record_path)

    assert (outcome.code, "changed since" in outcome.output) == (0, True)


def test_takes_another_treasury_for_a_fault(operators):
    record = operators.record
    record["arguments"]["treasury"] = "0x" + "11" * 20
    operators.record_path.write_text(json.dumps(record))

    outcome = verify(operators, operators.record_path)

    assert outcome.code == 1
    assert "code, by this build, address, by this build, treasury" in outcome.output


def test_a_record_of_a_router_without_a_salt_is_named(operators):
    record = operators.record
    del record["salt"]
    operators.record_path.write_text(json.dumps(record))

    outcome = verify(operators, operators.record_path)

    assert (outcome.code, "has no salt" in outcome.output) == (1, True)


def test_the_exported_abi_is_that_of_the_contract(operators):
    outcome = operators.run("export_abi", "--check")

    assert outcome.code == 0, outcome.output
