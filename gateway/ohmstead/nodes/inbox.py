"""What may come in from a node: sizes and shapes are checked here, before anything is believed.

A message that cannot be understood is refused with one of `REASONS` and leaves no trace but a count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from msgpack import unpackb  # type: ignore[import-untyped] # it comes without types

from ohmcore.errors import FrameError, PackError
from ohmcore.frames import PROTOCOL
from ohmcore.gateway import parse_data, parse_event, parse_hello
from ohmcore.pack import unpack
from ohmstead.errors import OhmsteadError
from ohmstead.nodes.fleet import Hello

MAX_FRAME_BYTES = 4096

REASONS = (
    *("garbage", "truncated", "oversized", "wrong protocol", "retained", "future", "no time"),
    *("unknown node", "unknown device", "unknown range", "undecodable"),
)
"""Why a message, or a part of it, was refused."""

_MAX_ITEMS = 64
_MAX_UPTIME_MS = 20 * 366 * 86_400_000
_HEAD_START = 1000

_unpack_data = partial(unpackb, use_list=False, max_array_len=_MAX_ITEMS, max_map_len=_MAX_ITEMS)

Checked = TypeVar("Checked")


class RefusedError(OhmsteadError):
    """A message goes no further; `reason` is one of `REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def data(payload: bytes) -> tuple[int, int, int, str, str, int, tuple[tuple[int, int, bytes], ...]]:
    """(boot, seq, uptime ms, device, group, quality, ranges) of `up/data`. Raises RefusedError."""
    frame = _parse(payload, parse_data, _unpack_data)
    _check_uptime(frame[2])
    return frame


def event(payload: bytes) -> tuple[int, int, int, str, str, dict[str, Any]]:
    """(boot, seq, uptime ms, device, kind, detail) of `up/event`; `detail` can be written as JSON as it is. Raises RefusedError."""
    boot, seq, uptime_ms, device, kind, detail = _parse(payload, parse_event, unpack)
    _check_uptime(uptime_ms)
    return boot, seq, uptime_ms, device, kind, {key: _plain(value) for key, value in detail.items()}


def hello(payload: bytes) -> Hello:
    """What `up/hello` says. Raises RefusedError, also for a `first_seq` that no node can have come to: it would settle all the frames
    before it as lost."""
    said = Hello(*_parse(payload, parse_hello, unpack))
    _check_uptime(said.uptime_ms)
    if said.first_seq > said.uptime_ms + _HEAD_START:
        raise RefusedError("future", f"first frame {said.first_seq} after {said.uptime_ms} ms")
    return said


def _check_uptime(uptime_ms: int) -> None:
    """Raises RefusedError for a time no node has been up."""
    if uptime_ms > _MAX_UPTIME_MS:
        raise RefusedError("future", f"up for {uptime_ms} ms")


def _plain(thing: object) -> Any:
    """What JSON can say: bytes as hexadecimal text, a number that is none as null."""
    if isinstance(thing, dict):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(item) for item in thing]
    if isinstance(thing, float) and not math.isfinite(thing):
        return None
    return thing.hex() if isinstance(thing, bytes) else thing


def _parse(payload: bytes, check: Callable[[object], Checked], unpacked: Callable[[bytes], object]) -> Checked:
    """Unpacks within limits and checks every field; `RefusedError` says what is wrong."""
    if len(payload) > MAX_FRAME_BYTES:
        raise RefusedError("oversized", f"{len(payload)} bytes")
    try:
        frame = unpacked(payload)
    except (ValueError, PackError) as error:
        text = str(error)
        raise RefusedError("truncated" if "incomplete" in text or "cut off" in text else "garbage", text) from error
    try:
        return check(frame)
    except FrameError as error:
        foreign = isinstance(frame, (list, tuple)) and frame and isinstance(frame[0], int) and frame[0] != PROTOCOL
        raise RefusedError("wrong protocol" if foreign else "garbage", str(error)) from error
