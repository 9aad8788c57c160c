"""The contract of hoymiles-mqtt 0.11.0 against the recorded registers and messages, and each of its defects that is none here.

The recording: five polls of nine ports (images A1 to A5). A1 is a day on which one inverter sleeps from the start, A2 has another one
asleep, A3 a port that says less than before and a late riser, A4 is the night, A5 a night in which one inverter keeps its registers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ohmstead.publish.hoymiles_discovery import Wanted
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sim.hoymiles_plant import Plant, Roof, moment
from ohmstead.sources.hoymiles_plant import Wishes
from tests.hoymiles_rig import NOON, PRAGUE, House, Remembered, roof, states
from tests.publishing import Sent, read_image

DTU, HM4, MI2, HM2, HM1 = "10f8a1b2c3d4", "116180123456", "104162778899", "114182a0b1c2", "112174000007"


class Recorded(NamedTuple):
    poll: int
    message: Sent


@pytest.fixture
def images(goldens: Path) -> list[dict[int, int]]:
    """The registers of the five polls."""
    return [read_image(goldens / "hoymiles" / f"image_A{number}.json") for number in range(1, 6)]


def recording(goldens: Path, name: str) -> list[Recorded]:
    lines = (goldens / "hoymiles" / name).read_text().splitlines()
    return [Recorded(one["poll"], Sent(one["topic"], one["payload"], one["retain"], one["qos"])) for one in map(json.loads, lines)]


async def played(images: list[dict[int, int]], **settings: Any) -> list[list[Sent]]:
    """What each poll of the images publishes, a minute apart."""
    async with Dtu(image={}) as dtu:
        house = House(dtu, **settings)
        published = []
        for image in images:
            dtu.image = image
            published.append(await house.published())
        return published


def state_messages(sent: list[Sent]) -> list[Sent]:
    """Each state once: after discovery the last ones are sent again."""
    return list(dict.fromkeys(one for one in sent if one.topic.endswith("/state")))


def of_poll(recorded: list[Recorded], number: int) -> list[Sent]:
    return [one.message for one in recorded if one.poll == number and one.message.topic.endswith("/state")]


def without_energy(sent: list[Sent]) -> list[Sent]:
    energies = ("today_production", "total_production")
    cut = [{key: value for key, value in json.loads(one.payload).items() if key not in energies} for one in sent]
    return [one._replace(payload=json.dumps(body)) for one, body in zip(sent, cut, strict=True)]


async def test_discovery_is_the_recorded_one_each_message_once(goldens: Path, images: list[dict[int, int]]) -> None:
    published = await played(images[:1], wanted=Wanted(expire_after_s=60))
    recorded = [one.message for one in recording(goldens, "golden_A.jsonl") if one.message.topic.endswith("/config")]

    assert len(recorded) == 112
    assert [one for one in published[0] if one.topic.endswith("/config")] == list(dict.fromkeys(recorded))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
async def test_states_are_the_recorded_ones_but_for_the_energies_of_who_sleeps(
    goldens: Path, images: list[dict[int, int]], number: int
) -> None:
    """Byte for byte where every inverter was awake (A3); elsewhere with what a sleeping one had instead of its 0."""
    published = (await played(images))[number - 1]
    recorded = of_poll(recording(goldens, "golden_A.jsonl"), number)

    if number == 3:
        assert state_messages(published) == recorded
    assert without_energy(state_messages(published)) == without_energy(recorded)
    awake = [one for one in recorded if json.loads(one.payload).get("pv_voltage")]
    assert len(awake) == [8, 6, 9, 0, 0][number - 1]
    assert set(awake) <= set(published)


async def test_the_sums_of_the_night_are_the_recorded_ones(goldens: Path, images: list[dict[int, int]]) -> None:
    published = await played(images)

    for number in (3, 4, 5):
        topic = f"homeassistant/hoymiles_mqtt/{DTU}/state"
        recorded = [one for one in of_poll(recording(goldens, "golden_A.jsonl"), number) if one.topic == topic]
        assert [one for one in state_messages(published[number - 1]) if one.topic == topic] == recorded


async def test_fewer_entities_are_the_recorded_ones(goldens: Path, images: list[dict[int, int]]) -> None:
    wanted = Wanted(inverter=frozenset({"temperature", "operating_status"}), port=frozenset({"pv_power", "today_production"}))
    published = await played(images[:2], wanted=wanted)
    recorded = recording(goldens, "golden_A_filter.jsonl")

    configurations = [one.message for one in recorded if one.message.topic.endswith("/config")]
    assert [one for one in published[0] if one.topic.endswith("/config")] == list(dict.fromkeys(configurations))
    for number in (1, 2):
        assert without_energy(state_messages(published[number - 1])) == without_energy(of_poll(recorded, number))


async def test_deviation_exclusion_leaves_an_inverter_out_of_discovery_and_sums_as_well(
    goldens: Path, images: list[dict[int, int]]
) -> None:
    without = frozenset({HM2})
    published = await played(images[:3], wishes=Wishes(exclude=without), wanted=Wanted(exclude=without))
    fork = recording(goldens, "golden_A_fork012.jsonl")

    assert not any(HM2 in one.topic and one.payload for sent in published for one in sent)
    taken_back = {one.topic for one in published[0] if not one.payload}
    assert taken_back >= {one.message.topic for one in fork if HM2 in one.message.topic}
    assert any(HM2 in one.message.topic for one in fork)
    assert [one.topic for one in state_messages(published[2])] == [one.topic for one in of_poll(fork, 3)]
    today = json.loads(states(published[2])[f"{DTU}/state"])["today_production"]
    assert today == 71418 - 704 - 699


async def test_deviation_multiplied_values_have_units_that_fit_and_no_noise(goldens: Path, images: list[dict[int, int]]) -> None:
    wanted = Wanted(expire_after_s=60, factors={"pv_power": 0.001, "today_production": 0.001, "temperature": 2.0})
    published = await played(images[:3], wanted=wanted)
    fork = of_poll(recording(goldens, "golden_A_fork012.jsonl"), 3)

    ours = {one.topic: json.loads(one.payload) for one in published[2]}
    for one in fork:
        for key, value in json.loads(one.payload).items():
            assert ours[one.topic][key] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), (one.topic, key)
    assert all(len(str(value)) < 12 for body in ours.values() for value in body.values() if isinstance(value, float))
    said = {one.topic: json.loads(one.payload) for one in published[0] if one.topic.endswith("/config")}
    asked = (f"{DTU}/DTU_pv_power", f"{HM4}/port_1_today_production", f"{HM4}/inv_temperature")
    units = [said[f"homeassistant/sensor/{key}/config"]["unit_of_measurement"] for key in asked]
    assert units == ["kW", "kWh", "°C"]


async def test_deviation_friendly_names_are_what_people_see_and_nothing_else_changes(goldens: Path, images: list[dict[int, int]]) -> None:
    wanted = Wanted(expire_after_s=60, names={DTU: "Roof", HM2: "Garage", f"{HM2}/1": "Left"})
    published = await played(images[:1], wanted=wanted)
    recorded = {one.message.topic: json.loads(one.message.payload) for one in recording(goldens, "golden_A.jsonl")}

    said = {one.topic: json.loads(one.payload) for one in published[0] if one.topic.endswith("/config")}
    assert said[f"homeassistant/sensor/{HM2}/port_1_pv_power/config"]["name"] == "Left pv_power"
    assert {body["device"]["name"] for topic, body in said.items() if f"/{HM2}/" in topic} == {"Garage"}
    assert {body["device"]["name"] for topic, body in said.items() if f"/{DTU}/" in topic} == {"Roof"}
    for topic, body in said.items():
        for one in (body, recorded[topic]):
            one.pop("name")
            one["device"].pop("name")
        assert body == recorded[topic]


async def test_names_of_entities_and_topics_of_one_s_own(images: list[dict[int, int]]) -> None:
    wanted = Wanted(entity_names={"pv_power": "PV power"}, names={f"{HM2}/2": "Right"}, topics="solar/state")
    published = (await played(images[:1], wanted=wanted))[0]

    said = {one.topic: json.loads(one.payload) for one in published if one.topic.endswith("/config")}
    asked = (f"{DTU}/DTU_pv_power", f"{HM2}/port_1_pv_power", f"{HM2}/port_2_pv_power", f"{HM2}/port_1_pv_current")
    names = [said[f"homeassistant/sensor/{key}/config"]["name"] for key in asked]
    assert names == ["PV power", "Port 1 PV power", "Right PV power", "port_1_pv_current"]
    topics = {one.topic for one in published if not one.topic.endswith("/config")}
    assert f"solar/state/{DTU}/state" in topics
    assert {body["state_topic"] for body in said.values()} == topics


async def test_deviation_energy_never_falls_when_inverters_sleep(images: list[dict[int, int]]) -> None:
    published = await played(images)
    last: dict[tuple[str, str], float] = {}
    for sent in published:
        for topic, payload in states(sent).items():
            for key, value in json.loads(payload).items():
                if key.endswith("production"):
                    assert value >= last.get((topic, key), 0), (topic, key)
                    last[topic, key] = value

    assert len(last) == 2 * 10


async def test_deviation_a_late_riser_does_not_make_the_sum_jump(goldens: Path, images: list[dict[int, int]]) -> None:
    """Upstream's total leaps by 5.5 MWh when the fourth inverter wakes. Here there is a total when all of them have one."""
    published = await played(images)
    totals = [json.loads(states(sent)[f"{DTU}/state"]).get("total_production") for sent in published]

    assert totals == [None, None, 3373551331, 3373551331, 3373551331]


