"""Shellys that call into the network, heard over the loopback interface by the real library."""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import pytest
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from ohmstead.detect.calls import NoEarError, heard
from tests.conftest import PATIENCE

HERE = "127.0.0.1"


def carries_calls() -> bool:
    """Whether the loopback interface of this machine carries multicast."""
    group = ("224.0.0.250", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        try:
            ear.bind(("", 0))
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group[0]) + socket.inet_aton(HERE))
            ear.settimeout(2)
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
            mouth.sendto(b"call", (group[0], ear.getsockname()[1]))
            return ear.recv(4) == b"call"
        except OSError:
            return False


def service(kind: str, name: str, port: int) -> ServiceInfo:
    return ServiceInfo(kind, f"{name}.{kind}", addresses=[socket.inet_aton(HERE)], port=port, server=f"{name}.local.")


async def test_shellys_are_heard_and_others_are_not() -> None:
    if not carries_calls():
        pytest.skip("the loopback interface carries no multicast here")
    mouth = AsyncZeroconf(interfaces=[HERE])
    try:
        for one in (
            service("_shelly._tcp.local.", "shellypro3em-aabbccddeeff", 8080),
            service("_http._tcp.local.", "ShellyPlus1PM-A1B2C3D4E5F6", 8081),
            service("_http._tcp.local.", "printer", 8082),
        ):
            await mouth.async_register_service(one, cooperating_responders=True)
        deadline = time.monotonic() + PATIENCE
        told: set[tuple[str, int]] = set()
        while time.monotonic() < deadline and len(told) < 2:
            told |= set(await heard(0.5, [HERE]))
        assert told == {(HERE, 8080), (HERE, 8081)}
    finally:
        await mouth.async_close()


async def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(NoEarError, match=r"pip install 'ohmstead\[detect\]'"):
        await asyncio.wait_for(heard(0.1), PATIENCE)
