"""Who carries a command to the device: a node over a sealed message, or the gateway's own Modbus connection."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import structlog

from ohmcore.errors import ModbusError
from ohmcore.gateway import pack_command, seal
from ohmcore.pack import Packer
from ohmstead.control.target import Target
from ohmstead.errors import Reason, Rejected, SourceError
from ohmstead.messages import Publisher

log = structlog.get_logger(service="control")

COMMAND_TTL_S = 10.0
"""How long a node may wait for its bus until a command is void."""

RESULT_TIMEOUT_S = 15.0
"""How long the gateway waits for a node's result. One that comes later is still noted."""

_COMMAND_BYTES = 512
_COUNTER_GAP = 1000
"""How far a node's counter may be ahead of ours and still be believed."""


class Outcome(NamedTuple):
    """What became of a command. `kind`: done, unchanged, rejected, failed or superseded, and ended for what was done for a time; `value` is
    what was read back, raw."""

    kind: str
    detail: str = ""
    value: int | None = None
    reason: str = ""


class Actuator(Protocol):
    """Writes to the controls of one device."""

    async def holds(self, target: Target, raw: int) -> bool:
        """Whether the device itself says, freshly, that it has this value already."""
        ...

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        """Writes and reads back. `entry` is the number of the audit's entry, or a name of its own for a renewal. After `lease_s`
        seconds the control returns to where it goes by itself; 0: it stays. Raises Rejected before anything was sent."""
        ...


class ModbusWriter(Protocol):
    """The part of `sources.modbus.ModbusSource` that writing needs."""

    async def write(self, function: int, address: int, words: Sequence[int]) -> list[int]: ...

    async def holding(self, address: int, count: int) -> list[int]: ...

    def poll_soon(self, address: int) -> None: ...


class DirectActuator:
    """Over the gateway's own connection."""

    def __init__(self, source: ModbusWriter) -> None:
        self._source = source

    async def holds(self, target: Target, raw: int) -> bool:
        try:
            held = [word for _, address, count in target.requests for word in await self._source.holding(address, count)]
        except ModbusError:
            return False
        return held == target.registers(raw)

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        if target.lease_required:
            detail = f"{target.control} must end even when the gateway does, and only a node can end it; reach {target.device} through one"
            raise Rejected(Reason.LEASE, detail)
        if lease_s:
            raise Rejected(Reason.LEASE, f"{target.device} is reached without a node, which alone ends what was commanded for a time")
        words = target.registers(raw)
        read_back: list[int] = []
        try:
            for function, address, count in target.requests:
                read_back += await self._source.write(function, address, words[len(read_back) : len(read_back) + count])
        except ModbusError as error:
            return Outcome("failed", str(error))
        self._source.poll_soon(target.address)
        at = target.layout.at if target.layout is not None else 0
        value = _raw_of(read_back[at : at + target.words])
        if read_back != words:
            return Outcome("failed", f"written, but it reads back as {value}", value)
        return Outcome("done", "written and read back", value)


class FieldWriter(Protocol):
    """The part of `sources.polling.PolledSource` that writing needs."""

    async def write(self, field: str, raw: int) -> int:
        """Writes, and returns what it reads back as; nothing is written that reads so already. Raises SourceError."""
        ...

    async def held(self, field: str) -> int | None:
        """What it reads as now; None where nobody knows."""
        ...


class FieldActuator:
    """By the name that a device's reader has for it."""

    def __init__(self, source: FieldWriter) -> None:
        self._source = source

    async def holds(self, target: Target, raw: int) -> bool:
        return await self._source.held(str(target.field)) == raw

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        if lease_s:
            raise Rejected(Reason.LEASE, f"{target.device} is reached without a node, which alone ends what was commanded for a time")
        try:
            read_back = await self._source.write(str(target.field), raw)
        except SourceError as error:
            return Outcome("failed", str(error))
        if read_back != raw:
            return Outcome("failed", f"written, but it reads back as {read_back}", read_back)
        return Outcome("done", "written and read back", read_back)


class Counter(Protocol):
    """Numbers that only grow, over restarts too."""

    def __call__(self, node: str, above: int = 0) -> Awaitable[int]:
        """The node's next number, greater than `above` and any before it."""
        ...


