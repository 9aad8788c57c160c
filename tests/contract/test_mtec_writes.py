"""Commands of the M-TEC contract: the recorded payloads give the recorded writes, and the deviations that we chose give none.

Broker, gateway and Modbus connection are real; the inverter is the recorded image and notes what is written to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Broker, wait_for
from tests.processes import SERIAL, Ear, Gateway, Inverter


class Home:
    """An inverter, its gateway, and somebody who sends commands."""

    def __init__(self, inverter: Inverter, gateway: Gateway, ear: Ear) -> None:
        self.inverter = inverter
        self.gateway = gateway
        self.ear = ear

    def say(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self.ear.client.publish(topic, payload, retain=retain)

    def writes(self) -> list[dict[str, int]]:
        return [{"fc": write.function, "addr": write.address, "value": write.words[0]} for write in self.inverter.image.writes]

    def answers(self) -> list[dict[str, object]]:
        """What the gateway said to each command, in order."""
        return [json.loads(payload) for topic, payload in self.ear.heard if topic.endswith("/result")]


@pytest.fixture
def home(goldens: Path, tmp_path: Path, broker: Broker) -> Iterator[Home]:
    with Inverter(goldens) as inverter, Ear(broker) as ear, Gateway(tmp_path, broker, inverter.port, contract="state") as gateway:
        gateway.start()
        wait_for(lambda: ear.count(f"MTEC/{SERIAL}/now-base/mode/state") >= 1, 10, "a reading")
        yield Home(inverter, gateway, ear)
        assert gateway.end() == 0


def test_every_recorded_payload_gives_exactly_the_recorded_writes(home: Home, goldens: Path) -> None:
    cases = json.loads((goldens / "mtec" / "writes_A.json").read_text())
    answered = 0
    for case in cases:
        home.say(case["topic"], case["payload"])
        if _is_control(case["topic"]):
            answered += 1
            wait_for(lambda: len(home.answers()) == answered, 5, f"the answer to {case}")  # noqa: B023 - used within the turn
    assert home.writes() == [write for case in cases for write in case["modbus_writes"]]
    assert {answer["outcome"] for answer in home.answers()} == {"done", "rejected"}


def _is_control(topic: str) -> bool:
    """Whether somebody listens to a recorded topic: others get no answer."""
    _, serial, _, name, _ = topic.split("/")
    return serial == SERIAL and name in {
        *("mode", "grid_inject_switch", "grid_inject_limit", "on_grid_soc_switch", "on_grid_soc_limit"),
        *("off_grid_soc_switch", "off_grid_soc_limit", "charge_limit", "discharge_limit"),
    }


def test_deviation_what_is_out_of_range_is_refused_where_upstream_writes_it(home: Home) -> None:
    for point, payload in (
        ("on_grid_soc_limit", "101"),
        ("off_grid_soc_limit", "100.1"),
        ("grid_inject_switch", "2"),
        ("charge_limit", "-0.1"),
        ("charge_limit", "-0.04"),
        ("discharge_limit", "100.05"),
    ):
        home.say(f"MTEC/{SERIAL}/config/{point}/set", payload)
    home.say(f"MTEC/{SERIAL}/now-base/mode/set", "1")
    wait_for(lambda: len(home.answers()) == 7, 5, "seven answers")
    assert {(answer["outcome"], answer["reason"]) for answer in home.answers()} == {("rejected", "out of range")}
    assert home.writes() == []


def test_the_words_on_and_off_are_none_of_the_contract_s(home: Home) -> None:
    home.say(f"MTEC/{SERIAL}/config/grid_inject_switch/set", "off")
    wait_for(lambda: len(home.answers()) == 1, 5, "an answer")
    home.say("ohm/test/device/mtec/grid_inject_switch/set", "off")
    wait_for(lambda: len(home.answers()) == 2, 5, "an answer on the plain topic, which has them")
    assert [answer["outcome"] for answer in home.answers()] == ["rejected", "done"]
    assert home.writes() == [{"fc": 6, "addr": 25100, "value": 0}]


def test_deviation_what_the_inverter_has_already_is_not_written_again(home: Home) -> None:
    home.say(f"MTEC/{SERIAL}/config/grid_inject_limit/set", "70")
    wait_for(lambda: len(home.answers()) == 1, 5, "an answer")
    assert home.answers()[0]["outcome"] == "unchanged"
    assert home.writes() == []


def test_deviation_a_retained_command_is_yesterday_s_and_ignored(home: Home) -> None:
    topic = f"MTEC/{SERIAL}/config/charge_limit/set"
    home.say(topic, "12", retain=True)
    wait_for(lambda: len(home.answers()) == 1, 5, "the live copy's answer")
    assert len(home.writes()) == 1
    home.gateway.end()
    home.inverter.image.write(6, 52601, [500])
    home.inverter.image.writes.clear()
    home.gateway.start()
    wait_for(lambda: home.ear.count(f"MTEC/{SERIAL}/config/charge_limit/state") >= 2, 10, "a reading after the restart")
    home.say(f"MTEC/{SERIAL}/config/discharge_limit/set", "13")  # whatever came before it was looked at before it
    wait_for(lambda: len(home.answers()) == 2, 5, "an answer")
    assert home.writes() == [{"fc": 6, "addr": 52603, "value": 130}]
