"""The log's file: lines are appended until it is large enough, then it makes room for a new one.

`ohmstead.log` becomes `ohmstead.log.1`, that `ohmstead.log.2`, and so on; the oldest goes. A disk that is full or a folder that is gone
stops nothing: the console goes on, the trouble is told there once, and the file with the next line that can be written.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TextIO

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class LogFile:
    """`size` in bytes, `keep` former files. Nothing is opened before the first line. `trouble` says why nothing is written, else empty."""

    def __init__(self, path: Path, size: int, keep: int) -> None:
        self.path = path
        self.trouble = ""
        self._size = size
        self._keep = keep
        self._file: TextIO | None = None
        self._written = 0

    def write(self, line: str) -> None:
        """Appends a line, without colours."""
        text = _COLOURS.sub("", line) + "\n"
        length = len(text.encode(errors="replace"))
        try:
            file = self._file or self._open()
            if self._written and self._written + length > self._size:
                file = self._begin_anew()
            file.write(text)
            file.flush()
        except OSError as error:
            self.trouble = error.strerror or str(error)
            self._let_go()
        else:
            self._written += length
            self.trouble = ""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> TextIO:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = file = self.path.open("a", encoding="utf-8", errors="replace")
        self._written = self.path.stat().st_size
        if self._written and not self._ends_a_line():
            file.write("\n")  # half a line, of a disk that was full or a machine that was cut off, spoils no other
        return file

    def _ends_a_line(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _begin_anew(self) -> TextIO:
        self.close()
        for number in range(self._keep, 0, -1):
            former = self._numbered(number - 1)
            if former.exists():
                former.replace(self._numbered(number))
        if not self._keep:
            self.path.unlink(missing_ok=True)
        return self._open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _let_go(self) -> None:
        """Closes what could not be written; that the rest of it cannot be written either is no news."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.trouble = error.strerror or str(error)
