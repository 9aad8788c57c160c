"""New software or a new configuration over the air: what changes, and whether it has proven itself on the node."""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ohmstead.errors import OhmsteadError
from ohmstead.nodes.compile import NodeConfigError, config_hash, read_node_config
from ohmstead.nodes.direct import Direct, event_of, hello_of
from ohmstead.nodes.fleet import Hello

PATTERNS = ("up/online", "up/hello", "up/event")
"""What a `Direct` has to listen to below the node."""

_HELLO_S = 5.0
_SECRETS = ("key", "password", "update_key")


class RenewalError(OhmsteadError):
    """The node does not run what it was sent; says what it runs instead, as far as it is known."""


def must_be_online(direct: Direct, node: str) -> Hello:
    """What the node said when it connected. Raises RenewalError when it is not there."""
    hello, online = None, None
    for name, part, message in direct.messages(_HELLO_S):
        if name == node and part == "up/online":
            online = message.payload == b"online"
        elif name == node and part == "up/hello":
            hello = hello_of(message)
        if online is False or (online and hello is not None):
            break
    if not online or hello is None:
        raise RenewalError(f"node {node} is not connected to the broker; nothing was sent")
    return hello


def await_update(direct: Direct, node: str, before: Hello, say: Callable[[str], None], seconds: float) -> None:
    """Follows a node that has taken an update until its image has confirmed itself. `before`: its last hello. Raises RenewalError."""
    target = "b" if before.slot == "a" else "a"
    starts = 0
    for boot, kind, detail in _events(direct, node, seconds):
        if boot == before.boot:
            continue
        if kind == "slot" and detail.get("stage") == "confirmed" and detail.get("slot") == target:
            say(f"{node} has confirmed slot {target}: it is what starts from now on.")
            return
        if kind == "restart":
            starts += 1
            slot = detail.get("slot")
            if slot != target:
                raise RenewalError(f"{node} went back to slot {slot}: the new image did not start. `node logs --port` shows what it says")
            if starts == 1:
                say(f"{node} runs slot {target}; it confirms itself when it has worked for a minute.")
    how = "it runs, but not without faults (`node logs`)" if starts else "it has not been heard since"
    raise RenewalError(f"{node} has not confirmed the new image within {seconds:g} s: {how}")


def await_configuration(direct: Direct, node: str, compiled: bytes, say: Callable[[str], None], seconds: float) -> None:
    """Follows a node that has taken a configuration until that has proven itself. Raises RenewalError."""
    for _, kind, detail in _events(direct, node, seconds):
        stage = detail.get("stage") if kind == "configuration" else None
        if stage == "kept" and detail.get("hash") == config_hash(compiled).hex():
            say(f"{node} works with it and has kept it.")
            return
        if stage in ("refused", "reverted", "lapsed"):
            raise RenewalError(f"{node} is back on its old configuration ({stage}): {detail.get('reason')}")
    raise RenewalError(f"{node} was not heard for {seconds:g} s; if the new configuration does not find the broker, the old one comes back")


def _events(direct: Direct, node: str, seconds: float) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """(boot, kind, detail) of the node's events, each once though a node may repeat them."""
    seen: set[tuple[int, int]] = set()
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        for name, part, message in direct.messages(left):
            event = event_of(message) if name == node and part == "up/event" else None
            if event is not None and (event.boot, event.seq) not in seen:
                seen.add((event.boot, event.seq))
                yield event.boot, event.kind, event.detail


def difference(old: bytes | None, new: bytes) -> list[str]:
    """What changes, in lines for people (`-` and `+`), secrets as a mark only. `old` None: not known, everything is new."""
    before = [] if old is None else _lines(read_node_config(old))
    return [
        line
        for line in difflib.unified_diff(before, _lines(read_node_config(new)), lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]


def _lines(thing: Any, path: str = "") -> list[str]:
    """A value as lines `path: value`; things that have a name bear it in their path."""
    if isinstance(thing, Mapping):
        return [line for key, value in thing.items() if key != "name" for line in _lines(value, f"{path}.{key}" if path else str(key))]
    if isinstance(thing, list) and any(isinstance(item, Mapping) for item in thing):
        return [line for item in thing for line in _lines(item, f"{path}[{item['name'] if 'name' in item else item.get('point', '')}]")]
    if path.rsplit(".", 1)[-1] in _SECRETS and thing is not None:
        return [f"{path}: (set, {_mark(thing)})"]
    return [f"{path}: {thing.hex() if isinstance(thing, bytes) else thing}"]


def _mark(secret: object) -> str:
    """By which one sees that a secret changed, and nothing else."""
    return hashlib.sha256(b"ohmstead difference\0" + str(secret).encode()).hexdigest()[:6]


class Sent:
    """The configurations that nodes were sent from here, to show what changes next time: `<folder>/<node>.ohm`, for their owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, node: str) -> Path:
        return self._folder / f"{node}.ohm"

    def with_hash(self, node: str, running: bytes) -> bytes | None:
        """The one that the node says it runs; None when it is not known here."""
        try:
            content = self.path(node).read_bytes()
            read_node_config(content)
        except (OSError, NodeConfigError):
            return None
        return content if config_hash(content) == running else None
