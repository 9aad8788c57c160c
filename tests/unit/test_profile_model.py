"""The model of device models: what it holds, and what it refuses with file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from ohmstead.errors import ConfigurationError, Mistake
from ohmstead.profiles import library
from ohmstead.profiles.model import Contract, Control, Line, Point, Profile, RawLimits

HEAD = """\
profile: toy
name: Toy
manufacturer: Acme
model: T1
groups: {live: 5 s, slow: 10 min}
"""


def toy(tmp_path: Path, rest: str, head: str = HEAD) -> Profile:
    (tmp_path / "toy.yaml").write_text(head + rest)
    return library.load_file(tmp_path / "toy.yaml")


def mistakes(tmp_path: Path, rest: str, head: str = HEAD) -> list[Mistake]:
    with pytest.raises(ConfigurationError) as raised:
        toy(tmp_path, rest, head)
    return list(raised.value.mistakes)


def points(tmp_path: Path, *lines: str) -> list[tuple[int, str, str]]:
    """Mistakes of these points, one a line, as (number of the point from 1, field, text)."""
    found = mistakes(tmp_path, "points:\n" + "".join(f"  {line}\n" for line in lines))
    return [(mistake.line - 6, mistake.field.removeprefix("points."), mistake.text) for mistake in found]


def control(tmp_path: Path, said: str, point: str = "as: u16, scale: 0.1, unit: A") -> list[tuple[str, str]]:
    """Mistakes of a control `limit` over a point of the same name, as (field, text)."""
    text = f"points:\n  limit: {{name: L, holding: 1, {point}, group: live}}\ncontrols:\n  limit: {{{said}, budget: 5/day}}\n"
    found = mistakes(tmp_path, text)
    assert {mistake.line for mistake in found} == {9}
    return [(mistake.field.removeprefix("controls.limit").removeprefix("."), mistake.text) for mistake in found]


def test_a_point_knows_its_registers_and_its_scale(tmp_path: Path) -> None:
    profile = toy(
        tmp_path,
        "points:\n"
        '  soc: {name: SOC, input: 1014, as: u16, scale: 0.01, unit: "%", group: live, vital: true}\n'
        "  power: {name: Power, holding: 0x10, as: i32, order: little, unit: W, sign: export positive, group: live, state: measurement}\n"
        "  serial: {name: Serial, holding: 20, as: str, words: 8, group: slow}\n"
        "  total: {name: Sum, calc: soc + power, group: live}\n",
    )
    soc, power, serial, total = profile.points.values()
    assert (soc.id, soc.table, soc.function, soc.address, soc.last, soc.words, soc.divisor) == ("soc", "input", 4, 1014, 1014, 1, 100)
    assert (power.table, power.function, power.address, power.last, power.divisor, power.order) == ("holding", 3, 16, 17, 1, "little")
    assert (serial.words, serial.last) == (8, 27)
    assert (total.table, total.function, total.kind, total.calc) == (None, 0, None, "soc + power")
    with pytest.raises(LookupError):
        _ = total.address
    assert [point.id for point in profile.in_group("live")] == ["soc", "power", "total"]
    assert profile.units()["soc"] == "%"


@pytest.mark.parametrize(("scale", "divisor"), [(1, 1), (0.1, 10), (0.01, 100), (0.001, 1000), (0.5, 2), (10, 1), (0.3, 1), (1.5, 1)])
def test_the_divisor_is_exact_where_there_is_one(tmp_path: Path, scale: float, divisor: int) -> None:
    profile = toy(tmp_path, f"points:\n  x: {{name: X, holding: 1, as: u16, scale: {scale}, group: live}}\n")
    assert profile.points["x"].divisor == divisor


def test_points_say_how_they_behave_over_time(tmp_path: Path) -> None:
    profile = toy(
        tmp_path,
        "points:\n"
        "  a: {name: A, holding: 1, as: u16, group: live}\n"
        "  b: {name: B, holding: 2, as: u32, group: live, state: total_increasing}\n"
        "  c: {name: C, holding: 4, as: u16, group: live, values: {0: off}}\n"
        "  d: {name: D, holding: 5, as: bit, group: live, bits: {0: hot}}\n"
        "  e: {name: E, holding: 6, as: dat, group: live}\n"
        '  f: {name: F, clock: "%H:%M", group: live}\n',
    )
    assert [point.kind_of for point in profile.points.values()] == ["measurement", "counter", "state", "state", "text", "text"]


def test_the_line_has_sizes_in_seconds_and_ranges_of_addresses(tmp_path: Path) -> None:
    profile = toy(
        tmp_path,
        "line: {baud: 19200, parity: even, unit: 3, turnaround: 20 ms, timeout: 2 s, readable: [50, 10..14]}\n"
        "points: {a: {name: A, holding: 1, as: u16, group: live}}\n",
    )
    line = profile.line
    assert (line.baud, line.parity, line.unit, line.turnaround, line.timeout) == (19200, "even", 3, 0.02, 2.0)
    assert line.readable == ((10, 14), (50, 50))
    assert profile.groups == {"live": 5.0, "slow": 600.0}


def test_nothing_can_be_changed(tmp_path: Path) -> None:
    profile = toy(tmp_path, "points: {a: {name: A, holding: 1, as: u16, group: live}}\n")
    with pytest.raises(ValidationError):
        profile.points["a"].name = "B"  # type: ignore[misc]  # that it is frozen is what is tested
    with pytest.raises(ValidationError):
        profile.line = Line()  # type: ignore[misc]  # that it is frozen is what is tested


def test_unknown_keys_are_refused_with_what_was_meant(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "lin: {}\npoints:\n  a: {name: A, holdng: 1, as: u16, group: live}\n")
    assert [(mistake.line, mistake.field, mistake.text) for mistake in found] == [
        (6, "lin", "unknown; did you mean `line`?"),
        (8, "points.a.holdng", "unknown; did you mean `holding`?"),
    ]


def test_the_name_of_a_point_is_its_key_alone(tmp_path: Path) -> None:
    assert points(tmp_path, "a: {id: b, name: A, holding: 1, as: u16, group: live}") == [(1, "a.id", "unknown")]


def test_a_point_that_stands_twice_is_refused(tmp_path: Path) -> None:
    rest = "points:\n  a: {name: A, holding: 1, as: u16, group: live}\n  a: {name: B, holding: 2, as: u16, group: live}\n"
    assert "a second time; the first is in line 7" in mistakes(tmp_path, rest)[0].text


def test_two_points_cannot_have_one_name(tmp_path: Path) -> None:
    assert points(tmp_path, "a: {name: A, holding: 1, as: u16, group: live}", "b: {name: A, holding: 2, as: u16, group: live}") == [
        (2, "b.name", "`A` is the name of a already")
    ]


def test_two_points_cannot_have_one_address(tmp_path: Path) -> None:
    assert points(tmp_path, "a: {name: A, holding: 1, as: u16, group: live}", "b: {name: B, holding: 1, as: u16, group: live}") == [
        (2, "b.holding", "address 1 is that of a already")
    ]


def test_registers_cannot_overlap(tmp_path: Path) -> None:
    assert points(
        tmp_path,
        "s: {name: S, holding: 10, as: str, words: 8, group: live}",
        "a: {name: A, holding: 12, as: u16, group: live}",
        "b: {name: B, holding: 17, as: u32, group: live}",
        "c: {name: C, holding: 18, as: u16, group: live}",
    ) == [
        (2, "a.holding", "its registers 12..12 overlap those of s, 10..17"),
        (3, "b.holding", "its registers 17..18 overlap those of s, 10..17"),
        (4, "c.holding", "its registers 18..18 overlap those of b, 17..18"),
    ]


def test_one_address_may_be_two_things_in_two_tables(tmp_path: Path) -> None:
    toy(tmp_path, "points:\n  a: {name: A, holding: 1, as: u16, group: live}\n  b: {name: B, input: 1, as: u16, group: live}\n")


@pytest.mark.parametrize("name", ["Power", "gridPower", "_a", "a__b", "a-b", "1a", "a.b", "größe"])
def test_names_of_points_are_snake_case(tmp_path: Path, name: str) -> None:
    ((_, field, text),) = points(tmp_path, f"{name}: {{name: A, holding: 1, as: u16, group: live}}")
    assert (field, text.partition(":")[0]) == (name, "a point's name is snake_case")


@pytest.mark.parametrize("name", ["if", "lambda", "min", "keep"])
def test_words_of_formulas_cannot_name_a_point(tmp_path: Path, name: str) -> None:
    assert "has a meaning in formulas" in points(tmp_path, f"{name}: {{name: A, holding: 1, as: u16, group: live}}")[0][2]


@pytest.mark.parametrize(
    ("said", "field", "text"),
    [
        ("holding: 1, as: u17", "as", "must be `u16`"),
        ("holding: 1", "as", "is missing"),
        ("holding: 65536, as: u16", "holding", "must be at most 65535"),
        ("holding: 65535, as: u32", "holding", "go beyond address 65535"),
        ("holding: 1, input: 1, as: u16", "", "one of `holding`, `input`, `field`, `calc`, `clock`"),
        ("as: u16", "", "one of `holding`, `input`, `field`, `calc`, `clock`"),
        ("holding: 1, as: u16, words: 2", "words", "u16 has 1 registers"),
        ("holding: 1, as: str", "words", "needs `words`"),
        ("holding: 1, as: bit, words: 5", "words", "at most 4"),
        ("holding: 1, as: bit, bits: {16: x}", "bits.16", "numbered 0 to 15, they are not masks"),
        ("holding: 1, as: u16, bits: {1: x}", "bits", "need `as: bit`"),
        ("holding: 1, as: u16, values: {65536: x}", "values.65536", "nothing that u16 can hold"),
        ("holding: 1, as: u16, values: {a: x}", "values.a", "nothing that u16 can hold"),
        ("holding: 1, as: f32, values: {1: x}", "values", "do not fit f32"),
        ("holding: 1, as: u16, scale: 0", "scale", "must be more than 0"),
        ("holding: 1, as: dat, scale: 0.1", "scale", "does not fit dat"),
        ("holding: 1, as: byte, decoder: mtec-frimware", "decoder", "did you mean `mtec-firmware`?"),
        ("holding: 1, as: u16, decoder: mtec-firmware", "decoder", "only fits str, dat, byte"),
        ("holding: 1, as: dat, vital: true", "vital", "only fits a number"),
        ("holding: 1, as: u16, unit: V, valid: 5..1 V", "valid", "lower end is above"),
        ("holding: 1, as: u16, unit: V, valid: 1..5 A", "valid", "range of numbers in V"),
        ("holding: 1, as: dat, valid: 1..5", "valid", "only fits numbers"),
        ("holding: 1, as: i32, unit: W", "sign", "sign of a power must be said"),
        ("holding: 1, as: i32, unit: W, sign: up", "sign", "say what is positive"),
        ("calc: 1 +", "calc", "is not a formula"),
        ("calc: a.b", "calc", "not allowed in a formula"),
        ("calc: 1 + 1, as: u16", "as", "only fits a point with registers"),
        ("calc: 1 + 1, scale: 2", "scale", "only fits a point with registers"),
    ],
)
def test_what_makes_no_sense_in_a_point_is_refused(tmp_path: Path, said: str, field: str, text: str) -> None:
    found = points(tmp_path, f"x: {{name: X, group: live, {said}}}")
    assert [(line, told) for line, told, words in found if text in words] == [(1, f"x.{field}".rstrip("."))]


def test_a_group_must_exist(tmp_path: Path) -> None:
    assert points(tmp_path, "a: {name: A, holding: 1, as: u16, group: life}") == [
        (1, "a.group", "there is no group `life`; did you mean `live`?")
    ]


def test_a_formula_needs_points_that_exist_and_are_numbers(tmp_path: Path) -> None:
    assert points(
        tmp_path,
        "power: {name: P, holding: 1, as: u16, group: live}",
        "date: {name: D, holding: 2, as: dat, group: live}",
        "x: {name: X, calc: powr + 1, group: live}",
        "y: {name: Y, calc: date + 1, group: live}",
    ) == [(3, "x.calc", "there is no point `powr`; did you mean `power`?"), (4, "y.calc", "date is a text, a formula needs numbers")]


def test_formulas_in_a_circle_are_refused_and_the_circle_is_named(tmp_path: Path) -> None:
    assert points(
        tmp_path,
        "a: {name: A, calc: b + 1, group: live}",
        "b: {name: B, calc: c * 2, group: live}",
        "c: {name: C, calc: a, group: live}",
        "d: {name: D, calc: d, group: live}",
    ) == [(1, "a.calc", "needs itself: a → b → c → a"), (4, "d.calc", "needs itself: d → d")]


def test_a_formula_whose_inputs_never_meet_is_refused(tmp_path: Path) -> None:
    ((line, _, text),) = points(
        tmp_path,
        "a: {name: A, holding: 1, as: u16, group: live}",
        "b: {name: B, holding: 2, as: u16, group: slow}",
        "c: {name: C, calc: a + b, group: live}",
    )
    assert (line, text) == (3, "its inputs are never read together: a every 5 s, b every 600 s, c every 5 s")


def test_a_point_larger_than_the_largest_read_is_refused(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "line: {max_read: 4}\npoints:\n  s: {name: S, holding: 1, as: str, words: 8, group: live}\n")
    assert "more than the device answers at once (4)" in found[0].text


def test_mistakes_within_and_between_points_are_told_together(tmp_path: Path) -> None:
    found = points(
        tmp_path,
        "a: {name: A, holding: 1, as: u99, group: live}",
        "b: {name: B, holding: 5, as: u32, group: live}",
        "c: {name: C, holding: 6, as: u16, group: nowhere}",
        "d: {name: D, calc: a + b, group: live}",
        "e: {name: E, holding: 9, as: u16, grup: live}",
    )
    assert [(line, field) for line, field, _ in found] == [
        (1, "a.as"),
        (3, "c.group"),
        (3, "c.holding"),
        (5, "e.grup"),
        (5, "e.group"),
    ] or found


def test_the_profile_is_called_like_its_file(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, "points: {a: {name: A, holding: 1, as: u16, group: live}}\n", HEAD.replace("toy", "top"))
    assert (mistake.line, mistake.field, mistake.text) == (1, "profile", "must be toy, the name of the file")


def test_identity_names_points(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, "identity: {serial: serail}\npoints: {serial: {name: A, holding: 1, as: u16, group: live}}\n")
    assert (mistake.field, mistake.text) == ("identity.serial", "there is no point `serail`; did you mean `serial`?")


CONTROLS = """\
points:
  limit: {name: L, holding: 1, as: u16, scale: 0.1, unit: A, group: live}
  enable: {name: E, holding: 2, as: u16, group: live}
  mode: {name: M, holding: 3, as: u16, group: live, values: {257: General, 258: Eco, 512: Off grid}}
