"""The words of the code are the field's: docstrings begin with a verb, and words that have gone stay away."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_VERB = re.compile(
    "A|All|An|Against|As|Both|By|Every|Everything|For|From|How|If|In|It|Its|Less|Nobody|None|Nothing|Of|On|One|Or|Some|"
    "That|The|Their|Them|These|They|This|Those|To|Two|What|When|Where|Whether|Which|Who|Whom|Whose|Why|With|Without|[a-z].*"
)
"""First words that begin a description, not an order. A closed list: nouns in the place of verbs are for reviewers."""
QUESTION = re.compile(r"(What|Who|Whoever|How|Whether|Where|Why|When|Nobody|Everybody|Everything|Somebody)\b")
"""First words of a sentence about something, where its name would say more."""
GONE = {
    r"\bwaist\b": "booking",
    r"\bthe house\b": "the service; outgoing deliveries",
    r"\bpost_office\b": "tests.support.delivery",
    r"cascade[./](store|rails|delivery|pictures|gasless|fulfillment|exchange)\b": "db, adapters, charts, services",
    r"(domain|db)[./]rate_": "cascade.rate",
    r"(services[./](pricing|ticks|quotation|city)|workers[./](tick_worker|metrics_poller))\b": "cascade.rate",
    r"api[./](checkout|bounds|hub|limits)\b": "api.pages, api.request_limits, api.streams",
    r"cascade[./]domain[./](addresses|deliveries|events|fees|ledger|relay_policy)\b": "internet_addresses, "
    "delivery_states, order_events, gas_fees, postings, relay_batch_rules",
    r"\bquietly=": "notify=",
}
"""Patterns of words that have gone, and what stands in their place."""
HISTORY = ("CHANGELOG.md", "cascade/db/migrations/", "tests/unit/test_language.py")
"""What was written then keeps its words: applied migrations never change."""


def documented(file: Path) -> Iterator[tuple[str, str]]:
    """Each function of a module that has a docstring, with the first word of it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (docstring := ast.get_docstring(node)):
            yield node.name, re.split(r"[\s,.:;]", docstring)[0]


@pytest.mark.parametrize("package", ["cascade", "api"])
def test_docstrings_of_functions_begin_with_a_verb(package: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {name}: {word}"
        for file in sorted((ROOT / package).rglob("*.py"))
        for name, word in documented(file)
        if NO_VERB.fullmatch(word)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["cascade", "api", "scripts"])
def test_docstrings_of_modules_and_classes_name_what_they_are(package: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {docstring.splitlines()[0]}"
        for file in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef) and (docstring := ast.get_docstring(node))
        if QUESTION.match(docstring)
    ]
    assert not wrong, "\n".join(wrong)


def test_words_that_have_gone_stay_away() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    texts = (".py", ".md", ".html", ".toml", ".sql", ".js", ".sol", ".yaml")
    found = [
        f"{name}:{number}: {match[0]!r}, now: {instead}"
        for name in tracked.splitlines()
        if name.endswith(texts) and not name.startswith(HISTORY)
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1)
        for pattern, instead in GONE.items()
        for match in re.finditer(pattern, line)
    ]
    assert not found, "\n".join(found)
