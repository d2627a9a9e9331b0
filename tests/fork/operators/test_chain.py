"""Looking for a log at nodes that look through few blocks at once."""

import pytest
from ape.exceptions import ProviderError

from scripts._chain import newest_log

ADDRESS = "0x" + "11" * 20


class Node:
    """A chain of logs by block, at a node that refuses to look through more than `widest` blocks."""

    def __init__(self, head: int, logs: dict[int, str], widest: int) -> None:
        self.head, self.logs, self.widest = head, logs, widest
        self.asked: list[tuple[int, int]] = []

    def make_request(self, method, parameters):
        if method == "eth_blockNumber":
            return hex(self.head)
        start, end = (int(parameters[0][name], 16) for name in ("fromBlock", "toBlock"))
        if end - start + 1 > self.widest:
            raise ProviderError("query returned more than 10000 results")
        self.asked.append((start, end))
        return [{"data": data} for block, data in sorted(self.logs.items()) if start <= block <= end]


@pytest.mark.parametrize("widest", [1, 7, 100, 1000])
@pytest.mark.parametrize("since", [0, 13])
def test_finds_the_newest_however_few_blocks_a_node_looks_through(widest, since):
    node = Node(99, {13: "first", 42: "second", 43: "third"}, widest)

    assert newest_log(node, ADDRESS, [], since) == {"data": "third"}
    assert newest_log(node, ADDRESS, [], since, lambda log: log["data"] == "first") == {"data": "first"}
    assert newest_log(node, ADDRESS, [], since, lambda log: log["data"] == "fourth") is None
    assert newest_log(Node(99, {12: "too old"}, widest), ADDRESS, [], 13) is None


def test_looks_into_every_block_once():
    node = Node(99, {}, 7)

    assert newest_log(node, ADDRESS, [], 5) is None

    assert sorted(block for start, end in node.asked for block in range(start, end + 1)) == list(range(5, 100))


def test_a_node_that_answers_nothing_at_all_is_not_taken_for_an_empty_chain():
    with pytest.raises(ProviderError):
        newest_log(Node(99, {}, 0), ADDRESS, [])
