"""Runs all of slither's detectors. Every finding has its answer in answers.toml, and every answer its finding.

.analysis/bin/python -m tests.analysis.findings
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from slither.detectors import all_detectors
from slither.detectors.abstract_detector import AbstractDetector

from tests.analysis.source import ROOT, read

ANSWERS = Path(__file__).with_name("answers.toml")
Finding = tuple[str, str]
"""The detector's name, and where in our contracts it points to."""


def main() -> None:
    """Exit 1 when a finding has no answer, or an answer no finding."""
    os.chdir(ROOT)
    logging.disable(logging.WARNING)
    slither = read()
    detectors = [
        member
        for _, member in inspect.getmembers(all_detectors, inspect.isclass)
        if issubclass(member, AbstractDetector)
    ]
    for detector in detectors:
        slither.register_detector(detector)
    found = Counter(_place(result) for results in slither.run_detectors() for result in results)
    answered = Counter((answer["detector"], answer["at"]) for answer in tomllib.loads(ANSWERS.read_text())["answer"])

    ours = {finding for finding in found if finding[1]}
    for detector, at in sorted(ours - set(answered)):
        print(f"no answer in {ANSWERS.name}: {detector} at {at}")
    for detector, at in sorted(set(answered) - ours):
        print(f"answered in {ANSWERS.name}, but not found any more: {detector} at {at}")
    count = sum(found[finding] for finding in ours)
    print(f"slither: {len(detectors)} detectors, {count} findings, {len(answered)} answers")
    sys.exit(ours != set(answered) or max(answered.values(), default=1) > 1)


def _place(result: dict[str, Any]) -> Finding:
    """Empty for what is not in our contracts."""
    for element in result["elements"]:
        file = element["source_mapping"]["filename_relative"]
        if file.startswith("contracts/") and element["type"] in ("function", "event", "contract", "variable"):
            parent = element.get("type_specific_fields", {}).get("parent", {}).get("name", "")
            return result["check"], f"{parent}.{element['name']}".lstrip(".")
    return result["check"], next(
        (e["name"] for e in result["elements"] if e["source_mapping"]["filename_relative"].startswith("contracts/")), ""
    )


if __name__ == "__main__":
    main()
