"""A node as a device of Home Assistant: only what it has told, and everything that it has told."""

from __future__ import annotations

import json
from typing import Any

from ohmstead.nodes.fleet import Event, Fleet
from ohmstead.profiles import library
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.home_assistant import HomeAssistantDevice
from ohmstead.publish.node_diagnostics import NodeDiagnostics, Told
from ohmstead.publish.retired import RetiredDevices
from tests.publishing import Recorder

TOPIC = "homeassistant/device/home_node_cellar/config"
STATE = "ohm/home/node/cellar/diagnostics"
NOTHING = Told({}, {}, None, None)
UNIX = Told({"memory_free": 90_000, "lag_max_ms": 12, "held": 0, "refused": {}}, {"requests": 40, "crc": 1}, "", "0.1.0")
BOARD = Told({**UNIX.link, "rssi": -61, "temperature": 48, "stack": 3000}, UNIX.bus, "stop", "0.1.0")


class Story:
    def __init__(self) -> None:
        self.broker = Recorder()
        self.told = NOTHING
        self.now = 0.0
        self.node = NodeDiagnostics("home", "cellar", self.broker, Discovery(), lambda: self.told)
        self.node.start()
        self.broker.connect()

    def sent(self, told: Told | None = None) -> dict[str, Any]:
        """What is published within two seconds, by topic."""
        self.told = told or self.told
        for _ in range(3):
            self.now += 1.0
            self.node.tick(self.now)
        sent = self.broker.take()
        assert all(message.retain for message in sent)
        return {message.topic: json.loads(message.payload) for message in sent}


def test_a_node_that_has_said_nothing_is_not_announced() -> None:
    assert Story().sent() == {}


def test_what_a_node_tells_is_a_diagnostic_entity_and_what_it_does_not_tell_is_none() -> None:
    story = Story()
    sent = story.sent(UNIX)
    assert set(sent) == {TOPIC, STATE}
    components = sent[TOPIC]["cmps"]
    assert set(components) == {"memory_free", "lag_max_ms", "held", "bus_requests", "bus_crc", "latched"}
    assert {component["entity_category"] for component in components.values()} == {"diagnostic"}
    assert {component["state_topic"] for component in components.values()} == {STATE}
    assert components["memory_free"]["device_class"] == "data_size"
    assert sent[TOPIC]["dev"] == {
        **{"identifiers": ["home_node_cellar"], "name": "Node cellar"},
        **{"manufacturer": "ohmstead", "model": "Node", "sw_version": "0.1.0"},
    }
    assert sent[TOPIC]["availability"] == [{"topic": "ohm/home/bridge/online"}, {"topic": "ohm/home/node/cellar/up/online"}]
    assert sent[STATE] == {"memory_free": 90_000, "lag_max_ms": 12, "held": 0, "bus_requests": 40, "bus_crc": 1, "latched": ""}


def test_only_news_is_published_and_new_figures_are_announced() -> None:
    story = Story()
    story.sent(UNIX)
    assert story.sent() == {}
    sent = story.sent(BOARD)
    assert {"rssi", "temperature", "stack"} <= set(sent[TOPIC]["cmps"])
    assert sent[STATE]["latched"] == "stop"
    story.broker.connect()
    assert set(story.sent()) == {TOPIC, STATE}, "the broker may have lost everything"


def test_a_figure_that_is_not_told_any_more_is_unknown_and_never_the_old_one() -> None:
    story = Story()
    story.sent(BOARD)
    sent = story.sent(UNIX)
    assert "rssi" not in sent[STATE]
    assert TOPIC not in sent, "its entity stays"


def test_its_configuration_is_not_taken_back() -> None:
    story = Story()
    retired = RetiredDevices("home", "homeassistant", story.broker, [story.node.topic])
    retired.start()
    configuration = json.dumps(story.sent(UNIX)[TOPIC]).encode()
    story.broker.arrive(TOPIC, configuration, retain=True)
    assert story.broker.take() == []
    story.broker.arrive(TOPIC.replace("cellar", "attic"), configuration, retain=True)
    assert [message.topic for message in story.broker.take()] == [TOPIC.replace("cellar", "attic")]


def test_the_buses_of_a_node_are_added_up() -> None:
    fleet = Fleet({"cellar": []})
    for bus, count in (("house", 3), ("roof", 4), ("house", 5)):
        fleet.happened(Event("cellar", "", "bus", {"bus": bus, "requests": count, "memory_free": 90_000 + count}, 1.0))
    node = fleet.nodes["cellar"]
    assert node.bus == {"requests": 9, "memory_free": 90_004}
    assert node.buses["roof"] == {"requests": 4, "memory_free": 90_004}


def test_a_control_shows_what_it_does_and_not_a_rate_without_its_switch() -> None:
    broker = Recorder()
    outlet = HomeAssistantDevice("home", "growatt", "Growatt", library.load("growatt-sph"), broker, Discovery())
    outlet.start()
    broker.connect()
    outlet.tick(0.0)
    outlet.tick(1.0)
    components = json.loads(broker.take()[-1].payload)["cmps"]
    charge = components["charge"]
    assert (charge["p"], charge["state_topic"], charge["command_topic"]) == (
        "number",
        "ohm/home/device/growatt/charge",
        "ohm/home/device/growatt/charge/set",
    )
    assert (charge["min"], charge["max"], charge["unit_of_measurement"]) == (0, 100, "%")
    assert components["battery_first_rate"]["p"] == "sensor"
    assert components["export_limit"]["p"] == "number"