async def test_deviation_a_start_at_night_knows_the_day_of_before() -> None:
    memory = Remembered()
    async with roof(moment("2026-06-20", 18.0, PRAGUE), memory=memory) as (_, evening):
        before = json.loads(states(await evening.published())[f"{DTU}/state"])
    async with roof(moment("2026-06-20", 22.9, PRAGUE), memory=memory) as (_, night):
        after = json.loads(states(await night.published())[f"{DTU}/state"])

    assert (after["today_production"], after["total_production"]) == (before["today_production"], before["total_production"])
    assert before["today_production"] > 0


async def test_deviation_in_the_reset_hour_the_day_is_zero_once_and_is_there() -> None:
    memory = Remembered()
    wishes = Wishes(reset_hour=23)
    async with roof(moment("2026-06-20", 18.0, PRAGUE), memory=memory, wishes=wishes) as (_, house):
        await house.published()
        todays = []
        for hour in (22.0, 22.9, 23.0, 23.5, 23.9):
            house.now = moment("2026-06-20", hour, PRAGUE)
            todays.append(json.loads(states(await house.published())[f"{DTU}/state"]).get("today_production"))

    assert todays[0] == todays[1] > 0
    assert todays[2:] == [0, 0, 0]


async def test_deviation_an_error_in_mid_list_loses_only_what_comes_after_it() -> None:
    async with roof(NOON) as (_, house):
        house.dtu.mood.refuse_at = {6: 4}
        sent = states(await house.published())

    whole = [DTU, HM4, *(f"{HM4}/{port}" for port in (1, 2, 3, 4)), MI2, f"{MI2}/1", f"{MI2}/2"]
    assert [topic.removesuffix("/state") for topic in sent] == whole
    assert json.loads(sent[f"{DTU}/state"]) == {}


