"""The double of Venice: its documented answers, its hazards, and its switches."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.ports import free_port
from sandbox.venice import Chaos, VeniceDouble

ROOT = Path(__file__).parents[2]

PROCESSOR = "CASCADE_PAYMENT_PROCESSOR"


@pytest.fixture
def venice() -> Iterator[VeniceDouble]:
    with VeniceDouble.start() as double:
        yield double


def create(venice: VeniceDouble, timeout: float = 5.0, **details: Any) -> httpx.Response:
    """Asks for a transfer; by default of 1.5 ducats to Marco_Polo."""
    wish = {"targetCitizenUsername": "Marco_Polo", "amount": 1.5, "notes": "[ref]"} | details
    return ask(venice.url, stratagemDetails=wish, timeout=timeout)


def ask(url: str, timeout: float = 5.0, **body: Any) -> httpx.Response:
    """Sends a request to make a stratagem, as the keyword arguments have it."""
    wish = {
        "citizenUsername": PROCESSOR,
        "stratagemType": "transfer_ducats",
        "stratagemDetails": {"targetCitizenUsername": "Marco_Polo", "amount": 1.5, "notes": "[ref]"},
    } | body
    return httpx.post(f"{url}/api/stratagems/try-create", json=wish, timeout=timeout, trust_env=False)


def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits until something is true; fails if it does not become so in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


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


def test_a_stratagem_has_the_fields_that_venice_gives_it(venice: VeniceDouble) -> None:
    answer = create(venice, reason="why", name="Ducats", description="of an order").json()
    assert re.fullmatch(rf"transfer_ducats_{PROCESSOR}_Marco_Polo_\d{{10}}", answer["stratagemId"])
    (shown,) = get(venice, "/api/stratagems")["stratagems"]
    first_line, last_line = shown["notes"].split("\n")
    notes = json.loads(first_line)
    assert list(notes) == ["initial_notes", "amount", "reason", "sender_balance_before", "created_at"]
    assert (notes["reason"], notes["sender_balance_before"]) == ("why", 10**9)
    assert re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d\] Successfully transferred 1\.5 ducats", last_line)
    with pytest.raises(ValueError, match="Extra data"):
        json.loads(shown["notes"])
    made = datetime.fromisoformat(notes["created_at"])
    assert datetime.fromisoformat(shown["expiresAt"]) - made == timedelta(minutes=5)
    assert timedelta(0) <= datetime.fromisoformat(shown["executedAt"]) - made < timedelta(seconds=5)
    assert shown["stratagemId"].startswith("rec")
    said = [shown[name] for name in ("type", "variant", "executedBy", "category", "name", "description")]
    assert said == ["transfer_ducats", "instant", PROCESSOR, "economic", "Ducats", "of an order"]


def test_the_list_is_in_order_limited_and_filtered_by_fields_that_there_are(venice: VeniceDouble) -> None:
    for notes in ("one", "two"):
        create(venice, notes=notes)
    venice.control.set_chaos(process_seconds=-1)
    name = create(venice, notes="three").json()["stratagemId"]

    def listed(**query: str) -> list[str]:
        found = get(venice, "/api/stratagems", **query)["stratagems"]
        return [json.JSONDecoder().raw_decode(one["notes"])[0]["initial_notes"] for one in found]

    assert listed() == ["two", "one", "three"]
    assert listed(limit="1") == ["two"]
    assert listed(status="active") == ["three"]
    assert "three" in listed(StratagemId=name)
    assert listed(StratagemId="another") == listed(executedBy="Marco_Polo") == listed(type="another") == []
    assert httpx.get(f"{venice.url}/api/stratagems?limit=-1", trust_env=False).status_code == 400
    for no_field in ("targetCitizen", "NoSuch"):
        answer = get(venice, "/api/stratagems", **{no_field: "Marco_Polo"})
        assert (answer["stratagems"], answer["_fallbackError"]) == ([], True)


def test_a_transfer_leaves_its_receiver_a_notification(venice: VeniceDouble) -> None:
    create(venice)
    create(venice, targetCitizenUsername="nobody")
    (told,) = venice.control.notifications("Marco_Polo")
    assert told["type"] == "payment_received"
    assert "1.5 ducats" in told["content"]
    assert venice.control.notifications(PROCESSOR) == venice.control.notifications("nobody") == []


def test_citizens_are_looked_up_by_name(venice: VeniceDouble) -> None:
    (marco,) = get(venice, "/api/citizens", Username="Marco_Polo")["citizens"]
    assert marco == {"username": "Marco_Polo", "ducats": 0, "inVenice": True}
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
        ({"amount": "5"}, "valid number"),
        ({"amount": True}, "valid number"),
        ({"amount": None}, "valid number"),
        ({"amount": 0.0000001}, "a millionth"),
        ({"notes": ["a list"]}, "Invalid request payload"),
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


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"citizenUsername": None}, "Invalid request payload"),
        ({"stratagemDetails": "all"}, "Invalid request payload"),
        ({"stratagemType": "undercut"}, "Unknown stratagem type"),
        ({"citizenUsername": "nobody"}, "Sender citizen 'nobody' not found"),
        ({"stratagemDetails": {"targetCitizenUsername": "Marco_Polo"}}, "amount"),
        ({"stratagemDetails": {"amount": 1}}, "targetCitizenUsername is required"),
    ],
)
def test_a_request_of_another_shape_is_refused(venice: VeniceDouble, body: dict[str, Any], words: str) -> None:
    answer = ask(venice.url, **body)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert words in answer.json()["error"]
    assert get(venice, "/api/stratagems")["stratagems"] == []
    no_json = httpx.post(f"{venice.url}/api/stratagems/try-create", content=b"{", trust_env=False)
    assert (no_json.status_code, no_json.json()["error"]) == (400, "Invalid request payload")


def test_a_sender_without_funds_is_refused_in_venices_words(venice: VeniceDouble) -> None:
    venice.control.fund_processor(Decimal(10))
    words = f"Sender {PROCESSOR} has insufficient funds (10.0 ducats) to transfer 525.0 ducats"
    assert create(venice, amount=525).json() == {"success": False, "error": words}
    assert venice.control.balance(PROCESSOR) == 10


def test_messages_are_kept_for_their_receiver(venice: VeniceDouble) -> None:
    body = {"sender": PROCESSOR, "receiver": "Marco_Polo", "content": "<b>hello</b>", "type": "payment"}
    answer = httpx.post(f"{venice.url}/api/messages/send", json=body, trust_env=False).json()
    said = answer["message"]
    assert said.pop("messageId")
    assert datetime.fromisoformat(said.pop("createdAt"))
    assert said == body | {"channel": None, "readAt": None}
    assert [one["content"] for one in venice.control.messages("Marco_Polo")] == ["<b>hello</b>"]
    for left_out in ("sender", "receiver", "content"):
        less = {name: value for name, value in body.items() if name != left_out}
        assert httpx.post(f"{venice.url}/api/messages/send", json=less, trust_env=False).status_code == 400
    assert len(venice.control.messages("Marco_Polo")) == 1
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
        ("forget_rate", 200, 0),
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
    shown = get(venice, "/api/stratagems")["stratagems"]
    assert ("failed" in [one["status"] for one in shown]) == (switch == "half_done_rate")
    assert any("\n[ERROR] Processing error: " in one["notes"] for one in shown) == (switch == "half_done_rate")
    assert (answer.headers["content-type"] == "application/json") == (switch != "malformed_rate")
    assert len(shown) == (0 if moved == 0 else 2 if switch == "duplicate_request_rate" else 1)
    assert venice.control.balance("Marco_Polo") == moved * Decimal("1.5")


def test_every_route_can_fail_or_be_slow(venice: VeniceDouble) -> None:
    venice.control.set_chaos(error_rate=1.0)
    for path in ("/api/health", "/api/citizens", "/api/stratagems"):
        answer = httpx.get(venice.url + path, trust_env=False)
        assert (answer.status_code, answer.json()["success"]) == (500, False)
    message = {"sender": "a", "receiver": "Marco_Polo", "content": "c", "type": "t"}
    assert httpx.post(f"{venice.url}/api/messages/send", json=message, trust_env=False).status_code == 500
    assert venice.control.messages("Marco_Polo") == []
    venice.control.reset_chaos()
    venice.chaos.slow_seconds = 0.3
    begun = time.monotonic()
    get(venice, "/api/health")
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(
    ("switch", "error", "moved"),
    [
        ("lost_answer_rate", httpx.RemoteProtocolError, 1),
        ("hang_rate", httpx.ReadTimeout, 1),
        ("hang_before_rate", httpx.ReadTimeout, 0),
    ],
)
def test_an_answer_can_be_lost(venice: VeniceDouble, switch: str, error: type[Exception], moved: int) -> None:
    venice.control.set_chaos(**{switch: 1.0})
    with pytest.raises(error):
        create(venice, timeout=0.3)
    assert len(venice.control.transfers()) == moved
    begun = time.monotonic()
    venice.stop()
    assert time.monotonic() - begun < 2


def test_an_answer_that_hangs_is_given_up_with_its_client_or_with_the_double(venice: VeniceDouble) -> None:
    venice.control.set_chaos(hang_before_rate=1.0)
    before = threading.active_count()
    with pytest.raises(httpx.ReadTimeout):
        create(venice, timeout=0.2)
    until(lambda: threading.active_count() == before, seconds=2)
    stopping = threading.Timer(0.3, venice.stop)
    stopping.start()
    begun = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        create(venice, timeout=20)
    assert time.monotonic() - begun < 3
    stopping.join()


def test_an_effect_can_come_late(venice: VeniceDouble) -> None:
    venice.control.set_chaos(late_effect_rate=1.0, late_effect_seconds=0.2)
    answer = create(venice)
    assert (answer.status_code, "timed out" in answer.json()["error"]) == (504, True)
    assert venice.control.transfers() == []
    until(venice.control.transfers)
    assert len(venice.control.transfers()) == 1


def test_lists_can_be_replaced_by_what_means_nothing(venice: VeniceDouble) -> None:
    create(venice)
    venice.control.set_chaos(fallback_rate=1.0)
    citizens, stratagems = get(venice, "/api/citizens", Username="nobody"), get(venice, "/api/stratagems")
    assert [one["username"] for one in citizens["citizens"]] == ["compagno", "marco_polo", "doge_venice"]
    assert citizens["_fallback"] is True
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


def test_who_has_spent_it_by_then_fails(venice: VeniceDouble) -> None:
    venice.control.set_chaos(process_seconds=-1)
    create(venice)
    venice.control.fund_processor(Decimal(1))
    venice.control.process_now()
    (shown,) = get(venice, "/api/stratagems")["stratagems"]
    assert shown["status"] == "failed"
    assert shown["notes"].endswith("\n[ERROR] Insufficient funds: 1.0 < 1.5")
    assert venice.control.transfers() == []


def test_the_scheduler_executes_by_itself_after_its_time(venice: VeniceDouble) -> None:
    venice.chaos.process_seconds = 0.3
    create(venice)
    assert venice.control.transfers() == []
    until(venice.control.transfers)
    (shown,) = get(venice, "/api/stratagems")["stratagems"]
    made = datetime.fromisoformat(json.JSONDecoder().raw_decode(shown["notes"])[0]["created_at"])
    assert datetime.fromisoformat(shown["executedAt"]) - made >= timedelta(seconds=0.3)


def test_everything_outlives_a_kill(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "sandbox.venice", "--closed", "--port", str(port), "--directory", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert url in process.stdout.readline().decode()
            assert ask(url).status_code == 200
        finally:
            process.kill()
    with VeniceDouble.start(tmp_path) as venice:
        assert [(one.target, one.amount) for one in venice.control.transfers("[ref]")] == [
            ("Marco_Polo", Decimal("1.5"))
        ]
        assert venice.control.balance(PROCESSOR) == Decimal(10**9) - Decimal("1.5")
        assert [one["status"] for one in get(venice, "/api/stratagems")["stratagems"]] == ["executed"]


def test_in_an_open_city_whoever_has_a_proper_name_is_a_citizen() -> None:
    with VeniceDouble.start(open_city=True) as venice:
        assert get(venice, "/api/citizens", Username="Anybody")["citizens"]
        assert not any(get(venice, "/api/citizens", Username=name)["citizens"] for name in ("no body", "a" * 65))
        assert create(venice, targetCitizenUsername="newcomer").status_code == 200
        assert venice.control.balance("newcomer") == Decimal("1.5")


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
    assert steer("balance", json={"username": "Marco_Polo"}).json() == {"result": "1.5"}
    (transfer,) = steer("transfers", json={"reference": "[ref]"}).json()["result"]
    assert (transfer["target"], transfer["amount"]) == ("Marco_Polo", "1.5")
    assert transfer in get(venice, "/_double/state")["transfers"]
    assert steer("messages", json={"receiver": "Marco_Polo"}).json() == {"result": []}
    assert len(steer("notifications", json={"username": "Marco_Polo"}).json()["result"]) == 1
    assert steer("set_chaos", json={"process_seconds": -1, "late_effect_seconds": 0.1}).status_code == 200
    assert steer("fund_processor", json={"ducats": 10.1}).status_code == 200
    assert get(venice, "/_double/state")["balances"][PROCESSOR] == "10.1"
    create(venice)
    assert steer("process_now", json={}).status_code == 200
    assert venice.control.balance("Marco_Polo") == 3
    steer("remove_citizen", json={"username": "Marco_Polo"})
    assert list(get(venice, "/_double/state")["balances"]) == [PROCESSOR]
    assert steer("add_citizen", json={"username": {}}).status_code == 400
    assert steer("reset_chaos", json={}).json() == {"result": Chaos().switches()}
    foreign = httpx.get(venice.url, headers={"host": "evil.example"}, trust_env=False)
    assert foreign.status_code == 421
