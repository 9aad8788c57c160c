"""YAML a person wrote: strict, and every mistake with its line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ohmstead.errors import ConfigurationError, Mistake
from ohmstead.yamlfile import parse, problems, read, validate


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        parse(text, "house.yaml")
    return [str(mistake) for mistake in raised.value.mistakes]


class Wheel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(ge=1, le=99)
    spokes: int | None = None
    password: int | None = None


class Bicycle(BaseModel):
    model_config = ConfigDict(extra="forbid")
    wheels: dict[str, Wheel]
    bells: list[Wheel] = []
    colour: str = "red"

    @model_validator(mode="after")
    def _wheels_match(self) -> Bicycle:
        sizes = {wheel.size for wheel in self.wheels.values()}
        if len(sizes) > 1:
            raise problems([(("wheels", name), "differs from the others") for name in self.wheels])
        return self


def mistakes(text: str) -> list[Mistake]:
    with pytest.raises(ConfigurationError) as raised:
        validate(Bicycle, parse(text, "bicycle.yaml"))
    return list(raised.value.mistakes)


def test_a_document_knows_the_line_of_everything() -> None:
    document = parse("site: home\ndevices:\n  mtec:\n    profile: x\n    list:\n      - a\n      - b: {c: 1}\n", "f")
    assert document.value == {"site": "home", "devices": {"mtec": {"profile": "x", "list": ["a", {"b": {"c": 1}}]}}}
    assert document.line(["site"]) == 1
    assert document.line(["devices", "mtec", "profile"]) == 4
    assert document.line(["devices", "mtec", "list", 1, "b", "c"]) == 7


def test_what_is_not_there_has_the_line_of_what_is_around_it() -> None:
    document = parse("a: 1\ndevices:\n  mtec: {}\n", "f")
    assert document.line(["devices", "mtec", "profile", "name"]) == 3
    assert document.line(["nothing"]) == 1
    assert document.line([]) == 1


def test_words_stay_words() -> None:
    text = "a: off\nb: No\nc: 12:30\nd: 2024-01-01\ne: 1_000\nf: on\ng: 010\nh: 0x1F\ni: 0o17\n257: x\nyes: y\n"
    assert parse(text, "f").value == {
        "a": "off", "b": "No", "c": "12:30", "d": "2024-01-01", "e": "1_000", "f": "on", "g": 10, "h": 31, "i": 15, 257: "x", "yes": "y",
    }  # fmt: skip


def test_numbers_truth_and_nothing_are_those_of_yaml_1_2() -> None:
    assert parse("[1, -2, 1.5, .5, 1e3, true, False, ~, null, '1']", "f").value == [1, -2, 1.5, 0.5, 1000.0, True, False, None, None, "1"]
    assert parse("", "f").value is None


def test_a_key_that_stands_twice_is_refused_with_both_lines() -> None:
    assert refused("a: 1\nb: 2\na: 3\n") == ["house.yaml:3: a — stands here a second time; the first is in line 1"]


def test_every_doubled_key_is_named() -> None:
    said = refused("x:\n  a: 1\n  a: 2\ny: {b: 1,\n    b: 2}\n")
    assert [line.split(" — ")[0] for line in said] == ["house.yaml:3: x.a", "house.yaml:5: y.b"]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: 1\n\tb: 2", "2:1", "tab"),
        ("a: b: c", "1:5", "colon too many"),
        ("a: {b: 1", "1:9", "closing brace }"),
        ("a: [1, 2\nb: 3", "2:2", "closing bracket ]"),
        ("a: 'x\n", "2:1", "closing quote"),
        ("a:\n  b: 1\n c: 2", "3:2", "indentation"),
        ("a: *x", "1:4", "alias"),
        ("a: %x", "1:4", "quotes"),
        ("a: 1\n---\nb: 2", "2:1", "second document"),
        ("a: 1\nb: \x01", "2", "U+0001"),
        ("a: !!python/object:os.system x", "1", "tag"),
        ("a: &x [*x]", "1", "repeats itself"),
        ("? [1]\n: 2", "1", "key must be"),
        (f"a: {'9' * 5000}", "1", "too long for a number"),
    ],
)
def test_malformed_yaml_is_told_with_its_place_and_plain_words(text: str, where: str, words: str) -> None:
    (said,) = refused(text)
    assert said.startswith(f"house.yaml:{where}: ")
    assert words in said


def test_nesting_without_end_is_refused() -> None:
    assert "nested too deeply" in refused("[" * 5000)[0]


def test_a_small_file_cannot_become_a_large_one() -> None:
    text = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    assert "too many values" in refused(text)[0]


@given(st.text(alphabet=st.sampled_from("ab:-{}[],'\"\n\t #&*!|>%@0123456789.\x00é~?"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        parse(text, "f")


def test_a_file_that_is_not_there_or_not_text_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: No such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: 1\nb: Zürich\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"here\.yaml:2: is not UTF-8"):
        read(tmp_path / "latin.yaml", "here.yaml")


def test_an_unknown_key_is_named_with_what_was_probably_meant() -> None:
    (mistake,) = mistakes("wheels:\n  front: {size: 28,\n    spoke: 36}\n")
    assert str(mistake) == "bicycle.yaml:3: wheels.front.spoke — unknown; did you mean `spokes`?"


def test_an_unknown_key_far_from_all_others_gets_no_suggestion() -> None:
    assert mistakes("wheels: {}\nxyzzy: 1\n")[0].text == "unknown"


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    found = mistakes("wheels:\n  front: {size: big}\n  rear: {size: 100}\nbells:\n  - {size: 1}\n  - {}\ncolor: blue\n")
    assert [(mistake.line, mistake.field, mistake.value, mistake.text) for mistake in found] == [
        (2, "wheels.front.size", "big", "must be a whole number"),
        (3, "wheels.rear.size", "100", "must be at most 99"),
        (6, "bells.1.size", "", "is missing"),
        (7, "color", "", "unknown; did you mean `colour`?"),
    ]


def test_problems_between_fields_are_found_beside_mistakes_of_single_fields() -> None:
    found = mistakes("wheels:\n  a: {size: 26}\n  b: {size: 28}\n  c: {size: 0}\ncolor: blue\n")
    assert [(mistake.line, mistake.field) for mistake in found] == [(2, "wheels.a"), (3, "wheels.b"), (4, "wheels.c.size"), (5, "color")]


def test_a_secret_is_not_repeated_in_a_mistake() -> None:
    (mistake,) = mistakes("wheels:\n  a: {size: 1, password: hunter2}\n")
    assert mistake.field == "wheels.a.password"
    assert "hunter2" not in str(mistake)


def test_a_sound_document_becomes_the_model() -> None:
    assert validate(Bicycle, parse("wheels: {a: {size: 26}}", "f")).wheels["a"].size == 26
