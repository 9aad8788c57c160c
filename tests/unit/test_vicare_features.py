"""What the features of Viessmann's cloud come to: fields, names, units."""

from __future__ import annotations

import pytest

from ohmstead.errors import ConfigurationError
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.sources.vicare_features import Field, features_of, fields, newest, schedule
from ohmstead.sources.vicare_names import point_id, spoken
from ohmstead.sources.vicare_points import Points


def feature(name: str, **properties: object) -> dict[str, object]:
    return {"feature": name, "isEnabled": True, "properties": {key: {"value": value} for key, value in properties.items()}, "commands": {}}


def told(*features: dict[str, object]) -> dict[str, object]:
    return {field.name: field.value for field in fields(features)}


@pytest.mark.parametrize(
    ("field", "id_"),
    [
        ("heating.sensors.temperature.outside:value", "outside_temperature"),
        ("heating.circuits.0.operating.programs.normalHeating:temperature", "circuit_0_normal_heating_program_temperature"),
        ("heating.circuits.1.operating.modes.active:value", "circuit_1_active_mode"),
        ("heating.compressors.0.statistics:starts", "compressor_0_statistics_starts"),
        ("heating.power.consumption.total:day", "power_consumption_total_day"),
        ("heating.power.consumption.total:day.previous", "power_consumption_total_previous_day"),
        ("heating.circuits.0.heating.curve:setCurve.slope.max", "circuit_0_heating_curve_set_curve_slope_max"),
        ("heating.dhw.temperature.main:setTargetTemperature.temperature.max", "dhw_temperature_main_set_target_temperature_max"),
        ("device.zigbee.active:active", "device_zigbee_active"),
        ("ventilation:active", "ventilation_active"),
        ("heating:value", "heating"),
        ("min:value", "min_value"),
        ("heating.class:value", "class_value"),
        ("heating.3d:x", "p_3d_x"),
        ("heating.größe:value", "gr_e"),
    ],
)
def test_names_by_the_rule(field: str, id_: str) -> None:
    assert point_id(field) == id_


def test_people_read_words() -> None:
    assert spoken("dhw_charging_active") == "DHW charging active"
    assert spoken("circuit_0_active_mode") == "Circuit 0 active mode"


def test_a_schedule_is_one_text_with_alike_days_together() -> None:
    work = [{"start": "06:00", "end": "22:00", "mode": "normal"}]
    free = [{"start": "20:00", "end": "24:00", "mode": "comfort"}, {"start": "08:00", "end": "12:00", "mode": "normal"}]
    week = dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), work) | {"sat": free, "sun": []}
    assert schedule(week) == "mon-fri 06:00-22:00 normal; sat 08:00-12:00 normal, 20:00-24:00 comfort"
    assert schedule({day: [] for day in week}) == "-"


def test_lists_of_periods_give_the_current_and_the_previous_one() -> None:
    said = told(feature("heating.power.consumption.total", day=[1.5, 4.0, 3.0], week=[7], month=[], year=["x"]))
    prefix = "heating.power.consumption.total:"
    assert said == {f"{prefix}day": 1.5, f"{prefix}day.previous": 4.0, f"{prefix}week": 7}


def test_lists_of_words_and_of_objects() -> None:
    entries = [{"errorCode": "F.1", "timestamp": "2026-01-01T00:00:00Z"}, {"errorCode": "F.2", "timestamp": "2026-02-01T00:00:00Z"}]
    assert told(feature("heating.circuits", enabled=["0", "1"])) == {"heating.circuits:enabled": "0, 1"}
    assert told(feature("device.messages.errors.raw", entries=entries)) == {
        "device.messages.errors.raw:entries.count": 2,
        "device.messages.errors.raw:entries.latest": "errorCode F.2, timestamp 2026-02-01T00:00:00Z",
    }
    assert told(feature("device.messages.errors.raw", entries=[])) == {"device.messages.errors.raw:entries.count": 0}


def test_a_sensor_that_is_not_connected_has_no_value() -> None:
    name = "heating.sensors.temperature.outside"
    assert told(feature(name, status="connected", value=3.5)) == {f"{name}:status": "connected", f"{name}:value": 3.5}
    for status in ("notConnected", "error", "shortCircuit"):
        assert told(feature(name, status=status, value=-99.0)) == {f"{name}:status": status}
    assert told(feature("heating.circuits.0.circulation.pump", status="off")) == {"heating.circuits.0.circulation.pump:status": "off"}


def test_a_feature_that_is_not_enabled_says_nothing() -> None:
    assert told({**feature("heating.x", value=3), "isEnabled": False}) == {}


