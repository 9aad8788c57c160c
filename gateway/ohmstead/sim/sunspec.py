"""A SunSpec device that is not there: a chain of models as holding registers, with whatever a maker may do to it.

What its values are is said with their units and becomes registers by its own arithmetic; where they are is the table of the models.
"""

from __future__ import annotations

import math
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from ohmstead.profiles.sunspec import HEADER, Model, Row, definitions, rows

from .registers import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, READ_HOLDING, WRITE_MULTIPLE, WRITE_SINGLE, RefusalError, Write

_NOTHING = {
    "u16": "ffff", "i16": "8000", "enum16": "ffff", "bits16": "ffff", "u32": "ffffffff", "i32": "80000000", "bits32": "ffffffff",
    "f32": "7fc00000", "acc32": "00000000", "acc64": "0000000000000000", "u64": "ffffffffffffffff", "i64": "8000000000000000",
}  # fmt: skip
_CODES = {
    "u16": "H", "i16": "h", "enum16": "H", "bits16": "H", "u32": "I", "i32": "i", "bits32": "I", "f32": "f", "acc32": "I", "acc64": "Q",
    "u64": "Q", "i64": "q",
}  # fmt: skip
_NO_FACTOR = 0x8000
_END = (0xFFFF, 0)
LENGTHS = {1: 66, 101: 50, 102: 50, 103: 50, 111: 60, 112: 60, 113: 60, 120: 26, 121: 30, 122: 44, 123: 24, 124: 24, 701: 153, 704: 65} | {
    201: 105, 202: 105, 203: 105, 204: 105, 211: 124, 212: 124, 213: 124, 214: 124, 713: 7, 802: 62,
}  # fmt: skip
"""Registers of a model after its length, as the standard has them; 160 has 8, and 20 for each module."""

Said = Mapping[str, float | str | None]


CONTROLS = 123
_REVERSION, _ENABLED, _LAST_CONTROL = 7, 9, 22


