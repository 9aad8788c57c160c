"""The live page in a real browser: what it shows, how it says that something is old or away, on a phone and in the dark."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import Broker, wait_for
from tests.processes import SERIAL, Gateway, Inverter

pytestmark = pytest.mark.xdist_group("browser")
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine (apt install chromium)")
    options = ["--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=options)
        yield chromium
        chromium.close()


GRID = 11001
"""Holding register: the low word of the grid's power."""


class House:
    """Broker, inverter and gateway; what a test broke is mended before the next one looks. The recorded inverter exports."""

    def __init__(self, folder: Path, inverter: Inverter) -> None:
        self.broker = Broker(folder)
        self.inverter = inverter
        self.gateway = Gateway(folder, self.broker, inverter.port)
        text = self.gateway.file.read_text()
        self.gateway.file.write_text(text.replace("    every: 200 ms\n", "    every: 200 ms\n    points: {grid_power: {above: 20000}}\n"))
        self._grid = inverter.image[GRID]

    def mend(self) -> None:
        self.inverter.faults.clear()
        self.inverter.image[GRID] = self._grid
        self.broker.start()
        if self.gateway.process is None:
            self.gateway.start()
        wait_for(self._sound, 30, f"a sound house; {self.gateway.log.read_text()[-2000:]}")

    def _sound(self) -> bool:
        status, now = self.gateway.get("/api/now")
        device = now["devices"][0] if status == 200 else {}
        return device.get("state") == "ok" and device["flow"]["grid"] == -self._grid and self.gateway.get("/ready")[0] == 200


