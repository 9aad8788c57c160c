"""Names that no server answers for hold up nobody: not the store's writes, not the names that are found, not the end."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ohmstead.errors import Unreachable
from ohmstead.lookup import Loop
from ohmstead.sources.shelly_rpc import HttpChannel
from ohmstead.sources.sunspec_line import Endpoint, RegisterLine


class Names:
    """Looks nothing up that ends in `.dead` until `answered` is set."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.asked: Counter[str] = Counter()

    def getaddrinfo(self, host: str | bytes, port: int, *_: Any) -> list[Any]:
        name = host if isinstance(host, str) else host.decode()
        self.asked[name] += 1
        if name.endswith(".dead"):
            self.answered.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.answered.set()


def test_dead_names_hold_up_nobody(names: Names) -> None:
    async def asked(loop: asyncio.AbstractEventLoop) -> None:
        dead = [asyncio.create_task(loop.getaddrinfo(f"shelly-{number % 50}.dead", 80)) for number in range(200)]
        async with asyncio.timeout(30):
            assert await asyncio.to_thread(lambda: "written") == "written"
            assert (await loop.getaddrinfo("shelly.home.arpa", 80))[0][4] == ("127.0.0.1", 80)
        assert not any(task.done() for task in dead)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(asked(runner.get_loop()))  # and it ends while they are still being looked up
    assert not names.answered.is_set()
    assert max(names.asked.values()) == 1, "who asks for the same name waits with the first"


def test_a_lookup_that_fails_fails_for_each_and_is_tried_anew(names: Names) -> None:
    async def asked(loop: asyncio.AbstractEventLoop) -> None:
        both = [asyncio.create_task(loop.getaddrinfo("shelly.dead", 80)) for _ in range(2)]
        await asyncio.sleep(0)
        names.answered.set()
        for failed in await asyncio.gather(*both, return_exceptions=True):
            assert isinstance(failed, socket.gaierror)
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("shelly.dead", 80)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(asked(runner.get_loop()))
    assert names.asked["shelly.dead"] == 2


def test_a_device_whose_name_hangs_is_unreachable(names: Names) -> None:
    async def asked() -> None:
        shelly = HttpChannel("shelly.dead", timeout_s=0.1)
        line = RegisterLine(Endpoint("inverter.dead", timeout_s=0.1))
        with pytest.raises(Unreachable, match=r"shelly\.dead"):
            await shelly.call("Shelly.GetStatus")
        with pytest.raises(Unreachable, match=r"inverter\.dead"):
            await line.read(40000, 2)
        await shelly.close()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(asked())
