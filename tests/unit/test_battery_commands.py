"""Who commands a battery in words: messages, Home Assistant, programs, the plan, the network operator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from ohmcore import events
from ohmstead.control.desk import Answer, Desk
from ohmstead.control.entrance import Entrance
from ohmstead.control.operator import GridInput, limit_of
from ohmstead.control.plan.model import Wish
from ohmstead.control.planned import PlanAuthor, raw_of
from ohmstead.control.views import ControlView
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.battery import BatteryTopic
from ohmstead.web.control import Control, add_routes
from tests.publishing import Recorder
from tests.unit.battery_house import START, House


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


class Office:
    """A house with an entrance, and all that is answered there."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.answers: list[Answer] = []
        desk = Desk({}, {}, house.store, self.answers.append, mono=lambda: house.mono, wall=lambda: house.wall)
        self.entrance = Entrance(desk, house.arbiter, self.answers.append, node_of=lambda device: None, wall=lambda: house.wall)

    async def ask(self, control: str, text: str, seconds: float | None = None, *, retained: bool = False) -> None:
        self.entrance.request("growatt", control, text, "mqtt", wanted_s=seconds, retained=retained)
        await self.rest()

    async def rest(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0.01)
            await self.house.settled()

    def outcomes(self) -> list[tuple[str, str, str]]:
        told = [(answer.control, answer.outcome.kind, str(answer.outcome.reason)) for answer in self.answers]
        self.answers.clear()
        return told


def test_a_wish_in_words_is_answered_when_it_is_done_and_when_it_ends(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            office = Office(house)
            house.read()
            await office.rest()
            await office.ask("charge", "60.4", 100)
            assert office.outcomes() == [("charge", "done", "")]
            assert house.hand.last("charge") == 60
            await office.ask("charge", "60", 100)
            assert office.outcomes() == [("charge", "unchanged", "")]
            await house.passes(110)
            assert office.outcomes() == [("charge", "ended", "")]
            await office.ask("charge", "40")
            office.entrance.release("growatt", "charge", "mqtt")
            await office.rest()
            assert office.outcomes() == [("charge", "done", ""), ("charge", "done", "")]
            assert house.hand.last("charge") == 0
            office.entrance.release("growatt", "charge", "mqtt")
            await office.rest()
            assert office.outcomes() == [("charge", "unchanged", "")]

    run(story())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("101", "out of range"),
        ("-1", "out of range"),
        ("-0.5", "out of range"),
        ("100.4", "out of range"),
        ("1" * 40, "out of range"),
        ("nan", "malformed"),
        ("inf", "malformed"),
        ("1e309", "malformed"),
        ("", "malformed"),
        ("a lot", "malformed"),
        ("6" * 1000, "malformed"),
    ],
)
def test_what_is_no_value_is_rejected_on_the_record_and_changes_nothing(tmp_path: Path, text: str, reason: str) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            office = Office(house)
            house.read()
            await office.ask("charge", "60")
            office.outcomes()
            await office.ask("charge", text)
            assert office.outcomes() == [("charge", "rejected", reason)]
            assert house.hand.last("charge") == 60
            assert house.arbiter.explain("growatt", "charge").wanted == 60
            newest = house.store.trail.last(1)[0].record
            assert json.loads(newest.decisions)[-1][0] == "rejection"

    run(story())


def test_a_limit_a_stop_and_a_retained_copy_are_told_as_what_they_are(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            office = Office(house)
            house.read(battery_soc=12)
            await office.rest()
            await office.ask("discharge", "60")
            text = office.answers[0].outcome.detail
            assert text.endswith("Battery SOC is 12 %, read 0 s ago, and the floor is 15 %; it goes on from 17 %")
            assert text in house.arbiter.why("growatt", "discharge").replace("The limit", "the limit")
            assert office.outcomes() == [("discharge", "limited", "limit")]
            await office.ask("charge", "60", retained=True)
            assert office.outcomes() == []
            await office.ask("charge", "60")
            assert office.outcomes()[-1] == ("charge", "done", "")
            await office.ask("stop", "1", retained=True)
            assert ("charge", "ended", "latched") in office.outcomes()
            assert house.hand.last("charge") == 0
            await office.ask("charge", "60")
            await office.ask("reset", "")
            assert office.outcomes() == [("charge", "rejected", "latched"), ("reset", "rejected", "latched")]
            await office.ask("stop", " 0.0 ")
            await office.ask("reset", "")
            await office.ask("mode", "manual")
            await office.ask("lease", "30")
            await office.ask("mode", "sideways")
            kinds = [
                ("stop", "done", ""),
                ("reset", "done", ""),
                ("mode", "done", ""),
                ("lease", "done", ""),
                ("mode", "rejected", "malformed"),
            ]
            assert office.outcomes() == kinds
            assert house.arbiter.status("growatt").lease_s == 1800

    run(story())


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 0.0, 1e300, 10**400])
def test_a_time_that_is_none_is_answered(tmp_path: Path, seconds: float) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            office = Office(house)
            house.read()
            await office.rest()
            await office.ask("mode", "manual", seconds)
            await office.ask("charge", "60", seconds)
            assert office.outcomes() == [("mode", "rejected", "out of range"), ("charge", "rejected", "out of range")]
            assert house.arbiter.mode("growatt") == "auto"

    run(story())


