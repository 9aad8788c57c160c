"""What a Miniserver says becomes of the arbiter's events: enable and power, mode, timeout, stop, reset; and everything else is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ohmcore import events
from ohmstead.config.model import Config
from ohmstead.control.arbitration import LOXONE
from ohmstead.control.dispatch import Outcome
from ohmstead.errors import Reason
from ohmstead.publish import loxone_commands
from ohmstead.publish.loxone_answers import TOPIC, LoxoneAnswers
from ohmstead.publish.loxone_commands import LoxoneCommands, Memory, Reset
from ohmstead.store.protocol import StoreError
from tests.publishing import Recorder
from tests.unit.loxone_home import MINUTE, Desk, home, wishes


class Miniserver:
    """Says things to the gateway; each `say` waits until all of it is decided."""

    def __init__(self, config: Config, memory: Memory | None = None, reset: Reset | None = None) -> None:
        self.desk = Desk(config)
        self.desk.read()
        self.desk.wrote.clear()
        self.broker = Recorder()
        self.answers = LoxoneAnswers(self.broker)
        self.commands = LoxoneCommands(self.broker, self.desk, self.answers, memory, reset)
        self.commands.start()

    def send(self, topic: str, text: str | bytes, retain: bool = False) -> None:
        self.broker.arrive(f"loxone/{topic}", text.encode() if isinstance(text, str) else text, retain)

    async def say(self, *said: tuple[str, str]) -> None:
        for topic, text in said:
            self.send(topic, text)
        await self.idle()

    async def idle(self) -> None:
        for line in self.commands._lines.values():
            if line.worker is not None:
                await asyncio.wait_for(asyncio.shield(line.worker), 20)

    def rejections(self) -> list[tuple[str, str]]:
        """Topic and reason of what was told on `loxone/rejected`."""
        said = [json.loads(sent.payload) for sent in self.broker.take() if sent.topic == TOPIC]
        return [(one["topic"].removeprefix("loxone/"), one["reason"]) for one in said]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loxone_commands, "PACE_S", 0.03)


@pytest.fixture
async def loxone(config: Config) -> AsyncIterator[Miniserver]:
    miniserver = Miniserver(config)
    yield miniserver
    await miniserver.commands.close()


async def test_enable_alone_wishes_for_all_that_the_home_allows(loxone: Miniserver) -> None:
    await loxone.say(("growatt/charge/enable", "1"))
    assert wishes(loxone.desk.told) == [("charge", 60)]
    assert loxone.desk.wrote[-1] == ("charge", 60)
    assert loxone.rejections() == []


@pytest.mark.parametrize("order", [("power", "enable"), ("enable", "power")])
async def test_power_and_enable_are_one_wish_in_whichever_order(loxone: Miniserver, order: tuple[str, str]) -> None:
    texts = {"power": "2,5", "enable": "ON"}
    await loxone.say(*((f"growatt/charge/{verb}", texts[verb]) for verb in order))
    assert wishes(loxone.desk.told) == [("charge", 50)]


async def test_a_power_is_rounded_down_to_a_step(loxone: Miniserver) -> None:
    await loxone.say(("growatt/discharge/power", "1.999"), ("growatt/discharge/enable", "1"))
    assert wishes(loxone.desk.told) == [("discharge", 39)]


async def test_a_power_alone_is_kept_for_the_next_enable(loxone: Miniserver) -> None:
    await loxone.say(("growatt/charge/power", "1"))
    assert loxone.desk.told == []
    await loxone.say(("growatt/charge/enable", "1"))
    assert wishes(loxone.desk.told) == [("charge", 20)]


class Store:
    """`full`: it takes nothing."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.full = False

    def read_meta(self, key: str) -> str | None:
        return self.kept.get(key)

    def write_meta(self, key: str, value: str) -> None:
        if self.full:
            raise StoreError("no room on the disk")
        self.kept[key] = value


