"""Who may command: authentic, newer than anything before it, over restarts too, and not seen. What then may be done is the guard's."""

from ohmcore import const
from ohmcore.errors import FrameError, PackError
from ohmcore.frames import parse_command
from ohmcore.pack import unpack
from ohmcore.seal import unseal
from ohmnode import overlay

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from hal import Hal
    from ohmnode.guard import Guard
    from ohmnode.outbox import Outbox

_FILE = "command.counter"
_AHEAD = const(64)
_OFTEN_MS = const(60000)
_IDS = const(32)
_TURNS = const(10)


class Command:
    """What an authorised author wants. `ttl_ms`: within which it is written or not at all. `lease_ms` 0: without a lease."""

    def __init__(self, identity: "int | str", raw: bytes, ttl_ms: int, lease_ms: int) -> None:
        self.identity = identity
        self.raw = raw
        self.ttl_ms = ttl_ms
        self.lease_ms = lease_ms


class Commands:
    """`key`: the node's own. `context`: what a command is sealed for. `read_only`: devices that nothing is ever written to.

    `system`: commands to the node itself, by name; each takes id and words, and returns why it is rejected or an empty text.
    Before `accept`, `unseal` and `remember` comes `wake`; when nothing has come for a while `rest` gives their memory back.
    """

    def __init__(self, hal: "Hal", outbox: "Outbox", key: bytes, context: bytes, guard: "Guard | None", read_only: "list[str]") -> None:
        self._hal = hal
        self._outbox = outbox
        self._key = key
        self._context = context
        self._guard = guard
        self._read_only = read_only
        self.system: "dict[str, Callable[[int | str, bytes], str]]" = {}
        if guard is not None:
            guard.answer = self.result
            self.system["reset"] = guard.reset
        self._ids: "list[int | str | None]" = [None] * _IDS
        self._place = 0
        self.last = self._reserved = self._stored()
        self._stored_at: "int | None" = None
        self._turns = 0

    def wake(self, early: bool) -> bool:
        """Somebody commands. `early`: False where that would take the last of the memory; else MemoryError where there is none."""
        self._turns = _TURNS
        try:
            overlay.lay("authority", overlay.FEW if early else 0)
            return True
        except MemoryError:
            self._outbox.spool.put_off()
            if not early:
                raise
            return False

    def rest(self) -> None:
        """To be called now and then."""
        self._turns -= 1
        if not self._turns:
            overlay.lift("authority")

    def accept(self, sealed: bytes) -> None:
        """Takes a message from `down/command`; hands it to the guard or refuses it. Raises nothing."""
        try:
            body = unseal(self._key, self._context, sealed)
        except FrameError:
            self._outbox.refuse("rejected", "", "unauthorised", {})
            return
        try:
            identity, counter, device, name, raw, ttl_ms, lease_ms = parse_command(unpack(body))
        except (FrameError, PackError) as broken:
            self._outbox.refuse("rejected", "", "malformed", {"detail": str(broken)[:80]})
            return
        if not self.admit(identity, counter, device, name):
            return
        if not device and name in self.system:
            reason = self.system[name](identity, raw)
            self.result(identity, device, name, "rejected" if reason else "done", reason)
            return
        reason = "read-only" if device in self._read_only else "unknown control"
        if self._guard is not None and device not in self._read_only:
            reason = self._guard.command(device, name, Command(identity, raw, ttl_ms, lease_ms))
        if reason:
            self.result(identity, device, name, "rejected", reason)

    def admit(self, identity: "int | str", counter: int, device: str, name: str) -> bool:
        """Whether something authentic is new: not seen, and its counter greater than any before, which is on flash by then."""
        if identity in self._ids:
            self._outbox.refuse("rejected", "", "duplicate", {"id": identity})
            return False
        if counter <= self.last:
            # The counter tells an honest gateway whose own was lost where to go on.
            self._outbox.refuse("result", device, "replayed", {"id": identity, "stage": "rejected", "counter": self.last})
            return False
        if not self.remember(identity, counter):
            self.result(identity, device, name, "rejected", "no storage")
            return False
        return True

    def result(self, identity: "int | str", device: str, control: str, stage: str, reason: str, value: "int | None" = None) -> None:
        """Tells what became of a command; `value`: what was read back, raw."""
        detail = {"id": identity, "control": control, "stage": stage, "reason": reason}
        if value is not None:
            detail["value"] = value
        self._outbox.log("command", f"{device} {control} {identity}: {stage} {reason}")
        self._outbox.event(device, "result", detail)

    def unseal(self, context: bytes, sealed: bytes) -> bytes:
        """What somebody with the node's key sealed for this context; FrameError for anything else."""
        return unseal(self._key, context, sealed)

    def remember(self, identity: "int | str", counter: int) -> bool:
        """The counter is on flash before anything is written. Where commands come often, 64 at a time, to save the flash."""
        if counter > self._reserved:
            now = self._hal.ticks_ms()
            often = self._stored_at is not None and self._hal.ticks_diff(now, self._stored_at) < _OFTEN_MS
            reserved = counter + _AHEAD if often else counter
            try:
                self._hal.write(_FILE, str(reserved).encode())
            except OSError as failure:
                self._outbox.log("command", f"cannot keep the counter: {failure}")
                return False
            self._reserved = reserved
            self._stored_at = now
        self.last = counter
        self._ids[self._place] = identity
        self._place = (self._place + 1) % _IDS
        return True

    def _stored(self) -> int:
        """A file that cannot be read refuses everything: better no commands than old ones."""
        content = self._hal.read(_FILE)
        if content is None:
            return 0
        try:
            return int(content)
        except ValueError:
            self._outbox.log("command", f"{_FILE} is damaged; commands are refused until it is removed")
            return 0x7FFFFFFFFFFFFFFF
