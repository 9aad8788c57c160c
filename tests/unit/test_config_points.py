"""`points:` of a device: other names, scales and units, and what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.config.device import PointConfig
from ohmstead.config.wishes import as_wanted, fulfilled
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.readings import Value
from tests.unit.homes import Write, mistakes, writer

MTEC = "devices:\n  mtec: {{profile: mtec-energybutler, via: tcp://192.0.2.10, points: {{{points}}}}}\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_a_point_gets_its_owners_name_unit_and_scale(write: Write) -> None:
    wanted = "backup_voltage_a: {name: Spare socket, scale: 0.001, unit: kV}, grid_fequency: {shown: never}"
    profile = load(write(MTEC.format(points=wanted))).profile("mtec")
    point = profile.points["backup_voltage_a"]
    assert (point.name, point.unit, point.scale) == ("Spare socket", "kV", pytest.approx(0.0001))
    assert profile.points["grid_fequency"].shown == "never"


def test_a_calculated_point_is_scaled_after_it_was_calculated(write: Write) -> None:
    plain = load(write(MTEC.format(points=""))).profile("mtec")
    name, formula = next((point.id, point.formula) for point in plain.points.values() if point.formula and not _needed(plain, point.id))
    scaled = load(write(MTEC.format(points=f"{name}: {{scale: 0.5}}"))).profile("mtec")
    values = dict.fromkeys(formula.names, 8.0)
    before, after = dict(values), dict(values)
    Decoder(plain).calculate(before)
    Decoder(scaled).calculate(after)
    assert after[name] == pytest.approx(float(before[name]) / 2)


@pytest.mark.parametrize(("scale", "decimals"), [(0.001, 4), (0.98, 1), (1000, 1), (0.05, 2)])
def test_what_is_plausible_and_worth_showing_is_scaled_as_well(scale: float, decimals: int) -> None:
    said = {"field": "x", "unit": "W", "sign": "import positive", "group": "live", "round": 1, "valid": "-1000..1000 W"}
    profile = Profile.model_validate(
        {
            "profile": "meter",
            "name": "Meter",
            "manufacturer": "Acme",
            "model": "M",
            "reader": "shelly",
            "groups": {"live": "10 s"},
            "points": {
                "power": {"name": "Power", **said},
                "half": {"name": "Half", **{key: value for key, value in said.items() if key != "field"}, "calc": "power / 2"},
            },
        }
    )
    scaled = fulfilled({"half": PointConfig(scale=scale)}, profile)
    assert scaled.points["half"].round == decimals
    decoder = Decoder(scaled)
    values: dict[str, Value] = {"power": 2000.0}
    decoder.calculate(values)
    assert values["half"] == pytest.approx(1000.0 * scale)
    values = {"power": 2002.0}
    decoder.calculate(values)
    assert "half" not in values
    read = Decoder(profile.model_copy(update={"points": {"power": as_wanted(profile.points["power"], PointConfig(scale=scale))}}))
    assert read.decode_fields({"x": 1000.0})["power"] == pytest.approx(1000.0 * scale)
    assert read.decode_fields({"x": -1000.0})["power"] == pytest.approx(-1000.0 * scale)
    assert read.decode_fields({"x": 1001.0}) == {}, "what is implausible stays so in another unit"


def _needed(profile: object, name: str) -> bool:
    points = profile.points.values()  # type: ignore[attr-defined]  # a Profile
    figures = profile.flow.formulas().values()  # type: ignore[attr-defined]  # a Profile
    return any(formula is not None and name in formula.names for formula in [*(point.formula for point in points), *figures])


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ("grid_powr: {name: x}", "points.grid_powr — no point of mtec-energybutler; did you mean `grid_power`?"),
        ("grid_power: {scale: 2}", "points.grid_power.scale: 2 — "),
        ("grid_power: {scale: 0}", "points.grid_power.scale: 0 — must be more than 0"),
        ("grid_power: {above: 1, below: 2}", "points.grid_power.below: 2 — must be less than `above`"),
        ("inverter_status: {above: 1}", "points.inverter_status — an alert needs a number"),
        ("grid_power: {shown: sometimes}", "must be `always`, `on-request` or `never`"),
    ],
)
def test_what_cannot_be_had_is_told(write: Write, points: str, told: str) -> None:
    assert told in "\n".join(mistakes(write(MTEC.format(points=points))))
