"""Every name that INVARIANTS.md mentions is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON_TESTS = ROOT / "tests" / "contracts"
DOCUMENT = (PYTHON_TESTS / "INVARIANTS.md").read_text()
SOLIDITY = [
    file.read_text() for folder in ("contracts", "tests/forge") for file in sorted((ROOT / folder).rglob("*.sol"))
]


def has(contract: str, function: str) -> bool:
    """Whether a source has both the contract and the function."""
    definition = r"constructor\b" if function == "constructor" else rf"function {function}\b"
    return any(
        re.search(rf"^(?:abstract )?contract {contract}\b", source, re.MULTILINE) and re.search(definition, source)
        for source in SOLIDITY
    )


@pytest.mark.parametrize(("contract", "function"), sorted(set(re.findall(r"`([A-Z]\w+)\.(\w+)`", DOCUMENT))))
def test_every_solidity_function_that_it_names_is_there(contract: str, function: str) -> None:
    assert has(contract, function)


@pytest.mark.parametrize(("file", "test"), sorted(set(re.findall(r"`(test_\w+\.py)::(\w+)`", DOCUMENT))))
def test_every_python_test_that_it_names_is_there(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (PYTHON_TESTS / file).read_text()


def test_each_line_names_what_holds_it_and_what_sees_it() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| always")]
    assert len(rows) > 20
    for row in rows:
        _, _, mechanism, tests, _ = row.split("|")
        assert "`" in mechanism, row
        assert "`" in tests, row


def test_every_rule_is_in_it() -> None:
    (rules,) = [source for source in SOLIDITY if "abstract contract Rules " in source]
    for rule in re.findall(r"function (\w+)\([^)]*\) internal", rules):
        assert rule in DOCUMENT, rule
