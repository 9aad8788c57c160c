"""What comes first: the configuration, and the large buffers while the memory is still in one piece. Then the node itself.

A node can be left for another one on the same buffers, the same boot id and the same numbers: that is how a new configuration begins.
"""

import asyncio
import gc
import os

from ohmcore import const
from ohmcore.errors import ConfigurationError
from ohmnode import FRAME, VERSION, overlay
from ohmnode.node import Node
from ohmnode.outbox import Outbox
from ohmnode.packets import Pipe
from ohmnode.spool import Spool

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal

_RESEND_MS = const(15000)
_BAD_CONFIGURATION = const(78)  # EX_CONFIG of sysexits.h
_FLASH_SPOOL = const(262144)
_TIDY_BYTES = const(4096)
_LITTLE = const(131072)
_IDLE_MS = const(30000)
_READING = const(256)  # bytes of the largest packet that makes sense where there is no key: an acknowledgement


async def run(hal: "Hal") -> int:
    """The node with the configuration it finds. Without any it says so and, where there is nobody to give up to, stays up idle."""
    outcome: "str | None" = None
    # What only the start needs comes to lie above this, what stays in its place: so memory is in one piece when all has begun.
    free = gc.mem_free()
    place = bytearray(free // 2) if free < _LITTLE else b""
    overlay.lay("begin")
    life = Life(hal, place)
    place = b""
    while True:
        node = await life.begin(outcome)
        overlay.lift("begin")
        if node is None:
            return _BAD_CONFIGURATION
        left = await node.run()
        del node  # before its successor needs the memory
        if not isinstance(left, str):
            return left
        outcome = left
        overlay.lay("begin")


class Life:
    """What stays while nodes come and go. `slot`: the image's, empty without slots. Of the configuration that runs: `fingerprint`, 8 bytes
    by which the gateway knows it; `source`, its file; `complaint`, what is wrong with the one that should have been used, or nothing.
    """

    outbox: Outbox
    pipe: Pipe

    def __init__(self, hal: "Hal", place: "bytes | bytearray") -> None:
        from ohmnode import slots

        self._place = place  # kept free for what stays

        self.slot = slots.running()
        self.fingerprint = b""
        self.source = self.complaint = ""
        self._hal = hal
        self._first = True

    async def begin(self, outcome: "str | None") -> "Node | None":
        """The next node after one that was left with this outcome, None: the first. None when no configuration makes one."""
        from ohmnode import configuration

        hal = self._hal
        names: "tuple[str, ...]" = (configuration.CURRENT, configuration.LAST_GOOD)
        if outcome is not None:
            if outcome == "":
                hal.restart()
            tried = outcome == configuration.NEXT
            try:
                node = self._build(((configuration.NEXT,) if tried else ()) + names)
            except MemoryError:  # it lies in too many pieces by now; a start finds it whole
                if tried and hal.read(configuration.NEXT, 1) is not None:
                    hal.rename(configuration.NEXT, configuration.ONCE)
                hal.restart()
                raise
            if not tried:
                hal.remove(configuration.NEXT)
                self._say("reverted", "no connection, or a task failed")
            else:
                self._tried()
            return node
        lapsed = hal.remove(configuration.NEXT)  # the power went while it was being tried
        once = hal.read(configuration.ONCE) is not None
        if once:
            hal.rename(configuration.ONCE, configuration.NEXT)
            names = (configuration.NEXT,) + names
        try:
            node = self._build(names)
        except ConfigurationError as wrong:
            print(f"node: no configuration: {wrong}")
            hal.watchdog_start(_IDLE_MS)
            while not hal.give_up(_BAD_CONFIGURATION):
                hal.watchdog_feed()
                await asyncio.sleep_ms(1000)
                from ohmnode import slots

                if self.slot and not slots.read(hal)[3]:
                    hal.restart()  # an image that nothing has confirmed yet may be the reason
            return None
        self._begun()
        if once:
            self._tried()
        elif lapsed:
            self._say("lapsed", "restarted before it was proven")
        return node

    def _build(self, names: "tuple[str, ...]") -> Node:
        """A node of the first of these configurations that makes one. Raises ConfigurationError when none is sound, else what the last
        one raised; MemoryError at once unless this is the first node of this life.
        """
        from ohmnode import configuration

        later = not self._first
        complaint = ""
        while True:
            gc.collect()
            try:
                content, self.fingerprint, self.source, self.complaint = configuration.load(self._hal, names)
            except ConfigurationError as wrong:
                raise ConfigurationError(f"{complaint}; {wrong}" if complaint else str(wrong)) from None
            except MemoryError:
                if not self._place:
                    raise
                self._place = b""
                continue
            self._place = b""
            names = names[names.index(self.source) + 1 :]
            if complaint:
                self.complaint = f"{complaint}; {self.complaint}"
            try:
                if not later:
                    self._make_room(content)
                elif content.get("frame", FRAME) > len(self.outbox.packer.buffer):
                    raise MemoryError  # larger buffers are for a start to make
                # Loading code leaves garbage between what stays; collected often, it leaves no holes.
                gc.threshold(_TIDY_BYTES)
                node = Node(self._hal, content, self)
                gc.collect()
                gc.threshold(-1)
                return node
            except (ConfigurationError, KeyError, TypeError, ValueError, AttributeError, IndexError, MemoryError) as wrong:
                overlay.lift("arm")
                if not names or (later and isinstance(wrong, MemoryError)):
                    raise
                complaint = f"{self.source} makes no node: {wrong!r}"

    def _make_room(self, content: "dict[str, Any]") -> None:
        """The large buffers; in the place of those for a configuration that made no node."""
        hal = self._hal
        if not self._first:
            del self.outbox, self.pipe
        size = content["spool"]
        resend_ms = hal.setting("resend_ms", _RESEND_MS)
        resend_s = (resend_ms + resend_ms * hal.random(1)[0] // 1024) // 1000  # of many nodes each has its own
        frame = content.get("frame", FRAME)
        try:
            if os.listdir(hal.folder + "/spool"):  # what an earlier configuration left there may be longer
                frame = max(frame, FRAME)
        except OSError:  # there never was an outage
            pass
        self.outbox = Outbox(hal, Spool(size["frames"], size["bytes"], max(resend_s, 1)), frame)
        self.outbox.use_flash(content.get("flash_spool", _FLASH_SPOOL))
        self.pipe = Pipe(frame=frame) if content.get("key") else Pipe(_READING, frame)
        self._first = False

    def _begun(self) -> None:
        """Says that a life has begun."""
        hal = self._hal
        outbox = self.outbox
        outbox.log("node", f"ohmstead node {VERSION} on {hal.name}, boot {outbox.boot}, configuration {self.source} {self.slot}")
        cause = {"cause": hal.reset_cause(), "firmware": VERSION, "configuration": self.source}
        if self.slot:
            cause["slot"] = self.slot
        if self.complaint:
            outbox.log("node", f"not the current configuration: {self.complaint}")
            cause["complaint"] = self.complaint[:120]
        outbox.event("", "restart", cause)

    def _tried(self) -> None:
        """Says whether the new configuration runs, or could not."""
        from ohmnode import configuration

        if self.source == configuration.NEXT:
            self._say("trying", "")
        else:
            self._hal.remove(configuration.NEXT)
            self._say("refused", self.complaint)

    def _say(self, stage: str, reason: str) -> None:
        """What became of a configuration that came over the air."""
        self.outbox.log("node", f"new configuration: {stage} {reason}")
        self.outbox.event("", "configuration", {"stage": stage, "reason": reason[:120], "hash": self.fingerprint})
