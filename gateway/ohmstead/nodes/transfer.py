"""Sends a file to a node in pieces: a sealed offer, then chunks, paced by the node's "transfer" events.

The node keeps what it has over its restarts; offered the same file again it says where to go on. So whatever is lost on the way, the
broker's connection or the node itself, is answered by offering again.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ohmcore.frames import PROTOCOL
from ohmcore.gateway import seal
from ohmcore.pack import Packer
from ohmstead.config.model import Config
from ohmstead.errors import OhmsteadError
from ohmstead.nodes.direct import Direct, event_of

CHUNK_BYTES = 256
"""A piece: small, since the node holds it twice for a moment and finds small ones in its memory even when that is nearly full."""

_WINDOW = 24 * CHUNK_BYTES
_OFFER_BYTES = 128
_SILENCE_S = 5.0
_GIVE_UP_S = 60.0
_VERIFY_S = 180.0
_REPLAYS = 5

Kind = Literal["config", "update"]


class TransferError(OhmsteadError):
    """The node did not take the file; says why. `reason`: in the node's word, empty when it did not answer."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class Transfer:
    """One file for one node over `direct`, which has to listen to `<node>/up/event`.

    `progress` gets the bytes that the node has. `heard` gets every event of the node as it comes (kind, detail). `silence_s`: after
    which the file is offered again; `give_up_s`: without any progress, until TransferError.
    """

    def __init__(
        self,
        direct: Direct,
        config: Config,
        node: str,
        kind: Kind,
        content: bytes,
        progress: Callable[[int], None] = lambda _: None,
        *,
        silence_s: float = _SILENCE_S,
        give_up_s: float = _GIVE_UP_S,
    ) -> None:
        key = config.nodes[node].key
        if key is None:
            raise TransferError(f"node {node} has no key in the configuration and takes nothing (`key` or `key_file`; `ohmstead keys`)")
        self._key = key
        self._direct = direct
        self._node = node
        self._kind = kind
        self._context = f"{config.site}/{node}/{kind}".encode()
        self._content = content
        self._digest = hashlib.sha256(content).digest()
        self._progress = progress
        self._silence_s = silence_s
        self._give_up_s = give_up_s
        self._identity = 0
        self._counter = 0
        self._sent = self._has = 0
        self._replays = 0
        self._why = "does not answer; what it has of the file it keeps, try again later"

    def send(self) -> None:
        """Until the node has the file and believes it. Raises TransferError, and BrokerError when the broker goes."""
        self._offer()
        moved = time.monotonic()
        while True:
            event = self._next_event()
            limit = _VERIFY_S if self._has == len(self._content) else self._give_up_s
            if event is None:
                if time.monotonic() - moved > limit:
                    raise TransferError(f"node {self._node} {self._why}")
                self._offer()
                continue
            stage, offset = event.get("stage"), event.get("offset")
            if stage == "done":
                self._progress(len(self._content))
                return
            if stage == "rejected":
                self._rejected(str(event.get("reason")), event.get("counter"))
            elif isinstance(offset, int) and 0 <= offset <= len(self._content):
                if offset > self._has:
                    moved = time.monotonic()
                self._has = offset
                self._progress(offset)
                self._fill(offset)

    def _rejected(self, reason: str, counter: object) -> None:
        """A counter that is behind the node's is corrected by the node itself, a few times; a node that has too little memory to look at
        what has come is asked again; everything else ends the transfer.
        """
        if reason == "replayed" and isinstance(counter, int) and self._replays < _REPLAYS:
            self._replays += 1
            self._counter = max(self._counter, counter)
            self._offer()
            return
        if reason == "no memory":
            self._why = "has too little memory for it at the moment; what it has of the file it keeps, try again later"
            self._offer()
            return
        raise TransferError(f"node {self._node} refuses: {reason}", reason)

    def _offer(self) -> None:
        """A new offer of the same file, with a number that the node has not seen: the clock's, as the gateway's own is at least."""
        self._counter = max(int(time.time()), self._counter + 1)
        self._identity = secrets.randbits(31)
        self._sent = 0
        packer = Packer(bytearray(_OFFER_BYTES))
        packer.value((PROTOCOL, self._identity, self._counter, len(self._content), self._digest))
        self._direct.publish(self._node, f"down/{self._kind}", seal(self._key, self._context, packer.message()))

    def _fill(self, offset: int) -> None:
        """Sends what the window beyond `offset` still allows."""
        self._sent = max(self._sent, offset)
        packer = Packer(bytearray(CHUNK_BYTES + 32))
        while self._sent < min(offset + _WINDOW, len(self._content)):
            piece = self._content[self._sent : self._sent + CHUNK_BYTES]
            packer.reset()
            packer.value((PROTOCOL, self._identity, self._sent, piece))
            self._direct.publish(self._node, f"down/{self._kind}", packer.message())
            self._sent += len(piece)

    def _next_event(self) -> Mapping[str, Any] | None:
        """The node's next word on this transfer; None when it is silent."""
        for node, name, message in self._direct.messages(self._silence_s):
            event = event_of(message) if node == self._node and name == "up/event" else None
            if event is None:
                continue
            if event.kind == "transfer" and event.detail.get("id") == self._identity:
                return event.detail
            if event.kind == "rejected" and event.detail.get("reason") == "unauthorised":
                self._why = "refuses what is sealed with this key; it has another one than the configuration here"
        return None
