"""Every entity, state, command and availability in a real Home Assistant, for each way of announcing them.

The oracle beside the states: not one warning of Home Assistant's MQTT component, nor of the sensors and controls behind it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.profiles.model import Profile
from tests.conftest import Broker, wait_for
from tests.ha import expected
from tests.ha.expected import Entity
from tests.ha.home_assistant import HomeAssistant
from tests.ha.house import House
from tests.publishing import decoded, mtec, read_image

PATIENCE_S = 45.0


class Scene(NamedTuple):
    """A running house and its Home Assistant. `entities` is what must be there for the registers of the image."""

    contract: str
    broker: Broker
    house: House
    assistant: HomeAssistant
    profile: Profile
    image: dict[int, int]
    entities: list[Entity]

    @property
    def has_availability(self) -> bool:
        """The recorded discovery of contract `state` has none."""
        return self.contract != "state"

    def entity_ids(self) -> dict[tuple[str, str], str]:
        """(domain, unique id) → entity id."""
        registered = self.assistant.registered()
        return {(entity["entity_id"].split(".")[0], entity["unique_id"]): entity["entity_id"] for entity in registered}

    def differences(self) -> list[str]:
        """What Home Assistant shows otherwise than it should."""
        ids, states = self.entity_ids(), self.assistant.states()
        found = []
        for entity in self.entities:
            entity_id = ids.get((entity.domain, entity.unique_id))
            state = states.get(entity_id or "")
            if entity_id is None or state is None:
                found.append(f"{entity.domain} {entity.unique_id} is not there")
            elif not _shows(state["state"], entity):
                found.append(f"{entity_id} is {state['state']!r}, not {entity.state!r}")
        return found

    def all_states(self) -> set[str]:
        states = self.assistant.states()
        return {states[entity_id]["state"] for entity_id in self.entity_ids().values()}


def _shows(state: str, entity: Entity) -> bool:
    if isinstance(entity.state, str):
        return state == entity.state or entity.unique_id.endswith("inverter_date")
    try:
        return bool(abs(float(state) - entity.state) <= 0.5 * 10**-entity.decimals + 1e-9)
    except ValueError:
        return False


def _settled(scene: Scene) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while differences := scene.differences():
        if time.monotonic() > deadline:
            pytest.fail("Home Assistant shows otherwise:\n" + "\n".join(differences) + f"\n{scene.house.gateway_log()[-2000:]}")
        time.sleep(0.2)


WAYS: dict[str, tuple[str, str, Callable[[Profile, dict[str, Any], Path], list[Entity]]]] = {
    "json": ("json", "contract", lambda profile, values, _: expected.with_json(profile, values)),
    "state": ("state", "contract", lambda _, __, golden: list(expected.of_golden(golden))),
    "native": ("none", "native", lambda profile, values, _: expected.native(profile, values)),
}


@pytest.fixture(scope="module", params=list(WAYS))
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, goldens: Path) -> Iterator[Scene]:
    contract, entities, entities_of = WAYS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    profile, image = mtec(), read_image(goldens / "mtec" / "image_A.json")
    wanted = entities_of(profile, decoded(profile, image), goldens / "mtec" / "golden_A.jsonl")
    broker = Broker(folder)
    broker.start()
    try:
        with (
            HomeAssistant(folder / "home-assistant", broker.port) as assistant,
            House(folder / "house", broker.port, image, contract, entities) as house,
        ):
            scene = Scene(contract, broker, house, assistant, profile, image, wanted)
            wait_for(lambda: len(scene.entity_ids()) >= len(wanted), PATIENCE_S, "the registration of all entities")
            assistant.enable_all()
            yield scene
    finally:
        broker.stop()


@pytest.fixture(autouse=True)
def no_complaints(scene: Scene) -> Iterator[None]:
    """Home Assistant has warned of nothing meanwhile."""
    yield
    assert scene.assistant.complaints() == []


@pytest.fixture(autouse=True)
def registers_as_they_were(scene: Scene) -> Iterator[None]:
    yield
    for address, word in scene.image.items():
        scene.house.inverter[address] = word


def test_every_entity_is_registered_and_shows_what_was_read(scene: Scene) -> None:
    _settled(scene)

    registered = set(scene.entity_ids())
    assert registered == {(entity.domain, entity.unique_id) for entity in scene.entities}


def test_every_entity_has_its_unit_and_class(scene: Scene) -> None:
    _settled(scene)
    ids, states = scene.entity_ids(), scene.assistant.states()
    for entity in scene.entities:
        attributes = states[ids[entity.domain, entity.unique_id]]["attributes"]
        assert (attributes.get("unit_of_measurement") or None, attributes.get("device_class")) == (entity.unit, entity.device_class), entity
        if entity.device_class == "energy":
            assert attributes["state_class"] == "total_increasing"


def test_all_entities_are_on_one_device_that_says_what_it_is(scene: Scene) -> None:
    _settled(scene)
    devices = {entity["device_id"] for entity in scene.assistant.registered()}
    assert len(devices) == 1

    device = next(device for device in scene.assistant.devices() if device["id"] in devices)
    assert (device["manufacturer"], device["model"], device["serial_number"]) == ("M-TEC", "Energy-Butler", expected.SERIAL)
    assert device["sw_version"] in ("V27.52.04.00-V20.01.10.03", "27 52 04 00  20 01 10 03")


def test_a_new_value_is_shown(scene: Scene) -> None:
    _settled(scene)
    entity = next(entity for entity in scene.entities if entity.unique_id.endswith("_battery_soc"))
    entity_id = scene.entity_ids()[entity.domain, entity.unique_id]
    scene.house.inverter[33000] = 4210

    wait_for(lambda: float(scene.assistant.states()[entity_id]["state"]) == 42.1, PATIENCE_S, "the new state of charge")


def test_an_alert_is_a_problem_of_the_device_as_long_as_it_lasts(scene: Scene) -> None:
    _settled(scene)
    alert = scene.entity_ids().get(("binary_sensor", expected.ALERT))
    assert (alert is None) == (scene.contract == "state"), "the recorded discovery has none, so its house asks for none"
    if alert is None:
        return
    scene.house.inverter[33000] = 4210
    wait_for(lambda: scene.assistant.states()[alert]["state"] == "on", PATIENCE_S, "the problem")
    scene.house.inverter[33000] = 7000
    wait_for(lambda: scene.assistant.states()[alert]["state"] == "off", PATIENCE_S, "its end")


COMMANDS = [
    ("grid_inject_limit", "number", "set_value", {"value": 12.5}, 25103, 125, "12.5"),
    ("on_grid_soc_limit", "number", "set_value", {"value": 16.1}, 52503, 161, "16.1"),
    ("off_grid_soc_limit", "number", "set_value", {"value": 32.3}, 52505, 323, "32.3"),
    ("charge_limit", "number", "set_value", {"value": 20}, 52601, 200, "20"),
    ("discharge_limit", "number", "set_value", {"value": 7.5}, 52603, 75, "7.5"),
    ("grid_inject_switch", "switch", "turn_off", {}, 25100, 0, "off"),
    ("on_grid_soc_switch", "switch", "turn_off", {}, 52502, 0, "off"),
    ("off_grid_soc_switch", "switch", "turn_on", {}, 52504, 1, "on"),
    ("mode", "select", "select_option", {"option": "UPS mode"}, 50000, 259, "UPS mode"),
]


@pytest.mark.parametrize(("control", "domain", "service", "fields", "address", "word", "shown"), COMMANDS, ids=[c[0] for c in COMMANDS])
def test_a_command_reaches_its_register_and_comes_back_as_state(
    scene: Scene, control: str, domain: str, service: str, fields: dict[str, object], address: int, word: int, shown: str
) -> None:
    _settled(scene)
    unique = f"MTEC_{control}" if scene.contract == "state" else f"home_mtec_{control}"
    entity_id = scene.entity_ids()[domain, unique]

    scene.assistant.call(domain, service, entity_id, **fields)

    wait_for(lambda: scene.house.inverter[address] == word, PATIENCE_S, f"{word} in register {address}")
    entity = Entity(domain, unique, shown if domain != "number" else float(shown), 1, None, None)
    wait_for(lambda: _shows(scene.assistant.states()[entity_id]["state"], entity), PATIENCE_S, f"{entity_id} at {shown}")
    assert [(write.address, write.words) for write in scene.house.inverter.writes[-1:]] == [(address, (word,))]


def test_what_this_home_does_not_allow_home_assistant_does_not_send(scene: Scene) -> None:
    if scene.contract == "state":
        pytest.skip("the recorded discovery of contract state has no limits; the gateway refuses the command itself")
    _settled(scene)
    before = len(scene.house.inverter.writes)
    with pytest.raises(httpx.HTTPStatusError):
        scene.assistant.call("number", "set_value", scene.entity_ids()["number", "home_mtec_discharge_limit"], value=60)

    assert len(scene.house.inverter.writes) == before


def test_a_refused_range_is_unknown_and_the_rest_of_its_group_goes_on(scene: Scene) -> None:
    if scene.contract != "json":
        pytest.skip("the other ways have a topic for each value: what is not read is not published")
    _settled(scene)
    ids = scene.entity_ids()
    refused, other = (ids["sensor", f"{expected.SERIAL}_{name}"] for name in ("inverter_status", "grid_power"))
    scene.house.inverter[11001] = 777
    scene.house.station.faults.on("exception=2@10105")
    try:
        wait_for(lambda: scene.assistant.states()[refused]["state"] == "unknown", PATIENCE_S, "the unknown state")
        wait_for(lambda: float(scene.assistant.states()[other]["state"]) == 777, PATIENCE_S, "the grid's new power")
    finally:
        scene.house.station.faults.clear()
    scene.house.inverter[11001] = scene.image[11001]
    _settled(scene)


def test_an_unplugged_inverter_makes_its_entities_unavailable_until_it_answers(scene: Scene) -> None:
    _settled(scene)
    scene.house.station.faults.on("unplugged")
    try:
        if scene.has_availability:
            wait_for(lambda: scene.all_states() == {"unavailable"}, PATIENCE_S, "unavailable, all of them,")
        else:
            wait_for(lambda: _retained(scene.broker, "ohm/home/device/mtec/online") == b"offline", PATIENCE_S, "the device's offline")
            assert "unavailable" not in scene.all_states()
    finally:
        scene.house.station.faults.clear()
    _settled(scene)


def test_a_killed_gateway_makes_its_entities_unavailable_until_it_is_back(scene: Scene) -> None:
    _settled(scene)
    scene.house.kill_gateway()
    try:
        if scene.has_availability:
            wait_for(lambda: scene.all_states() == {"unavailable"}, PATIENCE_S, "unavailable, all of them,")
        else:
            wait_for(lambda: _retained(scene.broker, "ohm/home/bridge/online") == b"offline", PATIENCE_S, "the gateway's last will")
    finally:
        scene.house.start_gateway()
    _settled(scene)


def test_what_a_broker_forgot_is_announced_again_at_home_assistants_birth(scene: Scene) -> None:
    _settled(scene)
    with _client(scene.broker) as client:
        for topic in _topics(scene.broker, "homeassistant/#"):
            if topic.endswith("/config"):
                client.publish(topic, b"", retain=True)
        wait_for(lambda: not scene.entity_ids(), PATIENCE_S, "an empty registry")
        client.publish("homeassistant/status", b"online")
    wait_for(lambda: len(scene.entity_ids()) == len(scene.entities), PATIENCE_S, "the return of all entities")
    scene.assistant.enable_all()
    _settled(scene)


def test_a_device_that_left_the_configuration_leaves_home_assistant(scene: Scene) -> None:
    _settled(scene)
    old = {
        "dev": {"identifiers": ["home_old"], "name": "Old"},
        "o": {"name": "ohmstead"},
        "availability": [{"topic": "ohm/home/bridge/online"}, {"topic": "ohm/home/device/old/online"}],
        "cmps": {"pv": {"p": "sensor", "unique_id": "home_old_pv", "name": "PV", "state_topic": "ohm/home/device/old/pv"}},
    }
    scene.house.kill_gateway()
    try:
        with _client(scene.broker) as client:
            client.publish("homeassistant/device/home_old/config", json.dumps(old).encode(), retain=True)
        wait_for(lambda: ("sensor", "home_old_pv") in scene.entity_ids(), PATIENCE_S, "the old device")
    finally:
        scene.house.start_gateway()
    wait_for(lambda: ("sensor", "home_old_pv") not in scene.entity_ids(), PATIENCE_S, "its removal")
    _settled(scene)


class _client:  # noqa: N801 - used like a function
    """A connected client; `heard` maps topics to their last payload."""

    def __init__(self, broker: Broker, pattern: str = "") -> None:
        self.heard: dict[str, bytes] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _user, message: self.heard.update({message.topic: bytes(message.payload)})
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        wait_for(self._client.is_connected, 5, "the connection")
        if pattern:
            self._client.subscribe(pattern)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def __enter__(self) -> _client:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _topics(broker: Broker, pattern: str) -> set[str]:
    """The retained topics: all are there when nothing new has come for half a second."""
    with _client(broker, pattern) as client:
        known, quiet_since = -1, time.monotonic()
        while time.monotonic() - quiet_since < 0.5:
            if len(client.heard) != known:
                known, quiet_since = len(client.heard), time.monotonic()
            time.sleep(0.02)
        return set(client.heard)


def _retained(broker: Broker, topic: str) -> bytes | None:
    with _client(broker, topic) as client:
        wait_for(lambda: client.heard, 5, f"the retained {topic}")
        return client.heard.get(topic)
