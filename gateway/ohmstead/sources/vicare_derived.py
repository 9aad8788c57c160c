"""What PyViCare works out of several features, as fields of our own; their names begin with a colon.

The set points and the supply temperature by the heating curve are the library's own getters. What depends on the time of day follows
the same rules as its getters, but by the home's clock instead of that of the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from PyViCare.PyViCareHeatingDevice import HeatingDevice
from PyViCare.PyViCareService import ViCareDeviceAccessor, readFeature
from PyViCare.PyViCareUtils import PyViCareNotSupportedFeatureError

from ohmstead.sources.vicare_features import DAYS, Field, is_told

_ABSENT = (PyViCareNotSupportedFeatureError, LookupError, TypeError, ValueError, AttributeError)
"""Also what getters raise where a sensor is not connected."""

_TEMP_2 = "temp-2"


class _Read:
    """A service of the library that knows one answer and asks nobody."""

    def __init__(self, features: Sequence[Mapping[str, Any]]) -> None:
        self._features = features

    def getProperty(self, _accessor: object, name: str) -> Any:  # noqa: N802 - the library's name
        return readFeature(self._features, name)


def derived(features: Sequence[Mapping[str, Any]], roles: Sequence[str], home: datetime) -> Iterator[Field]:
    """What follows from a device's features. `home`: what the clocks of the home say at the moment of the reading."""
    told = [feature for feature in features if is_told(feature)]
    device = HeatingDevice(ViCareDeviceAccessor(0, "", ""), _Read(told), list(roles))
    try:
        circuits = [str(one) for one in device.getAvailableCircuits()]
    except _ABSENT:
        circuits = []
    for number in circuits:
        for name, getter in (("desired", "getCurrentDesiredTemperature"), ("targetSupply", "getTargetSupplyTemperature")):
            value = _got(device.getCircuit(number), getter)
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield Field(f":circuits.{number}.{name}", value, "celsius")
    yield from _hot_water(device, home)


def _hot_water(device: Any, home: datetime) -> Iterator[Field]:
    mode = _mode_now(_got(device, "getDomesticHotWaterSchedule"), home)
    if mode is not None:
        yield Field(":dhw.scheduledMode", mode)
        getter = "getDomesticHotWaterConfiguredTemperature2" if mode == _TEMP_2 else "getDomesticHotWaterConfiguredTemperature"
        temperature = _got(device, getter)
        if isinstance(temperature, int | float):
            yield Field(":dhw.scheduledTemperature", temperature, "celsius")
    circulation = _got(device, "getDomesticHotWaterCirculationSchedule")
    mode = _mode_now(circulation, home, first=True)
    if mode is None and isinstance(circulation, dict) and circulation.get("active") is True:
        mode = circulation.get("default_mode")
    if isinstance(mode, str):
        yield Field(":dhw.circulation.scheduledMode", mode)


def _got(holder: Any, getter: str) -> Any:
    try:
        return getattr(holder, getter)()
    except _ABSENT:
        return None


def _mode_now(schedule: Any, home: datetime, *, first: bool = False) -> str | None:
    """What a schedule says for this minute: the last entry that fits, or the first; `temp-2` before all others."""
    if not isinstance(schedule, dict) or schedule.get("active") is not True:
        return None
    now = timedelta(hours=home.hour, minutes=home.minute, seconds=home.second)
    found: str | None = None
    for slot in schedule.get(DAYS[home.weekday()], ()):
        try:
            begin, end, mode = _time(slot["start"]), _time(slot["end"]), str(slot["mode"])
        except _ABSENT:
            continue
        if begin <= now <= end:
            if first or mode == _TEMP_2:
                return mode
            found = mode
    return found


def _time(written: str) -> timedelta:
    return timedelta(hours=int(written[0:2]), minutes=int(written[3:5]))
