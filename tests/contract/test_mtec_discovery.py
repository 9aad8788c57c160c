"""Classic discovery of both contracts: `state` against upstream's 98 messages, `json` against its description."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ohmstead.profiles.model import Profile
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.mtec_json import MtecJson
from ohmstead.publish.mtec_state import MtecState
from tests.publishing import Recorder, Requests, Sent, decoded, snapshots

SERIAL = "MTEC12K3P4012345"
GRACE_S = 15.0
DISCOVERY = Discovery("homeassistant", "homeassistant/status", GRACE_S)
AVAILABILITY = ("ohm/home/bridge/online", "ohm/home/device/mtec/online")
BIRTH = "homeassistant/status"


@pytest.fixture
def announced(golden: list[Sent]) -> list[Sent]:
    """Upstream's discovery."""
    return [message for message in golden if message.topic.startswith("homeassistant/") and message.topic.endswith("/config")]


@pytest.fixture
def broker() -> Recorder:
    return Recorder()


@pytest.fixture
def state(profile: Profile, broker: Recorder) -> MtecState:
    return MtecState("mtec", profile, profile.contracts["state"], broker, Requests(), DISCOVERY)


@pytest.fixture
def as_json(profile: Profile, broker: Recorder) -> MtecJson:
    return MtecJson("mtec", profile, profile.contracts["json"], broker, AVAILABILITY, DISCOVERY)


def _poll(outlet: MtecState | MtecJson, profile: Profile, image: dict[int, int]) -> None:
    for snapshot in snapshots(profile, decoded(profile, image)):
        outlet.take(snapshot)


def _configurations(broker: Recorder) -> list[Sent]:
    return [message for message in broker.take() if message.topic.startswith("homeassistant/")]


def test_the_98_configurations_are_upstreams_byte_for_byte_and_in_its_order(
    profile: Profile, image: dict[int, int], state: MtecState, broker: Recorder, announced: list[Sent]
) -> None:
    state.start()
    broker.connect()
    _poll(state, profile, image)
    state.tick(100.0)
    state.tick(100.0 + GRACE_S)

    assert len(announced) == 98
    assert _configurations(broker) == announced


def test_after_a_restart_the_same_98_are_sent_from_what_the_store_knows(profile: Profile, broker: Recorder, announced: list[Sent]) -> None:
    known = {"serial_no": SERIAL, "equipment_info": "12K-40A-3P", "firmware_version": "V27.52.04.00-V20.01.10.03"}
    outlet = MtecState("mtec", profile, profile.contracts["state"], broker, Requests(), DISCOVERY, known)
    outlet.start()
    broker.connect()
    outlet.tick(0.0)
    outlet.tick(GRACE_S)

    assert _configurations(broker) == announced


def test_discovery_waits_for_the_grace_and_is_sent_once(
    profile: Profile, image: dict[int, int], state: MtecState, broker: Recorder
) -> None:
    state.start()
    broker.connect()
    _poll(state, profile, image)
    state.tick(100.0)
    state.tick(100.0 + GRACE_S - 0.1)
    assert _configurations(broker) == []

    state.tick(100.0 + GRACE_S)
    assert len(_configurations(broker)) == 98

    state.tick(10_000.0)
    assert _configurations(broker) == []


def test_discovery_waits_for_the_serial_number(profile: Profile, image: dict[int, int], state: MtecState, broker: Recorder) -> None:
    state.start()
    broker.connect()
    for now in (0.0, GRACE_S, 2 * GRACE_S):
        state.tick(now)
    assert _configurations(broker) == []

    _poll(state, profile, image)
    state.tick(3 * GRACE_S)
    state.tick(4 * GRACE_S)
    assert len(_configurations(broker)) == 98


def test_home_assistants_birth_brings_all_of_it_again(profile: Profile, image: dict[int, int], state: MtecState, broker: Recorder) -> None:
    """Deviation 2: upstream sends it once in its life."""
    state.start()
    broker.connect()
    _poll(state, profile, image)
    state.tick(0.0)
    state.tick(GRACE_S)
    first = _configurations(broker)

    broker.arrive(BIRTH, b"offline")
    state.tick(100.0)
    state.tick(100.0 + GRACE_S)
    assert _configurations(broker) == []

    broker.arrive(BIRTH, b"online")
    state.tick(200.0)
    state.tick(200.0 + GRACE_S)
    assert _configurations(broker) == first