class NodeActuator:
    """Over a node: a sealed command down, its result back as an event.

    `next_counter` gives the node's next command number, durable before it is used. `holds` asks the last reading:
    `fresh` returns the words of a control that were read no longer ago than the given seconds, else None.
    """

    def __init__(
        self,
        site: str,
        node: str,
        key: bytes | None,
        publisher: Publisher,
        connected: Callable[[], bool],
        next_counter: Counter,
        fresh: Callable[[Target, int], bool],
        *,
        timeout_s: float = RESULT_TIMEOUT_S,
    ) -> None:
        self._topic = f"ohm/{site}/node/{node}/down/command"
        self._context = f"{site}/{node}/command".encode()
        self._node = node
        self._key = key
        self._publisher = publisher
        self._connected = connected
        self._next_counter = next_counter
        self._fresh = fresh
        self._timeout_s = timeout_s
        self._waiting: dict[int | str, asyncio.Future[Mapping[str, Any]]] = {}
        self._order = asyncio.Lock()

    async def holds(self, target: Target, raw: int) -> bool:
        return target.layout is None and self._fresh(target, raw)

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        words = b"".join(word.to_bytes(2, "big") for word in target.registers(raw))
        return await self._send(target.device, target.control, words, entry, lease_s)

    async def system(self, command: str, words: bytes, entry: int | str) -> Outcome:
        """A command to the node itself: `reset`, `restart`, `scan`. Raises Rejected before anything was sent."""
        return await self._send("", command, words, entry, 0.0)

    async def _send(self, device: str, control: str, words: bytes, entry: int | str, lease_s: float) -> Outcome:
        if self._key is None:
            raise Rejected(Reason.UNAUTHORISED, f"node {self._node} has no key in the configuration and takes no commands")
        if not self._connected():
            return Outcome("failed", "the broker is away, nothing was sent")
        outcome, counter, known = await self._ask(self._key, device, control, words, entry, lease_s, 0)
        if counter <= known < counter + _COUNTER_GAP:  # the node keeps its counter in steps and is a little ahead after a restart
            outcome, _, _ = await self._ask(self._key, device, control, words, entry, lease_s, known)
        return outcome

    async def _ask(
        self, key: bytes, device: str, control: str, words: bytes, entry: int | str, lease_s: float, above: int
    ) -> tuple[Outcome, int, int]:
        """Sends a command and waits for its result: the outcome, our counter, and the node's if it says that ours is an old one."""
        result: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[entry] = result
        try:
            async with self._order:  # a counter that a greater one overtakes is refused
                counter = await self._next_counter(self._node, above)
                packer = Packer(bytearray(_COMMAND_BYTES))
                pack_command(packer, entry, counter, device, control, words, round(COMMAND_TTL_S * 1000), math.ceil(lease_s * 1000))
                self._publisher.publish(self._topic, seal(key, self._context, packer.message()), qos=0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    detail = await result
                    known = detail.get("counter")
                    return outcome_of(detail), counter, known if isinstance(known, int) else 0
        finally:
            del self._waiting[entry]
        return Outcome("failed", f"no result from node {self._node} within {self._timeout_s:g} s"), counter, 0

    def result(self, detail: Mapping[str, Any]) -> bool:
        """Takes a node's result event; False if nobody waits for it (any more)."""
        waiting = self._waiting.get(detail.get("id", -1))
        if waiting is None or waiting.done():
            return False
        waiting.set_result(detail)
        return True


_REASONS: Mapping[str, tuple[Reason, str]] = {
    "malformed": (Reason.MALFORMED, "the node does not understand it: is its configuration an older one?"),
    "out of range": (Reason.OUT_OF_RANGE, "the node allows less: is its configuration an older one?"),
    "off step": (Reason.OUT_OF_RANGE, "the node has other steps: is its configuration an older one?"),
    "not allowed": (Reason.OUT_OF_RANGE, "the node does not allow this value: is its configuration an older one?"),
    "unknown control": (Reason.UNKNOWN, "the node has no such control: is its configuration an older one?"),
    "duplicate": (Reason.DUPLICATE, "the node has had this command already"),
    "replayed": (Reason.DUPLICATE, "the node has had a newer command already"),
    "expired": (Reason.EXPIRED, "the node's bus was busy for too long"),
    "no storage": (Reason.NO_STORAGE, "the node cannot keep on its flash what it must remember; nothing was written"),
    "latched": (Reason.LATCHED, "the node is stopped and holds the safe values until it is reset"),
    "stale": (Reason.STALE, "a limit has no fresh reading to judge by"),
    "read-only": (Reason.READ_ONLY, "the node never writes to this device"),
    "interval": (Reason.RATE_LIMIT, "written a moment ago; the device wants a pause between two writes"),
    "budget": (Reason.RATE_LIMIT, "the device's writes of a day are used up"),
    "lease needed": (Reason.LEASE, "a command to this control must have an end"),
    "no lease": (Reason.LEASE, "this control has nothing to return to, so a command cannot be for a time"),
    "stop": (Reason.LATCHED, "the emergency stop still stands at 1"),
    "pin": (Reason.LATCHED, "the switch of the emergency stop still stops"),
    "offline": (Reason.OFFLINE, "the device does not answer its node"),
}
"""Why a node rejects: what people are told, and why."""


def outcome_of(detail: Mapping[str, Any]) -> Outcome:
    """What a node's result event says (`stage`, `reason`, `value`). A reason that is none of `_REASONS` is the name of a limit."""
    stage, reason, value = str(detail.get("stage", "")), str(detail.get("reason", "")), detail.get("value")
    read_back = _raw_of(value) if isinstance(value, bytes) else value if isinstance(value, int) else None
    if stage in ("done", "unchanged"):
        return Outcome(stage, reason or "written and read back", read_back)
    if stage == "rejected" and reason == "replaced":
        return Outcome("superseded", "a newer command came before it was written", read_back)
    if stage == "rejected":
        kind, words = _REASONS.get(
            reason, (Reason.LIMIT, f"the limit {reason} does not allow it now" if reason else "the node does not say why")
        )
        return Outcome("rejected", words, read_back, kind)
    return Outcome("failed", reason or stage, read_back)


def _raw_of(words: Sequence[int] | bytes) -> int:
    octets = words if isinstance(words, bytes) else b"".join(word.to_bytes(2, "big") for word in words)
    return int.from_bytes(octets, "big")
