"""What the relayer sends together, and what each lane may spend."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain.gas_fees import GWEI
from cascade.domain.relay_batch_rules import Lane, Spent, gas_limit, room, together
from cascade.domain.relay_items import RelayItem, RelayKind, RelayState

LIMIT = 10**20
PLENTY = 10**30
EIP_7825 = 16_777_216


def item(id_: int, *, payer: str | None = None, bound: int | None = None, token: str = "USDC") -> RelayItem:  # noqa: S107
    kind = RelayKind.COLLECT if payer is None else RelayKind.AUTHORIZATION
    signature = None if payer is None else b"\1"
    return RelayItem(
        id_, "order", id_.to_bytes(32), kind, token, payer, signature, False, RelayState.QUEUED, None, None, 0, 0, bound
    )


def signed(bounds: Sequence[int | None]) -> list[RelayItem]:
    return [item(n, payer=f"payer {n}", bound=bound) for n, bound in enumerate(bounds)]


def ids(group: Sequence[RelayItem]) -> list[int]:
    return [each.id for each in group]


@pytest.mark.parametrize("lane", Lane)
def test_no_transaction_exceeds_what_the_chain_takes(lane: Lane) -> None:
    size = room(lane, 30 * GWEI, PLENTY, batch=10_000)
    assert gas_limit(lane, size) <= EIP_7825 < gas_limit(lane, size + 1)


@pytest.mark.parametrize("lane", Lane)
@given(left=st.integers(-LIMIT, LIMIT), fee=st.integers(1, 1000 * GWEI), batch=st.integers(1, 50))
def test_a_group_fits_what_is_left(lane: Lane, left: int, fee: int, batch: int) -> None:
    size = room(lane, fee, left, batch=batch)
    assert 0 <= size <= batch
    assert size == 0 or gas_limit(lane, size) * fee <= left
    if size < batch:  # one more would not fit
        assert gas_limit(lane, size + 1) * fee > left or gas_limit(lane, size + 1) > EIP_7825


def test_a_signature_has_the_gas_that_the_router_gives_to_code() -> None:
    assert gas_limit(Lane.KEYS, 2) - gas_limit(Lane.KEYS, 1) == 460_000
    assert gas_limit(Lane.CODE, 2) - gas_limit(Lane.CODE, 1) == 460_000


@given(st.dictionaries(st.sampled_from(Lane), st.integers(0, LIMIT)), st.sampled_from(Lane))
def test_a_lane_never_spends_what_is_kept_for_another(before: dict[Lane, int], lane: Lane) -> None:
    spent = Spent(before)
    left = max(0, spent.left(LIMIT, lane))
    after = Spent(before | {lane: before.get(lane, 0) + left})
    if sum(before.values()) <= LIMIT:
        assert sum(after.by_lane.values()) <= LIMIT
    for other in set(Lane) - {lane}:
        if left and before.get(other, 0) < LIMIT // 4:  # its part is still there
            assert LIMIT - sum(after.by_lane.values()) >= LIMIT // 4 - before.get(other, 0)


def test_alone_a_lane_has_half_of_a_limit() -> None:
    assert Spent({}).left(LIMIT, Lane.CODE) == LIMIT // 2
    assert Spent({Lane.CODE: LIMIT // 2}).left(LIMIT, Lane.CODE) == 0
    assert Spent({Lane.CODE: LIMIT // 2}).left(LIMIT, Lane.COLLECTS) == LIMIT // 4


def test_a_payer_has_one_payment_in_a_transaction() -> None:
    waiting = [item(1, payer="a"), item(2, payer="a"), item(3, payer="b")]
    assert ids(together(waiting, 20)) == [1, 3]


def test_transfers_share_a_transaction_in_one_token() -> None:
    waiting = [item(1), item(2, token="USDT"), item(3)]
    assert ids(together(waiting, 20)) == [1, 3]


def test_what_failed_as_a_whole_goes_in_smaller_groups() -> None:
    assert ids(together(signed([2, 2, 2, 2]), 20)) == [0, 1]
    assert ids(together(signed([1, None, None]), 20)) == [0]
    assert ids(together(signed([None, None, 1, None]), 20)) == [0, 1, 3]
    assert ids(together(signed([None, 3, None, None]), 20)) == [0, 1, 2]


@given(st.lists(st.one_of(st.none(), st.integers(1, 20)), min_size=1, max_size=30), st.integers(1, 20))
def test_the_oldest_always_goes_and_no_bound_is_exceeded(bounds: list[int | None], largest: int) -> None:
    group = together(signed(bounds), largest)
    assert group[0].id == 0
    assert len(group) <= min([largest, *(each.together for each in group if each.together is not None)])
