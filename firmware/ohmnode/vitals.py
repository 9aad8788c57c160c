"""The few points that a node decodes itself, so that they reach whoever needs them with the gateway dead."""

from ohmcore import const
from ohmcore.registers import decode
from ohmnode.schedule import READ, START

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from ohmnode.schedule import Device, Group


class Vital:
    """A point of read number `read` of a group: `offset` in registers, `kind` and `order` as in `ohmcore.registers`.

    Published as the raw number over `divisor`, rounded to `decimals`.
    """

    def __init__(self, device: str, spec: "dict[str, Any]") -> None:
        self.device = device
        self.point = str(spec["point"])
        self.text = ""  # as published last
        self.fresh = False  # to be published
        self._read = int(spec["read"])
        self._offset = int(spec["offset"])
        self._kind = str(spec["kind"])
        self._words = int(spec["words"])
        self._order = str(spec.get("order", "big"))
        self._divisor = int(spec.get("divisor", 1))
        self._decimals = int(spec.get("decimals", 0))

    def update(self, group: "Group") -> bool:
        """Takes the value from a snapshot; true when there is a new text to publish. What could not be read changes nothing."""
        if not group.good[self._read]:
            return False
        raw = decode(self._kind, group.image, group.reads[READ * self._read + START] + 2 * self._offset, self._words, self._order)
        if isinstance(raw, float) and raw - raw != 0.0:
            return False  # no number, or an infinite one
        text = raw if isinstance(raw, str) else plain(raw, self._divisor, self._decimals)
        if text == self.text:
            return False
        self.text = text
        self.fresh = True
        return True


class Vitals:
    """All of a node. `changed` is called when one wants to be published."""

    def __init__(self) -> None:
        self.all: "list[Vital]" = []
        self._by_group: "dict[tuple[str, str], list[Vital]]" = {}

    def add(self, device: str, spec: "dict[str, Any]") -> None:
        vital = Vital(device, spec)
        self.all.append(vital)
        self._by_group.setdefault((device, str(spec["group"])), []).append(vital)

    def update(self, device: "Device", group: "Group") -> None:
        for vital in self._by_group.get((device.name, group.name), ()):
            vital.update(group)

    def refresh(self) -> None:
        """A new connection: what is known is published again."""
        for vital in self.all:
            vital.fresh = bool(vital.text)

    def take(self) -> "Vital | None":
        """One that wants to be published."""
        for vital in self.all:
            if vital.fresh:
                vital.fresh = False
                return vital
        return None


def plain(raw: "int | float", divisor: int, decimals: int) -> str:
    """`raw / divisor` with so many decimals, half away from zero; integers in integer arithmetic, exact on single-precision floats too."""
    if isinstance(raw, float):
        return f"{raw / divisor:.{decimals}f}"
    scale = 10**decimals
    scaled = (2 * abs(raw) * scale + divisor) // (2 * divisor)
    sign = "-" if raw < 0 and scaled else ""
    if not decimals:
        return f"{sign}{scaled}"
    fraction = str(scaled % scale)
    return f"{sign}{scaled // scale}.{'0' * (decimals - len(fraction))}{fraction}"