def test_the_newest_change_counts_and_not_what_the_gateway_says_of_itself() -> None:
    old = {**feature("heating.a", value=1), "timestamp": "2026-01-01T00:00:00.000Z"}
    own = {**feature("tcu.wifi", strength=-50), "timestamp": "2026-01-01T06:00:00.000Z"}
    unused = {**feature("heating.b"), "timestamp": "2026-01-01T07:00:00.000Z"}
    now = 1_767_254_400.0
    assert newest([old, own, unused], now) == 1_767_225_600.0
    assert newest([own], now) == 1_767_247_200.0
    assert newest([unused, {**old, "timestamp": "never"}, {**old, "timestamp": "2026-01-01T00:00:00"}], now) is None


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": {"feature": "a"}}])
def test_an_answer_without_features_is_wrong(answer: dict[str, object]) -> None:
    with pytest.raises(Exception, match="without features"):
        features_of(answer)


def test_the_rule_gives_units_classes_and_signs() -> None:
    points = Points(library.load("vicare-heating"))
    points.take(
        [
            Field("ess.power:value", 1200, "watt"),
            Field("ess.charge.cumulated:currentDay", 3.5, "kilowattHour"),
            Field("ess.battery:energy", 3.5, "kilowattHour"),
            Field("heating.gas.consumption.total:day", 2.5, "cubicMeter"),
            Field("fuelCell.statistics:starts", 3),
            Field("room.light:active", True),
            Field("room.light:level", 3, "lumen"),
        ]
    )
    by_id = {point.id: point for point in points.points()}
    power, energy, light = by_id["ess_power"], by_id["ess_charge_cumulated_current_day"], by_id["room_light_active"]
    assert (power.unit, power.device_class, power.sign) == ("W", "power", "as the device counts it positive")
    assert (energy.unit, energy.state_class, by_id["ess_battery_energy"].state_class) == ("kWh", "total_increasing", "total")
    assert by_id["gas_consumption_total_day"].unit == "m³"
    assert by_id["fuel_cell_statistics_starts"].state_class == "total_increasing"
    assert (light.values, light.shown) == ({0: "off", 1: "on"}, "on-request")
    assert by_id["room_light_level"].unit == "lumen"


def test_two_fields_that_come_to_one_name_both_have_one() -> None:
    points = Points(library.load("vicare-heating"))
    points.take([Field("heating.x:value", 1), Field("x:value", 2)])
    assert {point.id for point in points.points()} == {"heating_x_value", "x_value"}


def test_the_points_that_are_known_beforehand_are_those_of_the_table() -> None:
    try:
        table, before = library.load("vicare-heating"), library.load("vicare")
    except ConfigurationError as error:
        pytest.fail(str(error))
    assert {id_: (point.field, point.unit) for id_, point in before.points.items()} == {
        id_: (table.points[id_].field, table.points[id_].unit) for id_ in before.points
    }


def test_ids_are_the_same_after_a_restart_in_whichever_order_they_came() -> None:
    table = library.load("vicare-heating")
    points = Points(table)
    points.take([Field("heating.x:value", 1)])
    points.take([Field("x:value", 2), Field("heating.circuits.0.name:name", "a")])
    points.take([Field("heating.circuits.0:name", "a")])
    again = Points(table)
    told = points.told()
    again.take([Field(name, 0, unit, settable) for name, _, unit, settable, _ in told], {name: id_ for name, _, _, _, id_ in told})
    assert {point.field: point.id for point in again.points()} == {point.field: point.id for point in points.points()}


def test_half_a_character_in_a_name_or_a_unit_costs_nothing_else() -> None:
    told = {"value": {"type": "number", "value": 3, "unit": "\ud800"}, "\ud800": {"type": "number", "value": 4, "unit": ""}}
    found = [*fields([{"feature": "a.b", "isEnabled": True, "properties": told}])]
    assert found == [Field("a.b:value", 3, "")]
    points = Points(library.load("vicare-heating"))
    points.take(found)
    assert len(points.profile({"profile": "x", "name": "x", "model": "x"}, 1800.0).points) == 1


def test_a_measurement_that_turns_into_something_else_is_absent() -> None:
    points = Points(library.load("vicare-heating"))
    points.take([Field("heating.odd:value", 21.5, "celsius")])
    decoder = Decoder(points.profile({"profile": "x", "name": "x", "model": "x"}, 1800.0))
    for other in (True, "off", "21.5", 10**40):
        assert decoder.decode_fields(points.raw([Field("heating.odd:value", other)])) == {}
    assert decoder.decode_fields(points.raw([Field("heating.odd:value", 21.5, "celsius")])) == {"odd": 21.5}
