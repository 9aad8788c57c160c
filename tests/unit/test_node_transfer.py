"""A transfer that the node has no memory for: it is kept there, and asked for again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ohmcore.frames import pack_event
from ohmcore.pack import Packer, unpack
from ohmcore.seal import unseal
from ohmstead.messages import Message
from ohmstead.nodes.transfer import Transfer, TransferError
from tests.conftest import REPOSITORY
from tests.integration.node_harness import KEY, NODE, SITE
from tests.integration.node_slots import home
from tests.unit.node_modules import configuration, proof

SCRIPT = """
import sys
sys.path[:0] = ["{firmware}", "{shared}"]
import asyncio

async def at_once(ms):
    await asyncio.sleep(0)

asyncio.sleep_ms = at_once
from ohmnode.transfer import Transfers

class Spool:
    linked = True
    postponed = 0
    def put_off(self): self.postponed += 1

class Outbox:
    spool = Spool()
    def log(self, *_): pass
    def event(self, _device, _kind, detail): print(detail["stage"], detail["offset"], detail["reason"], sep=",")

class Hal:
    folder = "."
    def remove(self, name): print("removed", name, sep=",")
    def rename(self, name, new): print(name, new, sep=",")
    def setting(self, _name, _default): return 0

transfers = Transfers(Hal(), Outbox(), None, "", None, "a", lambda outcome: print("left", outcome, sep=","))
transfers._identity, transfers._kind, transfers._total, transfers._offset = 7, "config", 10, 10
tries = 0

async def refusal(kind):
    global tries
    tries += 1
    if tries <= {without}:
        raise MemoryError
    return ""

transfers._refusal = refusal
asyncio.run(transfers._finish("config"))
print("postponed", Outbox.spool.postponed, sep=",")
"""


def finish(micropython: list[str], without: int) -> list[str]:
    """What came of a file that has come whole, when so many looks at it find no memory."""
    script = SCRIPT.format(firmware=REPOSITORY / "firmware", shared=REPOSITORY / "shared", without=without)
    run = subprocess.run([*micropython, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    return run.stdout.split()


def test_a_file_without_memory_to_look_at_it_stays(micropython: list[str]) -> None:
    assert finish(micropython, 1000) == ["rejected,10,no", "memory", "postponed,40"]


def test_it_is_looked_at_until_there_is_some(micropython: list[str]) -> None:
    assert finish(micropython, 3) == [
        "config.part,config.next",
        "done,10,",
        "removed,config.offer",
        "removed,config.part",
        "left,config.next",
        "postponed,3",
    ]


PAUSED = """
async def refusal(kind):
    while True:
        await asyncio.sleep(0)

async def main():
    transfers._refusal = refusal
    transfers._task = asyncio.create_task(transfers._finish("config"))
    await asyncio.sleep(0)
    print("paused", transfers.pause(), sep=",")
    await asyncio.sleep(0)
    print("over", transfers._task.done(), sep=",")

asyncio.run(main())
"""


def test_looking_at_a_file_ends_where_others_need_the_memory_and_the_file_stays(micropython: list[str]) -> None:
    script = SCRIPT.format(firmware=REPOSITORY / "firmware", shared=REPOSITORY / "shared", without=0)
    script = script[: script.index("transfers._refusal = refusal")] + PAUSED
    run = subprocess.run([*micropython, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    assert run.stdout.split() == ["paused,True", "over,True"]


def test_the_names_of_the_files_are_those_of_the_configuration() -> None:
    assert (proof.CURRENT, proof.LAST_GOOD, proof.NEXT) == (configuration.CURRENT, configuration.LAST_GOOD, configuration.NEXT)
    assert f'_NEXT = "{configuration.NEXT}"' in (REPOSITORY / "firmware/ohmnode/transfer.py").read_text()


class Node:
    """Answers each offer with the next of these words."""

    def __init__(self, *words: tuple[str, int, str]) -> None:
        self._words = list(words)
        self._identity = 0
        self.offers = 0
        self._answers: list[tuple[str, str, Message]] = []

    def publish(self, _node: str, topic: str, payload: bytes) -> None:
        said: Any = unpack(payload, 1, 8, 2048)
        if len(said) != 2:  # a piece
            return
        offer: Any = unpack(unseal(KEY, f"{SITE}/{NODE}/config".encode(), payload), 1, 8, 2048)
        self._identity = offer[1]
        self.offers += 1
        stage, offset, reason = self._words.pop(0) if len(self._words) > 1 else self._words[0]
        packer = Packer(bytearray(1024))
        detail = {"id": self._identity, "kind": "config", "offset": offset, "stage": stage, "reason": reason}
        pack_event(packer, 1, self.offers, 0, "", "transfer", detail)
        self._answers.append((NODE, "up/event", Message("", packer.message(), False)))

    def messages(self, _silence_s: float) -> Iterator[tuple[str, str, Message]]:
        while self._answers:
            yield self._answers.pop(0)


def test_a_node_without_memory_is_asked_again(tmp_path: Path) -> None:
    node = Node(("rejected", 0, "no memory"), ("rejected", 0, "no memory"), ("done", 9, ""))
    Transfer(node, home(tmp_path, 1883), NODE, "config", b"some file").send()  # type: ignore[arg-type] # a Direct for tests
    assert node.offers == 3


def test_other_refusals_end_it(tmp_path: Path) -> None:
    node = Node(("rejected", 0, "too large"))
    with pytest.raises(TransferError, match="too large"):
        Transfer(node, home(tmp_path, 1883), NODE, "config", b"some file").send()  # type: ignore[arg-type] # a Direct for tests
    assert node.offers == 1
