"""One gateway, one store: two on the same file would both poll, both command and store everything twice."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from ohmstead.store.protocol import StoreError

_TAKEN = (errno.EACCES, errno.EAGAIN)


class StoreLock:
    """Held while it is open, however the process ends. The file `<store>.lock` beside the store stays; only the lock on it counts."""

    def __init__(self, store: Path) -> None:
        """Takes the lock. Raises StoreError where somebody else has it. A file system without locks lets everybody in."""
        path = store.with_name(store.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            text = f"{path}: {error.strerror}; the user that runs ohmstead must be able to write there, or give another store.path"
            raise StoreError(text, try_again=False) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                self.release()
                raise StoreError(
                    f"{store}: another ohmstead is using it; end that one, or give another store.path", try_again=True
                ) from error

    def release(self) -> None:
        os.close(self._descriptor)
