"""The gateway's errors. Each carries what its caller needs to decide: try again, or never."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class OhmsteadError(Exception):
    """Whatever the gateway itself has to say. `try_again` tells whether the same attempt may succeed later."""

    try_again = False


class Mistake(NamedTuple):
    """One mistake in a file a person wrote. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    field: str
    text: str
    value: str = ""
    column: int = 0

    def __str__(self) -> str:
        where = self.file + (f":{self.line}" if self.line else "") + (f":{self.column}" if self.column else "")
        what = f"{self.field}: {self.value}" if self.field and self.value else self.field or self.value
        return f"{where}: {what} — {self.text}" if what else f"{where}: {self.text}"


class ConfigurationError(OhmsteadError):
    """A configuration or a profile cannot be used; `mistakes` are all that were found, in the order of the lines."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.file, mistake.line)))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class Reason(StrEnum):
    """Why a command was refused, in the words that go out on the status topics."""

    MALFORMED = "malformed"
    OUT_OF_RANGE = "out of range"
    RATE_LIMIT = "rate limit"
    LATCHED = "latched"
    STALE = "stale"
    UNAUTHORISED = "unauthorised"
    READ_ONLY = "read-only"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    OFFLINE = "offline"
    LEASE = "lease"
    LIMIT = "limit"
    NO_STORAGE = "no storage"


class Rejected(OhmsteadError):  # noqa: N818 - says what happened to the command, in the words of the status topics
    """A command changed nothing. `detail` is a sentence for the owner, with the value and the limit it broke."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class RetryLater(OhmsteadError):  # noqa: N818 - says what to do, not what broke
    """Nothing is wrong with the request, only with the moment. `after` is the pause in seconds that is asked for."""

    try_again = True

    def __init__(self, detail: str, after: float) -> None:
        self.detail = detail
        self.after = after
        super().__init__(f"{detail}; again in {after:g} s")


class RateLimited(RetryLater):
    """Somebody else counts our requests (a cloud, a device's write budget) and says it is enough for now."""


class SourceError(OhmsteadError):
    """A device or a cloud was asked and there is nothing to show for it. The text is for the owner: who was asked, what came, no secrets.

    `counter` is the name under which it is counted, as on a bus.
    """

    try_again = True
    counter = "wrong"


class Unreachable(SourceError):  # noqa: N818 - says where the device is, not what broke
    """Nobody is there: no connection, no such name, or it was refused."""

    counter = "no_answer"


class NoAnswer(SourceError):  # noqa: N818 - says what happened
    """Connected and asked, and no whole answer within its time."""

    counter = "no_answer"


class WrongAnswer(SourceError):  # noqa: N818 - says what happened
    """An answer that is none: malformed, of a wrong length, to another question, or implausible."""


class Refused(SourceError):  # noqa: N818 - says what happened
    """The other end understood and says no. `status` is its code: HTTP's, or a Modbus exception's."""

    counter = "exception"

    def __init__(self, detail: str, status: int = 0) -> None:
        self.status = status
        super().__init__(detail)


class Unauthorised(Refused):
    """Password, token or key are not taken (any more): a person has to do something, which the text says."""


def in_words(error: OSError | UnicodeError) -> str:
    """Why nobody was reached, as the system says it ("connection refused"), without an address. UnicodeError: of an impossible name."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return "there is no such name"
    return os.strerror(error.errno).lower() if error.errno else "cannot be reached"
