"""`ape run deploy`: one address, known before; run again, it sends nothing and mends the record."""

import json
import threading
import time

import pytest

from sandbox.polygon.addresses import CREATE2_DEPLOYER, USDC
from sandbox.polygon.rpc import calldata
from scripts._chain import create2_address

OTHER_SALT = ("--salt", "2")


def init_code(operators) -> bytes:
    """What follows the salt in the transaction that created the recorded router."""
    transaction = operators.rpc("eth_getTransactionByHash", operators.record["transaction_hash"])
    return bytes.fromhex(transaction["input"][2:])[32:]


def foreseen(operators, salt: int) -> str:
    return create2_address(CREATE2_DEPLOYER, salt.to_bytes(32, "big"), init_code(operators))


def test_the_record_tells_where_the_router_is(operators):
    record = operators.record

    receipt = operators.rpc("eth_getTransactionReceipt", record["transaction_hash"])
    assert (int(receipt["blockNumber"], 16), receipt["blockHash"]) == (record["block_number"], record["block_hash"])
    assert receipt["to"] == CREATE2_DEPLOYER.lower()
    assert (record["chain_id"], int(record["salt"], 16)) == (137, 1)
    assert operators.read("owner()", returns="address") == operators.safe.lower()
    assert record["arguments"]["owner"] == record["arguments"]["treasury"] == operators.safe
    assert record["arguments"]["partner"] == operators.partner


def test_the_address_is_known_before_anything_is_sent(operators, tmp_path):
    out, sent = tmp_path / "other.json", operators.sent_by(0)

    outcome = operators.deploy(out, *OTHER_SALT, "--dry-run")
    assert outcome.code == 0, outcome.output
    assert foreseen(operators, 2) in outcome.output
    assert (operators.sent_by(0), out.exists()) == (sent, False)

    assert operators.deploy(out, *OTHER_SALT).code == 0
    assert json.loads(out.read_text())["router"] == foreseen(operators, 2) != operators.router


def test_a_second_run_sends_nothing(operators):
    before, sent = operators.record_path.read_bytes(), operators.sent_by(0)

    outcome = operators.deploy(operators.record_path)

    assert outcome.code == 0, outcome.output
    assert "nothing is sent" in outcome.output
    assert (operators.record_path.read_bytes(), operators.sent_by(0)) == (before, sent)


@pytest.mark.parametrize("lie", [None, {"block_number": 1}, {"block_hash": "0x" + "00" * 32}, {"salt": "0x02"}])
def test_a_record_that_was_not_written_or_is_wrong_is_mended(operators, lie):
    true, sent = operators.record, operators.sent_by(0)
    if lie is None:  # killed between the transaction and the record
        operators.record_path.unlink()
    else:
        operators.record_path.write_text(json.dumps(true | lie))
    operators.polygon.mine(40)  # nodes forget old states; logs they keep

    outcome = operators.deploy(operators.record_path)

    assert outcome.code == 0, outcome.output
    assert (operators.record, operators.sent_by(0)) == (true, sent)


def test_a_router_that_somebody_else_sent_is_as_good(operators, tmp_path):
    stranger, sent = operators.polygon.accounts[9], operators.sent_by(0)
    data = (2).to_bytes(32, "big") + init_code(operators)
    receipt = operators.rpc.receipt(operators.rpc.submit(stranger, CREATE2_DEPLOYER, data))

    outcome = operators.deploy(tmp_path / "other.json", *OTHER_SALT)

    assert outcome.code == 0, outcome.output
    assert operators.sent_by(0) == sent
    record = json.loads((tmp_path / "other.json").read_text())
    assert record["transaction_hash"] == receipt["transactionHash"]
    assert record["arguments"] == operators.record["arguments"]


