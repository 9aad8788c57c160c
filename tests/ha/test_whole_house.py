"""A whole house in a real Home Assistant: every device of every source is there, shows what was read, and goes with it.

The oracle beside the states: not one warning of Home Assistant's MQTT component, nor of the sensors behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ohmstead.publish.values import NONE
from ohmstead.sim.shelly import ShellyServer
from tests.conftest import Broker, wait_for
from tests.ha.home_assistant import HomeAssistant
from tests.whole_house import WholeHouse

PATIENCE_S = 60.0
AWAY = "unavailable"


class Scene:
    """A running house and its Home Assistant."""

    def __init__(self, house: WholeHouse, assistant: HomeAssistant) -> None:
        self.house = house
        self.assistant = assistant

    def entities_of(self, device: str) -> dict[str, str]:
        """Unique id → entity id, of a device and of what is behind it."""
        root = f"home_{device}"
        found = {str(entity["unique_id"]): str(entity["entity_id"]) for entity in self.assistant.registered()}
        return {unique: entity for unique, entity in found.items() if unique.startswith((f"{root}_", f"{root}-"))}

    def states_of(self, device: str) -> set[str]:
        states = self.assistant.states()
        return {states[entity]["state"] for entity in self.entities_of(device).values() if entity in states}

    def telling(self, device: str) -> str | None:
        """What Home Assistant shows for the telling point of a device."""
        entity = self.entities_of(device).get(f"home_{device}_{self.house.neighbours.known[device].point}")
        return self.assistant.states().get(entity or "", {}).get("state")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("whole-house")
    broker = Broker(folder)
    broker.start()
    try:
        with (
            HomeAssistant(folder / "home-assistant", broker.port) as assistant,
            WholeHouse(folder, f"{broker.host}:{broker.port}", entities="both") as house,
        ):
            yield Scene(house, assistant)
    finally:
        broker.stop()


@pytest.fixture(autouse=True)
def no_complaints(scene: Scene) -> Iterator[None]:
    """Home Assistant has warned of nothing meanwhile."""
    yield
    assert scene.assistant.complaints() == []


def test_every_device_shows_what_was_read(scene: Scene) -> None:
    for device, neighbour in scene.house.neighbours.known.items():
        wait_for(lambda device=device: scene.telling(device) not in (None, AWAY, "unknown"), PATIENCE_S, f"{device} in Home Assistant")
        shown = float(scene.telling(device) or "nan")
        assert neighbour.low <= shown <= neighbour.high, device


def test_what_is_behind_a_device_says_so(scene: Scene) -> None:
    wait_for(lambda: any("-" in unique for unique in scene.entities_of("roof")), PATIENCE_S, "the inverters of the roof")
    devices = {name: device for device in scene.assistant.devices() for _, name in device["identifiers"]}
    behind = [device for name, device in devices.items() if name.startswith("home_roof-")]
    assert behind
    assert {device["via_device_id"] for device in behind} == {devices["home_roof"]["id"]}


def test_what_is_cut_off_is_unavailable_alone_and_comes_back(scene: Scene) -> None:
    for device in scene.house.devices:
        wait_for(lambda device=device: scene.telling(device) not in (None, AWAY), PATIENCE_S, f"{device} in Home Assistant")
    for device in ("roof", "heating", "heatpump"):
        scene.house.neighbours.cut(device)
        wait_for(lambda device=device: scene.states_of(device) == {AWAY}, PATIENCE_S, f"the absence of {device}")
        others = [other for other in scene.house.devices if other != device and scene.telling(other) == AWAY]
        scene.house.neighbours.plug(device)
        assert not others
        wait_for(lambda device=device: scene.telling(device) != AWAY, PATIENCE_S, f"{device} again")


def test_a_value_that_is_gone_is_unknown_whatever_it_was(scene: Scene) -> None:
    """A number, a text, a moment, a choice: the heat pump says `None` of a sensor that is not there any more."""
    listener = scene.house.listener
    for point in ("heating_limit", "firmware", "last_switch_off", "heating_mode", "utility_release"):
        topic = f"ohm/home/device/heatpump/{point}"
        wait_for(lambda point=point: f"home_heatpump_{point}" in scene.entities_of("heatpump"), PATIENCE_S, point)
        entity = scene.entities_of("heatpump")[f"home_heatpump_{point}"]
        wait_for(
            lambda entity=entity: scene.assistant.states()[entity]["state"] not in (AWAY, "unknown"), PATIENCE_S, f"a value of {entity}"
        )
        was = listener.last(topic)
        assert was is not None
        listener.publish(topic, NONE)
        try:
            wait_for(lambda entity=entity: scene.assistant.states()[entity]["state"] == "unknown", PATIENCE_S, f"{entity} unknown")
        finally:
            listener.publish(topic, was)


def test_a_meter_that_measures_otherwise_has_the_entities_of_now(scene: Scene) -> None:
    """A Pro 3EM is switched from one meter of three phases to three meters, and back."""
    server = scene.house.neighbours.known["heating"].endpoint
    assert isinstance(server, ShellyServer)
    try:
        for kind, has, has_not in (("monophase", "power_1", "power_l1"), ("triphase", "power_l1", "power_1")):
            server.shelly.kind = kind
            wait_for(
                lambda has=has, has_not=has_not: (
                    f"home_heating_{has}" in (found := scene.entities_of("heating")) and f"home_heating_{has_not}" not in found
                ),
                PATIENCE_S,
                f"the entities of {kind}",
            )
    finally:
        server.shelly.kind = "triphase"
