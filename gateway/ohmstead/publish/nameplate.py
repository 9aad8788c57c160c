"""What a device says of itself: serial number, model and firmware, as far as they have been read."""

from __future__ import annotations

from collections.abc import Mapping

from ohmstead.profiles.model import Profile
from ohmstead.readings import Value

_NOT_IN_A_TOPIC = str.maketrans(dict.fromkeys("+#\0", "_"))


class Nameplate:
    """Filled from snapshots. `known` is what was read before this start (the store knows): static groups are read seldom."""

    def __init__(self, profile: Profile, known: Mapping[str, Value]) -> None:
        identity = profile.identity
        named = [point for point in (identity.serial, identity.model, identity.firmware) if point is not None]
        self._points = [key for point in named for key in (point, f"{point}.raw")]
        self._identity = identity
        self._values: dict[str, str] = {}
        self.read(known)

    def read(self, values: Mapping[str, Value]) -> bool:
        """Takes what concerns it; True if that is news."""
        news = False
        for point in self._points:
            value = values.get(point)
            if value is not None and value != "" and self._values.get(point) != value:
                self._values[point] = str(value)
                news = True
        return news

    def _said(self, point: str | None, suffix: str = "") -> str | None:
        return None if point is None else self._values.get(point + suffix)

    @property
    def serial(self) -> str | None:
        """The serial number as topics can carry it: `_` for their wildcards."""
        serial = self._said(self._identity.serial)
        return None if serial is None else serial.translate(_NOT_IN_A_TOPIC)

    @property
    def model(self) -> str | None:
        """The decoded model, e.g. `12K-40A-3P`."""
        return self._said(self._identity.model)

    @property
    def model_raw(self) -> str | None:
        """The code as it is in the registers, e.g. `30 07`."""
        return self._said(self._identity.model, ".raw")

    @property
    def firmware(self) -> str | None:
        """The decoded version, e.g. `V27.52.04.00-V20.01.10.03`."""
        return self._said(self._identity.firmware)

    @property
    def firmware_raw(self) -> str | None:
        return self._said(self._identity.firmware, ".raw")
