"""The page of the rate in a real browser: its pictures, and how it follows the city while it is open."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import count
from pathlib import Path

import httpx
import psycopg
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from psycopg.rows import dict_row

from cascade.db import api_keys
from cascade.db.api_keys import Scope
from tests.browser.conftest import PATIENCE_MS, Opener, Watch
from tests.conftest import RunningCascade

KEY_NAME = "gazzetta-of-rialto"
_LOADED = "() => document.images.length === 2 && [...document.images].every((i) => i.complete && i.naturalWidth > 0)"
_ASKED_FOR = "(words) => [...document.images].every((image) => image.currentSrc.includes(words))"
_OUT_OF_VIEW = """() => [...document.querySelectorAll("body *:not(.unseen)")].filter((e) => {
  const { left, right } = e.getBoundingClientRect();
  const overflows = e.matches("h1, h2, p, a, b, dd, th, td") && e.clientWidth && e.scrollWidth > e.clientWidth;
  return left < -0.5 || right > innerWidth + 0.5 || overflows;
}).map((e) => e.outerHTML)"""


@pytest.fixture
def cascade_up(start_cascade: Callable[..., RunningCascade], tmp_path: Path) -> RunningCascade:
    """The whole system with a rate that moves every second, and far."""
    formula = (files("cascade") / "formula.toml").read_text()
    for name, value in (("version", '"swift"'), ("tick_seconds", "1"), ("pull_ppm", "500_000"), ("step_ppm", "50_000")):
        formula = re.sub(rf"^{name} = .*$", f"{name} = {value}", formula, flags=re.MULTILINE)
    path = tmp_path / "swift.toml"
    path.write_text(formula)
    return start_cascade(rate_formula=str(path))


Reporter = Callable[..., None]


@pytest.fixture
def report(cascade_up: RunningCascade, database_url: str) -> Reporter:
    """Reports signals of now, by kind."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        key = api_keys.add(connection, KEY_NAME, [Scope.SIGNALS])
    numbers = count()

    def report(ago: timedelta = timedelta(0), **values: str) -> None:
        at = (datetime.now(UTC) - ago).isoformat()
        batch = [
            {"id": f"s{next(numbers)}", "kind": kind, "value": value, "occurred_at": at}
            for kind, value in values.items()
        ]
        answer = httpx.post(
            f"{cascade_up.api}/api/economics/signals",
            json={"signals": batch},
            headers={"authorization": f"Bearer {key}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text

    return report


def price(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def await_first_tick(cascade: RunningCascade) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while httpx.get(f"{cascade.api}/rate/why.svg?size=wide&theme=light", trust_env=False).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def open_with_pictures(page: Page, cascade: RunningCascade, query: str = "") -> None:
    """Opens the page and waits until its pictures are there."""
    await_first_tick(cascade)
    page.goto(f"{cascade.api}/rate{query}")
    page.wait_for_function(_LOADED)


def test_the_rate_with_its_pictures(cascade_up: RunningCascade, page: Page) -> None:
    open_with_pictures(page, cascade_up)
    expect(price(page)).to_have_text(re.compile(r"^0\.1000 US dollars for one ducat$"))
    expect(page).to_have_title("0.1000 USD per ducat")
    expect(page.get_by_role("main")).to_contain_text("One US dollar buys 10 ducats.")
    expect(page.get_by_role("img", name="Line chart of the rate and its target.")).to_be_visible()
    expect(page.get_by_role("img", name="Bar chart of what each input adds")).to_be_visible()
    expect(page.get_by_role("table", name="Each input adds to the base")).to_contain_text("Missing: counts as neutral.")
    expect(page.get_by_text("Live.", exact=True)).to_be_visible()


def test_the_rate_moves_by_itself(cascade_up: RunningCascade, page: Page, report: Reporter) -> None:
    open_with_pictures(page, cascade_up, "?range=week")
    page.evaluate("window.sameDocument = true")
    week = page.get_by_role("link", name="Week")
    week.focus()
    drawn = page.evaluate("document.images[0].currentSrc")
    report(consciousness="9.25", coherence="99.5", recognition="17")
    report(timedelta(minutes=90), recognition="12")
    report(timedelta(hours=3), recognition="1")
    city = page.get_by_role("region", name="The city now")
    for words in ("9.25 of 10", "99.5 percent", "17 events in the last hour", "+5 against the hour before"):
        expect(city).to_contain_text(words)
    expect(price(page)).to_have_text(re.compile(r"^0\.(?!10)\d{4} US dollars for one ducat$"))
    expect(page.locator("#announcement")).to_have_text(re.compile(r"^0\.\d{4} US dollars for one ducat$"))
    expect(page).to_have_title(re.compile(r"^0\.(?!1000)\d{4} USD per ducat$"))
    expect(page.get_by_role("row", name="Coherence")).to_contain_text("99.5 %")
    page.wait_for_function("(before) => document.images[0].currentSrc !== before", arg=drawn)
    page.wait_for_function(_LOADED)
    assert "range=week" in page.evaluate("document.images[0].currentSrc")
    assert page.evaluate("window.sameDocument")
    expect(week).to_be_focused()
    assert KEY_NAME not in page.content()


def test_a_rate_that_stays_is_not_announced(cascade_up: RunningCascade, page: Page) -> None:
    open_with_pictures(page, cascade_up)
    for _ in range(2):
        tick = page.locator("#now").get_attribute("data-tick")
        expect(page.locator("#now")).not_to_have_attribute("data-tick", tick or "")
    expect(page.locator("#announcement")).to_be_empty()


def test_a_lost_stream_is_said_quietly_and_gotten_over(
    cascade_up: RunningCascade, context: BrowserContext, page: Page, watch: Watch
) -> None:
    context.route("**/cascade/events", lambda route: route.fulfill(status=503))
    open_with_pictures(page, cascade_up)
    lost = page.get_by_text("Not live at the moment; trying again.")
    expect(lost).to_be_visible()
    expect(page.get_by_text("Live.", exact=True)).to_be_hidden()
    expect(page.get_by_role("alert")).to_have_count(0)
    context.unroute("**/cascade/events")
    expect(page.get_by_text("Live.", exact=True)).to_be_visible()
    expect(lost).to_be_hidden()
    watch.forget("503")


def test_it_speaks_italian_also_of_what_comes_in(
    cascade_up: RunningCascade, new_context: Opener, report: Reporter
) -> None:
    page = new_context(locale="it-IT").new_page()
    open_with_pictures(page, cascade_up)
    expect(price(page)).to_have_text("0,1000 dollari USA per un ducato")
    report(consciousness="9.25", recognition="1017")
    report(timedelta(minutes=90), recognition="12")
    report(timedelta(hours=3), recognition="1")
    city = page.get_by_role("region", name="La città adesso")
    for words in ("9,25 su 10", "1.017 eventi nell'ultima ora", "+1.005 rispetto all'ora precedente"):
        expect(city).to_contain_text(words)
    expect(page.locator("#newest-time")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    expect(page.locator("#announcement")).to_have_text(re.compile(r"^0,(?!10)\d{4} dollari USA per un ducato$"))
    page.wait_for_function(_LOADED)
    assert all("lang=it" in address for address in page.evaluate("[...document.images].map((one) => one.currentSrc)"))
    page.get_by_role("link", name="English").click()
    expect(city).to_have_count(0)
    expect(page.get_by_role("region", name="The city now")).to_contain_text("1,017 events in the last hour")
    page.get_by_role("link", name="Buy ducats").click()
    expect(page).to_have_url(f"{cascade_up.api}/pay")


@pytest.mark.parametrize(("language", "million"), [("en-US", "+1,000,000"), ("it-IT", "+1.000.000")])
def test_nothing_is_cut_off(
    cascade_up: RunningCascade, new_context: Opener, report: Reporter, language: str, million: str
) -> None:
    report(consciousness="9.25", coherence="99.123456", recognition="1000000")
    report(timedelta(hours=3), recognition="999999")
    for width in (320, 360, 600, 735, 736, 1280):
        page = new_context(viewport={"width": width, "height": 800}, locale=language).new_page()
        open_with_pictures(page, cascade_up)
        expect(page.locator("#acceleration")).to_have_text(million)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_OUT_OF_VIEW) == []
        size = "wide" if width >= 736 else "narrow"
        page.wait_for_function(_ASKED_FOR, arg=f"size={size}")  # a picture that is being exchanged has no address


def test_pictures_go_with_the_colours_of_the_page(cascade_up: RunningCascade, new_context: Opener) -> None:
    for scheme in ("light", "dark"):
        for width in (360, 1280):
            page = new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
            open_with_pictures(page, cascade_up)
            page.wait_for_function(_ASKED_FOR, arg=f"theme={scheme}")


def test_the_page_is_whole_without_javascript(
    cascade_up: RunningCascade, new_context: Opener, report: Reporter
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    report(consciousness="9.25", coherence="80")
    await_first_tick(cascade_up)
    with page.expect_response("**/rate/history.svg?range=day&*") as drawn:
        page.goto(f"{cascade_up.api}/rate")
    assert drawn.value.ok
    main = page.get_by_role("main")
    for words in (
        "US dollars for one ducat",
        "9.25 of 10",
        "80 percent",
        "Nothing is known of",
        "Where the rate is drawn to",
    ):
        expect(main).to_contain_text(words)
    for words in ("Live.", "Not live"):
        expect(page.get_by_text(words)).to_be_hidden()
    with page.expect_response("**/rate/history.svg?range=month&*") as drawn:
        page.get_by_role("link", name="Month").click()
    assert drawn.value.ok
    assert page.url.endswith("/rate?range=month#history")
    expect(page.get_by_role("link", name="Month")).to_have_attribute("aria-current", "true")
