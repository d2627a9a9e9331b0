"""What a payer's code reverts with is bytes of its choice: every payload is a reason, and none is an exception."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.adapters.chain.revert_reasons import refusal_of
from cascade.domain.relay_items import RejectReason
from tests.support.hostile_wallets import error_string, malformed
from tests.support.soak import histories

SELECTOR = error_string(0)[:4]
WORDS = b"ERC20: transfer amount exceeds balance"


def test_twenty_thousand_malformed_payloads_are_reasons() -> None:
    assert {refusal_of(data) for data in islice(malformed(seed=20_000), 20_000)} == {RejectReason.REVERTED}


@histories(200)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_reason(data: bytes) -> None:
    assert isinstance(refusal_of(data), RejectReason)
    assert isinstance(refusal_of(SELECTOR + data), RejectReason)


@histories(200)
@given(st.integers(0, 2**256 - 1), st.integers(0, 2**256 - 1), st.binary(max_size=300))
def test_a_text_counts_only_at_its_place_and_as_a_whole(offset: int, length: int, words: bytes) -> None:
    data = error_string(length, offset=offset, words=words)
    is_whole = offset == 32 and length <= min(len(words), 256 - 68)
    if not is_whole:
        assert refusal_of(data) is RejectReason.REVERTED


@pytest.mark.parametrize("length", [2**31, 2**63 - 1, 2**63, 2**64, 2**255, 2**256 - 1, len(WORDS) + 1])
def test_a_length_beyond_the_data_is_no_text(length: int) -> None:
    assert refusal_of(error_string(length, words=WORDS)) is RejectReason.REVERTED


@pytest.mark.parametrize("offset", [0, 31, 33, 64, 2**63 - 1, 2**256 - 1])
def test_an_unusual_offset_is_no_text(offset: int) -> None:
    assert refusal_of(error_string(len(WORDS), offset=offset, words=WORDS)) is RejectReason.REVERTED


def test_the_words_of_tokens_are_still_read() -> None:
    assert refusal_of(error_string(len(WORDS), words=WORDS)) is RejectReason.INSUFFICIENT_BALANCE
    rubbish = random.Random(7).randbytes(10**6)  # noqa: S311 - the same each time
    assert refusal_of(error_string(len(WORDS), words=WORDS + rubbish)) is RejectReason.INSUFFICIENT_BALANCE