controls:
  limit: {point: limit, range: 0..100 A, step: 0.5, reversion: 100, budget: 50/day, interval: 1 min}
  enable: {point: enable, switch: {on: 1, off: 0}, reversion: off, budget: 20/day}
  mode: {point: mode, write: fc16, options: values, reversion: General, budget: 20/day}
  eco: {point: mode, options: [General, Eco], reversion: keep, budget: 20/day}
"""


def test_a_control_knows_what_its_register_may_hold(tmp_path: Path) -> None:
    profile = toy(tmp_path, CONTROLS)
    assert profile.raw_limits("limit") == RawLimits(0, 1000, 5, None)
    assert profile.raw_limits("enable") == RawLimits(0, 1, 1, (0, 1))
    assert profile.raw_limits("mode") == RawLimits(257, 512, 1, (257, 258, 512))
    assert profile.raw_limits("eco") == RawLimits(257, 258, 1, (257, 258))
    assert profile.choices("limit") == {}
    assert profile.choices("enable") == {"on": 1, "off": 0}
    assert profile.choices("eco") == {"General": 257, "Eco": 258}


def test_a_control_says_what_it_is(tmp_path: Path) -> None:
    controls = toy(tmp_path, CONTROLS).controls
    assert [control.kind for control in controls.values()] == ["number", "switch", "select", "select"]
    assert [control.function for control in controls.values()] == [6, 6, 16, 6]
    limit = controls["limit"]
    assert (limit.id, limit.minimum, limit.maximum, limit.step, limit.reversion, limit.budget, limit.interval) == (
        "limit",
        0,
        100,
        0.5,
        100,
        50,
        60,
    )
    assert controls["enable"].reversion == "off"


@pytest.mark.parametrize(
    ("said", "field", "text"),
    [
        ("point: limti, range: 0..5 A, step: 1, reversion: 0", "point", "did you mean `limit`?"),
        ("point: limit, reversion: 0", "", "one of `range`, `switch`, `options`"),
        ("point: limit, range: 0..5 A, step: 1, options: values, reversion: 0", "", "one of `range`, `switch`, `options`"),
        ("point: limit, range: 0..5 A, reversion: 0", "", "needs a `step`"),
        ("point: limit, range: 5..0 A, step: 1, reversion: 0", "range", "lower end is above the upper one"),
        ("point: limit, range: 0..5 A, step: 0, reversion: 0", "step", "must be more than 0"),
        ("point: limit, range: 0..5 A, step: -1, reversion: 0", "step", "must be more than 0"),
        ("point: limit, range: 0..5 A, step: 0.25, reversion: 0", "step", "finer than the register"),
        ("point: limit, range: 0.05..5 A, step: 1, reversion: 1", "range", "not a multiple of 0.1"),
        ("point: limit, range: 0..5 A, step: 2, reversion: 0", "range", "cannot be walked in steps of 2"),
        ("point: limit, range: 0..6554 A, step: 1, reversion: 0", "range", "more than u16 × 0.1 can hold"),
        ("point: limit, range: -1..5 A, step: 1, reversion: 0", "range", "-1 A is more than u16"),
        ("point: limit, range: 0..5 W, step: 1, reversion: 0", "range", "must be in A"),
        ("point: limit, range: 0..5 A, step: 1, reversion: 6", "reversion", "6 is outside the range 0..5 A"),
        ("point: limit, range: 0..5 A, step: 1, reversion: off", "reversion", "neither a number nor `keep`"),
        ("point: limit, range: 0..5 A, step: 1", "reversion", "is missing"),
        ("point: limit, switch: {on: 1}, reversion: off", "", "names both raw values"),
        ("point: limit, switch: {on: 1, off: 1}, reversion: off", "switch", "on and off are the same"),
        ("point: limit, switch: {on: -1, off: 1}, reversion: off", "switch.on", "-1 is nothing that u16 can hold"),
        ("point: limit, switch: {on: 1, off: 0}, reversion: 0", "reversion", "neither `on` nor `off`"),
        ("point: limit, options: values, reversion: keep", "options", "has no `values` to choose from"),
        ("point: limit, range: 0..5 A, step: 1, reversion: 0, wirte: fc6", "wirte", "did you mean `write`?"),
    ],
)
def test_what_makes_no_sense_in_a_control_is_refused(tmp_path: Path, said: str, field: str, text: str) -> None:
    found = control(tmp_path, said)
    assert [told for told, words in found if text in words] == [field]


def test_a_choice_must_be_among_the_values(tmp_path: Path) -> None:
    point = "as: u16, values: {1: General mode, 2: Eco, 3: Eco}"
    assert control(tmp_path, "point: limit, options: [General, Eco], reversion: keep", point) == [
        ("options", "two values of limit are both called Eco"),
        ("options", "limit has no value `General`; did you mean `General mode`?"),
    ]
    assert control(tmp_path, "point: limit, options: [Eco], reversion: General mode", "as: u16, values: {1: General mode, 2: Eco}") == [
        ("reversion", "General mode is not among the options")
    ]


def test_only_whole_numbers_in_holding_registers_can_be_written(tmp_path: Path) -> None:
    assert control(tmp_path, "point: limit, range: 0..5 A, step: 1, reversion: 0", "as: f32, unit: A")[0][0] == "point"
    assert control(tmp_path, "point: limit, range: 0..5 A, step: 1, reversion: 0", "as: u32, unit: A") == [
        ("write", "fc6 writes one register, limit has 2: use fc16")
    ]


def test_a_contract_names_points_that_exist(tmp_path: Path) -> None:
    rest = (
        "points:\n  a: {name: A, holding: 1, as: u16, group: live}\n  b: {name: B, holding: 2, as: u16, group: slow}\n"
        "contracts:\n  own:\n    root: X\n    names: {aa: z}\n    groups: {live: [a, b], fast: [a]}\n"
    )
    assert [(mistake.line, mistake.field, mistake.text) for mistake in mistakes(tmp_path, rest)] == [
        (12, "contracts.own.names.aa", "there is no point `aa`; did you mean `a`?"),
        (13, "contracts.own.groups.live", "b is in the group slow"),
        (13, "contracts.own.groups.fast", "there is no group `fast`"),
        (13, "contracts.own.groups.fast", "a is in the group live"),
    ]


def test_two_points_of_a_group_cannot_share_a_name_in_a_contract(tmp_path: Path) -> None:
    rest = (
        "points:\n  a: {name: A, holding: 1, as: u16, group: live}\n  b: {name: B, holding: 2, as: u16, group: live}\n"
        "contracts:\n  own: {root: X, names: {a: b}}\n"
    )
    assert mistakes(tmp_path, rest)[0].text == "two points of live are both called b"


def test_a_model_built_without_a_file_is_held_to_the_same_rules() -> None:
    point = {"name": "A", "holding": 1, "as": "u16", "group": "nowhere"}
    with pytest.raises(ValidationError, match=r"points\.a\.group: there is no group `nowhere`"):
        Profile.model_validate(
            {"profile": "x", "name": "X", "manufacturer": "M", "model": "1", "groups": {"live": "5 s"}, "points": {"a": point}}
        )


def test_the_owners_folder_comes_before_what_is_shipped(tmp_path: Path) -> None:
    text = HEAD.replace("toy", "mtec-energybutler") + "points: {a: {name: A, holding: 1, as: u16, group: live}}\n"
    (tmp_path / "mtec-energybutler.yaml").write_text(text)
    assert library.load("mtec-energybutler", tmp_path).name == "Toy"
    assert library.load("mtec-energybutler").name == "M-TEC Energybutler"
    assert "mtec-energybutler" in library.available()


def test_a_profile_that_does_not_exist_is_named_with_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="did you mean `mtec-energybutler`"):
        library.load("mtec-energybuttler")
    with pytest.raises(ConfigurationError, match="none of this name"):
        library.load("../profiles/mtec-energybutler")


README = Path(__file__).resolve().parents[2] / "shared" / "profiles" / "README.md"


def test_the_example_of_the_handbook_is_a_sound_profile(tmp_path: Path) -> None:
    example = README.read_text().partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "acme-hybrid.yaml").write_text(example)
    assert library.load("acme-hybrid", tmp_path).raw_limits("export_limit") == RawLimits(0, 1000, 1, None)


@pytest.mark.parametrize("model", [Profile, Line, Point, Control, Contract])
def test_the_handbook_explains_every_key(model: type[BaseModel]) -> None:
    handbook = README.read_text()
    keys = {field.alias or name for name, field in model.model_fields.items()} - {"id"}
    assert {key for key in keys if f"`{key}`" not in handbook} == set()


def test_the_picture_of_the_power_is_formulas_over_points(tmp_path: Path) -> None:
    power = "points:\n  power: {name: Power, holding: 1, as: i16, unit: W, sign: export positive, group: live}\n"
    broken = mistakes(tmp_path, power + "flow:\n  pv: power\n  grid: power +\n")
    assert [(mistake.field, mistake.line) for mistake in broken] == [("flow.grid", 10)]
    unknown = mistakes(tmp_path, power + "flow:\n  house: pwer\n")
    assert [(mistake.field, mistake.line, "power" in mistake.text) for mistake in unknown] == [("flow.house", 9, True)]
    flow = toy(tmp_path, power + "flow: {pv: power, grid: -power}\n").flow
    assert flow is not None
    formulas = flow.formulas()
    grid = formulas["grid"]
    assert grid is not None
    assert (grid.evaluate({"power": 2506}), grid.evaluate({}), formulas["house"]) == (-2506, None, None)
