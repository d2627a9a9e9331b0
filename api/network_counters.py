"""Counts what networks ask for in a minute, in memory that has a bound."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from cascade.domain.internet_addresses import networks_of

WIDER: Final = 8
"""A wider network (a /48 of IPv6) may have so many times what one of its narrowest may have."""
MOST_NETWORKS: Final = 50_000
"""Counted for each kind of request and minute; the one that was seen first is forgotten for the next."""
_MINUTE: Final = 60.0


def shares_of(host: str, each: int) -> Iterable[tuple[str, int]]:
    """Return the networks of a client, each with the most that it may have."""
    for position, network in enumerate(networks_of(host)):
        yield network, each * WIDER**position


class Counts:
    """Count each network's requests in the last minute: this minute's, and the part of the last one's still in it.

    Both are dropped as a whole when their time is over, so that nothing has to be looked for and nothing is left.

    Args:
        clock: seconds, never going back.
        most_networks: most that are remembered for each kind and minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, most_networks: int = MOST_NETWORKS) -> None:
        self._clock = clock
        self._most = most_networks
        self._minute = 0
        self._now: dict[str, dict[str, int]] = {}
        self._before: dict[str, dict[str, int]] = {}

    def take(self, kind: str, host: str, most: int, cost: int = 1) -> bool:
        """Count a request, unless one of the client's networks has had its share.

        Args:
            kind: of request; each kind is counted for itself.
            host: the client's address.
            most: in a minute, for one IPv4 address or one /64 of IPv6.
            cost: what this one counts.
        """
        share_of_last = self._turn()
        now = self._now.setdefault(kind, {})
        before = self._before.get(kind, {})
        shares = list(shares_of(host, most))
        for network, share in shares:
            if now.get(network, 0) + share_of_last * before.get(network, 0) + cost > max(share, cost):
                return False
        for network, _ in shares:
            if network not in now and len(now) >= self._most:
                del now[next(iter(now))]
            now[network] = now.get(network, 0) + cost
        return True

    def __len__(self) -> int:
        """Return how many networks are remembered."""
        return sum(len(counted) for minute in (self._now, self._before) for counted in minute.values())

    def _turn(self) -> float:
        """Begin a new minute when it is time; return which part of the last one lies in the minute that ends now."""
        minute, second = divmod(self._clock(), _MINUTE)
        if minute != self._minute:
            self._before = self._now if minute == self._minute + 1 else {}
            self._now = {}
            self._minute = int(minute)
        return 1 - second / _MINUTE


class Shares:
    """Count what networks hold at the moment, such as open streams; what is given back is forgotten.

    Args:
        each: most for one IPv4 address or one /64 of IPv6.
    """

    def __init__(self, each: int) -> None:
        self._each = each
        self._held: Counter[str] = Counter()

    def is_full(self, host: str) -> bool:
        """Return whether one of the client's networks holds its share."""
        return any(self._held[network] >= share for network, share in shares_of(host, self._each))

    def take(self, host: str) -> None:
        """Hold one more."""
        self._held.update(networks_of(host))

    def give_back(self, host: str) -> None:
        """Hold one less."""
        for network in networks_of(host):
            self._held[network] -= 1
            if not self._held[network]:
                del self._held[network]

    def __len__(self) -> int:
        """Return how many networks hold something."""
        return len(self._held)