def test_a_run_that_was_killed_while_its_transaction_waited_does_not_send_another(operators, tmp_path):
    sent = operators.sent_by(0)
    operators.rpc("evm_setAutomine", False)
    data = (2).to_bytes(32, "big") + init_code(operators)
    dear = {"maxFeePerGas": hex(10**12), "maxPriorityFeePerGas": hex(10**12)}  # too dear to be replaced
    waiting = {"from": operators.polygon.accounts[0], "to": CREATE2_DEPLOYER, "data": "0x" + data.hex()}
    operators.rpc("eth_sendTransaction", {**waiting, **dear, "gas": hex(10**7)})

    def let_it_in() -> None:
        time.sleep(1)
        operators.rpc("evm_setAutomine", True)
        operators.polygon.mine()

    later = threading.Thread(target=let_it_in)
    later.start()
    outcome = operators.deploy(tmp_path / "other.json", *OTHER_SALT)
    later.join()

    assert outcome.code == 0, outcome.output
    assert operators.sent_by(0) == sent + 1


def test_a_chain_that_comes_back_without_the_router_gets_it_again_at_the_same_address(operators, tmp_path):
    out = tmp_path / "other.json"
    before = operators.polygon.snapshot()
    assert operators.deploy(out, *OTHER_SALT).code == 0
    first = json.loads(out.read_text())
    operators.polygon.revert(before)
    operators.polygon.mine(3)

    assert operators.deploy(out, *OTHER_SALT).code == 0

    second = json.loads(out.read_text())
    assert second["router"] == first["router"]
    assert second["block_number"] == first["block_number"] + 3


def test_a_live_router_is_not_replaced(operators):
    before = operators.record_path.read_text()

    outcome = operators.deploy(operators.record_path, partner=operators.polygon.accounts[8])

    assert outcome.code == 1
    assert "move that file away" in outcome.output
    assert operators.record_path.read_text() == before


def no_contract(operators) -> str:
    return operators.polygon.accounts[7]


def another_contract(operators) -> str:
    return operators.router


def safe_of_one(operators) -> str:
    return operators.polygon.create_safe(operators.polygon.accounts[2:3], threshold=1, salt=3)


def safe_that_one_commands(operators) -> str:
    return operators.polygon.create_safe(operators.polygon.accounts[2:5], threshold=1, salt=3)


def safe_with_a_module(operators) -> str:
    operators.as_safe(calldata("enableModule(address)", operators.polygon.accounts[8]), to=operators.safe)
    return operators.safe


def proxy_of_something_else(operators) -> str:
    operators.rpc("anvil_setStorageAt", operators.safe, "0x" + "00" * 32, "0x" + "00" * 12 + USDC[2:])
    return operators.safe


@pytest.mark.parametrize(
    ("treasury", "why"),
    [
        (no_contract, "there is no contract"),
        (another_contract, "expected that of a proxy"),
        (safe_of_one, "can be commanded by one key"),
        (safe_that_one_commands, "can be commanded by one key"),
        (safe_with_a_module, "has modules"),
        (proxy_of_something_else, "its proxy runs"),
    ],
)
def test_a_treasury_that_is_no_safe_of_several_owners_is_refused(operators, tmp_path, treasury, why):
    address, sent = treasury(operators), operators.sent_by(0)

    outcome = operators.deploy(tmp_path / "other.json", *OTHER_SALT, treasury=address)

    assert outcome.code == 1
    assert why in outcome.output
    assert operators.sent_by(0) == sent


def test_unless_the_operator_means_it(operators, tmp_path):
    outcome = operators.deploy(
        tmp_path / "other.json", *OTHER_SALT, "--treasury-is-no-safe", treasury=no_contract(operators)
    )

    assert outcome.code == 0, outcome.output


def test_arguments_that_the_constructor_refuses_are_named_before_anything_is_sent(operators, tmp_path):
    sent = operators.sent_by(0)

    outcome = operators.deploy(tmp_path / "other.json", partner=operators.safe)

    assert outcome.code == 1
    assert "InvalidBeneficiary(role=1" in outcome.output
    assert operators.sent_by(0) == sent


def test_without_the_deployer_nothing_is_sent(operators, tmp_path):
    operators.rpc("anvil_setCode", CREATE2_DEPLOYER, "0x00")

    outcome = operators.deploy(tmp_path / "other.json", *OTHER_SALT)

    assert outcome.code == 1
    assert "the CREATE2 deployer is not at" in outcome.output
