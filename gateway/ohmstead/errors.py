"""The gateway's errors. Each carries what its caller needs to decide: try again, or never."""

from __future__ import annotations

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