async def test_deviation_what_is_no_longer_heard_of_becomes_unavailable_and_comes_back() -> None:
    async with roof(NOON) as (_, house):
        await house.published()
        house.dtu.mood.leave_out = frozenset({(HM1, 1)})
        gone: dict[str, str] = {}
        for _ in range(5):
            gone |= states(await house.published())
        house.dtu.mood.leave_out = frozenset()
        back = states(await house.published())

    assert (gone[f"{HM1}/state"], gone[f"{HM1}/1/state"]) == ("{}", "{}")
    assert json.loads(gone[f"{HM2}/1/state"])["pv_power"] > 0
    assert json.loads(back[f"{HM1}/1/state"])["pv_power"] > 0


async def test_deviation_at_an_orderly_end_everything_becomes_unavailable() -> None:
    async with roof(NOON) as (_, house):
        await house.published()
        house.contract.close()
        said = states(house.broker.take())

    assert len(said) == 14
    assert set(said.values()) == {"{}"}


async def test_two_dtus_have_a_sum_each_and_an_inverter_of_both_has_one_set_of_topics() -> None:
    claims: dict[str, str] = {}
    memory = Remembered()
    other = Roof(inverters=((HM2, (380, 380)), ("116199999999", (400,))), serial="10f8ffffffff")
    async with Dtu(Plant(Roof(), NOON)) as first, Dtu(Plant(other, NOON)) as second:
        houses = House(first, claims=claims, memory=memory), House(second, device="shed", claims=claims, memory=memory)
        told = [states(await house.published()) for house in houses]

    assert f"{HM2}/state" in told[0]
    assert not any(topic.startswith(HM2) for topic in told[1])
    assert json.loads(told[1]["10f8ffffffff/state"])["total_production"] < json.loads(told[0][f"{DTU}/state"])["total_production"]


async def test_another_dtu_at_the_same_address_has_topics_of_its_own(images: list[dict[int, int]]) -> None:
    async with Dtu(image=images[0]) as dtu:
        house = House(dtu)
        await house.published()
        dtu.image = {}
        await house.published()
        dtu.image = {**images[0], 0x2000: 0x10F8, 0x2001: 0xFFFF, 0x2002: 0xFFFF}
        sent = await house.published()

    assert "10f8ffffffff/state" in states(sent)
