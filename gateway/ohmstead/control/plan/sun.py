"""When the sun rises and sets: the day's declination and the equation of time, refraction and the sun's size included.

Formulas of the NOAA solar calculator (gml.noaa.gov/grad/solcalc), good to about two minutes between the polar circles.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

from ohmstead.control.plan.settings import Place

_HORIZON = math.radians(90.833)
_DAY_S = 86_400


def daylight(day: date, place: Place) -> tuple[float, float] | None:
    """Sunrise and sunset (UTC s) of a calendar day; None where the sun does not rise or does not set on it."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    angle = 2 * math.pi / 365 * (day.timetuple().tm_yday - 1)
    equation_min = 229.18 * (
        0.000075 + 0.001868 * math.cos(angle) - 0.032077 * math.sin(angle) - 0.014615 * math.cos(2 * angle) - 0.040849 * math.sin(2 * angle)
    )
    declination = (
        0.006918
        - 0.399912 * math.cos(angle)
        + 0.070257 * math.sin(angle)
        - 0.006758 * math.cos(2 * angle)
        + 0.000907 * math.sin(2 * angle)
        - 0.002697 * math.cos(3 * angle)
        + 0.00148 * math.sin(3 * angle)
    )
    latitude = math.radians(place.latitude)
    cosine = math.cos(_HORIZON) / (math.cos(latitude) * math.cos(declination)) - math.tan(latitude) * math.tan(declination)
    if not -1 <= cosine <= 1:
        return None
    half_min = 4 * math.degrees(math.acos(cosine))
    middle_s = noon.timestamp() - 60 * (4 * place.longitude + equation_min)
    return middle_s - 60 * half_min, middle_s + 60 * half_min
