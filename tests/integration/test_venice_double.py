"""The double of Venice: its documented answers, its hazards, and its switches."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.venice import VeniceDouble

PROCESSOR = "CASCADE_PAYMENT_PROCESSOR"


@pytest.fixture
def venice() -> Iterator[VeniceDouble]:
    with VeniceDouble.start() as double:
        yield double


def create(venice: VeniceDouble, timeout: float = 5.0, **details: Any) -> httpx.Response:
    """Asks for a transfer; by default of 1.5 ducats to Marco_Polo."""
    wish = {"targetCitizenUsername": "Marco_Polo", "amount": 1.5, "notes": "[ref]"} | details
    body = {"citizenUsername": PROCESSOR, "stratagemType": "transfer_ducats", "stratagemDetails": wish}
    return httpx.post(f"{venice.url}/api/stratagems/try-create", json=body, timeout=timeout, trust_env=False)


def get(venice: VeniceDouble, path: str, **query: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(venice.url + path, params=query, trust_env=False).json()
    return found


def test_a_transfer_moves_ducats_and_shows_in_the_list(venice: VeniceDouble) -> None:
    assert create(venice).json()["success"] is True
    assert venice.control.balance("Marco_Polo") == Decimal("1.5")
    assert venice.control.balance(PROCESSOR) == Decimal(10**9) - Decimal("1.5")
    wanted = {"executedBy": PROCESSOR, "type": "transfer_ducats", "TargetCitizen": "Marco_Polo"}
    (shown,) = get(venice, "/api/stratagems", **wanted)["stratagems"]
    assert (shown["status"], shown["targetCitizen"]) == ("executed", "Marco_Polo")
    notes, _ = json.JSONDecoder().raw_decode(shown["notes"])
    assert (notes["initial_notes"], notes["amount"]) == ("[ref]", 1.5)
    assert "Successfully transferred" in shown["notes"]
    assert get(venice, "/api/stratagems", TargetCitizen="Veronica")["stratagems"] == []
    assert get(venice, "/api/stratagems", status="active")["stratagems"] == []


def test_citizens_are_looked_up_by_name(venice: VeniceDouble) -> None:
    (marco,) = get(venice, "/api/citizens", Username="Marco_Polo")["citizens"]
    assert (marco["username"], marco["ducats"]) == ("Marco_Polo", 0)
    assert get(venice, "/api/citizens", Username="nobody") == {"success": True, "citizens": []}
    assert get(venice, "/api/health") == {"status": "healthy"}


def test_the_same_request_twice_makes_two_transfers(venice: VeniceDouble) -> None:
    for _ in range(2):
        create(venice)
    assert len(venice.control.transfers("[ref]")) == 2
    assert venice.control.transfers("[other]") == []


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"amount": 0}, "positive"),
        ({"amount": -1}, "positive"),
        ({"amount": "many"}, "valid number"),
        ({"amount": None}, ""),
        ({"targetCitizenUsername": "nobody"}, "Target citizen 'nobody' not found"),
        ({"targetCitizenUsername": PROCESSOR}, "oneself"),
        ({"amount": 10**12}, "insufficient funds"),
        ({"influence": 3}, 'Unknown field name: "influence"'),
    ],
)
def test_what_cannot_be_is_refused_and_moves_nothing(venice: VeniceDouble, details: Any, words: str) -> None:
    answer = create(venice, **details)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert words in answer.json()["error"]
    assert venice.control.transfers() == []


def test_a_malformed_request_is_refused(venice: VeniceDouble) -> None:
    answer = httpx.post(f"{venice.url}/api/stratagems/try-create", content=b"{", trust_env=False)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request payload")


def test_messages_are_kept_for_their_receiver(venice: VeniceDouble) -> None:
    body = {"sender": PROCESSOR, "receiver": "Marco_Polo", "content": "<b>hello</b>", "type": "payment"}
    answer = httpx.post(f"{venice.url}/api/messages/send", json=body, trust_env=False).json()
    assert answer["message"]["content"] == "<b>hello</b>"
    assert [one["content"] for one in venice.control.messages("Marco_Polo")] == ["<b>hello</b>"]
    assert httpx.post(f"{venice.url}/api/messages/send", json={}, trust_env=False).status_code == 400
    page = httpx.get(venice.url, trust_env=False).text
    assert "&lt;b&gt;hello" in page
    assert "<b>hello" not in page


@pytest.mark.parametrize(
    ("switch", "status", "moved"),
    [
        ("error_rate", 500, 0),
        ("unknown_field_rate", 422, 0),
        ("error_after_effect_rate", 500, 1),
        ("malformed_rate", 200, 1),
        ("execute_twice_rate", 200, 2),
        ("duplicate_request_rate", 200, 2),
        ("half_done_rate", 200, 1),
    ],
)
def test_each_fault_does_what_it_says(venice: VeniceDouble, switch: str, status: int, moved: int) -> None:
    venice.control.set_chaos(**{switch: 1.0})
    answer = create(venice)
    assert answer.status_code == status
    assert len(venice.control.transfers()) == moved
    venice.control.reset_chaos()
    statuses = [one["status"] for one in get(venice, "/api/stratagems")["stratagems"]]
    assert ("failed" in statuses) == (switch == "half_done_rate")
    assert (answer.headers["content-type"] == "application/json") == (switch != "malformed_rate")


@pytest.mark.parametrize(
    ("switch", "fault", "moved"),
    [
        ("lost_answer_rate", httpx.RemoteProtocolError, 1),
        ("hang_rate", httpx.ReadTimeout, 1),
        ("hang_before_rate", httpx.ReadTimeout, 0),
    ],
)
def test_an_answer_can_be_lost(venice: VeniceDouble, switch: str, fault: type[Exception], moved: int) -> None:
    venice.control.set_chaos(**{switch: 1.0})
    with pytest.raises(fault):
        create(venice, timeout=0.3)
    assert len(venice.control.transfers()) == moved
    begun = time.monotonic()
    venice.stop()
    assert time.monotonic() - begun < 2


def test_an_effect_can_come_late(venice: VeniceDouble) -> None:
    venice.control.set_chaos(late_effect_rate=1.0, late_effect_seconds=0.2)
    assert create(venice).status_code == 504
    assert venice.control.transfers() == []
    time.sleep(0.5)
    assert len(venice.control.transfers()) == 1


def test_lists_can_be_replaced_by_what_means_nothing(venice: VeniceDouble) -> None:
    create(venice)
    venice.control.set_chaos(fallback_rate=1.0)
    citizens, stratagems = get(venice, "/api/citizens", Username="nobody"), get(venice, "/api/stratagems")
    assert (len(citizens["citizens"]), citizens["_fallback"]) == (3, True)
    assert (stratagems["stratagems"], stratagems["_fallbackError"]) == ([], True)


def test_a_stratagem_waits_for_the_scheduler_and_may_fail_then(venice: VeniceDouble) -> None:
    venice.control.set_chaos(process_seconds=-1)
    venice.control.add_citizen("Veronica")
    create(venice)
    create(venice, targetCitizenUsername="Veronica")
    venice.control.remove_citizen("Veronica")
    assert {one["status"] for one in get(venice, "/api/stratagems")["stratagems"]} == {"active"}
    venice.control.process_now()
    shown = {one["targetCitizen"]: one for one in get(venice, "/api/stratagems")["stratagems"]}
    assert shown["Marco_Polo"]["status"] == "executed"
    assert shown["Veronica"]["status"] == "failed"
    assert "[ERROR] Receiver Veronica not found." in shown["Veronica"]["notes"]
    assert len(venice.control.transfers()) == 1


def test_everything_outlives_the_process(tmp_path: Path) -> None:
    with VeniceDouble.start(tmp_path) as first:
        create(first)
    with VeniceDouble.start(tmp_path) as second:
        assert second.control.balance("Marco_Polo") == Decimal("1.5")
        assert len(second.control.transfers("[ref]")) == 1


def test_in_an_open_city_whoever_has_a_proper_name_is_a_citizen() -> None:
    with VeniceDouble.start(open_city=True) as venice:
        assert get(venice, "/api/citizens", Username="Anybody")["citizens"]
        assert not get(venice, "/api/citizens", Username="no body")["citizens"]


def test_it_is_steered_over_http_from_this_machine_alone(venice: VeniceDouble) -> None:
    def steer(verb: str, **options: Any) -> httpx.Response:
        return httpx.post(f"{venice.url}/_double/{verb}", trust_env=False, **options)

    assert steer("set_chaos", json={"error_rate": 1.0}).status_code == 200
    assert create(venice).status_code == 500
    assert steer("set_chaos", json={"no_such_rate": 1.0}).status_code == 400
    assert steer("set_chaos", json={"error_rate": 2.0}).status_code == 400
    assert steer("stop", json={}).status_code == 404
    assert steer("reset_chaos", content=b"{}").status_code == 415
    assert steer("reset_chaos", json={}).status_code == 200
    create(venice)
    assert get(venice, "/_double/state")["balances"]["Marco_Polo"] == "1.5"
    foreign = httpx.get(venice.url, headers={"host": "evil.example"}, trust_env=False)
    assert foreign.status_code == 421
