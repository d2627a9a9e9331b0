"""The list of guards does not rot."""

import pytest

from tests.mutants import ROOT, Guard, guards


@pytest.mark.parametrize("guard", guards(), ids=lambda guard: guard.name)
def test_a_guard_stands_where_the_list_says(guard: Guard) -> None:
    assert guard.old in (ROOT / guard.file).read_text()
    assert (ROOT / guard.test.partition("::")[0]).exists()


def test_every_guard_has_its_own_name() -> None:
    names = [guard.name for guard in guards()]
    assert len(names) == len(set(names))
