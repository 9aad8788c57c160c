"""Sun and clouds as pure functions of time: the same moment and seed give the same light.

Plain textbook formulas (declination by Cooper, air mass and clear-sky beam by Meinel); good to a few per cent, which is what a
simulated roof needs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

_DAY = 86400
_J2000_DAY = 10957  # days from 1970-01-01 to 2000-01-01


class Sky(NamedTuple):
    """Where the sun stands (radians; azimuth from north, clockwise) and its undimmed light in W/m²."""

    elevation: float
    azimuth: float
    beam: float
    diffuse: float


def sky(time: float, latitude: float, longitude: float) -> Sky:
    """The clear sky at `time` (seconds since 1970, UTC) at a place in degrees north and east."""
    day_of_year = ((time / _DAY - _J2000_DAY) % 365.2425) + 1
    season = 2 * math.pi * (day_of_year - 81) / 364
    declination = math.radians(23.45) * math.sin(2 * math.pi * (284 + day_of_year) / 365)
    equation_of_time = 9.87 * math.sin(2 * season) - 7.53 * math.cos(season) - 1.5 * math.sin(season)
    solar_hours = (time % _DAY) / 3600 + longitude / 15 + equation_of_time / 60
    hour_angle = math.radians(15 * (solar_hours - 12))
    place = math.radians(latitude)
    sine = math.sin(place) * math.sin(declination) + math.cos(place) * math.cos(declination) * math.cos(hour_angle)
    elevation = math.asin(max(-1.0, min(1.0, sine)))
    if elevation <= 0:
        return Sky(elevation, 0.0, 0.0, 0.0)
    azimuth = math.pi + math.atan2(math.sin(hour_angle), math.cos(hour_angle) * math.sin(place) - math.tan(declination) * math.cos(place))
    air_mass = 1 / (sine + 0.50572 * (math.degrees(elevation) + 6.07995) ** -1.6364)
    beam = 1353 * 0.7 ** (air_mass**0.678)
    return Sky(elevation, azimuth, beam, 0.12 * beam * sine + 25 * sine)


def on_plane(light: Sky, tilt: float, orientation: float, transmission: float) -> float:
    """Light on a tilted plane in W/m². `tilt` and `orientation` (180 is south) in degrees; `transmission` 0..1 dims the beam."""
    if light.elevation <= 0:
        return 0.0
    slope, facing = math.radians(tilt), math.radians(orientation)
    incidence = math.sin(light.elevation) * math.cos(slope) + math.cos(light.elevation) * math.sin(slope) * math.cos(light.azimuth - facing)
    veil = 0.35 + 0.65 * transmission
    return light.beam * transmission * max(0.0, incidence) + light.diffuse * veil * (1 + math.cos(slope)) / 2


def clouds(seed: int, time: float) -> float:
    """How much of the beam gets through, 0.15..1: an overcast that changes over hours, and clouds that pass within minutes."""
    cover = 0.6 * noise(seed, time / 7200) + 0.4 * noise(seed + 1, time / 1800)
    passing = noise(seed + 2, time / 240)
    threshold = 0.75 - 0.65 * cover
    if passing < threshold:
        return 1.0
    return max(0.15, 1.0 - 1.7 * (passing - threshold) - 0.4 * cover)


def noise(seed: int, x: float) -> float:
    """Smooth noise 0..1: random at whole `x`, a cosine between them."""
    whole = math.floor(x)
    blend = (1 - math.cos(math.pi * (x - whole))) / 2
    return _random(seed, whole) * (1 - blend) + _random(seed, whole + 1) * blend


def _random(seed: int, n: int) -> float:
    """0..1 from two integers (SplitMix64)."""
    z = (seed * 0x9E3779B97F4A7C15 + n * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)
