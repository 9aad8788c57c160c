"""A Shelly that is not there: what it answers to an RPC, over HTTP with digest authentication, and what it tells a broker.

HTTP and the digest are written by hand, so that an answer can be spoilt at any byte, and so that whoever is tested against this meets a
second implementation. Kinds: `triphase` (em, emdata), `monophase` (em1, em1data) and `switch` (a switch with a meter).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from .listening import Listening

log = structlog.get_logger(service="sim")

KINDS = ("triphase", "monophase", "switch")
_APPS = {"triphase": ("Pro3EM", "SPEM-003CEBEU"), "monophase": ("Pro3EM", "SPEM-003CEBEU"), "switch": ("Plus1PM", "SNSW-001P16EU")}
_NAMES = {"triphase": "shellypro3em", "monophase": "shellypro3em", "switch": "shellyplus1pm"}
_VOLTS, _WH = 230.0, 3600.0
_PAGE = b"<!DOCTYPE html><html><body>Maintenance</body></html>"

Json = dict[str, Any]


class Shelly:
    """The device itself. `watts` are the powers of its channels at a moment, positive for an import; counters grow with `clock`, seconds.

    `status` may be changed by a test: what is in `said` replaces or adds what it says of a component's key ("em:0", "a_voltage").
    """

    def __init__(
        self,
        kind: str = "triphase",
        *,
        mac: str = "AABBCCDDEEFF",
        watts: Callable[[float], Sequence[float]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.kind = kind
        self.mac = mac
        self.version = "1.4.4"
        self.generation = 2
        self.said: dict[tuple[str, str], object] = {}
        self.calls: list[str] = []
        self._watts = watts or (lambda _: (300.0, 200.0, -100.0) if self.kind != "switch" else (60.0,))
        self._clock = clock
        self._started = self._counted = clock()
        self._energy = [[0.0, 0.0] for _ in range(3)]

    @property
    def name(self) -> str:
        """Its id, which is its MQTT prefix as well."""
        return f"{_NAMES[self.kind]}-{self.mac.lower()}"

    def restart(self) -> None:
        """It has been off for a moment; its counters are kept."""
        self._started = self._clock()

    def reset(self) -> None:
        """Somebody clears its counters."""
        self._energy = [[0.0, 0.0] for _ in range(3)]

    def counts(self, watt_hours: float) -> None:
        """Each channel has counted so much already, in Wh, of imports."""
        self._energy = [[watt_hours, 0.0] for _ in range(3)]

    def info(self) -> Json:
        app, model = _APPS[self.kind]
        known = {"name": None, "id": self.name, "mac": self.mac, "slot": 0, "model": model, "gen": self.generation, "fw_id": "sim"}
        return known | {"ver": self.version, "app": app, "auth_en": False, "auth_domain": None, "profile": self.kind}

    def status(self) -> Json:
        """All of it, as `Shelly.GetStatus` says."""
        now = self._clock()
        watts = list(self._watts(now))
        for channel, power in zip(self._energy, watts, strict=False):
            channel[power < 0] += abs(power) * max(0.0, now - self._counted) / _WH
        self._counted = now
        found = {"switch": self._switch, "monophase": self._monophase, "triphase": self._triphase}[self.kind](watts)
        found["sys"] = {"mac": self.mac, "uptime": int(now - self._started), "unixtime": int(now), "restart_required": False}
        found |= {"mqtt": {"connected": True}, "ws": {"connected": False}}
        for (component, key), value in self.said.items():
            found.setdefault(component, {"id": 0})[key] = value
        return found

    def answer(self, question: object) -> Json:
        """The answer frame to a request frame."""
        frame = question if isinstance(question, dict) else {}
        method = str(frame.get("method", ""))
        self.calls.append(method)
        answer = {"id": frame.get("id"), "src": self.name, "dst": frame.get("src")}
        results = {"Shelly.GetStatus": self.status, "Shelly.GetDeviceInfo": self.info}
        if method not in results:
            return answer | {"error": {"code": 404, "message": f"No handler for {method}"}}
        return answer | {"result": results[method]()}

    def _triphase(self, watts: Sequence[float]) -> Json:
        em: Json = {"id": 0, "n_current": None, "user_calibrated_phase": []}
        data: Json = {"id": 0}
        for phase, power, (imported, exported) in zip("abc", watts, self._energy, strict=True):
            em |= {f"{phase}_{key}": value for key, value in _of_a_wire(power).items()}
            data |= {f"{phase}_total_act_energy": round(imported, 2), f"{phase}_total_act_ret_energy": round(exported, 2)}
        em |= {"total_current": round(sum(abs(power) for power in watts) / _VOLTS, 3)}
        em |= {"total_act_power": round(sum(watts), 3), "total_aprt_power": round(sum(abs(power) for power in watts), 3)}
        data |= {"total_act": round(sum(i for i, _ in self._energy), 2), "total_act_ret": round(sum(e for _, e in self._energy), 2)}
        return {"em:0": em, "emdata:0": data, "temperature:0": {"id": 0, "tC": 41.5, "tF": 106.7}}

    def _monophase(self, watts: Sequence[float]) -> Json:
        found: Json = {}
        for number, (power, (imported, exported)) in enumerate(zip(watts, self._energy, strict=False)):
            found[f"em1:{number}"] = {"id": number, "calibration": "factory"} | _of_a_wire(power)
            counted = {"total_act_energy": round(imported, 2), "total_act_ret_energy": round(exported, 2)}
            found[f"em1data:{number}"] = {"id": number} | counted
        return found

    def _switch(self, watts: Sequence[float]) -> Json:
        wire = _of_a_wire(watts[0])
        measured = {key: wire[key] for key in ("voltage", "current", "pf", "freq")} | {"apower": wire["act_power"]}
        counted = {"total": round(self._energy[0][0], 3), "by_minute": [0.0, 0.0, 0.0], "minute_ts": int(self._counted)}
        switch = {"id": 0, "source": "init", "output": True} | measured
        return {"switch:0": switch | {"aenergy": counted, "temperature": {"tC": 48.1, "tF": 118.6}}}


def _of_a_wire(power: float) -> Json:
    return {
        "act_power": round(power, 1), "aprt_power": round(abs(power), 1), "voltage": _VOLTS, "current": round(abs(power) / _VOLTS, 3),
        "pf": 1.0, "freq": 50.0,
    }  # fmt: skip


@dataclass
class Mood:
    """How it answers. `cut` ends an answer after so many bytes of it and closes, `length` says how long it would have been (False: does
    not say); `slow_s` passes before each answer; `status` is an HTTP status that every call gets; `html` and `garbage` are answers;
    `challenge` is what it wants a password with."""

    silent: bool = False
    slow_s: float = 0.0
    cut: int | None = None
    length: bool = True
    status: int = 200
    html: bool = False
    garbage: bytes | None = None
    wrong_id: bool = False
    challenge: str | None = None


class ShellyServer(Listening):
    """Its HTTP side on a loopback port (0: a free one). With a `password` it wants digest authentication (SHA-256), each nonce for
    `nonce_lasts` requests."""

    def __init__(self, shelly: Shelly, *, password: str | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host, port)
        self.shelly = shelly
        self.mood = Mood()
        self.password = password
        self.nonce_lasts = 1_000_000
        self.requests = 0
        self.challenges = 0
        self.length = 0
        """Bytes of the last answer, with its head."""
        self._nonces: dict[str, int] = {}

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._clients)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)^content-length: *(\d+)", head, re.MULTILINE)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.requests += 1
        mood = self.mood
        if mood.silent:
            await reader.read()
            return
        await asyncio.sleep(mood.slow_s)
        status, headers, octets = self._reply(head, body)
        lines = [f"HTTP/1.1 {status} X", "Server: ShellyHTTP/1.0.0", "Connection: close", *headers]
        if mood.length:
            lines.append(f"Content-Length: {len(octets)}")
        answer = "\r\n".join([*lines, "", ""]).encode("latin-1") + octets
        self.length = len(answer)
        writer.write(answer if mood.cut is None else answer[: mood.cut])
        await writer.drain()

    def _reply(self, head: str, body: bytes) -> tuple[int, list[str], bytes]:
        mood = self.mood
        kind = ["Content-Type: application/json"]
        if mood.garbage is not None:
            return mood.status, kind, mood.garbage
        if mood.challenge is not None:
            return 401, [f"WWW-Authenticate: {mood.challenge}"], b""
        if mood.html or mood.status != 200:
            return mood.status, ["Content-Type: text/html"], _PAGE
        if head.startswith("GET /shelly "):  # who it is, for whoever asks
            return 200, kind, json.dumps(self.shelly.info()).encode()
        try:
            question = json.loads(body)
        except ValueError:
            return 400, kind, b"{}"
        if self.password is not None and question.get("method") != "Shelly.GetDeviceInfo" and not self._authorised(head):
            return 401, [self._challenge()], b""
        answer = self.shelly.answer(question)
        if mood.wrong_id:
            answer["id"] = -1
        return 200, kind, json.dumps(answer).encode()

    def _challenge(self) -> str:
        nonce = secrets.token_hex(8)
        self._nonces[nonce] = 0
        self.challenges += 1
        return f'WWW-Authenticate: Digest qop="auth", realm="{self.shelly.name}", nonce="{nonce}", algorithm=SHA-256'

    def _authorised(self, head: str) -> bool:
        said = re.search(r"(?i)^authorization: *digest (.*)", head, re.MULTILINE)
        if said is None:
            return False
        given = {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', said[1])}
        nonce = given.get("nonce", "")
        if nonce not in self._nonces or self._nonces[nonce] >= self.nonce_lasts:
            return False
        self._nonces[nonce] += 1
        method, uri, _ = head.split(" ", 2)
        begin = _hash(f"admin:{self.shelly.name}:{self.password}")
        end = _hash(f"{method}:{uri}")
        right = _hash(f"{begin}:{nonce}:{given.get('nc')}:{given.get('cnonce')}:auth:{end}")
        return given.get("username") == "admin" and given.get("uri") == uri and secrets.compare_digest(given.get("response", ""), right)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