def test_a_broker_that_lost_everything_gets_it_again(profile: Profile, image: dict[int, int], as_json: MtecJson, broker: Recorder) -> None:
    as_json.start()
    broker.connect()
    _poll(as_json, profile, image)
    as_json.tick(0.0)
    as_json.tick(GRACE_S)
    first = _configurations(broker)

    broker.connected = False
    as_json.tick(50.0)
    broker.connect()
    as_json.tick(100.0)
    as_json.tick(100.0 + GRACE_S)

    assert _configurations(broker) == first
    assert first


@pytest.mark.parametrize("name", ["state", "json"])
def test_after_discovery_the_last_values_follow_once_but_no_old_ones(
    name: str, profile: Profile, image: dict[int, int], state: MtecState, as_json: MtecJson, broker: Recorder
) -> None:
    outlet: MtecState | MtecJson = state if name == "state" else as_json
    outlet.start()
    broker.connect()
    _poll(outlet, profile, image)
    polled = broker.take()
    outlet.tick(0.0)
    outlet.tick(GRACE_S)
    outlet.tick(GRACE_S + 1)
    _configurations(broker)
    outlet.tick(GRACE_S + 6)
    assert sorted(broker.take()) == sorted(polled)

    broker.arrive(BIRTH, b"online")
    outlet.tick(200.0)
    outlet.tick(200.0 + GRACE_S)
    outlet.tick(201.0 + GRACE_S)
    _configurations(broker)
    outlet.tick(206.0 + GRACE_S)
    repeated = {message.topic.split("/")[2] for message in broker.take()}
    assert repeated == {"day", "total", "static"}


def test_without_discovery_nothing_is_announced(profile: Profile, image: dict[int, int], broker: Recorder) -> None:
    outlet = MtecState("mtec", profile, profile.contracts["state"], broker, Requests(), None)
    outlet.start()
    broker.connect()
    _poll(outlet, profile, image)
    for now in range(100):
        outlet.tick(float(now))
    outlet.close()

    assert {message.topic.split("/")[0] for message in broker.take()} == {"MTEC"}


class TestJson:
    @pytest.fixture
    def bodies(self, profile: Profile, image: dict[int, int], as_json: MtecJson, broker: Recorder) -> dict[str, dict[str, Any]]:
        as_json.start()
        broker.connect()
        _poll(as_json, profile, image)
        as_json.tick(0.0)
        as_json.tick(GRACE_S)
        sent = _configurations(broker)
        assert all(message.retain and message.qos == 0 for message in sent)
        return {message.topic: json.loads(message.payload) for message in sent}

    def test_each_value_has_the_topics_and_names_of_the_contract(self, bodies: dict[str, dict[str, Any]]) -> None:
        body = bodies[f"homeassistant/sensor/{SERIAL}_ac_fequency/config"]

        assert body["state_topic"] == f"MTEC/{SERIAL}/now-grid"
        assert body["value_template"] == "{{ value_json.ac_fequency }}"
        assert body["unique_id"] == f"{SERIAL}_ac_fequency"
        assert body["device"]["identifiers"] == [SERIAL]
        assert body["device"]["manufacturer"] == "M-TEC"
        assert body["device"]["model"] == "Energy-Butler"
        assert body["device"]["sw_version"] == "V27.52.04.00-V20.01.10.03"

    def test_home_assistant_learns_what_the_value_is(self, bodies: dict[str, dict[str, Any]]) -> None:
        energy = bodies[f"homeassistant/sensor/{SERIAL}_pv_total/config"]
        assert (energy["name"], energy["unit_of_measurement"], energy["device_class"], energy["state_class"]) == (
            "PV energy generated (total)",
            "kWh",
            "energy",
            "total_increasing",
        )
        mode = bodies[f"homeassistant/sensor/{SERIAL}_mode/config"]
        assert mode["device_class"] == "enum"
        assert mode["options"] == ["General mode", "Economic mode", "UPS mode", "Off grid", "Unknown"]

    def test_entities_are_unavailable_with_the_gateway_or_the_inverter(self, bodies: dict[str, dict[str, Any]]) -> None:
        """Deviation 9: upstream's entities keep their last value for ever."""
        for body in bodies.values():
            assert [entry["topic"] for entry in body["availability"]] == list(AVAILABILITY)
            assert body["availability_mode"] == "all"

    def test_all_but_dates_and_what_the_device_says_of_itself_are_entities(self, bodies: dict[str, dict[str, Any]]) -> None:
        assert len(bodies) == 87 - 4
        assert not [topic for topic in bodies if topic.split("_", 1)[1].startswith(("inverter_date", "serial_no", "firmware", "equipment"))]
