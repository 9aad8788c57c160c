"""Which addresses are asked."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from ohmstead.config.values import host_name

MOST = 4096
"""Addresses in one search, at most: a home has fewer."""

_ELSEWHERE = ("192.0.2.1", 9)
"""Where a packet would leave this machine for (RFC 5737: nobody is there); none is sent."""


def spread(written: Sequence[str]) -> list[str]:
    """Each host of networks (`192.0.2.0/24`) and hosts (`192.0.2.10`, `dtu.lan`), once. Raises ValueError with what is wrong."""
    hosts: dict[str, None] = {}
    for one in written:
        if "/" in one:
            try:
                network = ipaddress.ip_network(one, strict=False)
            except ValueError:
                raise ValueError(f"{one}: is no network; write it like 192.0.2.0/24") from None
            if network.num_addresses > MOST:
                raise ValueError(
                    f"{one}: has {network.num_addresses} addresses; at most {MOST} are asked, e.g. {network.network_address}/24"
                )
            hosts |= dict.fromkeys(str(address) for address in network.hosts())
        else:
            try:
                hosts[host_name(one)] = None
            except ValueError as error:
                raise ValueError(f"{one}: {error}") from None
    if len(hosts) > MOST:
        raise ValueError(f"{len(hosts)} addresses; at most {MOST} are asked at once")
    return list(hosts)


def nameless(hosts: Sequence[str]) -> list[str]:
    """Those of the hosts that are names, and names of nothing. Asks the name server, and waits for it."""
    return [host for host in hosts if not _is_known(host)]


def _is_known(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError):
            return False
    return True


def own_network() -> str | None:
    """The /24 of this machine's address; None where it has no IPv4 network of a home."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return None
        address = ipaddress.ip_address(probe.getsockname()[0])
    if not address.is_private or address.is_loopback:
        return None
    return str(ipaddress.ip_network(f"{address}/24", strict=False))