async def test_the_power_that_was_said_last_outlives_a_restart(config: Config) -> None:
    store = Store()
    before = Miniserver(config, store)
    await before.say(("growatt/charge/power", "1,5"), ("growatt/export/power", "2"))
    await before.say(("growatt/discharge/power", "9"))
    store.full = True
    await before.say(("growatt/charge/power", "1.6"))
    await before.say(("growatt/mode", "manual"))
    assert before.desk.told == [events.wish(LOXONE, "discharge", 180, 1), events.mode(LOXONE, "manual")], "it went on without"
    await before.commands.close()

    after = Miniserver(config, store)
    await after.commands.recall()
    await after.say(("growatt/charge/enable", "1"))
    await after.say(("growatt/discharge/enable", "1"))
    assert wishes(after.desk.told) == [("charge", 30), ("discharge", 100)]
    await after.commands.close()

    for nonsense in ("nan", "much", "1e400", "4"):
        store.kept = dict.fromkeys(store.kept, nonsense)
        strange = Miniserver(config, store)
        await strange.commands.recall()
        await strange.say(("growatt/charge/enable", "1"))
        assert wishes(strange.desk.told) == [("charge", 60)], "as much as the home allows"
        await strange.commands.close()


async def test_an_export_limit_is_said_in_kw(loxone: Miniserver) -> None:
    await loxone.say(("growatt/export/power", "2,5"), ("growatt/export/enable", "1"))
    assert loxone.desk.wrote[-1] == ("export_limit", 500), "half of 5 kW, in tenths of a percent"
    await loxone.say(("growatt/export/enable", "0"))
    assert loxone.desk.wrote[-1] == ("export_limit", 0)
    await loxone.say(("growatt/export/power", "6"))
    assert loxone.rejections() == [("growatt/export/power", "out of range")]


async def test_a_power_changes_the_wish_that_rules_until_it_ends(loxone: Miniserver) -> None:
    await loxone.say(("growatt/charge/enable", "1"))
    await loxone.say(("growatt/charge/power", "0"))
    await loxone.say(("growatt/charge/power", "1"))
    assert wishes(loxone.desk.told) == [("charge", 60), ("charge", 0), ("charge", 20)]

    loxone.desk.pass_time(60 * MINUTE)
    loxone.desk.read()
    assert loxone.desk.wrote[-1] == ("charge", 0)
    await loxone.say(("growatt/charge/power", "2"))
    assert len(wishes(loxone.desk.told)) == 3


async def test_enable_0_gives_the_control_back(loxone: Miniserver) -> None:
    await loxone.say(("growatt/charge/enable", "1"))
    await loxone.say(("growatt/charge/enable", "0"))
    assert loxone.desk.told[-1] == events.withdraw(LOXONE, "charge")
    assert loxone.desk.wrote[-1] == ("charge", 0)

    count = len(loxone.desk.told)
    await loxone.say(("growatt/charge/enable", "0"), ("growatt/discharge/enable", "off"))
    assert len(loxone.desk.told) == count, "there is nothing to give back"


async def test_enable_and_disable_at_once_is_the_last_of_both(loxone: Miniserver) -> None:
    await loxone.say(("growatt/charge/enable", "1"), ("growatt/charge/enable", "0"))
    assert loxone.desk.told == []
    assert loxone.commands.coalesced == 1


async def test_export_0_forbids_it_and_1_allows_it(loxone: Miniserver) -> None:
    await loxone.say(("growatt/export/enable", "0"))
    assert loxone.desk.wrote[-1] == ("export_limit", 0)
    await loxone.say(("growatt/export/enable", "1"))
    assert loxone.desk.wrote[-1] == ("export_limit", 1000)


async def test_a_control_has_its_own_name_as_well(loxone: Miniserver) -> None:
    await loxone.say(("growatt/export_limit/enable", "0"))
    assert loxone.desk.wrote[-1] == ("export_limit", 0)


async def test_a_power_without_the_rated_one_is_answered_with_what_to_do(tmp_path: Path) -> None:
    loxone = Miniserver(home(tmp_path, "devices: {growatt: {profile: growatt-sph, via: tcp://192.0.2.11, limits: {soc: 15..95 %}}}"))
    await loxone.say(("growatt/charge/power", "2"), ("growatt/charge/enable", "1"))
    assert wishes(loxone.desk.told) == []
    assert "rated: 5 kW" in loxone.answers.last["growatt"].detail
    await loxone.say(("growatt/charge/enable", "1"))
    assert wishes(loxone.desk.told) == [("charge", 100)]
    await loxone.commands.close()


