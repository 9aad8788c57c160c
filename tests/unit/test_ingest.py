"""What the gateway makes of what nodes say: readings and acknowledgements."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgpack import unpackb  # type: ignore[import-untyped] # it comes without types

from ohmstead.nodes.fleet import Event
from ohmstead.readings import Quality, Snapshot
from tests.unit.ingest_rig import BOOT, ORIGIN, Gateway, data, event, hello, packed


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    opened = Gateway(tmp_path)
    yield opened
    await asyncio.to_thread(opened.stop)


# The way of a frame


async def test_a_frame_becomes_readings_rows_and_an_acknowledgement(gateway: Gateway) -> None:
    gateway.send(data(1, r100=21, r101=5))
    assert gateway.snapshots == [Snapshot("mtec", "10s", ORIGIN + 1000, Quality.GOOD, {"p100": 21, "p101": 5, "double": 42}, True)]
    await gateway.committed()
    assert gateway.values("double") == [42]
    topic, payload = gateway.broker.sent[-1]
    assert (topic, unpackb(payload)) == ("ohm/home/node/cellar/down/ack", [1, BOOT, 1, round((ORIGIN + 1000) * 1000)])


async def test_nothing_is_acknowledged_before_the_store_has_it(gateway: Gateway) -> None:
    gateway.send(data(1))
    gateway.ingest.flush_acknowledgements()
    assert gateway.broker.sent == []


async def test_a_frame_that_comes_again_is_published_once_stored_once_and_acknowledged_twice(gateway: Gateway) -> None:
    gateway.send(data(1), data(1))
    await gateway.committed()
    gateway.send(data(1))
    gateway.ingest.flush_acknowledgements()
    assert len(gateway.snapshots) == 1
    assert gateway.values("p100") == [1]
    assert gateway.broker.acknowledged() == [[1, BOOT, 1], [1, BOOT, 1]]
    assert gateway.ingest.replayed == gateway.fleet.nodes["cellar"].replayed == 1


async def test_acknowledgements_are_at_most_a_few_a_second_and_the_last_one_says_all(gateway: Gateway) -> None:
    for seq in range(1, 101):
        gateway.send(data(seq, 100 + seq))
        gateway.now += 0.01
        await asyncio.sleep(0.001)
    await gateway.committed()
    assert len(gateway.broker.sent) <= 6
    assert gateway.broker.acknowledged()[-1] == [1, BOOT, 100]


async def test_a_partial_frame_says_so(gateway: Gateway) -> None:
    gateway.send(data(1, quality=1, r101=5))
    assert gateway.snapshots[0].quality is Quality.PARTIAL
    assert "double" not in gateway.snapshots[0].values


async def test_a_range_nobody_knows_is_left_out_and_the_rest_is_good_enough(gateway: Gateway) -> None:
    gateway.send(data(1, r100=1, r999=2))
    assert gateway.snapshots[0].values == {"p100": 1, "double": 2}
    assert gateway.snapshots[0].quality is Quality.PARTIAL
    assert gateway.ingest.refused["unknown range"] == 1


@pytest.mark.parametrize(
    ("frame", "reason"),
    [(data(1, r999=1), "unknown range"), (data(1, device="boiler"), "unknown device"), (data(1, r150=1), "undecodable")],
)
async def test_a_sound_frame_without_meaning_is_kept_raw_and_acknowledged_so_that_its_node_goes_on(
    gateway: Gateway, frame: bytes, reason: str
) -> None:
    gateway.send(frame, data(2))
    await gateway.committed()
    assert gateway.ingest.refused[reason] == 1
    assert gateway.broker.acknowledged() == [[1, BOOT, 2]]
    assert gateway.store._connection.execute("SELECT body FROM frames WHERE seq = 1").fetchone() == (frame,)
    assert [snapshot.values["p100"] for snapshot in gateway.snapshots] == [2]


# Time


async def test_a_replayed_hour_is_stored_where_it_happened_and_is_not_live(gateway: Gateway) -> None:
    gateway.now = 5000.0
    gateway.send(hello(uptime=4000), kind="hello")
    gateway.send(*(data(seq, 400 + 10 * seq) for seq in range(1, 361)))
    await gateway.committed()
    times = [time for (time,) in gateway.store._connection.execute("SELECT DISTINCT ts FROM samples ORDER BY ts")]
    assert times == [round((ORIGIN + 1400 + 10 * seq) * 1000) for seq in range(1, 361)]
    assert [snapshot.live for snapshot in gateway.snapshots] == [False] * 356 + [True] * 4, "the last half minute is live"


async def test_what_is_read_seldom_is_current_until_its_next_reading_is_due_and_says_its_age(gateway: Gateway) -> None:
    gateway.send(hello(uptime=1000), kind="hello")
    gateway.send(data(1, 690, group="5min"), data(2, 710, group="5min"), data(3, 980, group="5min"), data(4, 960))
    assert [(snapshot.group, snapshot.live, round(snapshot.age)) for snapshot in gateway.snapshots] == [
        ("5min", False, 310),
        ("5min", True, 290),
        ("5min", True, 20),
        ("10s", False, 40),
    ]


async def test_a_reading_of_minutes_ago_does_not_say_that_the_device_is_there_now(gateway: Gateway) -> None:
    gateway.send(hello(uptime=1000), kind="hello")
    gateway.send(data(1, 900, group="5min"))
    assert gateway.snapshots[0].live
    assert gateway.fleet.device_online("mtec") is None


async def test_an_old_frame_between_live_ones_is_stored_but_not_published(gateway: Gateway) -> None:
    gateway.send(data(5, 100))
    gateway.now += 10
    gateway.send(data(2, 50), data(3, 60, group="5min"), data(6, 110))
    assert [(snapshot.group, snapshot.values["p100"]) for snapshot in gateway.snapshots] == [("10s", 5), ("5min", 3), ("10s", 6)]
    await gateway.committed()
    assert gateway.values("p100") == [2, 3, 5, 6]


async def test_a_frame_of_an_earlier_boot_is_not_news(gateway: Gateway) -> None:
    gateway.send(data(90, 900, boot=1))
    gateway.now += 60
    gateway.send(data(1, 5, boot=2))
    gateway.send(data(91, 910, boot=1))
    assert [snapshot.values["p100"] for snapshot in gateway.snapshots] == [90, 1]


async def test_a_frame_that_travelled_faster_than_the_first_is_news_although_its_time_is_earlier(gateway: Gateway) -> None:
    gateway.send(data(1, 100))  # was 5 s under way, nobody can know
    gateway.now += 1
    gateway.send(data(2, 106))
    assert [snapshot.values["p100"] for snapshot in gateway.snapshots] == [1, 2]


async def test_the_brokers_copy_of_a_hello_tells_no_time(gateway: Gateway) -> None:
    gateway.send(hello(uptime=100), kind="hello", retain=True)
    gateway.now += 3600
    gateway.send(data(1, 3700))
    gateway.send(hello(uptime=100), kind="hello", retain=True)
    gateway.send(data(2, 3700))
    assert [snapshot.time for snapshot in gateway.snapshots] == [ORIGIN + 4600]
    hello_of = gateway.fleet.nodes["cellar"].hello
    assert hello_of is not None
    assert hello_of.firmware == "1.2.3"


async def test_after_a_restart_of_the_gateway_a_replay_still_lands_where_it_happened(gateway: Gateway) -> None:
    gateway.send(data(1, 100))
    await gateway.committed()
    await asyncio.to_thread(gateway.stop)
    gateway.now += 1800
    gateway.start()
    gateway.send(data(1, 100), data(2, 110))
    await gateway.committed()
    assert [round(snapshot.time - ORIGIN) for snapshot in gateway.snapshots] == [1010]
    assert gateway.broker.acknowledged()[-1] == [1, BOOT, 2]
    assert gateway.ingest.replayed == 1


# Hello, gaps, events


async def test_a_hello_settles_what_the_node_no_longer_holds(gateway: Gateway) -> None:
    gateway.send(data(40), data(41, 101))
    await gateway.committed()
    assert gateway.broker.acknowledged() == [[1, BOOT, 0]], "all of it is stored, and yet there may be more before it"
    gateway.broker.sent.clear()
    gateway.send(hello(first_seq=40), kind="hello")
    await gateway.committed()
    assert gateway.broker.acknowledged() == [[1, BOOT, 41]]


async def test_a_node_that_comes_back_hears_at_once_how_far_the_store_is(gateway: Gateway) -> None:
    gateway.send(data(1), data(2, 101))
    await gateway.committed()
    gateway.broker.sent.clear()
    gateway.now += 1
    gateway.send(hello(first_seq=1), kind="hello")
    assert gateway.broker.acknowledged() == [[1, BOOT, 2]]


async def test_whenever_the_gateway_is_connected_each_node_hears_how_far_its_boot_is_settled(gateway: Gateway) -> None:
    gateway.send(data(1), data(2, 101))
    await gateway.committed()
    await asyncio.to_thread(gateway.stop)
    gateway.start()
    gateway.broker.connect()
    assert gateway.broker.acknowledged() == [[1, BOOT, 2]], "known from the store, before the node says anything"
    gateway.send(data(1, boot=8))
    gateway.now += 1
    gateway.broker.connect()
    assert sorted(gateway.broker.acknowledged()[1:]) == [[1, BOOT, 2], [1, 8, 0]]
    assert all(topic.startswith("ohm/home/node/cellar/") for topic, _ in gateway.broker.sent), "of the attic nothing is known"


async def test_a_node_that_was_there_before_the_gateway_hears_at_once_that_nothing_is_settled(gateway: Gateway) -> None:
    gateway.send(hello(), kind="hello", retain=True)
    assert gateway.broker.acknowledged() == [[1, BOOT, 0]]


async def test_a_hello_that_would_settle_frames_no_node_can_have_made_is_refused(gateway: Gateway) -> None:
    gateway.send(hello(first_seq=2**40), kind="hello")
    assert gateway.ingest.refused["future"] == 1
    gateway.send(data(1))
    await gateway.committed()
    assert gateway.broker.acknowledged() == [[1, BOOT, 1]]
    assert gateway.values("p100") == [1]


async def test_whatever_a_report_counts_with_is_kept_as_json_and_shown_as_numbers(gateway: Gateway) -> None:
    report: dict[str, Any] = {
        "ok": 5,
        "crc": float("nan"),
        "wrong": -1,
        "partial": b"\xff",
        "late_bytes": [float("inf"), {"deep": b"\x01"}],
    }
    gateway.send(event(1, "bus", 100, "mtec", **report), event(2, "bus", 100, **report), kind="event")
    await gateway.committed()
    node = gateway.fleet.nodes["cellar"]
    assert node.bus == node.devices["mtec"].bus == {"ok": 5}
    kept = gateway.store.events()[0].detail
    assert kept == {"ok": 5, "crc": None, "wrong": -1, "partial": "ff", "late_bytes": [None, {"deep": "01"}]}
    assert json.loads(json.dumps(gateway.events[0].detail, allow_nan=False)) == kept


async def test_events_are_numbered_handed_out_once_and_kept(gateway: Gateway) -> None:
    gateway.send(event(1, "result", id=4, stage="written"), event(1, "result", id=4, stage="written"), kind="event")
    await gateway.committed()
    gateway.send(event(1, "result", id=4, stage="written"), kind="event")
    assert gateway.events == [Event("cellar", "", "result", {"id": 4, "stage": "written"}, ORIGIN + 1000)]
    assert [stored.kind for stored in gateway.store.events()] == ["result"]
    assert gateway.broker.acknowledged() == [[1, BOOT, 1]]


async def test_a_subscriber_that_fails_keeps_nobody_else_from_an_event(gateway: Gateway) -> None:
    def fail(_event: Event) -> None:
        raise RuntimeError("a subscriber with a bug")

    others: list[Event] = []
    gateway.ingest.on_event(fail)
    gateway.ingest.on_event(others.append)
    gateway.send(event(1, "restart"), kind="event")
    assert len(others) == 1


async def test_dropped_ranges_are_settled_and_counted(gateway: Gateway) -> None:
    gateway.send(data(1), data(5, 101))
    gateway.send(event(6, "dropped", ranges=[[2, 4]]), kind="event")
    await gateway.committed()
    assert gateway.broker.acknowledged()[-1] == [1, BOOT, 6]
    assert gateway.fleet.nodes["cellar"].given_up == 3


async def test_the_fleet_knows_who_is_there(gateway: Gateway) -> None:
    assert gateway.fleet.device_online("mtec") is None
    assert gateway.fleet.nodes["cellar"].started is None
    gateway.send(b"online", kind="online", retain=True)
    gateway.send(data(1))
    assert gateway.fleet.device_online("mtec") is True
    assert gateway.fleet.nodes["cellar"].started == pytest.approx(ORIGIN + gateway.now - 100, abs=1)
    gateway.now += 10
    gateway.send(
        event(3, "offline", 110, "mtec"), event(4, "bus", 110, "mtec", requests=9, crc=1), event(2, "online", 105, "mtec"), kind="event"
    )
    assert gateway.fleet.device_online("mtec") is False, "the later word counts, in whatever order they come"
    assert gateway.fleet.nodes["cellar"].devices["mtec"].bus == {"requests": 9, "crc": 1}
    gateway.now += 10
    gateway.send(data(5, 120))
    assert gateway.fleet.device_online("mtec") is True
    gateway.send(b"offline", kind="online")
    assert gateway.fleet.device_online("mtec") is False


# Frames of earlier boots, from the node's flash


async def test_an_earlier_boot_that_nobody_heard_of_lands_before_the_present_one(gateway: Gateway) -> None:
    gateway.send(hello(50.0, boot=8), kind="hello")
    gateway.send(data(1, 100.0, boot=6), data(2, 400.0, boot=6))
    await gateway.committed()
    assert gateway.ingest.refused["no time"] == 2
    assert 6 not in [boot for _, boot, _ in gateway.broker.acknowledged()]
    told = packed(1, 8, 1, 50_000, "", "dropped", {"boot": 6, "first": 1, "ago_s": 500, "ranges": []})
    gateway.send(told, kind="event")
    gateway.send(data(1, 100.0, boot=6), data(2, 400.0, boot=6))
    await gateway.committed()
    began = ORIGIN + 1000 - 50
    times = [snapshot.time for snapshot in gateway.snapshots]
    assert times == [pytest.approx(began - 400, abs=0.1), pytest.approx(began - 100, abs=0.1)]
    assert sorted(gateway.broker.acknowledged()[-2:]) == [[1, 6, 2], [1, 8, 1]]
    assert gateway.fleet.nodes["cellar"].boot == 8


async def test_what_is_gone_of_an_earlier_boot_is_not_waited_for(gateway: Gateway) -> None:
    gateway.send(hello(10.0, boot=6), kind="hello")
    gateway.send(data(1, 11.0, boot=6), data(2, 12.0, boot=6))
    await gateway.committed()
    gateway.now += 600
    gateway.send(hello(5.0, boot=8), kind="hello")
    gateway.send(data(10, 50.0, boot=6), data(20, 60.0, boot=6))
    await gateway.committed()
    assert [ack for ack in gateway.broker.acknowledged() if ack[1] == 6][-1] == [1, 6, 2]
    gateway.send(packed(1, 8, 1, 6_000, "", "dropped", {"boot": 6, "ranges": [[3, 9], [11, 19]]}), kind="event")
    await gateway.committed()
    assert [1, 6, 20] in gateway.broker.acknowledged()
    assert [1, 8, 1] in gateway.broker.acknowledged()
    assert len(gateway.snapshots) == 4


async def test_a_new_store_believes_where_an_earlier_boot_begins(gateway: Gateway) -> None:
    gateway.send(hello(50.0, boot=8), kind="hello")
    gateway.send(packed(1, 8, 1, 50_000, "", "dropped", {"boot": 6, "first": 100, "ago_s": 500, "ranges": [[100, 104]]}), kind="event")
    gateway.send(data(105, 100.0, boot=6))
    await gateway.committed()
    assert [1, 6, 105] in gateway.broker.acknowledged()


async def test_a_lost_hello_holds_nothing_up_for_ever(gateway: Gateway) -> None:
    gateway.send(hello(50.0, boot=6), kind="hello")
    for _ in range(8):
        gateway.now += 60
        gateway.send(data(1, gateway.now, boot=8))
    await gateway.committed()
    assert [1, 8, 0] in gateway.broker.acknowledged() or [1, 8, 1] in gateway.broker.acknowledged()
    assert [snapshot.values["p100"] for snapshot in gateway.snapshots[:1]] == [1]


@pytest.mark.parametrize("detail", [{"boot": 0}, {"boot": "x"}, {"first": 0}, {"ago_s": -1}, {"ago_s": 1e9}])
async def test_nonsense_about_an_earlier_boot_is_refused(gateway: Gateway, detail: dict[str, Any]) -> None:
    gateway.send(event(1, "dropped", ranges=[], **detail), kind="event")
    await gateway.committed()
    assert gateway.ingest.refused["garbage"] == 1


@pytest.mark.parametrize("first", ["hello", "frame"])
async def test_a_node_that_restarted_while_the_gateway_was_away_from_the_broker_is_heard_at_once(gateway: Gateway, first: str) -> None:
    gateway.send(packed(1, "test", 7, 100, bytes(8), "-", "power-on", [], 1), kind="hello")
    gateway.send(data(1, 0.1, boot=7))
    gateway.now += 60
    copy = packed(1, "test", 8, 100, bytes(8), "-", "power-on", [], 1)
    if first == "frame":
        gateway.send(data(1, 1.0, boot=8))
    gateway.send(copy, kind="hello", retain=True)
    gateway.send(data(1, 1.0, boot=8), data(2, 2.0, boot=8))
    await gateway.committed()
    assert [1, 8, 2] in gateway.broker.acknowledged(), "in whichever order the two are told"
    gateway.send(packed(1, "test", 7, 100, bytes(8), "-", "power-on", [], 1), kind="hello", retain=True)  # of before the broker's crash
    hello = gateway.fleet.nodes["cellar"].hello
    assert hello is not None
    assert hello.boot == 8
