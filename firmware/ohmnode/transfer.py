"""Files that come down in pieces, a configuration or an update: kept on the flash as they come, taken up again after a restart, believed
only when the whole is what the sealed offer said.

`<kind>.part` holds what has come, `<kind>.offer` the SHA-256 and the size of what is coming. Loaded with the first message.
"""

import asyncio
import os

from ohmcore import const
from ohmcore.errors import FrameError, PackError
from ohmcore.frames import array, fields, integer
from ohmcore.pack import unpack
from ohmnode import overlay

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hal import Hal
    from ohmnode.commands import Commands
    from ohmnode.outbox import Outbox

_MESSAGE = const(1024)
_TELL = const(3072)  # bytes between two words about the progress, which are also what a power cut may cost
_LINGER_MS = const(1000)  # for the last word to get out
_TRIES = const(40)  # where there is no memory to look at what has come
_RETRY_MS = const(1000)
_NUMBERS = const(4)  # pieces of memory for the arithmetic of a signature
_MOST_CONFIG = const(8192)
_NEXT = "config.next"  # as in `configuration`, which is not loaded for a word
_MOST_UPDATE = const(524288)


class Transfers:
    """`root`: `<site>/<node>/`, what offers are sealed for. `leave`: makes the node go on with a new configuration, or restart ("")."""

    def __init__(
        self,
        hal: "Hal",
        outbox: "Outbox",
        commands: "Commands",
        root: str,
        update_key: "bytes | None",
        slot: str,
        leave: "Callable[[str], None]",
    ) -> None:
        self._hal = hal
        self._outbox = outbox
        self._commands = commands
        self._root = root
        self._update_key = update_key
        self._slot = slot
        self._leave = leave
        self._identity = -1  # of the transfer under way; -1: none
        self._kind = ""
        self._digest = b""
        self._total = self._offset = self._told = 0
        self._file: "object | None" = None
        self._task: "asyncio.Task[None] | None" = None

    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._file is None and (self._task is None or self._task.done())

    def pause(self) -> bool:
        """Ends what is coming, and looking at what has come, but not what is decided. Whether nothing is under way then. What there is
        of the file stays for the next offer.
        """
        self._close()
        if self._identity >= 0 and self._task is not None:
            self._task.cancel()
            return True
        return self.idle()

    def take(self, kind: str, message: bytes) -> None:
        """A message from `down/<kind>`. Raises nothing."""
        try:
            said = array(unpack(message, 1, 8, _MESSAGE), "transfer")
            if len(said) == 2:
                self._offer(kind, message)
            else:
                self._chunk(kind, said)
        except (FrameError, PackError) as broken:
            self._outbox.refuse("rejected", "", "malformed", {"detail": str(broken)[:80]})
        except OSError as failure:
            self._drop(f"no storage: {failure}")

    def _offer(self, kind: str, sealed: bytes) -> None:
        if not self._commands.wake(True):
            raise MemoryError
        try:
            body = self._commands.unseal(f"{self._root}{kind}".encode(), sealed)
        except FrameError:
            self._outbox.refuse("rejected", "", "unauthorised", {})
            return
        _, identity, counter, total, digest = fields(unpack(body, 1, 8, _MESSAGE), "offer", 5)
        identity = integer(identity, "id", 0)
        counter = integer(counter, "counter", 1)
        total = integer(total, "total", 1)
        if not isinstance(digest, bytes) or len(digest) != 32:
            raise FrameError("sha256: not 32 bytes")
        if counter <= self._commands.last:
            self._outbox.refuse(
                "transfer", "", "replayed", {"id": identity, "kind": kind, "stage": "rejected", "counter": self._commands.last}
            )
        elif not self._commands.remember(identity, counter):
            self._tell(identity, kind, "rejected", "no storage")
        elif self._task is not None and not self._task.done():
            same = kind == self._kind and digest == self._digest
            if same:
                self._identity = identity
            self._tell(identity, kind, "receiving" if same else "rejected", "" if same else "busy")
        elif kind == "update" and not (self._slot and self._update_key):
            self._tell(identity, kind, "rejected", "no update key" if self._slot else "no slots")
        elif total > (_MOST_UPDATE if kind == "update" else _MOST_CONFIG):
            self._tell(identity, kind, "rejected", "too large")
        else:
            self._begin(identity, kind, total, digest)

    def _begin(self, identity: int, kind: str, total: int, digest: bytes) -> None:
        """Goes on where a transfer of the same file ended, also before a restart."""
        self._close()
        self._identity = identity
        self._kind = kind
        self._total = total
        self._digest = digest
        described = digest + total.to_bytes(4, "big")
        if self._hal.read(kind + ".offer") != described:
            self._hal.remove(kind + ".part")
            self._hal.write(kind + ".offer", described)
        self._file = file = open(self._path(), "ab")
        file.flush()
        self._offset = os.stat(self._path())[6]
        if self._offset > total:
            self._drop("more than was offered")
        else:
            self._progress()

    def _chunk(self, kind: str, said: "Sequence[object]") -> None:
        _, identity, offset, piece = fields(said, "chunk", 4)
        if self._file is None or kind != self._kind or identity != self._identity:
            self._outbox.refuse("rejected", "", "not offered", {})
            return
        if not isinstance(piece, bytes):
            raise FrameError("chunk: not bytes")
        start = integer(offset, "offset", 0)
        if start > self._offset:
            if self._told != self._offset:  # a piece is missing; once is enough to say so
                self._progress()
        elif start == self._offset and len(piece) <= self._total - start:
            self._file.write(piece)  # type: ignore[attr-defined] # a file; its type has no name on MicroPython
            self._offset += len(piece)
            if self._offset - self._told >= _TELL or self._offset == self._total:
                self._file.flush()  # type: ignore[attr-defined] # as above
                self._progress()

    def _progress(self) -> None:
        self._told = self._offset
        self._tell(self._identity, self._kind, "receiving", "")
        if self._offset == self._total:
            self._close()
            overlay.lay("finish")
            self._task = asyncio.create_task(self._finish(self._kind))

    async def _finish(self, kind: str) -> None:
        """Everything is there: what it is worth is found out in pieces, so that nothing else has to wait."""
        overlay.lift("incoming")
        outcome = reason = ""
        known = False
        for _ in range(_TRIES):
            if not self._outbox.spool.linked:  # a connection that is about to come about needs the memory
                await asyncio.sleep_ms(_RETRY_MS)
                continue
            overlay.lift("authority")  # whoever commands gets it back
            try:
                reason = await self._refusal(kind)
                if not reason and kind == "config":
                    self._hal.rename(kind + ".part", _NEXT)
                    outcome = _NEXT
            except MemoryError:
                self._outbox.spool.put_off()
                await asyncio.sleep_ms(_RETRY_MS)
                continue
            except Exception as failure:  # noqa: BLE001 - whatever it was: it is told, and the node stays what it is
                reason = repr(failure)
            known = True
            break
        if not known:  # what has come stays for the next offer
            self._tell(self._identity, kind, "rejected", "no memory")
            self._identity = -1
            return
        if reason:
            self._drop(reason)
            return
        self._tell(self._identity, kind, "done", "")
        self._identity = -1
        self._hal.remove(kind + ".offer")
        self._hal.remove(kind + ".part")
        await asyncio.sleep_ms(self._hal.setting("linger_ms", _LINGER_MS))
        self._leave(outcome)

    async def _refusal(self, kind: str) -> str:
        """Why the file is not to be used; empty: it is, and an update has been installed."""
        from ohmnode.digest import digest_of

        path = self._path()
        if await digest_of(path, 0, self._total) != self._digest:
            return "damaged on the way"
        if kind == "config":
            try:
                from ohmnode import check

                return check.refusal(self._hal.read(kind + ".part") or b"")
            except MemoryError:  # a start has more; where the file makes no node, what runs now runs again
                self._outbox.spool.put_off()
                return ""
        from ohmnode import update

        overlay.calm()
        overlay.room(_NUMBERS)  # others have the reserve meanwhile
        return await update.install(self._hal, path, self._total, self._update_key or b"")

    def _drop(self, reason: str) -> None:
        """Ends the transfer; what has come is of no use."""
        self._close()
        self._tell(self._identity, self._kind, "rejected", reason)
        self._identity = -1
        if self._kind:
            self._hal.remove(self._kind + ".offer")
            self._hal.remove(self._kind + ".part")

    def _tell(self, identity: int, kind: str, stage: str, reason: str) -> None:
        offset = self._offset if identity == self._identity else 0
        self._outbox.log("transfer", f"{kind} {identity}: {stage} {offset} {reason}")
        self._outbox.event("", "transfer", {"id": identity, "kind": kind, "offset": offset, "stage": stage, "reason": reason[:80]})

    def _close(self) -> None:
        file = self._file
        self._file = None
        if file is not None:
            file.close()  # type: ignore[attr-defined] # a file; its type has no name on MicroPython

    def _path(self) -> str:
        return f"{self._hal.folder}/{self._kind}.part"
