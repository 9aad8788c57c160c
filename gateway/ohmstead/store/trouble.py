"""What SQLite complains of, in the store's own errors: whose fault it is, whether to try again, and what the owner can do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ohmstead.store.protocol import StoreError, UnfitError

REOPEN = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY}
"""After these the connection is of no use any more (result codes: sqlite.org/rescode.html)."""

UNFIT = (ArithmeticError, ValueError, TypeError, LookupError)
"""What Python says of values that have no place in a row, before SQLite sees them: an integer of 65 bits, half a character."""

_PERMANENT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_UNFIT_CODES = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}
_ANEW = "move it away together with its -wal and -shm files: at the next start a new one is made. Or give another store.path"
_ADVICE = {
    sqlite3.SQLITE_NOTADB: f"this is no store of ohmstead, or one that was destroyed. Put a backup in its place, or {_ANEW}",
    sqlite3.SQLITE_CORRUPT: "the file is damaged. End ohmstead and keep a copy; `sqlite3 FILE .recover | sqlite3 NEW` saves what can be"
    f" read. Put that or a backup in its place, or {_ANEW}",
    sqlite3.SQLITE_CANTOPEN: "the user that runs ohmstead must be able to write the file and its folder; or give another store.path",
    sqlite3.SQLITE_READONLY: "the user that runs ohmstead must be able to write the file and its folder; or give another store.path",
    sqlite3.SQLITE_IOERR: "the disk does not obey: look into the system's log, and have a backup at hand",
    sqlite3.SQLITE_FULL: "make room on the disk: until then nothing is stored",
}


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code; what the Python module says by itself is a plain error."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def as_store_error(path: Path, error: Exception) -> StoreError:
    """The store's error for what SQLite, or Python on the way to it, complained of."""
    if not isinstance(error, sqlite3.Error):
        return UnfitError(f"{path}: {error!r}")
    code = code_of(error)
    unbindable = isinstance(error, sqlite3.InterfaceError | sqlite3.ProgrammingError) and "binding parameter" in str(error)
    if code in _UNFIT_CODES or unbindable:
        return UnfitError(f"{path}: {error}")
    advice = _ADVICE.get(code)
    return StoreError(f"{path}: {error}" + (f"; {advice}" if advice else ""), try_again=code not in _PERMANENT)
