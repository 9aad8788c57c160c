"""Which units answer on a bus of a node: the command that asks for it, and the events that tell."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

from ohmstead.config.model import Config
from ohmstead.errors import OhmsteadError
from ohmstead.messages import Message
from ohmstead.nodes.direct import Direct, NodeEvent
from ohmstead.nodes.inbox import RefusedError

_SETUP_S = 15.0
_UNIT_S = 2.0
"""Two reads of 200 ms for each unit, and the polls of the running node between them."""

_TTL_MS = 10_000
_HEARD_S = 3.0
_MEANING = {
    "malformed": ": it has no such bus, or is older than this command",
    "unknown control": ": its software is older than this command",
}
_COUNTER_GAP = 1000
"""How far a node's counter may be ahead of ours and still be believed (it is kept in steps, and ahead after a restart)."""


class ScanError(OhmsteadError):
    """The node did not scan, or not to the end; says why."""

    try_again = True


class Found(NamedTuple):
    """A part of the answer: the bus's name, the units that answered since the last part, and whether it is the last one."""

    bus: str
    units: tuple[int, ...]
    done: bool


def longest(first: int, last: int) -> float:
    """Seconds after which a scan is given up."""
    return _SETUP_S + _UNIT_S * (last - first + 1)


def scan(direct: Direct, config: Config, node: str, first: int, last: int, bus: int) -> Iterator[Found]:
    """Has the node scan the `bus`-th of its buses from unit `first` to `last`, and gives what it finds, part by part.

    `direct` listens to the node's `up/online` and `up/event`. Raises ScanError, and BrokerError when the command cannot be sent.
    """
    _must_be_online(direct, node)
    identity = f"scan-{secrets.token_hex(4)}"
    words = b"".join(word.to_bytes(2, "big") for word in (first, last, bus))
    counter = direct.command(config, node, identity, "scan", words, _TTL_MS)
    accepted = False
    for _, kind, message in direct.messages(longest(first, last)):
        if kind == "up/online" and message.payload == b"offline":
            raise ScanError(f"node {node} went offline in the middle of it")
        event = _event(direct, node, message) if kind == "up/event" else None
        if event is None:
            continue
        if event.kind == "result" and event.detail.get("id") == identity:
            accepted = event.detail.get("stage") == "done"
            if not accepted:
                known = _counter_of_a_refusal(node, event.detail)
                if not counter <= known < counter + _COUNTER_GAP:
                    raise ScanError(f"node {node} refuses: its command counter is at {known}, this clock at {counter}")
                identity += "+"
                counter = direct.command(config, node, identity, "scan", words, _TTL_MS, above=known)
        elif event.kind == "rejected" and not accepted:
            raise ScanError(f"node {node} refuses the command: {event.detail.get('reason', 'no reason')}. Has it the key of this file?")
        elif event.kind == "scan" and accepted:
            part = _part(event.detail)
            yield part
            if part.done:
                return
    raise ScanError(f"node {node} did not finish within {longest(first, last):g} s. Has it this software (`ohmstead node list`)?")


def _must_be_online(direct: Direct, node: str) -> None:
    for _, kind, message in direct.messages(_HEARD_S):
        if kind == "up/online":
            if message.payload == b"online":
                return
            raise ScanError(f"node {node} is offline")
    raise ScanError(f"the broker knows nothing of node {node}: was it ever online?")


def _event(direct: Direct, node: str, message: Message) -> NodeEvent | None:
    """What the node says for the first time; garbage is not for us to judge."""
    try:
        return direct.event(node, message)
    except RefusedError:
        return None


def _counter_of_a_refusal(node: str, detail: Any) -> int:
    """The node's own counter when it says that ours is an old one. Raises ScanError for any other answer."""
    stage, reason, counter = detail.get("stage"), detail.get("reason", ""), detail.get("counter")
    if reason == "replayed" and isinstance(counter, int):
        return counter
    raise ScanError(f"node {node}: {stage}, {reason or 'without a reason'}{_MEANING.get(str(reason), '')}")


def _part(detail: Any) -> Found:
    units = tuple(unit for unit in detail.get("units", ()) if isinstance(unit, int))
    return Found(str(detail.get("bus", "")), units, detail.get("done") is True)
