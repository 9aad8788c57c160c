"""What comes down from the gateway. Nothing in it can stop a task: what makes no sense is counted, with the reason, and dropped."""

from ohmcore import const
from ohmcore.errors import FrameError
from ohmcore.frames import read_ack

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from ohmnode.commands import Commands
    from ohmnode.guard import Guard
    from ohmnode.outbox import Outbox

_COMMAND_BYTES = const(640)


class Mailbox:
    """`root`: the node's own part of all topics. `commands` None: a node without a key obeys nobody.

    `refused` counts by reason. `stop`: the emergency stop's level, None: never heard; `guard` acts upon it.
    """

    def __init__(self, root: bytes, outbox: "Outbox", commands: "Commands | None", guard: "Guard | None" = None) -> None:
        self.refused: "dict[str, int]" = {}
        self.acks = 0
        self.transfer: "Callable[[str, bytes], None] | None" = None  # takes pieces of a configuration or an update
        self.pause: "Callable[[], None] | None" = None  # gives back the memory of what can wait for a command
        self.stop: "int | None" = None
        self._root = root
        self._outbox = outbox
        self.commands = commands
        self._guard = guard

    def take(self, topic: bytes, body: bytes) -> None:
        """A message; umqtt calls this."""
        if not topic.startswith(self._root):
            self.refuse("foreign topic")
            return
        name = topic[len(self._root) :]
        if name == b"down/ack":
            self._ack(body)
        elif name == b"down/command":
            if len(body) > _COMMAND_BYTES:
                self.refuse("oversized")
            elif self.commands is None:
                self._outbox.refuse("rejected", "", "unauthorised", {"detail": "this node has no key"})
            else:
                if not self.commands.wake(True):
                    if self.pause is not None:
                        self.pause()
                    self.commands.wake(False)
                counter = self.commands.last
                try:
                    self.commands.accept(body)
                except MemoryError:
                    if self.commands.last == counter:
                        raise
                    self.refuse("no memory")  # it is spent: once more it would be an old one. Nobody is told it was done
        elif name == b"down/config" or name == b"down/update":
            if self.transfer is None:
                self.refuse("no key")
            else:
                self.transfer(str(name[5:], "utf-8"), body)
        elif name == b"stop":
            self._stop(body)
        else:
            self.refuse("unknown topic")

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _ack(self, body: bytes) -> None:
        try:
            boot, seq = read_ack(body)
        except FrameError:
            self.refuse("broken ack")
            return
        if boot != self._outbox.boot:
            if self._outbox.spool.acknowledge_earlier(boot, seq):
                self.acks += 1
            else:
                self.refuse("ack of another boot")
        elif not self._outbox.spool.acknowledge(seq):
            self.refuse("ack of what was not sent")
        else:
            self.acks += 1
            self._outbox.report_dropped()

    def _stop(self, body: bytes) -> None:
        if body not in (b"0", b"1"):
            self.refuse("broken stop")
            return
        level = int(body)
        if self._guard is not None:
            self._guard.level(level)
        if level != self.stop:
            self.stop = level
            self._outbox.log("stop", f"level {level}")
            self._outbox.event("", "stop", {"level": level})
