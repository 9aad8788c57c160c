"""How a battery stands, as a Miniserver hears it: packed, plain and as an object; each number is found by its command recognition."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from ohmcore import events
from ohmstead.config.model import Config
from ohmstead.control.arbitration import LOXONE
from ohmstead.publish.loxone_answers import LoxoneAnswers
from ohmstead.publish.loxone_status import LoxoneStatus, packed, pattern, plain
from ohmstead.publish.loxone_udp import datagram
from tests.publishing import Recorder
from tests.unit.loxone_home import GROWATT, MINUTE, Desk, home

ROOT = "loxone/growatt/status"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return home(tmp_path_factory.mktemp("home"))


class Home:
    def __init__(self, config: Config) -> None:
        self.desk = Desk(config)
        self.desk.read()
        self.broker = Recorder()
        self.answers = LoxoneAnswers(self.broker)
        self.status = LoxoneStatus(self.broker, self.desk, self.answers, 10.0)
        self.status.start()
        self.broker.connect()

    def heard(self) -> dict[str, str]:
        """Topic under the status → the last that was published there since the last call; the text itself under `""`."""
        return {sent.topic.removeprefix(ROOT).removeprefix("/"): sent.payload for sent in self.broker.take() if sent.topic.startswith(ROOT)}

    async def soon(self) -> dict[str, str]:
        """What is heard next."""
        await self.told()
        return self.heard()

    async def told(self) -> None:
        for _ in range(2000):
            if any(sent.topic.startswith(ROOT) for sent in self.broker.sent):
                return
            await asyncio.sleep(0.01)
        pytest.fail("nothing was said")

    async def silence(self) -> bool:
        await asyncio.sleep(0.1)
        return self.heard() == {}

    async def wish(self, control: str, value: int) -> None:
        await self.desk.submit("growatt", events.wish(LOXONE, control, value, self.desk.next_identity("growatt", LOXONE)))


@pytest.fixture
async def loxone(config: Config) -> Home:
    return Home(config)


def recognised(recognition: str, text: str) -> float | None:
    """What Loxone makes of a text: `\\i…\\i` goes on after the first place where it stands, `\\v` is the number there."""
    rest = text
    for part in re.findall(r"\\i(.*?)\\i|\\(v)", recognition):
        if part[1]:
            found = re.match(r"-?[0-9]+(?:\.[0-9]+)?", rest)
            return float(found[0]) if found else None
        _, found_it, rest = rest.partition(part[0])
        if not found_it:
            return None
    return None


async def test_all_of_it_is_there_at_the_start_and_retained(loxone: Home) -> None:
    sent = [one for one in loxone.broker.take() if one.topic.startswith("loxone/")]
    assert all(one.retain for one in sent)
    plain_topics = {one.topic.removeprefix(f"{ROOT}/"): one.payload for one in sent if one.topic.count("/") == 3}
    object_of_it = json.loads(plain_topics.pop("json"))
    assert list(plain_topics) == list(object_of_it)
    wanted = {"mode", "mode_number", "soc", "age", "heartbeat", "rejection", "latched", "timeout", "fresh"}
    wanted |= {
        f"{word}_{what}" for word in ("charge", "discharge", "export") for what in ("author", "left", "clamp", "reason", "acknowledged")
    }
    assert wanted <= set(object_of_it)
    assert (plain_topics["mode"], plain_topics["mode_number"], plain_topics["soc"], plain_topics["age"]) == ("auto", "0", "60", "0")


async def test_a_charge_and_its_end_are_told_at_once(loxone: Home) -> None:
    loxone.heard()
    await loxone.wish("charge", 50)
    heard = await loxone.soon()
    assert heard["charge"] == heard["charge_wanted"] == heard["charge_acknowledged"] == "2.5"
    assert (heard["charge_on"], heard["charge_author"], heard["charge_left"], heard["mode"]) == ("1", "loxone", "60", "manual")
    assert "soc" not in heard, "plain topics only say what changed"
    assert (
        ";charge=2.5;charge_on=1;charge_wanted=2.5;charge_acknowledged=2.5;charge_left=60;charge_author=loxone;charge_clamp=;" in heard[""]
    )

    loxone.desk.pass_time(60 * MINUTE)
    heard = await loxone.soon()
    assert (heard["charge"], heard["charge_on"], heard["charge_wanted"], heard["charge_author"]) == ("0", "0", "", "")


async def test_every_number_is_found_by_its_recognition_and_no_other(loxone: Home) -> None:
    loxone.heard()
    await loxone.wish("discharge", 30)
    text = (await loxone.soon())[""]
    said = loxone.status.fields("growatt")
    numbers = {key: value for key, value in said.items() if isinstance(value, int | float)}
    assert len(numbers) > 15
    assert {key: recognised(pattern(key), text) for key in numbers} == numbers
    assert recognised(pattern("charge"), text) == 0
    assert recognised(pattern("discharge"), text) == 1.5


async def test_what_is_not_known_is_missing_empty_or_null_and_never_zero(tmp_path: Path) -> None:
    loxone = Home(home(tmp_path, GROWATT.replace("        rated: 5 kW\n", "").replace("..3 kW", "..60 %")))
    loxone.desk.read(soc=None)
    loxone.status.tick(0.0)
    heard = loxone.heard()
    assert ";soc=" not in heard[""]
    assert heard["soc"] == ""
    assert json.loads(heard["json"])["soc"] is None
    assert ";fresh=0;" in heard[""]
    assert heard["export"] == heard["charge"] == "", "nobody said how many kW 100 % is"


async def test_the_heartbeat_counts_and_brings_everything_again(loxone: Home) -> None:
    loxone.status.tick(0.0)
    whole = set(loxone.heard())
    loxone.status.tick(9.0)
    assert await loxone.silence()
    loxone.status.tick(10.0)
    heard = loxone.heard()
    assert set(heard) == whole
    assert (heard["heartbeat"], heard[""].split(";")[0]) == ("2", "heartbeat=2")


async def test_what_changes_without_a_decision_is_told_within_a_second(loxone: Home) -> None:
    loxone.status.tick(0.0)
    loxone.heard()
    loxone.desk._soc = 61
    loxone.status.tick(1.0)
    heard = await loxone.soon()
    assert heard["soc"] == "61"


async def test_a_broker_that_lost_everything_gets_it_again(loxone: Home) -> None:
    whole = set(loxone.heard())
    loxone.broker.connect()
    assert set(loxone.heard()) == whole


async def test_the_last_rejection_is_told_with_what_it_was_about(loxone: Home) -> None:
    loxone.heard()
    loxone.answers.refuse("growatt", "loxone/growatt/charge/power", "-1", "out of range", "it is; it = is")
    heard = await loxone.soon()
    assert (heard["rejected"], heard["rejection"], heard["rejection_topic"]) == ("1", "out of range", "charge/power")
    assert ";rejection_detail=it is, it : is;" in heard[""]


async def test_a_flood_of_decisions_is_told_once_in_a_while(loxone: Home) -> None:
    loxone.heard()
    for value in range(50):
        await loxone.wish("charge", value + 1)
    await loxone.told()
    sent = [one for one in loxone.broker.take() if one.topic == ROOT]
    assert len(sent) == 1
    assert "charge_wanted=2.5" in sent[0].payload


async def test_while_the_broker_is_away_nothing_is_said(loxone: Home) -> None:
    loxone.heard()
    loxone.broker.connected = False
    await loxone.wish("charge", 50)
    assert await loxone.silence()
    loxone.broker.connect()
    assert loxone.heard()["charge"] == "2.5"


async def test_the_text_fits_and_the_object_gives_the_same_by_udp(loxone: Home) -> None:
    loxone.heard()
    await loxone.wish("charge", 50)
    heard = await loxone.soon()
    assert len(heard[""].encode()) <= 1024
    by_udp = datagram(f"{ROOT}/json", heard["json"].encode()).decode()
    said = loxone.status.fields("growatt")
    assert {key: recognised(pattern(key), by_udp) for key, value in said.items() if isinstance(value, int | float)} == {
        key: value for key, value in said.items() if isinstance(value, int | float)
    }


def test_a_sentence_is_cut_in_the_text_that_has_everything_and_not_on_its_own_topic() -> None:
    assert packed({"heartbeat": 1, "reason": "x" * 300}) == f"heartbeat=1;reason={'x' * 100}"
    assert plain("x" * 300) == "x" * 255


def test_numbers_have_a_point_and_no_needless_digits() -> None:
    assert [plain(value) for value in (2.5, 2.0, 0.0, 61, None, "a;b=c\nd")] == ["2.5", "2", "0", "61", "", "a,b:c d"]
    assert packed({"a": 1, "b": None, "c": "x"}) == "a=1;c=x"
