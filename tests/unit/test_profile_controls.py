"""Controls that are more than a register, and limits: what a profile says, what becomes of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from ohmstead.errors import ConfigurationError
from ohmstead.profiles import library
from ohmstead.profiles.controls import Word
from ohmstead.profiles.layout import Free, Request, layout, limit_ends
from ohmstead.profiles.limit import Threshold, thresholds
from ohmstead.profiles.model import Block, Limit, Profile
from ohmstead.units import Bounds, UnitError

HEAD = """\
profile: toy
name: Toy
manufacturer: Acme
model: T1
groups: {live: 5 s, slow: 10 min}
points:
  soc: {name: SOC, input: 1, as: u16, scale: 0.1, unit: "%", group: live}
  power: {name: Power, input: 2, as: i32, unit: W, sign: export positive, group: live}
  old: {name: Old, input: 4, as: u16, unit: "%", group: slow}
  rate: {name: Rate, holding: 10, as: u16, unit: "%", group: live}
  stop: {name: Stop, holding: 11, as: u16, scale: 0.5, unit: "%", group: live}
  word: {name: Word, holding: 12, as: u16, group: live}
"""
CHARGE = "point: rate, effect: charge, range: 0..100 %, step: 1, reversion: 0, budget: 5/day, safe: 0"


def profile(tmp_path: Path, *, charge: str = CHARGE, block: str = "", limit: str = "") -> Profile:
    text = HEAD + "controls:\n  charge: {" + charge + (f", block: {block}" if block else "") + "}\n"
    (tmp_path / "toy.yaml").write_text(text + (f"limits:\n  soc: {{{limit}}}\n" if limit else ""))
    return library.load_file(tmp_path / "toy.yaml")


def mistakes(tmp_path: Path, *, charge: str = CHARGE, block: str = "", limit: str = "") -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigurationError) as error:
        profile(tmp_path, charge=charge, block=block, limit=limit)
    return [(mistake.line, mistake.field, mistake.text) for mistake in error.value.mistakes]


SOC = "point: soc, range: 10..100 %, hysteresis: 2 %, high: [charge]"


def test_a_block_writes_the_value_among_constants_ends_of_limits_and_switches(tmp_path: Path) -> None:
    block = '[{holding: 10, words: [{"on": value, "off": 100}, soc.high, {"on": 1, "off": 0}]}, {holding: 20, write: fc6, words: [-1]}]'
    toy = profile(tmp_path, block=block, limit=SOC)
    charge = layout(toy, "charge")
    assert charge.blocks == (Request(16, 10, 3), Request(6, 20, 1))
    assert charge.registers(40) == [40, 200, 1, 0xFFFF], "the upper end is 100 %, in halves of a percent"
    assert charge.registers(0) == [100, 200, 0, 0xFFFF]
    assert charge.octets(40) == b"\x00\x28\x00\xc8\x00\x01\xff\xff"
    narrowed = layout(toy, "charge", limit_ends(toy, {"soc": "..95.5 %"}))
    assert narrowed.registers(40)[1] == 191
    assert charge.fields(toy.raw_limits("charge")) == [Free(0, 1, False, 0, 100, 1, None), Free(2, 1, False, 0, 1, 1, (0, 1))]


def test_a_word_with_a_range_may_be_commanded_within_it(tmp_path: Path) -> None:
    charge = layout(profile(tmp_path, block='{holding: 10, words: [value, {"on": 5, "off": 0, range: 0..50}]}'), "charge")
    assert charge.fields(library.load("growatt-sph").raw_limits("charge"))[1] == Free(1, 1, False, 0, 50, 1, None)


def test_a_control_without_a_block_is_its_register(tmp_path: Path) -> None:
    charge = layout(profile(tmp_path), "charge")
    assert (charge.blocks, charge.registers(7), charge.safe, charge.reversion) == ((Request(6, 10, 1),), [7], 0, 0)


@pytest.mark.parametrize(
    ("block", "field", "text"),
    [
        ("{holding: 11, words: [value]}", "block.0.words.0", "`value` stands at 11, but rate is at 10"),
        ("{holding: 10, words: [1]}", "block", "must stand in it once, not 0 times"),
        ("[{holding: 10, words: [value]}, {holding: 10, words: [1]}]", "block.1", "address 10 is written by an earlier block already"),
        ("{holding: 10, words: [value, 1], write: fc6}", "block.0.write", "fc6 writes one register, these are 2"),
        ("{holding: 10, words: [value, valu]}", "block.words.1", "valu is neither a number nor `value` nor the end of a limit"),
        ("{holding: 10, words: [value, 70000]}", "block.words.1", "70000 is nothing that a register can hold"),
        ("{holding: 10, words: [value, sco.high]}", "block.0.words.1", "there is no limit `sco`; did you mean `soc`?"),
        ("{holding: 10, words: [value, 1, soc.low]}", "block.0.words.2", "word is in no unit, the limit in %"),
        ("{holding: 10, words: []}", "block.words", "must not be empty"),
        ("{holding: 10, words: [value], wirte: fc6}", "block.wirte", "unknown; did you mean `write`?"),
        ("{holding: 65535, words: [1, value]}", "block.0", "goes beyond address 65535"),
    ],
)
def test_what_makes_no_sense_in_a_block_is_refused_with_its_line(tmp_path: Path, block: str, field: str, text: str) -> None:
    found = mistakes(tmp_path, block=block, limit=SOC)
    assert {line for line, _, _ in found} == {14}
    assert (f"controls.charge.{field}", True) in [(told, text in words) for _, told, words in found]


@pytest.mark.parametrize(
    ("changed", "field", "text"),
    [
        ("lease: requird", "lease", "must be `required` or `optional`"),
        ("effect: charging", "effect", "must be `charge`, `discharge`, `export` or `none`"),
        ("ramp: 5", "ramp", "a size a second, e.g. 5 %/s"),
        ("ramp: 5 W/s", "ramp", "must be in %/s, the unit of rate"),
        ("ramp: 0.1 %/s", "ramp", "less than the register can say"),
        ("shows: rat", "shows", "did you mean `rate`?"),
        ("write: fc6, block: {holding: 10, words: [value]}", "", "leave out `write`"),
    ],
)
def test_what_makes_no_sense_in_a_control_is_refused(tmp_path: Path, changed: str, field: str, text: str) -> None:
    found = mistakes(tmp_path, charge=f"{CHARGE.replace(', effect: charge', '')}, {changed}")
    assert [(told.removeprefix("controls.charge").removeprefix("."), text in words) for _, told, words in found] == [(field, True)]


def test_a_choice_has_no_ramp(tmp_path: Path) -> None:
    choice = "point: rate, switch: {on: 1, off: 0}, reversion: off, budget: 5/day, ramp: 5 %/s"
    assert [found[1:] for found in mistakes(tmp_path, charge=choice)] == [("controls.charge.ramp", "only a number has one")]


def test_a_required_lease_returns_to_something_and_a_safe_value_is_one(tmp_path: Path) -> None:
    base = "point: rate, range: 0..100 %, step: 1, budget: 5/day"
    assert mistakes(tmp_path, charge=f"{base}, reversion: keep, lease: required")[0][1] == "controls.charge.lease"
    for safe, text in (("101", "101 is outside the range"), ("keep", "`keep` is no safe value"), ("on", "on is no number")):
        ((_, field, told),) = mistakes(tmp_path, charge=f"{base}, reversion: 0, safe: {safe}")
        assert (field, text in told) == ("controls.charge.safe", True)
    ((_, field, told),) = mistakes(tmp_path, charge=f"{base}, reversion: 0", block='{holding: 10, words: [value, {"on": 1, "off": 0}]}')
    assert (field, "at which value it is off" in told) == ("controls.charge.block.0.words.1", True)


# Limits


def of(limit: str) -> Limit:
    toy = Profile.model_validate(
        {
            **{"profile": "x", "name": "X", "manufacturer": "M", "model": "1", "groups": {"live": "5 s"}},
            "points": {
                "soc": {"name": "SOC", "input": 1, "as": "u16", "scale": 0.1, "unit": "%", "group": "live"},
                "power": {"name": "P", "input": 2, "as": "i32", "unit": "W", "sign": "export positive", "group": "live"},
                "rate": {"name": "R", "holding": 10, "as": "u16", "unit": "%", "group": "live"},
            },
            "controls": {
                name: {"point": "rate", "effect": name, "range": "0..9 %", "step": 1, "reversion": 0.0, "safe": 0.0, "budget": "1/day"}
                for name in ("charge", "discharge")
            },
            "limits": {
                "soc": {"point": "soc", "range": "10..100 %", "hysteresis": "2 %", "low": ["discharge"], "high": ["charge"]},
                "grid_import": {"point": "power", "reversed": True, "hysteresis": "500 W", "high": ["charge"]},
            },
        }
    )
    return toy.limits[limit]


POINTS = library.load("mtec-energybutler").points


def test_an_end_belongs_to_what_is_stopped_and_the_hysteresis_lies_inside() -> None:
    soc, point = of("soc"), POINTS["battery_soc"]
    assert thresholds(soc, point, soc.bounds("%", "15..95 %")) == [
        Threshold("floor", True, 1501, 1700, ("discharge",)),
        Threshold("ceiling", False, 9499, 9300, ("charge",)),
    ]


def test_a_reversed_limit_is_about_the_other_sign() -> None:
    limit, point = of("grid_import"), POINTS["grid_power"]
    assert thresholds(limit, point, limit.bounds("W", "11 kW")) == [Threshold("ceiling", True, -10999, -10500, ("charge",))]
    assert thresholds(limit, point, limit.bounds("W")) == [], "no limit unless the owner gives one"


@pytest.mark.parametrize(
    ("limit", "written", "text"),
    [
        ("soc", "15..195 %", "the upper end must be at most 100 %"),
        ("soc", "5..95 %", "the lower end must be at least 10 %"),
        ("soc", "15 %", "this limit has two ends; write it `a..b`, with one of them e.g. ..15 %"),
        ("soc", "15..95 W", "the unit must be %"),
        ("grid_import", "1..2 kW", "this limit has no lower end"),
        ("grid_import", "11", "say the unit, e.g. 3 kW"),
    ],
)
def test_an_owner_narrows_and_does_not_widen(limit: str, written: str, text: str) -> None:
    with pytest.raises(UnitError) as error:
        of(limit).bounds("%" if limit == "soc" else "W", written)
    assert text in str(error.value)


def test_an_owner_may_give_one_end() -> None:
    assert of("soc").bounds("%", "..90 %") == Bounds(10, 90)
    assert of("grid_import").bounds("W", "11 kW") == Bounds(None, 11000)


@pytest.mark.parametrize(
    ("said", "field", "text"),
    [
        ("point: scc, high: [charge]", "point", "there is no point `scc`; did you mean `soc`?"),
        ("point: soc, high: [charg]", "high", "did you mean `charge`?"),
        ("point: soc", "", "stops nothing"),
        ("point: soc, range: 90..10 %, high: [charge]", "range", "the lower end is above the upper one"),
        ("point: soc, range: 10..90 W, high: [charge]", "range", "the unit must be %"),
        ("point: soc, range: 10.. %, high: [charge]", "range", "is not a number"),
        ("point: soc, range: 10..90 %, hysteresis: 2 A, high: [charge]", "hysteresis", "the unit must be %"),
        ("point: soc, range: 10..20 %, hysteresis: 6 %, high: [charge]", "hysteresis", "leaves nothing between"),
        ("point: soc, range: 10 %.., high: [charge]", "high", "the range has no such end"),
        ("point: old, stale: 60 s, high: [charge]", "stale", "is read every 600 s: it would always be too old"),
        ("point: [soc, power], high: [charge]", "point", "must have one unit"),
        ("point: soc, act: alarm, high: [charge]", "act", "must be `interlock` or `trip`"),
        ("point: soc, high: [charge], hystersis: 1 %", "hystersis", "did you mean `hysteresis`?"),
    ],
)
def test_what_makes_no_sense_in_a_limit_is_refused_with_its_line(tmp_path: Path, said: str, field: str, text: str) -> None:
    found = mistakes(tmp_path, limit=said)
    assert {line for line, _, _ in found} == {16}
    assert (field, True) in [(told.removeprefix("limits.soc").removeprefix("."), text in words) for _, told, words in found]


def test_a_limit_stops_only_what_has_a_safe_value(tmp_path: Path) -> None:
    found = mistakes(tmp_path, charge=CHARGE.replace(", safe: 0", ""), limit="point: soc, high: [charge]")
    assert found == [(16, "limits.soc.high", "the control charge has no `safe` value that it could be held at")]


def test_a_reading_may_be_three_periods_old_and_a_minute_at_least() -> None:
    assert (of("soc").stale_s(5), of("soc").stale_s(300)) == (60, 900)
    assert library.load("growatt-sph").limits["soc"].stale_s(5) == 30


@pytest.mark.parametrize("model", [Block, Word, Limit])
def test_the_handbook_explains_every_key(model: type[BaseModel]) -> None:
    handbook = (Path(__file__).resolve().parents[2] / "shared" / "profiles" / "README.md").read_text()
    keys = {field.alias or name for name, field in model.model_fields.items()} - {"id"}
    assert {key for key in keys if f"`{key}`" not in handbook and f'"{key}"' not in handbook} == set()


# The Growatt SPH


def test_growatt_slots_go_out_whole_and_stop_at_the_home_s_own_soc() -> None:
    sph = library.load("growatt-sph")
    ends = limit_ends(sph, {"soc": "15..95 %"})
    charge, discharge = layout(sph, "charge", ends), layout(sph, "discharge", ends)
    assert charge.blocks == (Request(16, 1090, 3), Request(16, 1100, 3))
    assert charge.registers(60) == [60, 95, 1, 0, 0x173B, 1]
    assert charge.registers(0) == [100, 95, 0, 0, 0x173B, 0]
    assert discharge.blocks == (Request(16, 1070, 2), Request(16, 1080, 3))
    assert discharge.registers(60) == [60, 15, 0, 0x173B, 1]
    assert {control.lease for control in sph.controls.values() if control.effect != "export"} == {"required"}


def test_growatt_never_reads_more_than_it_answers_and_never_writes_what_is_contested() -> None:
    sph = library.load("growatt-sph")
    assert (sph.line.max_read, sph.line.gap) == (45, 0.25)
    written = {request.address + n for name in sph.controls for request in layout(sph, name).blocks for n in range(request.words)}
    assert not written & {608, 1044, 122, 3000}
    assert sph.points["priority"].doubt
    assert (sph.points["grid_purchase_day"].table, sph.points["priority"].table) == ("input", "holding")
    assert sph.points["grid_purchase_day"].address == sph.points["priority"].address == 1044
