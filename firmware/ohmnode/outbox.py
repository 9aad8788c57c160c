"""Makes frames of what was read and of what happened, numbers them and puts them into the spool; prints one plain line for people."""

import os

from ohmcore import const, frames
from ohmcore.errors import PackError
from ohmcore.pack import Packer
from ohmnode import FRAME, overlay
from ohmnode.schedule import READ, START, payload_size

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from hal import Hal
    from ohmnode.schedule import Device, Group
    from ohmnode.spool import Spool

_QUIET_MS = const(10000)
_LATER_S = const(5)
_DROPPED_S = const(2)
_URGENT = ("trip", "latch", "result")  # what a power cut must not take along


class Outbox:
    """`added` is called whenever something waits to be sent. The boot id tells one life of the node from the next. `frame`: bytes of the
    largest frame.
    """

    def __init__(self, hal: "Hal", spool: "Spool", frame: int = FRAME) -> None:
        self.boot = (int.from_bytes(hal.random(4), "big") & frames.MAX_BOOT) or 1
        self.spool = spool
        self._hal = hal
        self._last = hal.ticks_ms()
        self._uptime_ms = self._dropped_s = 0
        self.added: "Callable[[], None] | None" = None
        self.packer = Packer(bytearray(frame))
        self._view = memoryview(self.packer.buffer)
        self._quiet: "dict[str, list[int]]" = {}

    def use_flash(self, most: int) -> None:
        """Up to `most` bytes of flash behind the spool, 0: none. `recall` looks for what earlier lives of the node left there."""
        if not most:
            return
        self._most = most
        self.spool.opener = self.open_flash

    def recall(self) -> None:
        """What earlier lives of the node left on the flash, if it did."""
        if self.spool.flash is not None or self.spool.opener is None:
            return
        try:
            left = os.listdir(self._hal.folder + "/spool")
        except OSError:  # there never was an outage
            return
        if left:
            self.open_flash()

    def open_flash(self) -> None:
        """The flash is needed."""
        spool = self.spool
        if spool.now_s < spool.retry_s:
            return
        try:
            from ohmnode.flash import Flash

            overlay.lay("flash", overlay.FEW)  # memory that a node without an outage need not spend
            flash = Flash(self._hal, self._most, self.boot, self._view)
            flash.thinned, flash.dropped, flash.failures = spool.lost
            spool.flash = flash
            return
        except OSError as failure:
            spool.opener = None
            self.log("spool", f"no flash: {failure}")
        except MemoryError:
            spool.put_off(True)
        overlay.lift("flash")

    def uptime_ms(self) -> int:
        """Milliseconds since the node started; counts on where the port's ticks wrap (every 2**30 ms on an ESP32)."""
        now = self._hal.ticks_ms()
        self._uptime_ms += self._hal.ticks_diff(now, self._last)
        self._last = now
        return self._uptime_ms

    def log(self, task: str, words: str) -> None:
        """`uptime task words`, for whoever looks at the console."""
        ms = self.uptime_ms()
        print(f"{ms // 1000:7d}.{ms % 1000:03d} {task}: {words}")

    def snapshot(self, device: "Device", group: "Group") -> bool:
        """A data frame of what could be read. False, and no frame, when that is nothing."""
        good = sum(group.good)
        if not good:
            return False
        packer = self.packer
        total = len(group.good)
        quality = frames.GOOD if good == total else frames.PARTIAL
        frames.begin_data(packer, self.boot, self.spool.next_seq, self.uptime_ms(), device.name, group.name, quality, good)
        for i in range(total):
            if group.good[i]:
                place = READ * i
                function, start = group.reads[place], group.reads[place + START]
                end = start + payload_size(function, group.reads[place + 2])
                frames.add_range(packer, function, group.reads[place + 1], group.image, start, end)
        self._keep(False, False)
        return True

    def event(self, device: str, kind: str, detail: "Mapping[str, object]") -> None:
        """Something happened on `device`, or on the node itself if that is empty."""
        try:
            frames.pack_event(self.packer, self.boot, self.spool.next_seq, self.uptime_ms(), device, kind, detail)
        except PackError as refused:
            self.log("outbox", f"no event {kind}: {refused}")
            return
        self._keep(True, kind in _URGENT)

    def refuse(self, kind: str, device: str, reason: str, detail: "dict[str, Any]") -> None:
        """Something came that is not to be believed or done. A flood of it makes one event in 10 s and reason, with the count."""
        now = self.uptime_ms()
        state = self._quiet.get(reason)
        if state is None:
            if len(self._quiet) >= 16:
                self._quiet.clear()
            state = self._quiet[reason] = [now - _QUIET_MS, 0]
        state[1] += 1
        if now - state[0] >= _QUIET_MS:
            detail["reason"] = reason
            detail["count"] = state[1]
            state[0] = now
            state[1] = 0
            self.log("refused", f"{device} {reason}".strip())
            self.event(device, kind, detail)

    def report_dropped(self) -> None:
        """Tells which numbers the gateway need not wait for; where that pushes out the next, not at once again."""
        now_s = self.uptime_ms() // 1000
        if now_s < self._dropped_s:
            return
        runs = self.spool.take_dropped()
        if runs:
            if self.spool.crowded():
                self._dropped_s = now_s + _DROPPED_S
            self.log("spool", f"full: {self.spool.dropped_count} frames given up so far")
            try:
                self.event("", "dropped", {"ranges": runs})
            except MemoryError:  # without it the gateway would wait for them for ever
                for first, last in runs:
                    self.spool.gap(first, last)
                raise

    def tend(self) -> None:
        """Now and then: what has waited for long goes to flash."""
        self.spool.tend(self.uptime_ms() // 1000, False)

    def replay(self, now_s: int) -> int:
        """A frame from flash into the packer's buffer, when it is time for one: its size. 0: there is none now; below: go on."""
        spool = self.spool
        flash = spool.flash
        if flash is None or spool.away or not flash.count or now_s < flash.replay_s:
            return 0
        found = 0
        try:
            overlay.lay("fetch", overlay.SPARE)
            found = flash.replay(self, now_s)
        except MemoryError:
            spool.put_off(True)
            flash.replay_s = now_s + _LATER_S
            found = 0
        if not found:
            overlay.lift("fetch")
        return found

    def _keep(self, event: bool, urgent: bool) -> None:
        self.spool.add(self._view[: self.packer.length], event)
        self.spool.tend(self._uptime_ms // 1000, urgent)
        if self.added is not None:
            self.added()
