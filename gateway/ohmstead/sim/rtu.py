"""A serial line that is true to its baud rate: Modbus RTU devices behind a pseudo terminal.

A request is understood when its bytes have had their time on the line and 3.5 characters of silence have followed; the answer
starts after the device's turnaround and its bytes arrive one after the other at the baud rate. What is sent while an answer is
on the line destroys both. Bytes that nobody reads stay in the terminal's buffer (4 kB), as in a driver's.

Precision: times are absolute, so an error never adds up. The end of an answer of 120 registers at 9600 baud is within 0.2 ms of
the truth on an idle machine; another busy thread of the same process can delay single bytes by its share of the interpreter
(5 ms), which is why measurements take a process of its own (`ohmstead simulate`). `Line.worst_lateness` says how late the last byte
of an answer ever was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import time
import tty
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import structlog
from pymodbus.framer.rtu import FramerRTU

from .station import Answer, Station

log = structlog.get_logger(service="sim")

_SLICE = 0.0015
"""Seconds of line time delivered in one go at most; less than 3.5 characters at every baud rate, so no false silence arises."""
_SHORTEST = 4
_GARBLE = 0xA5


class _Transmission(NamedTuple):
    """An answer on the line: when its first bit goes out, and its bytes."""

    start: float
    frame: bytes


def check_sum(frame: bytes) -> bytes:
    """The two bytes of CRC-16/MODBUS that follow `frame`, low byte first."""
    return FramerRTU.compute_CRC(frame).to_bytes(2, "big")


class Line:
    """Devices on one RS485 line, by unit number, reachable through a pseudo terminal.

    `path` is what a master opens: the terminal itself, or `link`, a symbolic link to it that `start` makes and `stop` removes.
    The terminal survives masters that come and go.
    """

    def __init__(
        self, stations: Mapping[int, Station], *, baud: int = 9600, parity: str = "N", stop_bits: int = 1, link: Path | None = None
    ) -> None:
        self._stations = dict(stations)
        bits = 1 + 8 + (parity != "N") + stop_bits
        self.character = bits / baud
        self.silence = 3.5 * self.character if baud <= 19200 else 0.00175
        self._slice = max(1, int(_SLICE / self.character))
        self._link = link
        self._master = self._slave = self._wake_in = self._wake_out = -1
        self._thread: threading.Thread | None = None
        self._heard = bytearray()
        self._heard_until = 0.0
        self._heard_spoilt = False
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._sending: _Transmission | None = None
        self._sent = 0
        self.path = ""
        self.requests = 0
        self.damaged = 0
        self.collisions = 0
        self.overruns = 0
        self.worst_lateness = 0.0

    def start(self) -> None:
        """Opens the terminal, makes the link, listens. Raises `FileExistsError` if something other than a link stands at `link`."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._wake_in, self._wake_out = os.pipe()
        self.path = os.ttyname(self._slave)
        if self._link is not None:
            if self._link.is_symlink():
                self._link.unlink()
            self._link.symlink_to(self.path)
            self.path = str(self._link)
        self._thread = threading.Thread(target=self._run, name="serial line", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread is None:
            return
        os.write(self._wake_out, b".")
        self._thread.join()
        self._thread = None
        if self._link is not None:
            with contextlib.suppress(FileNotFoundError):
                self._link.unlink()
        for descriptor in (self._master, self._slave, self._wake_in, self._wake_out):
            os.close(descriptor)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        while True:
            pause = self._next_moment()
            timeout = None if pause is None else max(0.0, pause - time.perf_counter())
            readable, _, _ = select.select([self._master, self._wake_in], [], [], timeout)
            if self._wake_in in readable:
                return
            now = time.perf_counter()
            if self._master in readable:
                self._hear(now)
            self._advance(now)

    def _next_moment(self) -> float | None:
        """When something happens next by itself, on the clock of `perf_counter`; None: nothing until somebody speaks."""
        moments = []
        if self._heard:
            moments.append(self._heard_until + self.silence)
        if self._sending is not None:
            upto = min(len(self._sending.frame), self._sent + self._slice)
            moments.append(self._sending.start + upto * self.character)
        elif self._waiting:
            moments.append(self._waiting[0][0])
        return min(moments, default=None)

    def _hear(self, now: float) -> None:
        try:
            incoming = os.read(self._master, 4096)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN):
                raise
            time.sleep(0.01)  # no master holds the terminal: a pause keeps the loop from spinning
            return
        if self._heard and now >= self._heard_until + self.silence:
            self._understand()
        self._heard_until = max(now, self._heard_until) + len(incoming) * self.character
        self._heard += incoming
        if self._sending is not None:
            self._heard_spoilt = True

    def _advance(self, now: float) -> None:
        if self._heard and now >= self._heard_until + self.silence:
            self._understand()
        if self._sending is None and self._waiting and now >= self._waiting[0][0]:
            at, frame = self._waiting.popleft()
            self._sending, self._sent = _Transmission(at, frame), 0
            if self._heard and self._heard_until > at:
                self._heard_spoilt = True
        if self._sending is not None:
            self._send(self._sending, now)

    def _send(self, sending: _Transmission, now: float) -> None:
        due = min(len(sending.frame), int((now - sending.start) / self.character + 1e-6))
        if due > self._sent:
            piece = sending.frame[self._sent : due]
            if self._heard and self._heard_until > now - len(piece) * self.character:
                piece = bytes(byte ^ _GARBLE for byte in piece)
            try:
                written = os.write(self._master, piece)
            except BlockingIOError:
                written = 0
            self.overruns += len(piece) - written
            self._sent = due
        if self._sent == len(sending.frame):
            self.worst_lateness = max(self.worst_lateness, now - sending.start - len(sending.frame) * self.character)
            self._sending = None

    def _understand(self) -> None:
        """Takes what was heard as one frame, complete at `_heard_until` plus the silence."""
        frame, complete, spoilt = bytes(self._heard), self._heard_until + self.silence, self._heard_spoilt
        self._heard.clear()
        self._heard_spoilt = False
        if spoilt:
            self.collisions += 1
            return
        if len(frame) < _SHORTEST or frame[-2:] != check_sum(frame[:-2]):
            self.damaged += 1
            log.debug("damaged request", frame=frame.hex(" "))
            return
        unit, request = frame[0], frame[1:-2]
        if unit == 0:
            for station in self._stations.values():
                station.answer(0, request)
            return
        station_asked = self._stations.get(unit)
        if station_asked is None:
            return
        self.requests += 1
        answer = station_asked.answer(unit, request)
        if answer is not None:
            self._schedule(complete, answer)

    def _schedule(self, complete: float, answer: Answer) -> None:
        frame = bytes([answer.unit]) + answer.pdu
        frame += check_sum(frame)
        if answer.spoilt_crc:
            frame = frame[:-1] + bytes([frame[-1] ^ 0xFF])
        if answer.half:
            frame = frame[: len(frame) // 2]
        earliest = complete + answer.delay
        if self._sending is not None:
            earliest = max(earliest, self._sending.start + len(self._sending.frame) * self.character + self.silence)
        if self._waiting:
            at, before = self._waiting[-1]
            earliest = max(earliest, at + len(before) * self.character + self.silence)
        self._waiting.append((earliest, answer.noise + frame))
