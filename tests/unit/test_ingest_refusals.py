"""What the gateway refuses of what nodes say: each with its reason and a count, and nothing stops for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgpack import Timestamp, packb  # type: ignore[import-untyped] # it comes without types

from ohmstead.nodes.inbox import REASONS
from tests.unit.ingest_rig import BOOT, Gateway, data, packed


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    opened = Gateway(tmp_path)
    yield opened
    await asyncio.to_thread(opened.stop)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "truncated"),
        (data(1)[:-1], "truncated"),
        (data(1)[:9], "truncated"),
        (data(1) + b"\x00", "garbage"),
        (b"\xc1", "garbage"),
        (b"hello", "garbage"),
        (b"\x91" * 4000, "garbage"),
        (b"\xdd\xff\xff\xff\xff" + bytes(100), "garbage"),
        (packed(1, BOOT, 1, 0, "mtec", "10s", 0, Timestamp(1, 1)), "garbage"),
        (packed(1, BOOT, 0, 0, "mtec", "10s", 0, [[196708, b"ab"]]), "garbage"),
        (packed(1, BOOT, 1, 0, "mtec", "10s", 0, [[196708, b"abc"]]), "garbage"),
        (packed(1, BOOT, 1, 0, "../mtec\n", "10s", 0, [[196708, b"ab"]]), "garbage"),
        (packed(2, BOOT, 1, 0, "mtec", "10s", 0, []), "wrong protocol"),
        (packed(2, "other", {}), "wrong protocol"),
        (data(1, uptime=1e9), "future"),
        (b"x" * 4097, "oversized"),
    ],
)
@pytest.mark.parametrize("kind", ["data", "event", "hello"])
async def test_what_is_no_frame_is_counted_with_its_reason_and_stops_nothing(
    gateway: Gateway, kind: str, payload: bytes, reason: str
) -> None:
    gateway.send(payload, kind=kind)
    if kind == "data" or reason in ("truncated", "oversized", "wrong protocol"):
        assert gateway.ingest.refused[reason] == 1
    assert sum(gateway.ingest.refused.values()) == gateway.fleet.nodes["cellar"].refused == 1
    gateway.send(data(1))
    await gateway.committed()
    assert gateway.broker.acknowledged() == [[1, BOOT, 1]]


async def test_frames_of_strangers_are_counted_and_go_nowhere(gateway: Gateway) -> None:
    gateway.send(data(1), node="stranger")
    gateway.send(data(1, device="mtec"), node="attic")
    assert gateway.ingest.refused["unknown node"] == 1
    assert gateway.ingest.refused["unknown device"] == 1, "the device is another node's"
    assert gateway.snapshots == []


async def test_a_frame_somebody_kept_in_the_broker_is_not_taken(gateway: Gateway) -> None:
    gateway.send(data(1), retain=True)
    assert gateway.ingest.refused["retained"] == 1
    assert gateway.snapshots == []


async def test_other_topics_of_a_node_are_not_ours(gateway: Gateway) -> None:
    gateway.send(b"55.5", kind="vital/mtec/battery_soc", retain=True)
    assert sum(gateway.ingest.refused.values()) == 0


async def test_a_flood_of_garbage_fills_neither_memory_nor_log(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    dice = random.Random(1)
    for number in range(1200):
        gateway.send(dice.randbytes(50), node=f"node-{number}")
        gateway.send(dice.randbytes(50))
        gateway.send(data(1, boot=number + 1))
    assert len(gateway.ingest._boots) <= 1000
    assert len(gateway.ingest._routes) <= 1
    assert capsys.readouterr().out.count("refused") <= 3


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(payload=st.binary(max_size=60) | st.recursive(st.none() | st.integers(0, 300) | st.text(max_size=5), st.lists).map(packb))
async def test_no_bytes_whatever_raise_anything(gateway: Gateway, payload: bytes) -> None:
    for kind in ("data", "event", "hello", "online"):
        gateway.send(payload, kind=kind)


def test_every_reason_is_there_from_the_start(tmp_path: Path) -> None:
    async def reasons() -> dict[str, int]:
        gateway = Gateway(tmp_path)
        await asyncio.to_thread(gateway.stop)
        return gateway.ingest.refused

    assert asyncio.run(reasons()) == dict.fromkeys(REASONS, 0)
