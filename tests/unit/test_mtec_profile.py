"""The M-TEC Energybutler: complete, and held against recorded messages of aiomtec2mqtt 1.1.0."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile, RawLimits
from ohmstead.readings import Value

CALCULATED = {
    "consumption", "consumption_day", "autarky_rate_day", "own_consumption_day", "consumption_total",
    "autarky_rate_total", "own_consumption_total", "api_date",
}  # fmt: skip
SIGNED_HERE = {33003, 33009, 33011}
"""Battery temperatures: unsigned upstream, so that frost reads 6548.6 °C."""


@pytest.fixture(scope="module")
def profile() -> Profile:
    return library.load("mtec-energybutler")


def image(goldens: Path, **changes: int) -> dict[int, int]:
    words = json.loads((goldens / "mtec" / "image_A.json").read_text())
    return {int(address): word for address, word in words.items()} | {int(address[1:]): word for address, word in changes.items()}


def values_of(profile: Profile, words: dict[int, int]) -> dict[str, Value]:
    """Every range that is known to answer, decoded, and the calculated points."""
    decoder = Decoder(profile)
    values: dict[str, Value] = {}
    for first, last in profile.line.readable:
        values.update(decoder.decode(3, first, b"".join(words[address].to_bytes(2, "big") for address in range(first, last + 1))))
    decoder.calculate(values, 0.0)
    return values


def test_it_has_86_registers_8_calculated_points_and_9_controls(profile: Profile) -> None:
    read = [point for point in profile.points.values() if point.table]
    assert len(read) == 86
    assert {point.id for point in profile.points.values() if not point.table} == CALCULATED
    assert list(profile.controls) == [
        "mode", "grid_inject_switch", "grid_inject_limit", "on_grid_soc_switch", "on_grid_soc_limit", "off_grid_soc_switch",
        "off_grid_soc_limit", "charge_limit", "discharge_limit",
    ]  # fmt: skip
    assert Counter(point.group for point in profile.points.values()) == {
        "now-base": 20, "now-grid": 13, "now-backup": 12, "day": 9, "total": 9, "config": 8, "now-inverter": 7, "now-pv": 7,
        "now-battery": 6, "static": 3,
    }  # fmt: skip


def test_every_register_is_what_the_facts_say(profile: Profile, goldens: Path) -> None:
    facts = yaml.safe_load((goldens / "mtec" / "registers.yaml").read_text())
    assert len(facts) == len(profile.points)
    for key, fact in facts.items():
        point = profile.points[fact["mqtt"]]
        assert (point.name, point.unit, point.group) == (fact["name"], fact.get("unit", ""), fact["group"])
        assert (point.device_class, point.state_class) == (fact.get("hass_device_class"), fact.get("hass_state_class"))
        shown = point.template or (None if point.round is None else f"{{{{ value | round({point.round}) }}}}")
        assert shown == fact.get("hass_value_template")
        if not key.isdigit():
            continue
        kind = "i16" if int(key) in SIGNED_HERE else fact["type"].lower()
        assert (point.table, point.address, point.words, point.kind) == ("holding", int(key), fact["length"], kind)
        assert point.divisor == fact.get("scale", 1)
        labels = fact.get("hass_value_items", {})
        if fact["type"] == "BIT":
            assert point.bits == {mask.bit_length() - 1: label for mask, label in labels.items()}
        elif key != "10008":
            assert point.values == labels
        assert any(control.point == point.id for control in profile.controls.values()) == fact.get("writable", False)


def test_points_of_a_group_stand_in_ascending_order_and_calculated_ones_last(profile: Profile) -> None:
    for group in profile.groups:
        places = [(point.table is None, point.address if point.table else 0) for point in profile.in_group(group)]
        assert places == sorted(places)


def test_every_register_is_known_to_answer(profile: Profile) -> None:
    readable = {address for first, last in profile.line.readable for address in range(first, last + 1)}
    assert {address for point in profile.points.values() if point.table for address in range(point.address, point.last + 1)} <= readable


def test_every_power_says_its_sign(profile: Profile) -> None:
    assert all(point.sign for point in profile.points.values() if point.unit == "W")
    assert profile.points["grid_power"].sign == "export positive"
    assert profile.points["battery"].sign == "discharge positive"


def test_the_recorded_image_decodes_to_the_recorded_messages(profile: Profile, goldens: Path) -> None:
    recorded: dict[tuple[str, str], set[str]] = {}
    for line in (goldens / "mtec" / "golden_A.jsonl").read_text().splitlines():
        message = json.loads(line)
        parts = message["topic"].split("/")
        if parts[0] == "MTEC" and parts[-1] == "state":
            recorded.setdefault((parts[2], parts[3]), set()).add(message["payload"])
    values = values_of(profile, image(goldens))
    told = {(point.group, point.id): {as_text(values[point.id])} for point in profile.points.values()}
    assert recorded.keys() == told.keys()
    assert len(recorded) == 94
    del recorded["now-base", "api_date"], told["now-base", "api_date"]
    assert told == recorded


def as_text(value: Value) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def test_raw_texts_stay_available_for_the_contracts(profile: Profile, goldens: Path) -> None:
    values = values_of(profile, image(goldens))
    assert {key: value for key, value in values.items() if key not in profile.points} == {
        "equipment_info.raw": "30 07",
        "firmware_version.raw": "27 52 04 00  20 01 10 03",
    }


@pytest.mark.parametrize(
    ("point", "register", "word", "told"),
    [
        ("fault_flag_1", "r10113", 1, "Mains Lost"),
        ("fault_flag_1", "r10113", 0x81, "Mains Lost, Bus Voltage Fault"),
        ("fault_flag_2", "r10115", 2, "SPI Fault"),
        ("bms_error_code", "r53510", 1, "Internal COM Fault"),
        ("bms_error_code", "r53510", 17, "Internal COM Fault, Cells Damage Fault"),
        ("bms_protection_code", "r53512", 0x8000, "Leakage Current Protection"),
        ("bms_alarm_code", "r53514", 0x4000, "Ambient Over Temperature Warning"),
        ("bms_alarm_code", "r53513", 1, "OK"),
    ],
)
def test_a_fault_bit_names_its_fault(profile: Profile, goldens: Path, point: str, register: str, word: int, told: str) -> None:
    assert values_of(profile, image(goldens, **{register: word}))[point] == told


@pytest.mark.parametrize(
    ("point", "register"), [("battery_temp", "r33003"), ("battery_cell_t_max", "r33009"), ("battery_cell_t_min", "r33011")]
)
def test_a_battery_below_zero_reads_below_zero(profile: Profile, goldens: Path, point: str, register: str) -> None:
    assert values_of(profile, image(goldens, **{register: 0x10000 - 50}))[point] == -5.0


def test_what_the_tables_do_not_know_is_said_to_be_unknown(profile: Profile, goldens: Path) -> None:
    values = values_of(profile, image(goldens, r10008=0x6363, r50000=1, r10105=9))
    assert (values["equipment_info"], values["mode"], values["inverter_status"]) == ("unknown", "Unknown", "Unknown")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("30 00", "4.0K-25A-3P"),
        ("30 09", "20K-40A-3P"),
        ("31 00", "3.0K-30A-1P"),
        ("31 09", "3.6K-30A-1P-S"),
        ("32 00", "25K-100A-3P"),
        ("32 04", "50K-100A-3P"),
    ],
)
def test_the_equipment_code_names_the_model(profile: Profile, goldens: Path, code: str, name: str) -> None:
    high, low = (int(part) for part in code.split())
    assert values_of(profile, image(goldens, r10008=high << 8 | low))["equipment_info"] == name


DAY = {"pv_day": 0.0, "grid_purchase_day": 0.0, "battery_discharge_day": 0.0, "grid_feed_day": 0.0, "battery_charge_day": 0.0}


def calculated(profile: Profile, **values: float) -> dict[str, Any]:
    found: dict[str, Any] = dict(values)
    Decoder(profile).calculate(found)
    return found


def test_consumption_is_never_negative_and_always_a_float(profile: Profile) -> None:
    for inverter, grid, told in ((4218, 2506, "1712.000"), (100, 500, "0.000"), (0, 0, "0.000"), (0, -300, "300.000")):
        assert as_text(calculated(profile, inverter=inverter, grid_power=grid)["consumption"]) == told


def test_consumption_is_absent_when_one_of_its_registers_was_not_read(profile: Profile) -> None:
    assert "consumption" not in calculated(profile, inverter=4218)


@pytest.mark.parametrize(
    ("changes", "consumption", "autarky", "own"),
    [
        ({}, "0.000", "0", "0"),
        ({"pv_day": 10.0}, "10.000", "100.000", "100.000"),
        ({"pv_day": 10.0, "grid_feed_day": 10.0}, "0.000", "0", "0.000"),
        ({"pv_day": 10.0, "grid_feed_day": 4.0, "grid_purchase_day": 2.0}, "8.000", "75.000", "60.000"),
        ({"grid_purchase_day": 5.0}, "5.000", "0.000", "0"),
        ({"grid_purchase_day": 5.0, "battery_charge_day": 3.0}, "2.000", "0", "0"),
        ({"battery_charge_day": 3.0}, "0.000", "0", "0"),
        ({"pv_day": 1.0, "grid_feed_day": 2.0, "battery_discharge_day": 3.0}, "2.000", "100.000", "0"),
    ],
)
def test_rates_of_the_day_are_zero_without_a_denominator_and_never_negative(
    profile: Profile, changes: dict[str, float], consumption: str, autarky: str, own: str
) -> None:
    values = calculated(profile, **{**DAY, **changes})
    assert [as_text(values[name]) for name in ("consumption_day", "autarky_rate_day", "own_consumption_day")] == [consumption, autarky, own]


def test_the_rates_of_all_time_follow_the_same_formulas(profile: Profile) -> None:
    for name in ("consumption", "autarky_rate", "own_consumption"):
        day, total = profile.points[f"{name}_day"].calc, profile.points[f"{name}_total"].calc
        assert total == str(day).replace("_day", "_total")


def test_controls_hold_what_the_registers_may_hold(profile: Profile) -> None:
    percent, ampere, switch = RawLimits(0, 1000, 1, None), RawLimits(0, 1000, 1, None), RawLimits(0, 1, 1, (0, 1))
    assert {name: profile.raw_limits(name) for name in profile.controls} == {
        "mode": RawLimits(257, 512, 1, (257, 258, 259, 512)),
        "grid_inject_switch": switch,
        "grid_inject_limit": percent,
        "on_grid_soc_switch": switch,
        "on_grid_soc_limit": percent,
        "off_grid_soc_switch": switch,
        "off_grid_soc_limit": percent,
        "charge_limit": ampere,
        "discharge_limit": ampere,
    }
    assert profile.choices("mode") == {"General mode": 257, "Economic mode": 258, "UPS mode": 259, "Off grid": 512}
    assert all(control.function == 6 and control.budget > 0 for control in profile.controls.values())


def test_the_json_contract_has_its_own_keys_and_spelling(profile: Profile) -> None:
    contract = profile.contracts["json"]
    assert [contract.name_of(point) for point in contract.groups["now-base"]] == [
        "grid_power", "battery_soc", "battery_voltage", "battery_current", "battery_mode", "battery", "inverter_status", "inverter",
        "pv", "backup", "mode", "consumption", "inverter_date",
    ]  # fmt: skip
    assert contract.name_of("grid_fequency") == "ac_fequency"
    assert {contract.name_of(point) for point in contract.groups["now-grid"]} == {
        "grid_a", "grid_b", "grid_c", "ac_voltage_a_b", "ac_voltage_b_c", "ac_voltage_c_a", "ac_voltage_a", "ac_voltage_b", "ac_voltage_c",
        "ac_current_a", "ac_current_b", "ac_current_c", "ac_fequency",
    }  # fmt: skip


def test_a_plain_yaml_parser_reads_the_file_alike(profile: Profile) -> None:
    """Editors and other tools read YAML 1.1, where `off` and `on` are true and false."""
    path = Path(__file__).resolve().parents[2] / "shared" / "profiles" / "mtec-energybutler.yaml"
    assert Profile.model_validate(yaml.safe_load(path.read_text())) == profile
