"""A simulated OpenInverterGateway: the stick between a simulated Growatt and a real broker, as its firmware has it.

Telemetry, retained, on the base topic; a last will `{"InverterStatus": -1 }` there; commands on `<base>/command/<name>`, each answered on
`<base>/result`, retained, with the correlation id if one was given. What a command does goes to the inverter's registers, single ones by
function 6 and slots by 16. `Mood` says in which ways it is unkind.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from .faults import Faults
from .growatt import MIN, Growatt
from .registers import READ_HOLDING, READ_INPUT, WRITE_MULTIPLE, WRITE_SINGLE
from .station import Station

BASE = "energy/solar"
_TURN_S, _AGAIN_S = 0.05, 0.2
LAST_WILL = '{"InverterStatus": -1 }'

_SPH_VALUES = {
    "InverterStatus": (0, 1), "InputPower": (1, 2), "OutputPower": (35, 2), "GridFrequency": (37, 1), "PVEnergyTotal": (91, 2),
    "InverterTemperature": (93, 1), "DischargePower": (1009, 2), "ChargePower": (1011, 2), "BatteryVoltage": (1013, 1), "SOC": (1014, 1),
    "ACPowerToUserTotal": (1021, 2), "ACPowerToGridTotal": (1029, 2), "INVPowerToLocalLoadTotal": (1037, 2),
    "BatteryTemperature": (1040, 1), "BatteryState": (1041, 1), "EnergyToUserToday": (1044, 2), "EnergyToUserTotal": (1046, 2),
    "EnergyToGridToday": (1048, 2),
    "EnergyToGridTotal": (1050, 2), "DischargeEnergyToday": (1052, 2), "DischargeEnergyTotal": (1054, 2), "ChargeEnergyToday": (1056, 2),
    "ChargeEnergyTotal": (1058, 2), "LocalLoadEnergyToday": (1060, 2), "ACChargeEnergyToday": (1124, 2),
}  # fmt: skip
_MIN_VALUES = {
    "InverterStatus": (3000, 1), "PVTotalPower": (3001, 2), "PV1Power": (3005, 2), "PV2Power": (3009, 2), "OutputPower": (3023, 2),
    "GridFrequency": (3025, 1), "TotalForwardPower": (3041, 2), "TotalReversePower": (3043, 2), "TotalLoadPower": (3045, 2),
    "PVEnergyTotal": (3053, 2), "TodayEnergyToUser": (3067, 2), "TotalEnergyToUser": (3069, 2), "TodayEnergyToGrid": (3071, 2),
    "TotalEnergyToGrid": (3073, 2), "TodayEnergyOfUserLoad": (3075, 2), "InverterTemperature": (3093, 1), "DischargeEnergyToday": (3125, 2),
    "DischargeEnergyTotal": (3127, 2), "ChargeEnergyToday": (3129, 2), "ChargeEnergyTotal": (3131, 2), "ACChargeEnergyToday": (3133, 2),
    "Priority": (3144, 1), "BDCStateOfCharge": (3171, 1), "BDCTemperatureA": (3176, 1), "BDCDischargePower": (3178, 2),
    "BDCChargePower": (3180, 2),
}  # fmt: skip
"""Value of the telemetry → input register and how many of them, as the builds for SPH and for TL-XH have it."""
_WHOLE = ("InverterStatus", "SOC", "BatteryState", "Priority", "BDCStateOfCharge")
_SINGLE_SPH = {
    "batteryfirst/set/powerrate": 1090,
    "batteryfirst/set/stopsoc": 1091,
    "batteryfirst/set/acchargeenabled": 1092,
    "gridfirst/set/powerrate": 1070,
    "gridfirst/set/stopsoc": 1071,
}
_SINGLE_MIN = {
    "bdc/set/dischargepowerrate": 3036,
    "bdc/set/dischargestopsoc": 3037,
    "bdc/set/chargepowerrate": 3047,
    "bdc/set/chargestopsoc": 3048,
    "bdc/set/acchargeenabled": 3049,
}

Outcome = tuple[bool, str, dict[str, Any]]
"""Success, message, and what else an answer says."""
_UNPARSED: Outcome = (False, "Failed to parse JSON request: InvalidInput", {})


@dataclass
class Mood:
    """How unkind the stick is. Counts are of commands still to be treated so; 0 is kind."""

    silent: int = 0
    """Obeys, and does not answer."""
    unheard: int = 0
    """Does not even hear."""
    twice: int = 0
    """Answers twice."""
    miscorrelated: int = 0
    """Answers with somebody else's correlation id."""
    uncorrelated: int = 0
    """Answers without any."""
    late_s: float = 0.0
    """Seconds before each answer."""

    def strikes(self, kind: str) -> bool:
        left = int(getattr(self, kind))
        if left:
            setattr(self, kind, left - 1)
        return left > 0


