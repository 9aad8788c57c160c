"""What answers Modbus TCP: recognised by a few reads each, which write nothing and stop at the first that does not fit.

A profile's own points say where to look; which of them, and what they must show, stands here. A unit that says nothing to its first
question is asked no second one: a DTU hangs when it is asked too much.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException as PymodbusError

from ohmstead.detect.finding import Finding
from ohmstead.errors import NoAnswer, Refused, WrongAnswer
from ohmstead.migrate.home import Value
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.profiles.point import Point
from ohmstead.readings import Value as Reading

PORT = 502
_HOLDING, _INPUT = 3, 4
_ZONE = ZoneInfo("UTC")
_SERIAL = re.compile(r"[A-Z0-9][A-Z0-9 ._/-]{5,31}")

Range = tuple[float, float]
_VOLTS: Range = (80.0, 300.0)
_HERTZ: Range = (45.0, 65.0)
_PERCENT: Range = (0.0, 100.0)


class Line:
    """An open connection to a host. Its `read` raises NoAnswer (silence, or it hung up), Refused (an exception) and WrongAnswer."""

    def __init__(self, host: str, port: int, patience_s: float) -> None:
        self.host, self.port = host, port
        self._patience_s = patience_s
        self._client: AsyncModbusTcpClient | None = None

    async def open(self) -> bool:
        """Whether somebody listens there."""
        self.close()
        client = AsyncModbusTcpClient(self.host, port=self.port, timeout=self._patience_s, retries=0, reconnect_delay=0)
        try:
            connected = await client.connect()
        except OSError:  # no such name, no way there: nobody listens
            connected = False
        if connected:
            self._client = client
        else:
            client.close()
        return connected

    async def read(self, unit: int, function: int, address: int, count: int) -> bytes:
        """`count` registers from `address`, two bytes each."""
        if self._client is None or not self._client.connected:
            await self.open()
        client = self._client
        if client is None:
            raise NoAnswer(f"{self.host}:{self.port} takes no connection any more")
        ask = client.read_holding_registers if function == _HOLDING else client.read_input_registers
        try:
            answer = await ask(address, count=count, device_id=unit)
        except (PymodbusError, OSError) as error:
            self.close()  # a late answer must not be taken for the next one
            raise NoAnswer(f"unit {unit} of {self.host}:{self.port} does not answer") from error
        if answer.isError():
            raise Refused(f"unit {unit} of {self.host}:{self.port} refuses", getattr(answer, "exception_code", 0))
        if answer.function_code != function or len(answer.registers) != count:
            raise WrongAnswer(f"unit {unit} of {self.host}:{self.port} does not answer with the {count} registers that were asked for")
        return b"".join(word.to_bytes(2, "big") for word in answer.registers)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


Probe = Callable[[Line, int], Awaitable[Finding | None]]
"""What looks whether a unit is a certain device. Raises SourceError where it cannot be seen."""


def _via(line: Line) -> str:
    return f"tcp://{line.host}" + ("" if line.port == PORT else f":{line.port}")


class Sign(NamedTuple):
    """By what a model is known: its profile's points and what they must show. `unit`: its own, where it is not written down."""

    profile: str
    name: str
    shows: Mapping[str, Range]
    unit: int
    doubt: str = ""


async def _hoymiles(line: Line, unit: int) -> Finding | None:
    """The DTU's serial number, and that there is a list of ports behind it."""
    serial = (await line.read(unit, _HOLDING, 0x2000, 3)).hex()
    if set(serial) <= {"0"} or set(serial) == {"f"}:
        return None
    record = await line.read(unit, _HOLDING, 0x1000, 20)
    inverter = record[1:7].hex()
    behind = f"the first inverter behind it is {inverter}" if set(inverter) != {"0"} else "no inverter behind it yet"
    return Finding("roof", line.host, {"profile": "hoymiles-dtu", "via": _via(line)}, f"Hoymiles DTU {serial}; {behind}", serial)


async def _mtec(line: Line, unit: int) -> Finding | None:
    """A serial number where an Energybutler has it."""
    profile = _profile("mtec-energybutler")
    point = profile.points[profile.identity.serial or ""]
    serial = str(await _value(line, unit, "mtec-energybutler", point) or "").strip()
    if not _SERIAL.fullmatch(serial):
        return None
    keys: dict[str, Value] = {"profile": profile.id, "via": _via(line)}
    if unit != profile.line.unit_tcp:
        keys["unit"] = unit
    return Finding("mtec", line.host, keys, f"{profile.name} {serial}", serial)


