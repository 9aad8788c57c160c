"""From registers to values: the fast path of every reading.

For each range that is ever read the layout is worked out once; after that a range is one `struct.unpack` and a short loop.
What cannot be a value (NaN, infinity, outside `valid`) is absent.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from struct import Struct
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ohmcore import registers
from ohmcore.errors import FrameError
from ohmstead.profiles.decoders import DECODERS
from ohmstead.profiles.formula import Formula, dependency_order
from ohmstead.profiles.model import Point, Profile
from ohmstead.readings import Value

if TYPE_CHECKING:
    from ohmstead.profiles.compiler import PollGroup

Convert = Callable[[Any], Value | None]

RAW = ".raw"
"""`<point>.raw` is the text of a point before its `values` or `decoder`, for points with `raw: true`. No point's id has a dot."""

_MAX_LAYOUTS = 512
_BEYOND = 2.0**63
"""JSON may have greater numbers: no device measures them, and no store takes them."""
_CODES = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}
_MASKS = {1: "H", 2: "I", 4: "Q"}


class UnknownRange(FrameError):  # noqa: N818 - says what was met, as in the wire's words
    """A range of registers that covers no point of the profile: another device, another profile, or garbage."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a range of registers holds: how to unpack it, and for each item its point, divisor and conversion."""

    struct: Struct
    fields: tuple[tuple[str, int, Convert | None], ...]
    raws: tuple[tuple[str, str, int, int], ...]
    """(key, kind, byte offset, words) of texts that are kept as they came."""


class Decoder:
    """Decodes what devices of one profile say. `zone` is the home's time zone, for `clock` points. `scans` are its poll groups: of a
    range that was read as planned for one of them only the points of that poll group's `groups` are taken. A scan reads over
    registers of other groups where that is cheaper; those have a scan of their own, in which their group is whole."""

    def __init__(self, profile: Profile, zone: tzinfo | None = None, scans: Iterable[PollGroup] = ()) -> None:
        self.profile = profile
        self._zone = zone or ZoneInfo("UTC")
        scans = tuple(scans)
        self._layouts: dict[tuple[int, int, int, str], _Layout] = {}
        self._planned: dict[tuple[int, int, int, str], Collection[str]] = {
            (read.function, read.address, 2 * read.count, scan.name): frozenset(scan.groups) for scan in scans for read in scan.reads
        }
        self._whole: dict[str, frozenset[str]] = {
            scan.name: frozenset(p.id for p in profile.points.values() if p.group in scan.groups and p.field is None and not p.clock)
            for scan in scans
        }
        self._points = {
            function: sorted((point for point in profile.points.values() if point.function == function), key=lambda point: point.address)
            for function in (3, 4)
        }
        formulas = {point.id: point.formula for point in profile.points.values() if point.formula is not None}
        self._formulas: list[tuple[str, Formula, Convert | None]] = [
            (name, formulas[name], _plausible(profile.points[name])) for name in dependency_order(formulas)[0]
        ]
        self._clocks = [
            (point.id, point.clock, frozenset(other.id for other in profile.in_group(point.group) if other.is_read))
            for point in profile.points.values()
            if point.clock
        ]
        self._named = {
            point.field: (point.id, point.is_text, _of_field(point)) for point in profile.points.values() if point.field is not None
        }

    def decode(self, function: int, address: int, buf: bytes | bytearray | memoryview, scan: str = "") -> dict[str, Value]:
        """The values of the points whose registers lie wholly in the range that begins at `address`: those of the poll group `scan`
        if the range is one of its planned reads, else all of them.

        `function` is the Modbus function that read it, `buf` two bytes a register, high byte first.
        Raises UnknownRange when the range holds no point, FrameError when `buf` is no whole number of registers.
        """
        read = (function, address, len(buf), scan)
        layout = self._layouts.get(read) or self._layout(read)
        values: dict[str, Value] = {}
        for (point, divisor, convert), raw in zip(layout.fields, layout.struct.unpack(buf), strict=True):
            if convert is not None:
                value = convert(raw)
                if value is not None:
                    values[point] = value
            else:
                values[point] = raw if divisor == 1 else raw / divisor
        for key, kind, offset, words in layout.raws:
            values[key] = registers.decode(kind, buf, offset, words)
        return values

    def decode_fields(self, fields: Mapping[str, object]) -> dict[str, Value]:
        """The values of the points that the device calls by these names, raw as it says them: numbers in its own scale, texts, truth
        values (0 and 1). What no point is called by is ignored; null, NaN, infinity, what is outside `valid` or beyond 64 bits is absent,
        and so is a text where a number belongs."""
        values: dict[str, Value] = {}
        for name, raw in fields.items():
            known = self._named.get(name)
            if known is None or raw is None:
                continue
            point, is_text, convert = known
            if isinstance(raw, bool):
                raw = int(raw)
            if not isinstance(raw, int | float | str) or (isinstance(raw, str) and not is_text):
                continue
            if not isinstance(raw, str) and not -_BEYOND < raw < _BEYOND:
                continue
            value = convert(raw)
            if value is not None:
                values[point] = value
        return values

    def missing(self, values: Mapping[str, Value], scan: str) -> Collection[str]:
        """The points of the poll group `scan` that have no value although all its ranges were read: what they say is none."""
        whole = self._whole.get(scan)
        return () if whole is None or values.keys() >= whole else whole - values.keys()

    def calculate(self, values: MutableMapping[str, Value], time: float | None = None) -> None:
        """Adds the calculated points whose inputs are all there. `time` is the moment of the reading in seconds since 1970;
        without it there are no `clock` points. Those appear with any other point of their group."""
        for name, formula, plausible in self._formulas:
            result = formula.evaluate(values)
            if result is not None and plausible is not None:
                checked = plausible(result)
                if checked is not None:
                    values[name] = checked
            elif result is not None:
                values[name] = result
        if time is not None:
            for name, pattern, others in self._clocks:
                if not others.isdisjoint(values):
                    values[name] = datetime.fromtimestamp(time, self._zone).strftime(pattern)

    def _layout(self, key: tuple[int, int, int, str]) -> _Layout:
        function, address, size, _ = key
        if size % 2:
            raise FrameError(f"{size} bytes are no whole number of registers")
        end = address + size // 2
        groups = self._planned.get(key, self.profile.groups)
        inside = [
            point for point in self._points.get(function, []) if address <= point.address and point.last < end and point.group in groups
        ]
        if not inside:
            raise UnknownRange(f"function {function}, {size // 2} registers from {address}: no point of {self.profile.id}")
        layout = _laid_out(inside, address, end)
        if len(self._layouts) >= _MAX_LAYOUTS:
            self._layouts.clear()
        self._layouts[key] = layout
        return layout