@pytest.mark.parametrize("text", ["0", "-5", "0.001", "1441", "1" * 40])
def test_wishes_last_at_least_a_second_and_as_long_as_the_home_allows(tmp_path: Path, text: str) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            office = Office(house)
            await office.ask("lease", text)
            assert office.outcomes() == [("lease", "rejected", "out of range")]

    run(story())


# Home Assistant


def test_home_assistant_gets_select_number_switch_button_and_reasons(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            broker = Recorder()
            topic = BatteryTopic("test", house.arbiter.devices["growatt"], house.arbiter, broker, Discovery(grace_s=0), 86_400)
            topic.start()
            broker.connect()
            topic.tick(1.0)
            topic.tick(2.0)
            sent = {message.topic: json.loads(message.payload) for message in broker.take()}
            body = sent["homeassistant/device/test_growatt_arbiter/config"]
            components = body["cmps"]
            platforms = {key: component["p"] for key, component in components.items()}
            assert platforms == {
                **{
                    "stopped": "binary_sensor",
                    "author": "sensor",
                    "mode": "select",
                    "lease": "number",
                    "stop": "switch",
                    "reset": "button",
                },
                **{f"{control}_why": "sensor" for control in ("charge", "discharge", "export_limit")},
            }
            assert body["availability"] == [{"topic": "ohm/test/bridge/online"}]
            assert components["mode"]["command_topic"] == "ohm/test/device/growatt/mode/set"
            assert components["stop"]["retain"] is True
            assert "state_topic" not in components["reset"]
            status = sent["ohm/test/device/growatt/arbiter"]
            assert (status["mode"], status["soc"], status["controls"]["charge"]["commanded"]) == ("auto", None, 0)
            house.read()
            await house.wish("home_assistant", "charge", 60)
            newest = json.loads(broker.take()[-1].payload)
            assert newest["controls"]["charge"]["acknowledged"] == 60
            assert "Home Assistant wants 60 % (3 kW)" in newest["controls"]["charge"]["reason"]
            assert newest["mode"] == "manual"

    run(story())


# Programs


def test_a_program_commands_with_the_token_only(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            office = Office(house)
            house.read()
            await office.rest()
            app = FastAPI()
            add_routes(app, Control(house.arbiter, office.entrance, house.store.trail, "secret"))
            closed = FastAPI()
            add_routes(closed, Control(house.arbiter, office.entrance, house.store.trail, None))
            ask = {"device": "growatt", "control": "charge", "value": 60, "seconds": 600}
            shown = {"Authorization": "Bearer secret"}
            async with httpx.AsyncClient(transport=httpx.ASGITransport(closed), base_url="http://test") as nobody:
                assert (await nobody.post("/api/control", json=ask, headers=shown)).status_code == 403
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                assert (await client.post("/api/control", json=ask)).status_code == 401
                assert (await client.post("/api/control", json=ask, headers={"Authorization": "Bearer wrong"})).status_code == 401
                plain = await client.post("/api/control", content=json.dumps(ask), headers={**shown, "Content-Type": "text/plain"})
                assert plain.status_code == 415
                assert house.hand.last("charge") == 0
                done = await client.post("/api/control", json=ask, headers=shown)
                assert (done.status_code, done.json()["outcome"]) == (200, "taken")
                await office.rest()
                assert house.hand.last("charge") == 60
                wrong = await client.post("/api/control", json={**ask, "value": 200}, headers=shown)
                assert (wrong.status_code, wrong.json()["reason"]) == (409, "out of range")
                for broken, code in (
                    ({**ask, "device": "fridge"}, 404),
                    ([1], 422),
                    ({**ask, "value": [1]}, 422),
                    ({**ask, "seconds": "x"}, 422),
                ):
                    assert (await client.post("/api/control", json=broken, headers=shown)).status_code == code
                stop = await client.post("/api/control", json={"device": "growatt", "control": "stop", "value": 1}, headers=shown)
                assert stop.status_code == 200
                standing = (await client.get("/api/control")).json()["growatt"]
                assert (standing["mode"], standing["stop"]) == ("stopped", 1)
                why = (await client.get("/api/why", params={"control": "growatt.charge"})).json()["why"]
                assert "is stopped" in why
                assert (await client.get("/api/why", params={"control": "growatt.heat"})).status_code == 404
                audit = (await client.get("/api/audit", params={"number": 5})).json()
                assert audit[0]["event"] == ["stop", 1]
                assert (await client.get("/api/audit", params={"number": 0})).status_code == 422

    run(story())


# The network operator


def test_the_operators_limit_is_a_number_a_word_or_nothing() -> None:
    named = {"reduced": 4200.0, "free": None}
    assert limit_of("4.2", named) == limit_of("4,2", named) == limit_of("reduced", named) == (True, 4200)
    assert limit_of("none", named) == limit_of("free", named) == (True, None)
    assert limit_of("0", {}) == (True, 0)
    for nonsense in ("", "-1", "nan", "inf", "1e309", "reduced", "4_2", "4.2 kW", "٤"):
        assert limit_of(nonsense, {})[0] is False


@given(st.text(max_size=200))
def test_any_text_is_a_limit_or_refused(said: str) -> None:
    known, watts = limit_of(said, {})
    assert known or watts is None
    assert watts is None or watts >= 0


def test_under_a_limit_nothing_is_charged_and_a_kept_copy_frees_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            broker = Recorder()
            grid = GridInput("test", broker, {}, lambda event, fresh: house.arbiter.feed("growatt", event))
            grid.start()
            house.read()
            await house.wish("loxone", "charge", 60)
            broker.arrive("ohm/test/grid/limit", b"4.2")
            await house.settled()
            assert house.hand.last("charge") == 0
            assert house.arbiter.status("growatt").grid_w == 4200
            broker.arrive("ohm/test/grid/limit", b"none", retain=True)
            broker.arrive("ohm/test/grid/limit", b"lots")
            await house.settled()
            assert house.hand.last("charge") == 0
            assert (grid.retained, grid.refused) == (1, 1)
            broker.arrive("ohm/test/grid/limit", b"none")
            await house.settled()
            assert house.hand.last("charge") == 60

    run(story())


# The plan


def test_the_plan_commands_through_the_arbiter_and_yields_to_people(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            wanted: list[Wish] = []
            judge = house.arbiter
            author = PlanAuthor(lambda now: wanted, judge.devices, judge.state, judge.next_identity, judge.feed)
            house.read()
            await house.settled()
            wanted.append(Wish("growatt", "charge", 2500.0, "W", round(house.wall) + 900, "the cheapest quarter", "cheapest"))

            async def looks() -> None:
                author.look(house.wall, house.mono)
                await house.settled()

            await looks()
            assert house.hand.last("charge") == 50
            assert "the cheapest quarter" in judge.why("growatt", "charge")
            before = len(house.store.trail.last(1000, silent=True))
            await looks()
            assert len(house.store.trail.last(1000, silent=True)) == before, "the same is not asked for again and again"
            await house.wish("loxone", "charge", 20, 60)
            assert house.hand.last("charge") == 20
            await house.passes(70)
            await looks()
            assert house.hand.last("charge") == 50, "the plan rules again"
            await house.tell(events.mode("loxone", "manual", 60_000))
            assert house.hand.last("charge") == 0
            await house.passes(70)
            wanted.clear()
            await looks()
            assert house.hand.last("charge") == 0
            wanted.append(Wish("growatt", "heat", 1.0, "W", round(house.wall) + 900, "", ""))
            await looks()
            assert "no control heat" in author.trouble

    run(story())


def test_what_the_plan_wanted_before_a_restart_ends_if_it_wants_it_no_more(tmp_path: Path) -> None:
    async def story() -> None:
        wanted: list[Wish] = []

        def author_of(house: House) -> PlanAuthor:
            judge = house.arbiter
            return PlanAuthor(lambda now: wanted, judge.devices, judge.state, judge.next_identity, judge.feed)

        async with House(tmp_path) as house:
            house.read()
            await house.settled()
            end = round(house.wall) + 4 * 3600
            wanted += [Wish("growatt", "charge", 2500.0, "W", end, "cheap", "cheapest"), Wish("growatt", "export", 0.0, "%", end, "", "")]
            author_of(house).look(house.wall, house.mono)
            await house.settled()
            assert house.hand.last("charge") == 50
            assert house.hand.last("export_limit") == 0
        del wanted[0]
        async with House(tmp_path, now=START + 30) as house:
            author = author_of(house)
            for _ in range(8):
                author.look(house.wall, house.mono)
                await house.passes(10)
            assert house.hand.last("charge") == 0
            assert house.arbiter.explain("growatt", "charge").plan is None
            assert house.hand.last("export_limit") == 0, "it still wants that"
            assert house.arbiter.explain("growatt", "export_limit").author == "plan"

    run(story())


def test_a_plan_gets_no_more_than_it_wants_and_the_home_allows() -> None:
    charge = ControlView("charge", "Charge", "charge", "%", 1.0, 20, 60, 1, 0, 0, 50.0)
    export = ControlView("export_limit", "Export limit", "export", "%", 0.1, 100, 500, 1, 500, 500, 5.0)

    def raw(watts: float, view: ControlView, unit: str = "W") -> int | None:
        return raw_of(Wish("growatt", view.word, watts, unit, 0, "", ""), view)

    assert [raw(watts, charge) for watts in (500, 1000, 1060, 5000)] == [0, 20, 21, 60]
    assert [raw(percent, export, "%") for percent in (0, 10, 30, 100)] == [100, 100, 300, 500]
    assert raw(float("nan"), charge) is raw(1000, charge._replace(watts=None)) is None
