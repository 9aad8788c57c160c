"""The OpenInverterGateway's commands: ours are those that its users send, and the simulated one does with them what the firmware does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ohmstead.profiles import library
from ohmstead.profiles.layout import layout
from ohmstead.sim.growatt import MIN, SPH, Family, Growatt
from ohmstead.sim.inverter_gateway import InverterGateway
from ohmstead.sim.registers import Write
from ohmstead.sources import growatt_commands as commands
from ohmstead.sources.growatt_commands import AnswerError, Command, as_in_profile, reading, registers_in, telemetry_names, writing

SPH_REST = {1090: 100, 1091: 100, 1092: 0, 1100: 0, 1101: 5947, 1102: 0, 1070: 100, 1071: 10, 1080: 0, 1081: 5947, 1082: 0, 123: 1000}
MIN_REST = {3036: 100, 3037: 10, 3038: 0, 3039: 0, 3040: 0, 3041: 0, 3047: 100, 3048: 100, 3049: 0, 123: 1000}


@pytest.fixture(scope="module")
def known(goldens: Path) -> dict[str, list[dict[str, Any]]]:
    """The payloads of each recorded command, by its name."""
    recorded = json.loads((goldens / "loxone" / "growatt_mqtt_commands.json").read_text())
    found: dict[str, list[dict[str, Any]]] = {}
    for command in recorded["commands"]:
        found.setdefault(command["topic"].removeprefix("energy/solar/command/"), []).append(command["payload"])
    return found


def stick(family: Family = SPH) -> InverterGateway:
    """One that is on no broker; its commands are called directly."""
    return InverterGateway(Growatt(family=family, sun=lambda _: 0.0, demand=lambda _: 500.0), "localhost", 1)


def wanted(profile: str, control: str, raw: int) -> dict[int, int]:
    chosen = layout(library.load(profile), control)
    addresses = [at for _, first, count in chosen.blocks for at in range(first, first + count)]
    return dict(zip(addresses, chosen.registers(raw), strict=True))


def test_what_we_send_has_the_shape_of_what_is_sent_today(known: dict[str, list[dict[str, Any]]]) -> None:
    sent = [
        *writing(wanted("growatt-sph", "charge", 40), SPH_REST | {1091: 90}),
        *writing(wanted("growatt-sph", "discharge", 40), SPH_REST | {1071: 20}),
        *writing(wanted("growatt-sph", "export_limit", 0), SPH_REST),
        *writing(wanted("growatt-min", "charge", 40), MIN_REST),
        *reading([1090, 1070, 123]),
    ]
    ours = {command.name for command in sent}
    assert {name for name in ours if not name.startswith("bdc/")} <= set(known)
    for command in sent:
        for payload in known.get(command.name, [])[:1]:
            assert set(command.payload) == set(payload), command.name
            assert {type(value) for value in command.payload.values()} == {type(value) for value in payload.values()}, command.name


@pytest.mark.parametrize(
    ("profile", "rest", "control", "names"),
    [
        (
            "growatt-sph",
            SPH_REST,
            "charge",
            ["batteryfirst/set/powerrate", "batteryfirst/set/acchargeenabled", "batteryfirst/set/timeslot"],
        ),
        ("growatt-sph", SPH_REST, "discharge", ["gridfirst/set/powerrate", "gridfirst/set/timeslot"]),
        ("growatt-sph", SPH_REST, "export_limit", ["modbus/set"]),
        ("growatt-min", MIN_REST, "charge", ["bdc/set/chargepowerrate", "bdc/set/acchargeenabled", "priority/set"]),
        ("growatt-min", MIN_REST, "discharge", ["bdc/set/dischargepowerrate", "priority/set"]),
    ],
)
def test_only_what_differs_is_written_and_a_mode_begins_last_and_ends_first(
    profile: str, rest: dict[int, int], control: str, names: list[str]
) -> None:
    on, off = wanted(profile, control, 40), wanted(profile, control, 0 if control != "export_limit" else 1000)
    assert [command.name for command in writing(on, rest)] == names
    assert writing(on, rest | on) == []
    back = [command.name for command in writing(off, rest | on)]
    assert sorted(back) == sorted(names)
    assert back[0] == names[-1]


def test_a_stop_soc_goes_before_its_rate() -> None:
    names = [command.name for command in writing(wanted("growatt-sph", "charge", 40), SPH_REST | {1091: 50})]
    assert names[:2] == ["batteryfirst/set/stopsoc", "batteryfirst/set/powerrate"]


def test_the_export_limit_never_touches_the_kind_of_meter() -> None:
    gateway = stick()
    (command,) = writing(wanted("growatt-sph", "export_limit", 0), SPH_REST)
    assert gateway.obey(*command)[0]
    assert (gateway.inverter[122], gateway.inverter[123]) == (3, 0)
    assert gateway.obey("export/disable", {"value": True})[0]
    assert gateway.inverter[122] == 1, "which is what the firmware's own command does to an inverter with a CT"


def test_a_slot_is_written_whole_or_not_at_all() -> None:
    with pytest.raises(ValueError, match="only be written whole"):
        writing({1102: 1}, SPH_REST)
    with pytest.raises(ValueError, match="all day or nothing"):
        writing({3038: 0xA000 | 2 << 8, 3039: 5947}, MIN_REST)


@pytest.mark.parametrize(
    ("address", "words", "there", "shown"),
    [
        (3038, (0xA000, 5947), "battery first", (0xA000, 5947, 0, 0)),
        (3038, (0xC000, 5947), "grid first", (0, 0, 0xC000, 5947)),
        (3038, (0x2000, 5947), "not enabled", (0, 0, 0, 0)),
    ],
)
def test_the_one_slot_of_a_min_shows_where_the_profile_has_its_mode(
    address: int, words: tuple[int, int], there: str, shown: tuple[int, ...]
) -> None:
    found = as_in_profile({address: words[0], address + 1: words[1]})
    assert tuple(found[at] for at in range(3038, 3042)) == shown, there


def test_the_end_of_the_one_mode_sends_nothing_while_the_other_is_in_force() -> None:
    there = MIN_REST | as_in_profile({3038: 0xC000, 3039: 5947})
    off = wanted("growatt-min", "charge", 0)
    assert writing(off, there | {3049: 0}) == []


@pytest.mark.parametrize("family", [SPH, MIN], ids=["sph", "min"])
@pytest.mark.parametrize("control", ["charge", "discharge", "export_limit"])
def test_what_was_written_reads_back_through_the_same_stick(family: Family, control: str) -> None:
    gateway = stick(family)
    profile = "growatt-sph" if family is SPH else "growatt-min"
    for raw in (40, 0 if control != "export_limit" else 1000):
        for write in (True, False):
            found: dict[int, int] = {}
            for command in reading(wanted(profile, control, raw)):
                success, message, answer = gateway.obey(*command)
                assert success, message
                found |= registers_in(command, answer)
            commands = writing(wanted(profile, control, raw), as_in_profile(found))
            assert bool(commands) == write, f"{raw}: {commands}"
            for command in commands:
                assert gateway.obey(*command)[0], command


def test_the_simulated_stick_does_what_the_firmware_does(known: dict[str, list[dict[str, Any]]]) -> None:
    gateway = stick()
    done: dict[str, list[tuple[bool, str, list[Write]]]] = {}
    for name, payloads in known.items():
        for payload in payloads:
            before = len(gateway.inverter.writes)
            success, message, _ = gateway.obey(name, payload)
            done.setdefault(name, []).append((success, message, gateway.inverter.writes[before:]))
    said = {name: [(write.function, write.address, write.words) for write in outcomes[0][2]] for name, outcomes in done.items()}
    assert said["batteryfirst/set/timeslot"] == [(16, 1100, (2 << 8, 4 << 8, 1))]
    assert said["batteryfirst/set/stopsoc"] == [(6, 1091, (90,))]
    assert said["batteryfirst/set/powerrate"] == [(6, 1090, (25,))]
    assert said["batteryfirst/set/acchargeenabled"] == [(6, 1092, (1,))]
    assert said["gridfirst/set/timeslot"] == [(16, 1080, (18 << 8, 20 << 8, 1))]
    assert said["gridfirst/set/stopsoc"] == [(6, 1071, (20,))]
    assert said["export/enable"] == [(6, 122, (1,)), (6, 123, (1000,))]
    assert said["power/set/activerate"] == [(6, 3, (100,))]
    assert done["register/get"][0][:2] == (False, "Unknown command: register/get")
    assert done["priority/set"][0][0] is False, "only the build for TL-XH has it"


def test_the_answer_to_a_query_is_that_of_the_firmware(goldens: Path) -> None:
    recorded = json.loads((goldens / "loxone" / "growatt_mqtt_commands.json").read_text())
    reply = next(command["reply"] for command in recorded["commands"] if "reply" in command)
    gateway = stick()
    success, _, answer = gateway.obey("batteryfirst/get", {})
    assert success
    assert set(answer) == set(reply) - {"command", "success"}
    assert set(answer["timeSlots"][0]) == set(reply["timeSlots"][0])
    found = registers_in(Command("batteryfirst/get", {}), reply)
    assert found == {1090: 100, 1091: 75, 1092: 1, 1100: 1 << 8 | 30, 1101: 5 << 8 | 30, 1102: 1}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"powerRate": 100},
        {"powerRate": "100", "stopSOC": 75, "acChargeEnabled": True},
        {"powerRate": True, "stopSOC": 75, "acChargeEnabled": True},
        {"powerRate": 100, "stopSOC": 75, "acChargeEnabled": 1},
        {"powerRate": 70000, "stopSOC": 75, "acChargeEnabled": True},
        {"powerRate": 100, "stopSOC": 75, "acChargeEnabled": True, "timeSlots": [{"slot": 9}]},
        {
            "powerRate": 100,
            "stopSOC": 75,
            "acChargeEnabled": True,
            "timeSlots": [{"slot": 1, "start": "x", "stop": "05:30", "enabled": True}],
        },
        {"powerRate": 100, "stopSOC": 75, "acChargeEnabled": True, "timeSlots": [None]},
    ],
)
def test_an_answer_that_makes_no_sense_tells_no_register(answer: dict[str, Any]) -> None:
    with pytest.raises(AnswerError):
        registers_in(Command("batteryfirst/get", {}), answer)


@pytest.mark.parametrize(("profile", "family"), [("growatt-sph", SPH), ("growatt-min", MIN)])
def test_every_limit_of_the_profile_has_its_value_in_the_telemetry(profile: str, family: Family) -> None:
    model = library.load(profile)
    inputs = {point.address: point.id for point in model.points.values() if point.table == "input"}
    names = {inputs[address]: name for name, address in telemetry_names(inputs).items()}
    needed = {point for limit in model.limits.values() for point in limit.point}
    assert needed <= set(names)
    told = json.loads(stick(family).telemetry() or "")
    assert {names[point] for point in needed} <= set(told)


def test_no_other_make_has_a_value_there() -> None:
    mtec = library.load("mtec-energybutler")
    assert telemetry_names(point.address for point in mtec.points.values() if point.table == "input") == {}


@pytest.mark.parametrize(
    ("now", "there", "in_force", "window"),
    [
        ("12:00", ("00:00", "23:59"), False, ("11:59", "13:00")),
        ("12:00", ("11:59", "13:00"), True, ("11:59", "13:00")),
        ("12:46", ("11:59", "13:00"), True, ("12:45", "13:46")),
        ("12:00", ("00:00", "23:59"), True, ("11:59", "13:00")),
        ("23:50", ("11:59", "13:00"), True, ("23:49", "23:59")),
        ("23:55", ("23:00", "23:59"), True, ("23:00", "23:59")),
        ("00:00", ("23:00", "23:59"), True, ("00:00", "01:00")),
    ],
    ids=["none", "long enough", "nearly over", "all day", "before midnight", "until midnight", "after midnight"],
)
def test_a_slot_that_must_end_holds_for_the_next_hour_and_never_across_midnight(
    now: str, there: tuple[str, str], in_force: bool, window: tuple[str, str]
) -> None:
    def word(time: str) -> int:
        hours, minutes = time.split(":")
        return int(hours) << 8 | int(minutes)

    minute = (word(now) >> 8) * 60 + (word(now) & 0xFF)
    assert commands.window(minute, word(there[0]), word(there[1]), in_force=in_force) == (word(window[0]), word(window[1]))