@pytest.fixture(scope="module")
def house(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Inverter(goldens) as inverter:
        built = House(tmp_path_factory.mktemp("house"), inverter)
        with built.gateway:
            yield built
        built.broker.stop()


@pytest.fixture
def gateway(house: House) -> Gateway:
    """Running, and its page shows what the recorded inverter says."""
    house.mend()
    return house.gateway


@pytest.fixture
def inverter(house: House) -> Inverter:
    return house.inverter


@pytest.fixture
def broker(house: House) -> Broker:
    return house.broker


@pytest.fixture
def page(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    """The page, open and live; a script error or a breach of the content policy fails the test."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-GB")
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    answer = opened.goto(f"http://127.0.0.1:{gateway.web}/")
    assert answer is not None
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    expect(opened.locator("#link")).to_have_text("live")
    expect(opened.locator("details")).not_to_have_attribute("open", "")  # a phone shows the picture first
    opened.locator("details summary").click()
    yield opened
    context.close()
    assert complaints == []


def value(page: Page, name: str) -> str:
    """What the page shows for a point, with its unit."""
    return page.locator("#devices dt", has_text=name).first.locator("xpath=following-sibling::dd[1]").inner_text()


def test_the_page_shows_the_flow_the_battery_and_every_value(page: Page) -> None:
    expect(page.locator("h1")).to_have_text("The sun covers everything")
    expect(page.locator("#subline")).to_have_text("2.51 kW left over for the grid")
    picture = page.locator("svg.flow")
    for words in ("Solar", "6.24 kW", "House", "1.71 kW", "Battery", "1.93 kW", "Grid", "2.51 kW"):
        expect(picture).to_contain_text(words)
    expect(page.get_by_role("meter", name="State of charge")).to_have_attribute("aria-valuenow", "74")
    assert value(page, "Serial number") == SERIAL
    assert value(page, "Grid power") == "2506 W"
    assert value(page, "BMS Status") == "on-grid"
    expect(page.locator("details summary")).to_contain_text("94 points")
    expect(page.locator("#health")).to_contain_text("connected")
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_changed_register_is_seen_without_a_reload(page: Page, inverter: Inverter) -> None:
    inverter.image[GRID] = 777
    expect(page.locator("#devices dt", has_text="Grid power").first.locator("xpath=following-sibling::dd[1]")).to_have_text("777 W")
    expect(page.locator("#subline")).to_have_text("777 W left over for the grid")


def test_what_cannot_be_read_is_a_dash_and_not_a_zero(page: Page, inverter: Inverter, gateway: Gateway) -> None:
    inverter.faults.on("exception=2@33000..33015")
    assert gateway.end() == 0
    gateway.start()
    expect(page.locator("#link")).to_have_text("live")
    grid = page.locator("#devices dt", has_text="Grid power").first.locator("xpath=following-sibling::dd[1]")
    expect(grid).to_have_text("2506 W")  # the others go on
    expect(page.locator("p.soc")).to_have_text("– %")
    assert page.get_by_role("meter", name="State of charge").get_attribute("aria-valuenow") is None
    assert value(page, "Battery SOC") == "–"
    gateway.end()  # the next one asks for those registers again at once


def test_a_silent_device_is_said_first_and_its_values_are_no_longer_told_as_present(page: Page, inverter: Inverter) -> None:
    inverter.faults.on("unplugged")
    expect(page.locator("#trouble")).to_be_visible()
    expect(page.locator("#trouble")).to_contain_text("M-TEC Energybutler")
    expect(page.locator("h1")).to_have_text("No fresh readings")
    expect(page.locator("#devices .chip")).not_to_have_text("live")
    inverter.faults.clear()
    expect(page.locator("h1")).to_have_text("The sun covers everything")
    expect(page.locator("#trouble")).to_be_hidden()


def test_an_alert_is_said_as_long_as_it_lasts(page: Page, inverter: Inverter) -> None:
    expect(page.locator("#trouble")).to_be_hidden()
    inverter.image[GRID] = 20001
    expect(page.locator("#trouble")).to_have_text("M-TEC Energybutler: Grid power is above 20000 W.")
    inverter.image[GRID] = 777
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_lost_gateway_is_said_and_the_page_comes_back_by_itself(page: Page, gateway: Gateway) -> None:
    gateway.end()
    expect(page.locator("h1")).to_have_text("The gateway cannot be reached")
    expect(page.locator("#link")).to_contain_text("no connection")
    expect(page.locator("#subline")).to_contain_text("What you see is as it was at ")
    expect(page.locator("#devices .chip")).to_have_text("old")
    gateway.start()
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("h1")).to_have_text("The sun covers everything")


def test_a_broker_that_is_away_is_said(page: Page, broker: Broker) -> None:
    broker.kill()
    expect(page.locator("#trouble")).to_contain_text("broker")
    broker.start()
    expect(page.locator("#trouble")).to_be_hidden()


def test_what_somebody_reads_or_selects_stays_where_it_is_while_the_page_lives(page: Page, inverter: Inverter) -> None:
    page.evaluate(
        """() => {
            const name = [...document.querySelectorAll('#devices dt')].find((node) => node.textContent === 'Serial number');
            getSelection().selectAllChildren(name.nextSibling);
        }"""
    )
    inverter.image[GRID] = 778
    expect(page.locator("#subline")).to_have_text("778 W left over for the grid")
    assert page.evaluate("getSelection().toString()") == SERIAL


FED = """
window.EventSource = class extends EventTarget {
  constructor() { super(); setTimeout(() => this.onmessage({ data: JSON.stringify(window.told) })); }
  close() {}
};
"""
"""In place of the gateway's stream: what the test tells."""


@pytest.fixture
def told(browser: Browser, gateway: Gateway) -> Iterator[Callable[[dict[str, Any]], Page]]:
    """The page as it shows a document that the test made up."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-GB", timezone_id="America/New_York")

    def shown(document: dict[str, Any]) -> Page:
        opened = context.new_page()
        opened.add_init_script(f"window.told = {json.dumps(document)}; {FED}")
        opened.goto(f"http://127.0.0.1:{gateway.web}/")
        expect(opened.locator("#link")).to_have_text("live")
        return opened

    yield shown
    context.close()


def made_up(gateway: Gateway, **changed: Any) -> dict[str, Any]:
    document: dict[str, Any] = gateway.get("/api/now")[1]
    return {**document, "zone": "Europe/Prague", "time": 1768395720.0, **changed}  # 14 January 2026, 14:02 there


def test_who_commands_a_battery_until_when_and_why_is_on_its_card(told: Callable[[dict[str, Any]], Page], gateway: Gateway) -> None:
    control = {"title": "Charge", "unit": "%", "author": "loxone", "left_s": 2580, "read_back": 40.0, "pending": False, "clamp": ""}
    idle = {**control, "title": "Discharge", "author": "", "left_s": 0, "read_back": None, "reason": "Discharge is off."}
    refused = {"detail": "the limit “<b>soc floor</b>” does not allow more now", "time": 1768395000.0}
    standing = {"mode": "manual", "latched": "", "trouble": "", "failsafe": False, "grid_limit_w": 4200, "rejected": refused}
    standing["controls"] = {"charge": {**control, "reason": "Charge is 40 % (2 kW); Loxone wants that."}, "discharge": idle}
    page = told(made_up(gateway, control={"mtec": standing}))
    card = page.get_by_role("article", name="Control of M-TEC Energybutler")
    expect(card.locator(".chip")).to_have_text("by hand")
    expect(card.locator("dd")).to_have_text(["40 %", "–"])
    expect(card.locator(".why")).to_have_text(
        [
            "Charge is 40 % (2 kW); Loxone wants that. Until 14:45.",
            "The network operator lets the house take 4.20 kW.",
            "Last refused, at 13:50: the limit “<b>soc floor</b>” does not allow more now.",
        ]
    )
    stopped = {**standing, "mode": "stopped", "latched": "stopped", "grid_limit_w": None, "rejected": None}
    known = made_up(gateway, control={"mtec": stopped})
    silent = [{**device, "state": "waiting", "flow": {**device["flow"], "house": None}} for device in known["devices"]]
    for document in (known, {**known, "devices": silent}):  # also where nothing was read yet
        card = told(document).get_by_role("article", name="Control of M-TEC Energybutler")
        expect(card.locator(".chip.offline")).to_have_text("stopped")
        expect(card.locator(".why")).to_have_text("It is stopped until somebody resets it.")


def test_a_small_card_begins_with_what_tells_most_and_twins_are_told_apart(
    told: Callable[[dict[str, Any]], Page], gateway: Gateway
) -> None:
    points: list[tuple[str, str | None, str]] = [
        ("Voltage", "231", "V"),
        ("Status", "3", ""),
        ("Alarm", "0", ""),
        ("Frequency", "50", "Hz"),
        ("Produced", "7033024", "Wh"),
    ]
    points += [("Heard of", "2026-01-14T12:30:00+00:00", ""), ("PV power", "61.7", "W"), ("Serial", "1161", ""), ("Missing", None, "W")]
    points += [("Clock", "2000-00-00T24:61:00Z", ""), ("Alike", "1161", "min")]
    listed = [{"id": name.lower(), "name": name, "text": text, "unit": unit, "sign": ""} for name, text, unit in points]
    device: dict[str, Any] = {
        "name": "roof",
        "title": "Twin",
        "parent": None,
        "state": "stale",
        "age": 250,
        "via": "tcp://192.0.2.11",
        "serial": "1161",
    }
    device |= {"flow": None, "groups": [{"name": "now", "age": 250, "points": listed}]}
    page = told(made_up(gateway, devices=[device, {**device, "name": "shed", "state": "ok"}]))
    card = page.get_by_role("article", name="Twin").first
    expect(card.get_by_role("heading")).to_have_text("Twin roof")
    expect(card.locator(".chip")).to_have_text("old, 4 min")
    expect(card.locator("> dl dt")).to_have_text(["PV power", "Produced", "Voltage", "Status", "Alarm", "Frequency"])
    expect(card.locator("> dl dd").nth(1)).to_have_text("7\u202f033\u202f024 Wh")
    card.locator("summary").click()
    expect(card.locator("details dt", has_text="Heard of").locator("xpath=following-sibling::dd[1]")).to_have_text("14 Jan 2026, 13:30")
    expect(card.locator("details dt", has_text="Missing").locator("xpath=following-sibling::dd[1]")).to_have_text("–")
    clock = card.locator("details dt", has_text="Clock").locator("xpath=following-sibling::dd[1]")
    expect(clock).to_have_text("2000-00-00T24:61:00Z")  # there is no such moment
    expect(card.locator("details dt", has_text="Alike").locator("xpath=following-sibling::dd[1]")).to_have_text("1161 min")


@pytest.mark.parametrize("width", [320, 390, 760, 1280])
def test_nothing_runs_out_of_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        wide = page.evaluate(
            """[...document.querySelectorAll('main *')]
                .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
                .map((node) => node.outerHTML.slice(0, 80))"""
        )
        assert wide == []


def test_the_values_fold_by_keyboard_and_stay_folded_while_the_page_lives(page: Page) -> None:
    summary = page.locator("details summary")
    expect(page.locator("details")).to_have_attribute("open", "")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("details")).not_to_have_attribute("open", "")
    before = page.locator("#health").inner_text()
    expect(page.locator("#health")).not_to_have_text(before)  # the page has been drawn anew
    expect(page.locator("details")).not_to_have_attribute("open", "")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