async def test_mode_and_timeout(loxone: Miniserver) -> None:
    await loxone.say(("growatt/mode", "1"), ("growatt/timeout", "90,5"))
    assert loxone.desk.told == [events.mode(LOXONE, "manual"), events.lease(LOXONE, 90_500 * 60)]
    assert loxone.desk.mode("growatt") == "manual"
    await loxone.say(("growatt/mode", "auto"))
    assert loxone.desk.mode("growatt") == "auto"

    count = len(loxone.desk.told)
    await loxone.say(("growatt/mode", "0"), ("growatt/timeout", "60"))
    assert len(loxone.desk.told) == count, "it is so already"


async def test_a_stop_is_a_level_and_a_reset_needs_it_gone(loxone: Miniserver) -> None:
    await loxone.say(("growatt/charge/enable", "1"))
    await loxone.say(("growatt/stop", "1"))
    assert loxone.desk.mode("growatt") == "stopped"
    assert loxone.desk.wrote[-1] == ("charge", 0)
    await loxone.say(("growatt/charge/enable", "1"), ("growatt/reset", "1"))
    assert {reason for _, reason in loxone.rejections()} == {"latched"}
    assert loxone.answers.rejected["growatt"] == 2
    await loxone.say(("growatt/stop", "0"), ("growatt/reset", "1"))
    assert loxone.desk.mode("growatt") == "auto"
    count = len(loxone.desk.told)
    await loxone.say(("growatt/reset", "0"))
    assert len(loxone.desk.told) == count, "a reset that is let go is no reset"


async def test_a_reset_is_asked_for_where_the_node_is_and_a_stop_does_not_wait_for_it(config: Config) -> None:
    answer = asyncio.Event()
    asked: list[str] = []

    async def reset(device: str) -> Outcome:
        asked.append(device)
        await answer.wait()
        return Outcome("rejected", "the switch of the emergency stop still stops", None, Reason.LATCHED)

    loxone = Miniserver(config, reset=reset)
    await loxone.say(("growatt/reset", "1"))
    await loxone.say(("growatt/reset", "1"))
    await loxone.say(("growatt/stop", "1"))
    assert loxone.desk.told == [events.stop(1)], "while the node is asked"
    answer.set()
    async with asyncio.timeout(20):
        while TOPIC not in [sent.topic for sent in loxone.broker.sent]:  # noqa: ASYNC110 - an answer is a fact, not an event
            await asyncio.sleep(0.01)
    assert loxone.rejections() == [("growatt/reset", "latched")]
    assert asked == ["growatt"], "it is asked for once at a time"
    await loxone.commands.close()


async def test_a_stop_that_is_over_at_once_still_stops(loxone: Miniserver) -> None:
    await loxone.say(("growatt/stop", "0"), ("growatt/stop", "1"), ("growatt/stop", "0"), ("growatt/stop", "0"))
    assert [event for event in loxone.desk.told if event[0] == "stop"] == [events.stop(1), events.stop(0)]
    assert loxone.desk.mode("growatt") == "stopped"


async def test_a_stop_goes_before_what_waits(loxone: Miniserver) -> None:
    await loxone.say(("growatt/charge/enable", "1"), ("growatt/mode", "manual"), ("growatt/stop", "1"))
    assert [event[0] for event in loxone.desk.told] == ["stop", "wish", "mode"]
    assert loxone.desk.wrote == []


async def test_what_cannot_be_noted_is_answered_and_forgotten(loxone: Miniserver) -> None:
    loxone.desk.full = True
    await loxone.say(("growatt/charge/enable", "1"))
    assert loxone.rejections() == [("growatt/charge/enable", "no storage")]
    loxone.desk.full = False
    await loxone.idle()
    assert loxone.desk.told == []


BAD = ["nan", "inf", "-inf", "1e309", "abc", "", "1;2", "{}", "\u0661", "true?"]


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("topic", ["charge/enable", "charge/power", "mode", "timeout", "stop", "reset"])
async def test_what_means_nothing_changes_nothing_and_is_answered(loxone: Miniserver, topic: str, text: str) -> None:
    before = loxone.desk.stands()
    await loxone.say((f"growatt/{topic}", text))
    assert loxone.rejections() == [(f"growatt/{topic}", "malformed")]
    assert loxone.desk.wrote == []
    assert loxone.desk.stands() == before
    assert len(loxone.desk.told) == (topic != "reset"), "the audit has it"