async def _sunspec(line: Line, unit: int) -> Finding | None:
    """The mark that begins a SunSpec chain, and the common model behind it."""
    for base in (40000, 0, 50000):
        try:
            mark = await line.read(unit, _HOLDING, base, 2)
        except Refused:
            continue
        if mark == b"SunS":
            maker, model, serial = _common(await line.read(unit, _HOLDING, base + 2, 68))
            keys: dict[str, Value] = {"profile": "sunspec", "via": _via(line)}
            if unit != _profile("sunspec").line.unit:
                keys["unit"] = unit
            said = " ".join(part for part in ("SunSpec:", maker, model, serial) if part)
            return Finding(model.split()[0] if model else "sunspec", line.host, keys, said, f"{maker} {serial}" if serial else "")
    return None


def _common(model: bytes) -> tuple[str, str, str]:
    """Manufacturer, model and serial number (SunSpec model 1: Mn, Md and SN at 4, 20 and 52 bytes… of 32 each)."""
    if model[:2] != b"\x00\x01":
        return "", "", ""
    return _text(model[4:36]), _text(model[36:68]), _text(model[100:132])


def _text(octets: bytes) -> str:
    return octets.split(b"\0")[0].decode("ascii", "replace").strip()


async def _value(line: Line, unit: int, profile: str, point: Point) -> Reading | None:
    octets = await line.read(unit, point.function, point.address, point.words)
    return _decoder(profile).decode(point.function, point.address, octets).get(point.id)


@cache
def _profile(name: str) -> Profile:
    """Read once, however many addresses are asked."""
    return library.load(name)


@cache
def _decoder(name: str) -> Decoder:
    return Decoder(_profile(name), _ZONE)


def _by_sign(sign: Sign) -> Probe:
    async def probe(line: Line, unit: int) -> Finding | None:
        profile = _profile(sign.profile)
        shown = []
        for name, (low, high) in sign.shows.items():
            point = profile.points[name]
            value = await _value(line, unit, sign.profile, point)
            if not isinstance(value, int | float) or not low <= value <= high:
                return None
            shown.append(f"{value:.{point.round if point.round is not None else 1}f} {point.unit}")
        keys: dict[str, Value] = {"profile": sign.profile, "via": _via(line)}
        if unit != sign.unit:
            keys["unit"] = unit
        return Finding(sign.name, line.host, keys, f"seems to be {profile.name} ({', '.join(shown)})", doubt=sign.doubt)

    return probe


_NODE = "whether it is commanded: a node on its RS485 ends a command that nobody ends"
SIGNS = (
    Sign("growatt-sph", "growatt", {"grid_frequency": _HERTZ, "battery_soc": _PERCENT, "battery_voltage": (10.0, 1000.0)}, 1, _NODE),
    Sign("growatt-min", "growatt", {"grid_frequency": _HERTZ, "battery_soc": _PERCENT}, 1, _NODE),
    Sign("eastron-sdm630", "meter", {"voltage_l1": _VOLTS, "frequency": _HERTZ, "voltage_l2": _VOLTS}, 1, "an SDM72D-M V2 looks the same"),
    Sign("eastron-sdm120", "meter", {"voltage": _VOLTS, "frequency": _HERTZ}, 1, "an SDM630 with one phase looks the same"),
    Sign("carlo-gavazzi-em340", "meter", {"voltage_l1": _VOLTS, "frequency": _HERTZ}, 1),
    Sign("carlo-gavazzi-em24", "meter", {"voltage_l1": _VOLTS, "frequency": _HERTZ}, 1),
)
"""What has no name of its own to tell: known by what it measures. Which one, too: the first that fits."""

_ANY: tuple[Probe, ...] = (_hoymiles, _mtec, _sunspec, *(_by_sign(sign) for sign in SIGNS))
UNITS: Mapping[int, tuple[Probe, ...]] = {
    1: (_hoymiles, _sunspec, *(_by_sign(sign) for sign in SIGNS)),
    255: (_mtec,),
    252: (_mtec,),
    247: (_mtec,),
    126: (_sunspec,),
}
"""The units that devices have when they come out of their box, and what is looked for there."""


async def recognised(host: str, port: int, patience_s: float, units: Sequence[int] = ()) -> list[Finding]:
    """What is behind a port: the first device among the usual units, or one at each of `units`. Nothing where nobody listens."""
    line = Line(host, port, patience_s)
    try:
        if not await line.open():
            return []
        if units:
            found = [await _unit(line, unit, _ANY) for unit in units]
            return [finding for finding in found if finding is not None]
        for unit, probes in UNITS.items():
            finding = await _unit(line, unit, probes)
            if finding is not None:
                return [finding]
        return []
    finally:
        line.close()


async def _unit(line: Line, unit: int, probes: Sequence[Probe]) -> Finding | None:
    for probe in probes:
        try:
            finding = await probe(line, unit)
        except (Refused, WrongAnswer):
            continue
        except NoAnswer:
            return None
        if finding is not None:
            return finding
        await asyncio.sleep(0)
    return None
