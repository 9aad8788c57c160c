"""What an HTTP request that failed means, the same for every source that speaks HTTP. Only the host is named: an address may hold a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ohmstead.errors import NoAnswer, SourceError, Unreachable, WrongAnswer

if TYPE_CHECKING:
    import httpx


def meant(error: httpx.HTTPError | httpx.InvalidURL, host: str, timeout_s: float) -> SourceError:
    """The error to raise in place of httpx's own; `timeout_s` is how long the other end was waited for."""
    import httpx  # whoever has such an error has it loaded

    if isinstance(error, httpx.ConnectTimeout):
        return Unreachable(f"no connection to {host} within {timeout_s:g} s")
    if isinstance(error, httpx.ConnectError):
        return Unreachable(f"no connection to {host}: {str(error) or type(error).__name__}")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return Unreachable(f"no connection to {host}: {type(error).__name__}")
    if isinstance(error, httpx.TimeoutException):
        return NoAnswer(f"no answer from {host} within {timeout_s:g} s")
    if isinstance(error, httpx.NetworkError):
        return NoAnswer(f"{host} closed the connection")
    if isinstance(error, httpx.RemoteProtocolError):
        return NoAnswer(f"{host} broke off in the middle of its answer")
    return WrongAnswer(f"{host} does not speak HTTP as it should: {type(error).__name__}")