class InverterGateway:
    """A stick with its inverter on a broker. Use it as a context; `stop` and `start` are its power.

    `every` is how often telemetry goes out, in seconds; `commands` lists what arrived: name and payload. `faults` are those of the line
    between stick and inverter.
    """

    def __init__(
        self,
        inverter: Growatt,
        host: str,
        port: int,
        *,
        base: str = BASE,
        every: float = 5.0,
        faults: Faults | None = None,
        mood: Mood | None = None,
    ) -> None:
        self.inverter = inverter
        self.base = base
        self.mood = mood or Mood()
        self.faults = faults or Faults()
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.drift_s = 0.0
        """How far the inverter's clock is ahead."""
        self._station = Station(inverter, self.faults, turnaround=0.0)
        self._address = (host, port)
        self._every = every
        self._count = 0
        self._ended = threading.Event()
        self._hears = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Power on. Raises OSError where there is no broker."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"growatt-{id(self)}")
        client.will_set(self.base, LAST_WILL, qos=1, retain=True)
        client.on_connect = lambda connected, *_: connected.subscribe(f"{self.base}/command/#", 1)
        client.on_subscribe = lambda *_: self._hears.set()
        client.on_message = self._on_command
        client.connect(*self._address)
        self._ended.clear()
        self._thread = threading.Thread(target=self._live, args=(client,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Power off. The broker tells the last will."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def telemetry(self) -> str | None:
        """What it would publish now; None while the inverter does not answer it."""
        values = _MIN_VALUES if self.inverter.family is MIN else _SPH_VALUES
        told: dict[str, Any] = {}
        for name, (address, words) in values.items():
            read = self._read(READ_INPUT, address, words)
            if read is None:
                return None
            raw = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in read), "big")
            if name == "InverterStatus":
                raw &= 0xFF
            if raw >> 31 and self.inverter.family is MIN:
                raw -= 1 << 32
            told[name] = raw if name in _WHOLE else round(raw * (0.01 if name == "GridFrequency" else 0.1), 2)
        self._count += 1
        return json.dumps({**told, "Mac": "00:00:5E:00:53:01", "Cnt": self._count})

    def obey(self, name: str, request: Mapping[str, Any]) -> Outcome:
        """Does a command: success, message, and what else the answer says."""
        handlers = self._handlers()
        if name not in handlers:
            return False, f"Unknown command: {name}", {}
        return handlers[name](request)

    # Life

    def _live(self, client: paho.Client) -> None:
        """Its one loop: what comes from the broker, telemetry when it is due, the broker again when it was away."""
        due = 0.0
        while not self._ended.is_set():
            if client.loop(_TURN_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._hears.clear()
                self._ended.wait(_AGAIN_S)
                with suppress(OSError):
                    client.reconnect()
            elif self._hears.is_set() and time.monotonic() >= due:
                due = time.monotonic() + self._every
                client.publish(self.base, self.telemetry() or LAST_WILL, retain=True)
        self._hears.clear()
        socket = client.socket()
        if socket is not None:
            socket.close()

    def _on_command(self, client: paho.Client, _user: Any, message: paho.MQTTMessage) -> None:
        name = message.topic[len(self.base) + len("/command/") :]
        answer: dict[str, Any] = {}
        try:
            request = json.loads(message.payload)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            success, text, more = _UNPARSED
        else:
            self.commands.append((name, {key: value for key, value in request.items() if key != "correlationId"}))
            if self.mood.strikes("unheard"):
                return
            if "correlationId" in request:
                answer["correlationId"] = str(request["correlationId"])
            success, text, more = self.obey(name, request)
        answer |= {**more, "command": name, "success": success, "message": text}
        if self.mood.strikes("silent"):
            return
        if self.mood.strikes("miscorrelated"):
            answer["correlationId"] = "somebody-else"
        if self.mood.strikes("uncorrelated"):
            answer.pop("correlationId", None)
        if self.mood.late_s:
            time.sleep(self.mood.late_s)
        for _ in range(2 if self.mood.strikes("twice") else 1):
            client.publish(f"{self.base}/result", json.dumps(answer), retain=True)

    # The line to the inverter

    def _request(self, pdu: bytes) -> bytes | None:
        answer = self._station.answer(1, pdu)
        return None if answer is None or answer.half or answer.spoilt_crc or answer.pdu[0] & 0x80 else answer.pdu

    def _read(self, function: int, address: int, count: int) -> list[int] | None:
        answer = self._request(bytes([function]) + address.to_bytes(2, "big") + count.to_bytes(2, "big"))
        return None if answer is None else [int.from_bytes(answer[at : at + 2], "big") for at in range(2, 2 + 2 * count, 2)]

    def _write(self, address: int, words: Sequence[int], *, multiple: bool = False) -> bool:
        octets = b"".join((word & 0xFFFF).to_bytes(2, "big") for word in words)
        head = address.to_bytes(2, "big")
        if multiple:
            pdu = bytes([WRITE_MULTIPLE]) + head + len(words).to_bytes(2, "big") + bytes([len(octets)]) + octets
        else:
            pdu = bytes([WRITE_SINGLE]) + head + octets
        return self._request(pdu) is not None

    # The commands

    def _handlers(self) -> dict[str, Callable[[Mapping[str, Any]], Outcome]]:
        handlers: dict[str, Callable[[Mapping[str, Any]], Outcome]] = {
            "echo": lambda request: (True, "", {"text": f"Echo: {request.get('text')}"}),
            "list": lambda _: (True, "", {"commands": sorted(self._handlers())}),
            "modbus/get": self._modbus_get,
            "modbus/set": self._modbus_set,
            "datetime/get": self._clock,
            "power/set/activerate": partial(self._single, 3, "active rate"),
        }
        if self.inverter.family is MIN:
            handlers["priority/set"] = self._priority
            singles: Mapping[str, int] = _SINGLE_MIN
        else:
            for mode, first, settings in (("batteryfirst", 1100, (1090, 3)), ("gridfirst", 1080, (1070, 2))):
                handlers[f"{mode}/get"] = partial(self._mode, first, *settings)
                handlers[f"{mode}/set/timeslot"] = partial(self._timeslot, first)
            handlers["export/enable"] = partial(self._export, 1000)
            handlers["export/disable"] = partial(self._export, 0)
            singles = _SINGLE_SPH
        for name, address in singles.items():
            handlers[name] = partial(self._single, address, name)
        return handlers

    def _single(self, address: int, what: str, request: Mapping[str, Any]) -> Outcome:
        if "value" not in request:
            return False, "'value' field is required", {}
        return self._written(self._write(address, [int(request["value"])]), what)

    @staticmethod
    def _written(done: bool, what: str) -> Outcome:
        return (True, "success", {}) if done else (False, f"Failed to write {what}", {})

    def _mode(self, first: int, settings: int, count: int, _request: Mapping[str, Any]) -> Outcome:
        told, slots = self._read(READ_HOLDING, settings, count), self._read(READ_HOLDING, first, 9)
        if told is None or slots is None:
            return False, "Failed to read settings", {}
        more: dict[str, Any] = {"powerRate": told[0], "stopSOC": told[1]}
        if count == 3:
            more["acChargeEnabled"] = told[2] == 1
        more["timeSlots"] = [
            {"slot": n + 1, "start": _text(slots[3 * n]), "stop": _text(slots[3 * n + 1]), "enabled": slots[3 * n + 2] == 1}
            for n in range(3)
        ]
        return True, "success", more

    def _timeslot(self, first: int, request: Mapping[str, Any]) -> Outcome:
        for key in ("start", "stop", "enabled", "slot"):
            if key not in request:
                return False, f"'{key}' field is required", {}
        times = [str(request[key]) for key in ("start", "stop")]
        if any(len(text) != 5 or text[2] != ":" or not text.replace(":", "").isdecimal() for text in times):
            return False, "Invalid time format", {}
        slot = int(request["slot"])
        if not 1 <= slot <= 3:
            return False, "Invalid slot number, must be between 1 and 3", {}
        words = [int(text[:2]) << 8 | int(text[3:]) for text in times]
        return self._written(self._write(first + 3 * (slot - 1), [*words, int(bool(request["enabled"]))], multiple=True), "timeslot")

    def _export(self, rate: int, _request: Mapping[str, Any]) -> Outcome:
        mode = self._read(READ_HOLDING, 122, 1)
        done = mode is not None and (mode == [1] or self._write(122, [1])) and self._write(123, [rate])
        return self._written(done, "export limit")

    def _priority(self, request: Mapping[str, Any]) -> Outcome:
        words = {0: [0, 0], 1: [40960, 5947], 2: [49152, 5947]}.get(int(request.get("mode", -1)))
        if words is None:
            return False, "'mode' field is required", {}
        return (True, "success", {}) if self._write(3038, words, multiple=True) else (False, "Failed to set priority mode", {})

    def _modbus_get(self, request: Mapping[str, Any]) -> Outcome:
        if not {"id", "type", "registerType"} <= set(request):
            return False, "'id' field is required", {}
        function = READ_HOLDING if request["registerType"] == "H" else READ_INPUT
        words = self._read(function, int(request["id"]), 2 if request["type"] == "32b" else 1)
        if words is None:
            return False, f"Failed to read {'holding' if function == READ_HOLDING else 'input'} register", {}
        return True, "success", {"value": words[0] if len(words) == 1 else words[0] << 16 | words[1]}

    def _modbus_set(self, request: Mapping[str, Any]) -> Outcome:
        if not {"id", "type", "registerType", "value"} <= set(request) or request["type"] != "16b" or request["registerType"] != "H":
            return False, "'type' must be '16b'", {}
        done = self._write(int(request["id"]), [int(request["value"])])
        return (True, "success", {}) if done else (False, "failed to write holding register", {})

    def _clock(self, _request: Mapping[str, Any]) -> Outcome:
        if self._read(READ_HOLDING, 45, 6) is None:
            return False, "Failed to read date/time", {}
        local = datetime.fromtimestamp(self.inverter.moment + self.drift_s, UTC).astimezone(self.inverter.hardware.zone)
        return True, "Successfully read date/time", {"value": f"{local.year - 2000:04}-{local:%m-%d %H:%M:%S}"}


def _text(word: int) -> str:
    return f"{word >> 8:02}:{word & 0xFF:02}"
