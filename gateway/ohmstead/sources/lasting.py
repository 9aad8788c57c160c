"""What a source keeps over restarts, when the store can be full or broken.

What cannot be written now is known until the end of this process all the same, and costs no reading. What cannot be read is not nothing:
who began anew would ask more than a cloud allows, send a password that was refused, or take another device for the one that it had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ohmstead.errors import OhmsteadError, SourceError

if TYPE_CHECKING:
    from ohmstead.sources.polling import Memory

log = structlog.get_logger(service="source")


class LastingMemory:
    """`memory`, whose errors are those of a source. `device` is whose memory it is, for the log. Both methods may be called by threads."""

    def __init__(self, memory: Memory, device: str) -> None:
        self._memory = memory
        self._device = device
        self._unwritten: dict[str, str] = {}

    def read(self, key: str) -> str | None:
        """Raises SourceError where the store cannot be read."""
        if key in self._unwritten:
            return self._unwritten[key]
        try:
            return self._memory.read(key)
        except OhmsteadError as error:
            raise SourceError(f"what is kept of {self._device} cannot be read: {error}") from error

    def write(self, key: str, value: str) -> None:
        """Raises nothing for a store that cannot be written; that is told once."""
        try:
            self._memory.write(key, value)
        except OhmsteadError as error:
            if not self._unwritten:
                log.warning("what is known of it is not kept over a restart", device=self._device, reason=str(error))
            self._unwritten[key] = value
            return
        if self._unwritten.pop(key, None) is not None and not self._unwritten:
            log.info("what is known of it is kept again", device=self._device)


class Remembered:
    """What `memory` has under `key`, of `device`: given once, at the start, or later where the store cannot be read before."""

    def __init__(self, memory: Memory, key: str, device: str) -> None:
        self.known = False
        """Whether the store has said what was kept. Until it has, nothing is to be written over it."""
        self._memory = memory
        self._key = key
        self._device = device
        self._told = False

    def recall(self) -> str | None:
        """What was kept; None where nothing was, where it was given already, and where the store cannot be read, which is told once.
        Blocks for a moment."""
        if self.known:
            return None
        try:
            text = self._memory.read(self._key)
        except SourceError as error:
            if not self._told:
                advice = "mend what the reason says; nothing is written over it, and it is taken up as soon as it can be read"
                log.error("what was known of it is missing", device=self._device, key=self._key, reason=str(error), advice=advice)
            self._told = True
            return None
        self.known = True
        if self._told:
            log.info("what was known of it is there again", device=self._device, key=self._key)
        return text
