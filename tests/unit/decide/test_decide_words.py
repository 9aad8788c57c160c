"""What the arbiter decides, said in sentences."""

from __future__ import annotations

import re
from pathlib import Path

import ohmcore
from ohmcore import events
from ohmstead.control import words
from tests.unit.decide.house import HOUR, House, battery


def shown(control: str, value: int) -> str:
    return f"{value} %" if control == "export_limit" else f"{value / 1000:.1f} kW"


def at_home() -> House:
    house = House(battery())
    house.tell(events.tick())
    house.measure()
    return house


def test_a_day_in_sentences() -> None:
    house = at_home()
    house.load = 9000
    house.measure()
    house.wish("plan", "charge", 1000, HOUR)
    house.wish("loxone", "charge", 3000, words="cheap tonight")
    assert [words.in_words(said, shown) for said in house.said] == [
        "Now manual.",
        "charge: 2.0 kW instead of 3.0 kW for loxone (cheap tonight), because the limit grid_import allows no more.",
    ]
    assert words.why_in_words("charge", house.why("charge"), shown) == (
        "charge is at 2.0 kW: loxone asked for 3.0 kW (cheap tonight), 60 min left. The limit grid_import allows no more. "
        "The plan would have it at 1.0 kW."
    )
    house.tell(events.stop(1))
    assert words.in_words(house.said[-3], shown) == "charge: 0.0 kW for safety, because it is stopped (stop)."
    house.wish("loxone", "charge", 3000)
    assert words.in_words(house.said[0], shown) == "charge: everything is stopped (stop); a reset is needed first."
    assert words.why_in_words("discharge", house.why("discharge"), shown) == (
        "discharge is at 0.0 kW: nobody wants anything. It is stopped (stop)."
    )


def test_the_end_of_a_lease_in_sentences() -> None:
    house = at_home()
    house.wish("loxone", "charge", 1000, HOUR)
    house.wait(HOUR)
    house.said = [decision for _, _, decisions in house.record[-6:] for decision in decisions]
    sentences = [words.in_words(said, shown) for said in house.said]
    assert "charge: the time of loxone is over." in sentences
    assert "charge: back to 0.0 kW, because nobody wants anything." in sentences


def test_there_are_words_for_every_code_of_the_core() -> None:
    source = "".join((Path(ohmcore.__file__).parent / f"{name}.py").read_text() for name in ("decide", "wishes", "actuation", "clamps"))
    noticed = set(re.findall(r'notice\(\s*"([a-z ]+)"', source)) | {"failed", "rejected", "ignored", "lost", "withdrawn", "lease ended"}
    refused = {one for one in re.findall(r'return \(?"([a-z -]+)", ', source) if one not in ("limit",)}
    assert noticed <= set(words._NOTICES)
    assert refused <= set(words._REJECTIONS) | set(words._CLAMPS)
    clamps = set(re.findall(r'(?:safe|base|goal|value|out), "([a-z]+)"', source))
    assert clamps - {"dwell", "yielded"} <= set(words._CLAMPS)  # these two say more about a notice
