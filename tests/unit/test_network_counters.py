"""Counting by network: in memory that has a bound, whoever comes, and an IPv6 network for what it is."""

from __future__ import annotations

import ipaddress
import tracemalloc

from api.network_counters import WIDER, Counts, Shares


class Clock:
    """A clock that a test moves."""

    now = 6_000.0

    def __call__(self) -> float:
        return self.now


def test_a_network_has_its_share_in_a_minute_and_then_again() -> None:
    clock = Clock()
    counts = Counts(clock)
    assert [counts.take("read", "203.0.113.7", 3) for _ in range(5)] == [True, True, True, False, False]
    assert counts.take("order", "203.0.113.7", 3)
    assert counts.take("read", "203.0.113.8", 3)
    clock.now += 60
    assert not counts.take("read", "203.0.113.7", 3)  # all of the last minute still counts
    clock.now += 30
    assert [counts.take("read", "203.0.113.7", 3) for _ in range(2)] == [True, False]  # half of it does
    clock.now += 120
    assert counts.take("read", "203.0.113.7", 3)


def test_no_minute_lets_more_through_than_twice_the_share() -> None:
    clock = Clock()
    counts = Counts(clock)
    taken = []
    for step in range(3_000):  # five minutes, ten tries a second
        clock.now = 6_000 + step / 10
        if counts.take("read", "203.0.113.7", 60):
            taken.append(clock.now)
    assert max(sum(1 for at in taken if start <= at < start + 60) for start in range(6_000, 6_240)) <= 120
    assert 240 <= len(taken) <= 360


def test_a_costly_request_counts_for_more() -> None:
    counts = Counts(Clock())
    assert [counts.take("read", "203.0.113.7", 25, 10) for _ in range(3)] == [True, True, False]
    assert counts.take("read", "203.0.113.7", 25)
    assert Counts(Clock()).take("read", "203.0.113.7", 5, 10)  # one of them is always possible


def test_an_ipv4_address_is_the_same_however_it_is_written() -> None:
    counts = Counts(Clock())
    ways = ("203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107", "64:ff9b::203.0.113.7")
    assert [counts.take("read", way, 2) for way in ways] == [True, True, False, False]


def test_one_slash_64_is_one_client_and_one_slash_48_is_some() -> None:
    counts = Counts(Clock())
    base = int(ipaddress.ip_address("2001:db8:1::"))
    inside_64 = [counts.take("read", str(ipaddress.ip_address(base + number)), 10) for number in range(1000)]
    assert sum(inside_64) == 10
    inside_48 = [counts.take("read", str(ipaddress.ip_address(base + (number << 64))), 10) for number in range(1, 1000)]
    assert sum(inside_64) + sum(inside_48) == 10 * WIDER
    assert counts.take("read", "2001:db8:2::1", 10)


def test_more_addresses_than_are_kept_leave_memory_bounded_and_nothing_behind() -> None:
    clock = Clock()
    counts = Counts(clock)
    tracemalloc.start()
    try:
        for number in range(52_000):
            counts.take("read", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 100)
        for number in range(2_000):
            counts.take("read", str(ipaddress.ip_address((0x20010DB8 << 96) + (number << 64))), 100)
        assert len(counts) <= 50_000
        assert tracemalloc.get_traced_memory()[0] < 16 * 1024 * 1024
        clock.now += 60
        counts.take("read", "203.0.113.7", 100)
        clock.now += 60
        counts.take("read", "203.0.113.7", 100)
        assert len(counts) == 2  # the one that comes, in two minutes
        assert tracemalloc.get_traced_memory()[0] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_what_is_held_is_counted_by_network_and_given_back() -> None:
    shares = Shares(2)
    for number in range(2):
        assert not shares.is_full(f"2001:db8::{number}")
        shares.take(f"2001:db8::{number}")
    assert shares.is_full("2001:db8::ffff")
    assert not shares.is_full("2001:db8:0:1::1")
    for number in range(1, WIDER):
        for _ in range(2):
            shares.take(f"2001:db8:0:{number}::1")
    assert shares.is_full("2001:db8:0:ffff::1")  # the /48
    assert not shares.is_full("2001:db8:1::1")
    for number in range(2):
        shares.give_back(f"2001:db8::{number}")
    assert not shares.is_full("2001:db8::ffff")
    for number in range(1, WIDER):
        for _ in range(2):
            shares.give_back(f"2001:db8:0:{number}::1")
    assert len(shares) == 0