class SunSpec:
    """Registers of a device with these `models` (a number, or a number and a length). What is not `said` is not implemented.

    The controls of model 123 may be written; a power limit ends after its reversion time, unless `reverts` is False: then the device keeps
    none. `writes` are those that were accepted; `obeys` False: they are accepted and change nothing.

    `said` maps a field ("103.1.W") to its value in the row's unit, a text, or None; `factors` maps a scale factor's name to its exponent.
    `before` is called before each read with the device: the place to let something change.
    """

    def __init__(
        self,
        models: Sequence[int | tuple[int, int]],
        said: Said | None = None,
        *,
        base: int = 40000,
        factors: Mapping[str, int] | None = None,
        before: Callable[[SunSpec], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base = base
        self.words: dict[int, int] = dict(zip(range(base, base + 2), struct.unpack(">2H", b"SunS"), strict=True))
        self.chain: list[Model] = []
        self.reads: list[tuple[int, int]] = []
        self.writes: list[Write] = []
        self.reverts = self.obeys = True
        self.before = before
        self._clock = clock
        self._ends = math.inf
        self._lock = threading.RLock()
        self._factors = dict(factors or {})
        address = base + 2
        for one in models:
            number, length = one if isinstance(one, tuple) else (one, LENGTHS[one])
            instance = 1 + sum(model.id == number for model in self.chain)
            model = Model(number, address, length, instance)
            self._lay(model)
            self.chain.append(model)
            address = model.end
        self.words |= dict(zip((address, address + 1), _END, strict=True))
        for field, value in (said or {}).items():
            self[field] = value

    def __setitem__(self, field: str, value: float | str | None) -> None:
        """From now on the device says this. Raises KeyError for a field it has not, ValueError for what its registers cannot hold."""
        with self._lock:
            model, row = self._find(field)
            self._put(model.address + row.at, self._octets(row, value, self._exponent(model, row)))

    def factor(self, model: int, name: str, exponent: int | None, instance: int = 1) -> None:
        """Changes a scale factor and nothing else; None: it is not implemented any more."""
        with self._lock:
            found = next(one for one in self.chain if (one.id, one.instance) == (model, instance))
            self.words[found.address + definitions()[model]["factors"][name]] = _NO_FACTOR if exponent is None else exponent & 0xFFFF

    def read(self, function: int, address: int, count: int) -> list[int]:
        if function != READ_HOLDING:
            raise RefusalError(ILLEGAL_FUNCTION)
        if count > 125:
            raise RefusalError(ILLEGAL_VALUE)
        with self._lock:
            self._revert()
            if self.before is not None:
                self.before(self)
            self.reads.append((address, count))
            try:
                return [self.words[at] for at in range(address, address + count)]
            except KeyError:
                raise RefusalError(ILLEGAL_ADDRESS) from None

    def write(self, function: int, address: int, words: Sequence[int]) -> None:
        if function not in (WRITE_SINGLE, WRITE_MULTIPLE):
            raise RefusalError(ILLEGAL_FUNCTION)
        with self._lock:
            controls = next((model for model in self.chain if model.id == CONTROLS), None)
            if controls is None or address < controls.address + HEADER or address + len(words) - 1 > controls.address + _LAST_CONTROL:
                raise RefusalError(ILLEGAL_ADDRESS)
            self.writes.append(Write(self._clock(), function, address, tuple(words)))
            if not self.obeys:
                return
            self.words |= dict(zip(range(address, address + len(words)), words, strict=True))
            if not self.reverts:
                self.words[controls.address + _REVERSION] = 0
            seconds, enabled = (self.words[controls.address + at] for at in (_REVERSION, _ENABLED))
            self._ends = self._clock() + seconds if enabled == 1 and seconds else math.inf

    def _revert(self) -> None:
        if self._clock() >= self._ends:
            controls = next(model for model in self.chain if model.id == CONTROLS)
            self.words[controls.address + _ENABLED] = 0
            self._ends = math.inf

    def _lay(self, model: Model) -> None:
        self.words |= {model.address: model.id, model.address + 1: model.length}
        self.words |= {model.address + HEADER + at: 0xFFFF for at in range(model.length)}
        said = definitions().get(model.id, {})
        for name, at in said.get("factors", {}).items():
            if at < model.length + HEADER:
                self.words[model.address + at] = self._factors.get(name, -1) & 0xFFFF
        for row in rows(model):
            self._put(model.address + row.at, self._octets(row, None, 0))

    def _find(self, field: str) -> tuple[Model, Row]:
        for model in self.chain:
            for row in rows(model):
                if row.field == field:
                    return model, row
        raise KeyError(field)

    def _exponent(self, model: Model, row: Row) -> int:
        word = self.words[model.address + row.factor_at] if row.factor_at is not None else 0
        return word - 0x10000 if word & 0x8000 else word

    def _put(self, address: int, octets: bytes) -> None:
        for at in range(0, len(octets), 2):
            self.words[address + at // 2] = int.from_bytes(octets[at : at + 2], "big")

    def _octets(self, row: Row, value: float | str | None, exponent: int) -> bytes:
        if row.kind.startswith("str"):
            return str(value or "").encode().ljust(2 * row.words, b"\0")[: 2 * row.words]
        if value is None:
            return bytes.fromhex(_NOTHING[row.kind])
        if isinstance(value, str):
            raise ValueError(f"{row.field}: {value!r} is no number")  # noqa: TRY004 - a value that does not fit, as below
        number = value if row.kind == "f32" else round(value / 10**exponent)
        try:
            return struct.pack(f">{_CODES[row.kind]}", number)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{row.field}: {value:g} × 10^{-exponent} does not fit {row.kind}: {error}") from error


def inverter(**more: float | str | None) -> dict[str, float | str | None]:
    """What a photovoltaic inverter with three phases says at noon (models 1 and 103)."""
    return {
        "1.1.Mn": "Acme", "1.1.Md": "Sun 10", "1.1.Vr": "2.1", "1.1.SN": "A-0042", "103.1.A": 12.3, "103.1.AphA": 4.1, "103.1.AphB": 4.1,
        "103.1.AphC": 4.1, "103.1.PhVphA": 230.1, "103.1.PhVphB": 230.2, "103.1.PhVphC": 230.3, "103.1.W": 2830.0, "103.1.Hz": 50.0,
        "103.1.WH": 1_234_500.0, "103.1.DCW": 2900.0, "103.1.TmpCab": 41.5, "103.1.St": 4, "103.1.Evt1": 0, **more,
    }  # fmt: skip


def grid_meter(watts: float, **more: float | str | None) -> dict[str, float | str | None]:
    """What a meter with three phases says (model 203)."""
    return {
        "203.1.W": watts,
        "203.1.WphA": watts / 3, "203.1.WphB": watts / 3, "203.1.WphC": watts / 3, "203.1.PhVphA": 230.0, "203.1.Hz": 50.0,
        "203.1.TotWhImp": 4_321_000.0, "203.1.TotWhExp": 987_000.0, "203.1.Evt": 0, **more,
    }  # fmt: skip


def storage(soc: float, **more: float | str | None) -> dict[str, float | str | None]:
    """What a battery at an inverter says (model 124)."""
    return {"124.1.ChaState": soc, "124.1.ChaSt": 4, "124.1.MinRsvPct": 10.0, "124.1.WChaMax": 5000.0, "124.1.StorCtl_Mod": 0, **more}
