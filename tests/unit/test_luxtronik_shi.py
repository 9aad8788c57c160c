"""The Smart Home Interface of a Luxtronik: registers as they were observed, and what may be written."""

from __future__ import annotations

import struct

import pytest

from ohmstead.control.target import targets
from ohmstead.errors import Rejected
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Value

PROFILE = library.load("luxtronik-shi")
INPUTS, HOLDINGS = 4, 3


def decoded(function: int, address: int, *words: int) -> dict[str, Value]:
    return Decoder(PROFILE).decode(function, address, struct.pack(f">{len(words)}H", *words))


@pytest.mark.parametrize(
    ("address", "words", "values"),
    [
        (10002, (1, 2, 3), {"operation": "hot water", "heating_status": "requested", "hot_water_status": "running"}),
        (10100, (241, 243), {"return_temperature": 24.1, "return_target": 24.3}),
        (10108, (0x10000 - 72,), {"outside_temperature": -7.2}),
        (10120, (381, 400), {"hot_water_temperature": 38.1, "hot_water_target_now": 40.0}),
        (10300, (34, 8), {"heat_output": 3400, "electrical_power": 800}),
        (10310, (0, 24321), {"electrical_energy": 2432.1}),
        (10310, (1, 0), {"electrical_energy": 6553.6}),
        (10000, (0b101,), {"running": "compressor 1, second heat generator 1"}),
        (10000, (0,), {"running": "idle"}),
    ],
)
def test_what_was_observed(address: int, words: tuple[int, ...], values: dict[str, Value]) -> None:
    assert decoded(INPUTS, address, *words) == values


def test_what_is_not_there_is_absent() -> None:
    for address, count in (
        (10000, 1),
        (10002, 3),
        (10100, 2),
        (10105, 1),
        (10108, 1),
        (10120, 2),
        (10201, 1),
        (10300, 2),
        (10310, 2),
        (10400, 3),
    ):
        assert set(decoded(INPUTS, address, *[0x7FFF] * count).values()) <= {"Unknown"}
    assert "heating_offset" not in decoded(HOLDINGS, 10000, 0, 350, 0x7FFF)


def test_nothing_that_came_later_is_read_nor_between() -> None:
    """A controller refuses a whole request for one register that it does not have."""
    allowed = {
        10000,
        *range(10002, 10005),
        10100,
        10101,
        10105,
        10108,
        10120,
        10121,
        10201,
        10300,
        10301,
        *range(10310, 10316),
        *range(10400, 10403),
    }
    read = {register for point in PROFILE.points.values() if point.input is not None for register in range(point.input, point.last + 1)}
    assert read == allowed
    assert PROFILE.line.readable == ()


def test_what_may_be_written() -> None:
    found = targets("pump", PROFILE, {name: PROFILE.raw_limits(name) for name in PROFILE.controls}, periods=PROFILE.groups)
    assert found["heating_mode"].raw_of("Offset") == 2
    assert found["heating_offset"].raw_of("2.5") == 25
    assert found["power_limit"].raw_of("4200") == 42
    assert found["hot_water_mode"].returns_to == 0
    for control, text in (("hot_water_setpoint", "70"), ("heating_offset", "-1"), ("power_limit", "31000")):
        with pytest.raises(Rejected):
            found[control].raw_of(text)
