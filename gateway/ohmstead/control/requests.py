"""What may be asked of the gateway over MQTT beside the plain topics: `ohm/<site>/bridge/request/<verb>`, answered on `…/response/<verb>`.

Verbs, with a JSON object each:

- `command`: `{"device", "control", "value", "seconds"?}`: for how long, where the control should not stay as it is set or another time
  than the home's own is meant; asking again prolongs it. What becomes of it is told on the control's `result` topic.
- `release`: `{"device", "control"}`: nobody wants anything of it any more.
- `reset`: `{"node"}`: ends a node's latch, unless its reason lasts.
- `latch`: `{"node"}`: what is known of a node's latch; `cause` is null while nothing is known, and empty where it is not latched.

An `id` in the request comes back in the response. A retained request is one of yesterday, and ignored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import structlog

from ohmstead.control.dispatch import Outcome
from ohmstead.control.topics import AUTHOR
from ohmstead.errors import Reason, Rejected
from ohmstead.messages import Message, Messenger

log = structlog.get_logger(service="control")

_MOST_BYTES = 1024
_MOST_TEXT = 64


class Commanding(Protocol):
    """The part of `control.entrance.Entrance` that is needed here; the desk alone has it as well."""

    def request(self, device: str, control: str, text: str, author: str, *, wanted_s: float | None = None) -> None: ...
    def release(self, device: str, control: str, author: str) -> None: ...
    async def reset(self, node: str, author: str) -> Outcome: ...


class BridgeRequests:
    """`latch` says why a node is latched; raises KeyError for a node that is not there."""

    def __init__(self, site: str, messenger: Messenger, desk: Commanding, latch: Callable[[str], str | None]) -> None:
        self._root = f"ohm/{site}/bridge"
        self._messenger = messenger
        self._desk = desk
        self._latch = latch
        self._under_way: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        for verb in ("command", "release", "reset", "latch"):
            self._messenger.subscribe(f"{self._root}/request/{verb}", self._take)

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            verb = message.topic.rpartition("/")[2]
            if message.retain:
                log.warning("retained request ignored", verb=verb)
                continue
            asked: dict[str, Any] = {}
            try:
                asked = _object(message.payload)
                self._obey(verb, asked)
            except Rejected as rejection:
                self._respond(verb, asked, {"outcome": "rejected", "reason": rejection.reason, "detail": rejection.detail})

    def _obey(self, verb: str, asked: dict[str, Any]) -> None:
        if verb == "command":
            seconds = asked.get("seconds")
            if seconds is not None and (not isinstance(seconds, int | float) or isinstance(seconds, bool)):
                raise Rejected(Reason.MALFORMED, "`seconds` is no number")
            self._desk.request(_text(asked, "device"), _text(asked, "control"), _text(asked, "value"), AUTHOR, wanted_s=seconds)
            self._respond(verb, asked, {"outcome": "taken"})
        elif verb == "release":
            self._desk.release(_text(asked, "device"), _text(asked, "control"), AUTHOR)
            self._respond(verb, asked, {"outcome": "taken"})
        elif verb == "reset":
            self._spawn(self._reset(asked, _text(asked, "node")))
        else:
            node = _text(asked, "node")
            try:
                cause = self._latch(node)
            except KeyError:
                raise Rejected(Reason.UNKNOWN, f"there is no node {node!r}") from None
            self._respond(verb, asked, {"outcome": "done", "node": node, "latched": None if cause is None else cause != "", "cause": cause})

    async def _reset(self, asked: dict[str, Any], node: str) -> None:
        outcome = await self._desk.reset(node, AUTHOR)
        self._respond("reset", asked, {"outcome": outcome.kind, "node": node, "reason": outcome.reason, "detail": outcome.detail})

    def _respond(self, verb: str, asked: dict[str, Any], said: dict[str, Any]) -> None:
        identity = asked.get("id")
        if isinstance(identity, int) or (isinstance(identity, str) and len(identity) <= _MOST_TEXT):
            said = {"id": identity, **said}
        self._messenger.publish(f"{self._root}/response/{verb}", json.dumps(said, ensure_ascii=False))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


def _object(payload: bytes) -> dict[str, Any]:
    """Raises Rejected for anything but a JSON object of a sensible length."""
    try:
        asked = json.loads(payload) if len(payload) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise Rejected(Reason.MALFORMED, f"no JSON object of at most {_MOST_BYTES} bytes")
    return asked


def _text(asked: dict[str, Any], key: str) -> str:
    value = asked.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Rejected(Reason.MALFORMED, f"`{key}` is missing")
    return str(value)
