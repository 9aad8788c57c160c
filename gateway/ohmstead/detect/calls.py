"""What devices call into the network by themselves (mDNS, DNS-SD): a Shelly says `_shelly._tcp`, older firmwares only `_http._tcp`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ohmstead.errors import OhmsteadError

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf

SERVICES = ("_shelly._tcp.local.", "_http._tcp.local.")
_NAMED = "shelly"
_RESOLVE_MS = 1000


class NoEarError(OhmsteadError):
    """The calls cannot be heard here; the text says why."""


async def heard(seconds: float, interfaces: Sequence[str] | None = None) -> list[tuple[str, int]]:
    """Address and port of each Shelly that answered a call for it within `seconds`. Raises NoEarError where there is no ear for calls."""
    try:
        from zeroconf import InterfaceChoice
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf
    except ImportError:
        raise NoEarError(
            "calls of Shellys in the network cannot be heard without the package zeroconf: pip install 'ohmstead[detect]'"
        ) from None
    named: dict[tuple[str, str], None] = {}

    def note(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if name.lower().startswith(_NAMED):
            named[(service_type, name)] = None

    try:
        ear = AsyncZeroconf(interfaces=list(interfaces) if interfaces is not None else InterfaceChoice.Default)
    except OSError as error:
        raise NoEarError(f"calls of Shellys in the network cannot be heard here: {(error.strerror or 'no way').lower()}") from error
    found: dict[tuple[str, int], None] = {}
    try:
        browser = AsyncServiceBrowser(ear.zeroconf, list(SERVICES), handlers=[note])
        await asyncio.sleep(seconds)
        await browser.async_cancel()
        for service_type, name in named:
            service = AsyncServiceInfo(service_type, name)
            if await service.async_request(ear.zeroconf, _RESOLVE_MS) and service.port is not None:
                found |= {(address, service.port): None for address in service.parsed_addresses()[:1]}
    finally:
        await ear.async_close()
    return list(found)
