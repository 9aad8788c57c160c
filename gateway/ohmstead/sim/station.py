"""A device at its unit number: registers, faults, a turnaround, and what it answers to a request PDU."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .faults import Faults
from .registers import WRITE_MULTIPLE, WRITE_SINGLE, Registers, respond, span_of


class Answer(NamedTuple):
    """What a device is going to send: unit and PDU as they go out, the seconds until it starts, and what is wrong with it."""

    unit: int
    pdu: bytes
    delay: float
    spoilt_crc: bool = False
    half: bool = False
    noise: bytes = b""


@dataclass
class Station:
    """One device on a line or behind a TCP port. `turnaround` is in seconds, from the end of the request to the answer's first bit."""

    registers: Registers
    faults: Faults = field(default_factory=Faults)
    turnaround: float = 0.020
    requests: int = 0

    def answer(self, unit: int, request: bytes) -> Answer | None:
        """The answer to a request PDU addressed to this device as `unit`; None is silence. A broadcast (unit 0) is obeyed silently."""
        if not request or self.faults.unplugged:
            return None
        self.requests += 1
        if unit == 0:
            respond(self.registers, request)
            return None
        function, first, last = span_of(request)
        struck = self.faults.striking(first, last, writes=function in (WRITE_SINGLE, WRITE_MULTIPLE))
        if "no-answer" in struck:
            return None
        refusal = struck.get("exception") or struck.get("refused-write")
        if refusal is not None:
            pdu = bytes([function | 0x80, int(refusal.value)])
        else:
            pdu = request[:5] if "ignored-write" in struck else respond(self.registers, request)
        if "wrong-function" in struck:
            pdu = bytes([pdu[0] ^ 0x07]) + pdu[1:]
        if "wrong-unit" in struck:
            unit = unit % 247 + 1
        delay = self.turnaround + sum(struck[kind].value for kind in ("late", "slow") if kind in struck)
        noise = self.faults.noise(int(struck["noise"].value)) if "noise" in struck else b""
        return Answer(unit, pdu, delay, "crc" in struck, "half" in struck, noise)
