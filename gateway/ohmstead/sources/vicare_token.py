"""The token of a Viessmann account, in a JSON file that only its owner can read.

`access` opens the interface for an hour, `refresh` gets the next pair of both; a new `refresh` may void the one before it, so it is on
the disk before anything is asked with its companion.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ohmstead.errors import Unauthorised, WrongAnswer

_SHORTEST_S, _USUAL_S, _LONGEST_S = 60.0, 3600.0, 30 * 86_400.0


class Token(NamedTuple):
    """`expires` is the UTC second by our own clock until which `access` is good. `refresh` is empty where the cloud gave none."""

    access: str
    refresh: str
    expires: float

    def __repr__(self) -> str:
        return f"Token(expires={self.expires:.0f})"


def granted(answer: Any, now: float, before: Token | None = None) -> Token:
    """The token in what the token endpoint says, received at `now`. Without a new refresh token the one of `before` goes on.

    Raises WrongAnswer.
    """
    access = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(access, str) or not access:
        raise WrongAnswer("Viessmann's cloud: an answer without a token")
    refresh = answer.get("refresh_token")
    if not isinstance(refresh, str) or not refresh:
        refresh = before.refresh if before is not None else ""
    try:
        lasts = float(answer.get("expires_in", _USUAL_S))
    except (TypeError, ValueError):
        lasts = _USUAL_S
    return Token(access, refresh, now + (min(max(lasts, _SHORTEST_S), _LONGEST_S) if lasts == lasts else _USUAL_S))


class TokenFile:
    """Where the token is kept: JSON, mode 0600, written whole or not at all. Both methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Token | None:
        """None where there is no file. Raises Unauthorised, with advice, where it holds no token."""
        try:
            kept = json.loads(self.path.read_text())
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o600)  # somebody has copied it here
            return Token(_text(kept["access_token"]), _text(kept.get("refresh_token") or ""), float(kept["expires_at"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it holds no token"
            raise Unauthorised(f"{self.path}: {reason}; run `ohmstead vicare login`") from error

    def write(self, token: Token) -> None:
        """Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"access_token": token.access, "refresh_token": token.refresh, "expires_at": token.expires}
        partial = self.path.with_name(self.path.name + ".tmp")
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - created with its mode
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        with contextlib.suppress(OSError):  # not every file system can; the token is written either way
            _flush_names(self.path.parent)


def _flush_names(folder: Path) -> None:
    """Has what was renamed in a folder survive a power cut: else the void token could stand there again."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
