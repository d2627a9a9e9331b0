"""The router's language, held against eth_abi and the ABI that the compiler wrote."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from eth_abi.abi import decode as decode_words
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from cascade.adapters.chain import router_logs
from cascade.adapters.chain.router_logs import (
    PAID_TOPIC,
    REFUNDED_TOPIC,
    check_sequence,
    confirmed_payment,
    decode,
    decode_paid,
    decode_refunded,
    deposit_address,
    is_collected,
)
from cascade.domain.money import USDC
from cascade.domain.orders import ChainTerms
from cascade.errors import NodeUnavailable, SequenceGap

ROUTER = "0x" + "12" * 20
TOKEN = "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359"
ORDER_TYPE = "(address,uint256,uint64,bytes32)"

words = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: to_checksum_address(raw))
uint64 = st.integers(min_value=0, max_value=2**64 - 1)


def paid_log(
    seq: int = 1, units: int = 250_000_000, partner: int = 125_000_000, block: int = 7, **changes: Any
) -> dict[str, Any]:
    topics = [PAID_TOPIC, b"\1" * 32, encode(["address"], ["0x" + "22" * 20]), encode(["address"], [TOKEN])]
    return {
        "address": ROUTER,
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + encode(["uint256", "uint256", "uint64"], [units, partner, seq]).hex(),
        "blockNumber": hex(block),
        "logIndex": "0x3",
        "blockHash": "0x" + "aa" * 32,
        "transactionHash": "0x" + "bb" * 32,
        "removed": False,
    } | changes


def refunded_log(units: int = 7, **changes: Any) -> dict[str, Any]:
    topics = [REFUNDED_TOPIC, b"\1" * 32, encode(["address"], ["0x" + "22" * 20]), encode(["address"], [TOKEN])]
    words = {"topics": ["0x" + topic.hex() for topic in topics], "data": "0x" + encode(["uint256"], [units]).hex()}
    return paid_log() | words | changes


def test_the_event_is_the_one_that_the_design_names() -> None:
    assert keccak(text="Paid(bytes32,address,address,uint256,uint256,uint64)") == PAID_TOPIC
    assert keccak(text="Refunded(bytes32,address,address,uint256)") == REFUNDED_TOPIC


@given(words, addresses, addresses, st.integers(1, 2**256 - 1))
def test_slicing_reads_of_a_refund_what_eth_abi_reads(order_id: bytes, recipient: str, token: str, units: int) -> None:
    data = encode(["uint256"], [units])
    topics = [REFUNDED_TOPIC, order_id, encode(["address"], [recipient]), encode(["address"], [token])]
    event = decode_refunded(refunded_log(data="0x" + data.hex(), topics=["0x" + topic.hex() for topic in topics]))
    assert (event.units,) == decode_words(["uint256"], data)
    assert (event.on_chain_order_id, event.recipient, event.token_address) == (order_id, recipient, token)
    assert (event.block_number, event.log_index) == (7, 3)


def test_a_log_is_read_by_its_topic() -> None:
    assert decode(paid_log()) == decode_paid(paid_log())
    assert decode(refunded_log()) == decode_refunded(refunded_log())


@pytest.mark.parametrize(
    "changes",
    [
        {"topics": ["0x" + REFUNDED_TOPIC.hex()] * 3},
        {"topics": ["0x" + REFUNDED_TOPIC.hex()] * 4},  # the recipient's word is no address
        {"data": "0x"},
        {"data": "0x" + "00" * 32},  # a refund of nothing
        {"data": "0x" + "01" * 33},
        {"data": "0x" + "01" * 96},
        {"logIndex": "three"},
    ],
)
def test_a_refund_that_the_router_cannot_have_written_is_refused(changes: Mapping[str, Any]) -> None:
    with pytest.raises(NodeUnavailable, match="a Refunded log that the router cannot have written"):
        decode(refunded_log(**changes))


@pytest.mark.parametrize("topics", [None, [], [None], "0x", ["0x" + keccak(text="Held()").hex()]])
def test_a_log_of_another_event_is_refused(topics: Any) -> None:
    with pytest.raises(NodeUnavailable, match="cannot have written"):
        decode(paid_log(topics=topics))


@given(addresses, words)
def test_only_what_lay_at_the_orders_own_address_was_collected(router: str, order_id: bytes) -> None:
    event = replace(decode_paid(paid_log()), on_chain_order_id=order_id)
    assert not is_collected(router, event)
    at_its_address = replace(event, payer=deposit_address(router, order_id))
    assert is_collected(router, at_its_address)
    assert not is_collected(router, replace(at_its_address, on_chain_order_id=keccak(order_id)))
    assert not is_collected(TOKEN, at_its_address)
    assert not is_collected(router, decode(refunded_log()))


@given(words, addresses, addresses, st.integers(0, 2**256 - 1), st.integers(0, 2**256 - 1), uint64)
def test_slicing_reads_what_eth_abi_reads(
    order_id: bytes, payer: str, token: str, units: int, partner: int, seq: int
) -> None:
    partner = min(units, partner)
    data = encode(["uint256", "uint256", "uint64"], [units, partner, seq])
    topics = [PAID_TOPIC, order_id, encode(["address"], [payer]), encode(["address"], [token])]
    event = decode_paid(paid_log(data="0x" + data.hex(), topics=["0x" + topic.hex() for topic in topics]))
    assert (event.units, event.partner_units, event.seq) == decode_words(["uint256", "uint256", "uint64"], data)
    assert (event.on_chain_order_id, event.payer, event.token_address) == (order_id, payer, token)
    assert (event.block_number, event.log_index) == (7, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"topics": []},
        {"topics": ["0x" + PAID_TOPIC.hex()] * 3},
        {"topics": ["0x" + "00" * 32] * 4},
        {"topics": ["0x" + PAID_TOPIC.hex()] * 4},  # the payer's word is no address
        {"data": "0x"},
        {"data": "0x" + "00" * 97},
        {"data": "0xzz"},
        {"data": None},
        {"blockNumber": None},
        {"blockHash": 5},
        {"logIndex": "three"},
    ],
)
def test_what_the_router_cannot_have_written_is_refused(changes: Mapping[str, Any]) -> None:
    with pytest.raises(NodeUnavailable, match="cannot have written"):
        decode_paid(paid_log(**changes))


def test_a_partner_gets_no_more_than_the_whole() -> None:
    with pytest.raises(NodeUnavailable, match="partner's part"):
        decode_paid(paid_log(units=1, partner=2))


@given(addresses, addresses, st.integers(1, 2**256 - 1), uint64, words)
def test_an_order_id_commits_to_every_term(router: str, token: str, units: int, expires_at: int, salt: bytes) -> None:
    terms = (137, router, token, units, expires_at, salt)
    order_id = router_logs.on_chain_order_id(*terms)
    assert order_id == keccak(encode(["uint256", "address", ORDER_TYPE], [137, router, terms[2:]]))
    for i, other in enumerate((138, TOKEN, ROUTER, units - 1, expires_at ^ 1, keccak(salt))):
        if other != terms[i]:
            changed = (*terms[:i], other, *terms[i + 1 :])
            assert router_logs.on_chain_order_id(*changed) != order_id  # type: ignore[arg-type]


def test_the_calls_approve_the_exact_amount_and_pay_the_exact_terms() -> None:
    terms = ChainTerms(b"\0" * 32, 137, ROUTER, USDC, TOKEN, 25_010_000, 1_800_000_000, b"\7" * 32)
    approve, pay = router_logs.payment_calls(terms)
    assert (approve.to, approve.label) == (TOKEN, "Approve 25.01 USDC")
    assert bytes.fromhex(approve.data[2:10]) == keccak(text="approve(address,uint256)")[:4]
    assert decode_words(["address", "uint256"], bytes.fromhex(approve.data[10:])) == (ROUTER, 25_010_000)
    assert (pay.to, pay.label) == (ROUTER, "Pay 25.01 USDC")
    assert bytes.fromhex(pay.data[2:10]) == keccak(text=f"pay({ORDER_TYPE})")[:4]
    assert decode_words([ORDER_TYPE], bytes.fromhex(pay.data[10:])) == (
        (TOKEN.lower(), 25_010_000, 1_800_000_000, b"\7" * 32),
    )


def test_numbers_without_a_gap_pass() -> None:
    events = [decode_paid(paid_log(seq)) for seq in (4, 5, 6)]
    assert check_sequence(events, 3) == 6
    assert check_sequence([], 3) == 3


@pytest.mark.parametrize("numbers", [(5,), (4, 6), (4, 4), (3,), (5, 4)])
def test_a_hidden_or_repeated_payment_is_noticed(numbers: tuple[int, ...]) -> None:
    with pytest.raises(SequenceGap, match="expected"):
        check_sequence([decode_paid(paid_log(seq)) for seq in numbers], 3)


def test_a_payment_is_named_by_its_place_on_the_chain() -> None:
    payment = confirmed_payment(137, {TOKEN: USDC}, decode_paid(paid_log(units=7, partner=3)))
    assert payment.reference == "chain:137:7:3"
    assert (payment.received.units, dict(payment.landed)) == (7, {"treasury": 4, "partner": 3})
    assert (payment.paid_at, payment.collected) == (None, False)


def test_what_was_collected_carries_the_time_of_its_block() -> None:
    event = replace(decode_paid(paid_log()), block_time=1_800_000_000)
    payment = confirmed_payment(137, {TOKEN: USDC}, event)
    assert (payment.paid_at, payment.collected) == (datetime.fromtimestamp(1_800_000_000, UTC), True)


def test_a_refund_is_named_by_its_place_on_the_chain() -> None:
    back = router_logs.refund(137, {TOKEN: USDC}, decode_refunded(refunded_log()))
    assert (back.reference, back.order_key, back.amount.units) == ("chain:137:7:3", b"\1" * 32, 7)
    assert (back.recipient, back.transaction) == ("0x" + "22" * 20, "0x" + "bb" * 32)


def test_a_token_that_the_router_does_not_take_is_refused() -> None:
    with pytest.raises(NodeUnavailable, match="does not take"):
        confirmed_payment(137, {ROUTER: USDC}, decode_paid(paid_log()))
    with pytest.raises(NodeUnavailable, match="does not take"):
        router_logs.refund(137, {ROUTER: USDC}, decode_refunded(refunded_log()))