def _laid_out(points: list[Point], address: int, end: int) -> _Layout:
    pattern = [">"]
    fields: list[tuple[str, int, Convert | None]] = []
    raws: list[tuple[str, str, int, int]] = []
    position = address
    for point in points:
        pattern.append(f"{2 * (point.address - position)}x{_code(point)}")
        position = point.last + 1
        fields.append((point.id, point.divisor, _conversion(point)))
        if point.raw:
            raws.append((point.id + RAW, str(point.kind), 2 * (point.address - address), point.words))
    pattern.append(f"{2 * (end - position)}x")
    return _Layout(Struct("".join(pattern)), tuple(fields), tuple(raws))


def _by_struct(point: Point) -> bool:
    """Whether one format character says it: numbers whose words come in the usual order, and masks of a usual width."""
    usual = point.order == "big" or point.words == 1
    return usual and (point.kind in _CODES or (point.kind == "bit" and point.words in _MASKS))


def _code(point: Point) -> str:
    if not _by_struct(point):
        return f"{2 * point.words}s"
    return _MASKS[point.words] if point.kind == "bit" else _CODES[str(point.kind)]


def _conversion(point: Point) -> Convert | None:
    """From what `struct` gives to the value; None when dividing by the divisor is all."""
    steps: list[Convert] = []
    kind, words, order = str(point.kind), point.words, point.order
    if kind == "str":
        steps.append(_text)
    elif not _by_struct(point):
        steps.append(lambda raw: registers.decode(kind, raw, 0, words, order))
    if kind in ("f32", "f64"):
        steps.append(lambda number: number if math.isfinite(number) else None)
    if point.values:
        labels, otherwise = dict(point.values), point.otherwise
        steps.append(lambda raw: labels.get(raw, otherwise))
    elif point.bits:
        steps.append(_labelled(point))
    elif point.decoder:
        steps.append(DECODERS[point.decoder])
    elif not point.is_text:
        plausible = _plausible(point)
        if steps or plausible or point.divisor == 1:
            steps += [step for step in (_scaled(point), plausible) if step]
    return _chained(steps) if steps else None


def _of_field(point: Point) -> Convert:
    """From what a reader says to the value."""
    if point.values:
        labels, otherwise = dict(point.values), point.otherwise
        return lambda raw: labels.get(raw, otherwise)
    if point.kind == "str":
        return lambda raw: _printable(str(raw))
    steps = [step for step in (_scaled(point), _plausible(point)) if step is not None]
    return _chained(steps) if steps else lambda raw: raw


def _text(octets: bytes) -> str:
    """UTF-8, else Latin-1, without trailing blanks and NULs; `?` for what no MQTT topic may carry (control characters, no characters)."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    return _printable(text)


def _printable(text: str) -> str:
    return "".join("?" if unicodedata.category(sign) in ("Cc", "Cn", "Cs") else sign for sign in text.rstrip(" \0"))


def _scaled(point: Point) -> Convert | None:
    divisor, scale = point.divisor, point.scale
    if divisor != 1:
        return lambda raw: raw / divisor
    if scale == 1:
        return None
    factor = int(scale) if scale == int(scale) else scale
    return lambda raw: raw * factor


def _plausible(point: Point) -> Convert | None:
    if point.valid is None:
        return None
    low, high, _ = point.valid
    return lambda value: value if low <= value <= high else None


def _labelled(point: Point) -> Convert:
    bits, clear = sorted(point.bits.items()), point.clear
    return lambda mask: (", ".join(label for bit, label in bits if mask >> bit & 1) or clear) if mask else clear


def _chained(steps: list[Convert]) -> Convert:
    if len(steps) == 1:
        return steps[0]

    def convert(raw: Any) -> Value | None:
        value: Value | None = raw
        for step in steps:
            value = step(value)
            if value is None:
                break
        return value

    return convert
