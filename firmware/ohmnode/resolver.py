"""From a host's name to its address without ever waiting for anything but asyncio."""

import asyncio

from ohmcore import const
from ohmnode import dns

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal, Socket
    from ohmnode.waiter import Waiter

_TRIES = const(3)
_TRY_MS = const(2000)


class Resolver:
    """`found`: addresses by name. They are remembered, since a name server that is away must not keep a broker away that is there; whoever
    finds that an address does not work takes it out.
    """

    def __init__(self, hal: "Hal", found: "dict[str, str]") -> None:
        self._hal = hal
        self._found = found

    async def resolve(self, host: str, waiter: "Waiter") -> str:
        """The IPv4 address of `host`; OSError when nobody knows it within a few seconds."""
        found = self._hal.known_host(host) or self._found.get(host)
        if found is None:
            found = await self._ask(host, waiter)
            self._found[host] = found
        return found

    async def _ask(self, host: str, waiter: "Waiter") -> str:
        server = self._hal.nameserver()
        if server is None:
            raise OSError(f"no name server to ask for {host}")
        for _ in range(_TRIES):
            number = self._hal.random(2)
            try:
                asked = dns.question(host, number[0] << 8 | number[1])
            except ValueError as wrong:
                raise OSError(str(wrong)) from None
            connection = self._hal.open_socket(False)
            try:
                connection.sendto(asked, self._hal.address(server[0], server[1]))
                found = await self._answer(connection, asked, waiter)
            finally:
                connection.close()
            if found is not None:
                return found
        raise OSError(f"the name server {server[0]} does not know {host}")

    async def _answer(self, connection: "Socket", asked: bytes, waiter: "Waiter") -> "str | None":
        hal = self._hal
        deadline = hal.ticks_add(hal.ticks_ms(), _TRY_MS)
        while True:
            left = hal.ticks_diff(deadline, hal.ticks_ms())
            if left <= 0:
                return None
            await waiter.readable(connection, left)
            if waiter.timed_out:
                return None
            if waiter.woken:
                continue
            try:
                return dns.answer(connection.recv(dns.MOST), asked)
            except (OSError, ValueError):  # refused, or from somebody else
                await asyncio.sleep_ms(50)