@pytest.mark.parametrize("text", ["-1", "-0,01", "3.1", "1e300", "-1e300"])
async def test_a_power_out_of_range_is_answered_even_when_nothing_is_enabled(loxone: Miniserver, text: str) -> None:
    await loxone.say(("growatt/charge/power", text))
    assert loxone.rejections() == [("growatt/charge/power", "out of range")]
    await loxone.say(("growatt/charge/power", "1"), ("growatt/charge/enable", "1"))
    await loxone.say(("growatt/charge/power", text), ("growatt/charge/enable", "1"))
    assert loxone.desk.wrote == [("charge", 20)]


@pytest.mark.parametrize("text", ["0", "0,01", "-5", "1441", "1e300"])
async def test_a_timeout_out_of_range_is_answered(loxone: Miniserver, text: str) -> None:
    await loxone.say(("growatt/timeout", text))
    assert loxone.rejections() == [("growatt/timeout", "out of range")]


async def test_names_that_nobody_has_are_answered(loxone: Miniserver) -> None:
    await loxone.say(("cellar/charge/enable", "1"), ("growatt/boiler/power", "1"), ("growatt/boiler/enable", "1"))
    assert loxone.rejections() == [("cellar/charge/enable", "unknown"), ("growatt/boiler/power", "unknown")]
    assert loxone.answers.last["growatt"].detail == "growatt has no control 'boiler'; it has charge, discharge, export"
    assert loxone.desk.told == []


async def test_a_stale_soc_is_answered(loxone: Miniserver) -> None:
    loxone.desk.pass_time(10 * MINUTE)
    await loxone.say(("growatt/charge/enable", "1"))
    assert loxone.rejections() == [("growatt/charge/enable", "stale")]


async def test_a_device_that_is_only_read_is_never_commanded(tmp_path: Path) -> None:
    text = "devices: {growatt: {profile: growatt-sph, via: tcp://192.0.2.11, rated: 5 kW, read_only: true, limits: {soc: 15..95 %}}}"
    loxone = Miniserver(home(tmp_path, text))
    await loxone.say(("growatt/charge/enable", "1"), ("growatt/mode", "1"))
    assert [reason for _, reason in loxone.rejections()] == ["read-only"]
    assert loxone.answers.rejected["growatt"] == 2
    assert loxone.desk.wrote == []
    await loxone.commands.close()


async def test_leftovers_that_a_broker_kept_command_nothing_but_the_stop_does(loxone: Miniserver) -> None:
    for topic in ("charge/enable", "charge/power", "mode", "timeout", "reset"):
        loxone.send(f"growatt/{topic}", "1", retain=True)
    await loxone.idle()
    assert (loxone.commands.retained, loxone.desk.told) == (5, [])
    loxone.send("growatt/stop", "1", retain=True)
    await loxone.idle()
    assert loxone.desk.mode("growatt") == "stopped"


async def test_a_flood_is_decided_a_few_times_and_ends_with_the_latest(loxone: Miniserver) -> None:
    for number in range(3000):
        loxone.send("growatt/charge/power", f"{number % 30 / 10 + 0.1:.1f}")
        loxone.send("growatt/charge/enable", "1")
        loxone.send("growatt/discharge/power", "nonsense")
        if number % 300 == 0:
            await asyncio.sleep(0.01)
    await loxone.idle()
    assert loxone.desk.explain("growatt", "charge").wanted == 60
    assert len(loxone.desk.told) < 100
    assert loxone.commands.received == 9000
    assert loxone.commands.coalesced > 8800
    assert loxone.desk.status("growatt").controls["discharge"].author == ""


async def test_a_flood_for_devices_that_are_not_there_takes_no_memory(loxone: Miniserver) -> None:
    for number in range(1000):
        loxone.send(f"device{number}/charge/enable", "1")
    assert len(loxone.answers.last) <= 65
    assert sum(loxone.answers.rejected.values()) == 1000


async def test_whose_wish_it_is_and_its_number(loxone: Miniserver) -> None:
    await loxone.say(("growatt/charge/enable", "1"))
    await loxone.say(("growatt/charge/enable", "1"))
    identities = [event[4] for event in loxone.desk.told if event[0] == "wish"]
    assert identities == [1, 2], "said once more is for longer"
    assert loxone.desk.status("growatt").controls["charge"].author == LOXONE
