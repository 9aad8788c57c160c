"""The node's bus task on a simulated line: what it reads arrives, and every fault is counted for what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Broker, wait_for
from tests.integration.node_harness import Gateway, Inverter, NodeProcess, configuration, device, group, line_of

HOLDING = {address: 7 * address % 65536 for address in range(100, 140)} | {address: address for address in range(200, 240)}
READS = ((3, 100, 10), (3, 120, 4), (3, 200, 10))


@pytest.fixture
def inverter() -> Inverter:
    return Inverter(HOLDING)


def counted(gateway: Gateway, name: str = "mtec") -> dict[str, int]:
    counters = gateway.fresh_counters(name)
    outcomes = ("ok", "no_answer", "partial", "crc", "exception", "wrong")
    assert counters["requests"] == sum(counters[outcome] for outcome in outcomes)
    return {outcome: counters[outcome] for outcome in outcomes if outcome != "ok" and counters[outcome]}


def test_what_the_device_holds_arrives_in_frames_of_whole_groups(
    broker: Broker, gateway: Gateway, node: NodeProcess, inverter: Inverter
) -> None:
    with line_of({252: inverter}) as line:
        fast, slow = group("200ms", 200, *READS), group("1h", 3_600_000, (3, 130, 8), priority=1)
        node.configure(configuration(line.path, [(broker.host, broker.port)], device("mtec", 252, fast, slow)))
        node.start()
        wait_for(lambda: len(gateway.of("mtec", "200ms")) >= 20, what="20 frames")
        frames = gateway.of("mtec", "200ms")
        assert {frame.quality for frame in frames} == {0}
        assert all(
            frame.words == {address: HOLDING[address] for _, first, count in READS for address in range(first, first + count)}
            for frame in frames
        )
        assert [frame.words for frame in gateway.of("mtec", "1h")] == [{address: HOLDING[address] for address in range(130, 138)}]
        uptimes = [frame.uptime_ms for frame in frames]
        assert abs((uptimes[-1] - uptimes[0]) / (len(uptimes) - 1) - 200) < 2, "the period does not drift"
        assert gateway.missing(frames[0].boot) == []
        assert counted(gateway) == {}


@pytest.mark.parametrize(
    ("fault", "counter"),
    [("no-answerx2", "no_answer"), ("crcx2", "crc"), ("halfx2", "partial"), ("wrong-unitx2", "wrong"), ("wrong-functionx2", "wrong")],
)
def test_a_fault_is_counted_as_what_it_is_and_mended_by_the_retry(
    broker: Broker, gateway: Gateway, node: NodeProcess, inverter: Inverter, fault: str, counter: str
) -> None:
    with line_of({252: inverter}) as line:
        node.configure(
            configuration(
                line.path, [(broker.host, broker.port)], device("mtec", 252, group("250ms", 250, *READS), timeout_ms=400, retries=2)
            )
        )
        node.start()
        wait_for(lambda: len(gateway.of("mtec")) >= 2, what="frames")
        before = len(gateway.of("mtec"))
        inverter.faults.on(fault)
        wait_for(lambda: len(gateway.of("mtec")) >= before + 5, what="frames after the fault")
        assert counted(gateway) == {counter: 2}
        assert {frame.quality for frame in gateway.of("mtec")} == {0}, "the retry read what was missing"
        assert gateway.counters("mtec")["retries"] >= 1


def test_a_refused_range_is_left_out_and_the_others_go_on(broker: Broker, gateway: Gateway, node: NodeProcess, inverter: Inverter) -> None:
    with line_of({252: inverter}) as line:
        polled = group("200ms", 200, (3, 100, 10), (3, 500, 4), (3, 200, 10))
        node.configure(configuration(line.path, [(broker.host, broker.port)], device("mtec", 252, polled, group("1s", 1000, (3, 600, 2)))))
        node.start()
        wait_for(lambda: len(gateway.of("mtec", "200ms")) >= 6, what="frames")
        frame = gateway.of("mtec", "200ms")[-1]
        assert (frame.quality, set(frame.words)) == (1, set(range(100, 110)) | set(range(200, 210)))
        counters = gateway.fresh_counters("mtec")
        assert counters["retries"] == 0, "a refusal is not asked again"
        assert counters["exception"] >= 6
        assert counters["online"] is True
        assert gateway.of("mtec", "1s") == [], "nothing read is no frame"


def test_a_late_answer_is_never_taken_for_the_next_one(broker: Broker, gateway: Gateway, node: NodeProcess, inverter: Inverter) -> None:
    """All reads have answers of the same shape; each second one comes after the time-out, some much later."""
    reads = [(3, first, 4) for first in (100, 110, 120, 200, 210, 220)]
    expected = {address: HOLDING[address] for _, first, count in reads for address in range(first, first + count)}
    with line_of({252: inverter}) as line:
        polled = device("mtec", 252, group("200ms", 200, *reads), timeout_ms=60, retries=2)
        node.configure(configuration(line.path, [(broker.host, broker.port)], polled))
        node.start()
        wait_for(lambda: len(gateway.of("mtec")) >= 2, what="frames")
        for lateness in ("65ms", "110ms", "400ms"):
            inverter.faults.on(f"late={lateness}:40%x6")
            before = len(gateway.of("mtec"))
            wait_for(lambda before=before: len(gateway.of("mtec")) >= before + 4, 20, f"frames with answers {lateness} late")
            inverter.faults.off("late")
        wrong = [(address, word) for frame in gateway.of("mtec") for address, word in frame.words.items() if expected[address] != word]
        assert wrong == []
        counters = gateway.fresh_counters("mtec")
        assert counters["no_answer"] > 5
        assert counters["late_bytes"] > 50, "late answers came and were thrown away"


def test_an_unplugged_device_goes_offline_and_its_first_answer_brings_it_back(
    broker: Broker, gateway: Gateway, node: NodeProcess, inverter: Inverter
) -> None:
    inverter.faults.on("unplugged")
    with line_of({252: inverter}) as line:
        polled = device("mtec", 252, group("200ms", 200, *READS), group("1h", 3_600_000, (3, 130, 8)), timeout_ms=50)
        node.configure(configuration(line.path, [(broker.host, broker.port)], polled))
        node.start()
        wait_for(lambda: gateway.heard("offline", "mtec"), what="the offline event of a device that is absent at start")
        asked = gateway.fresh_counters("mtec")["requests"]
        assert gateway.of("mtec") == []
        wait_for(lambda: gateway.counters("mtec")["requests"] > asked, what="a probe")
        assert gateway.counters("mtec")["requests"] - asked <= 2, "single probes at growing intervals"
        inverter.faults.clear()
        wait_for(lambda: len(gateway.of("mtec", "200ms")) >= 6, what="the device's return")
        online = gateway.heard("online", "mtec")
        assert len(online) == 1
        first = gateway.of("mtec", "200ms")[:6]
        assert first[-1].uptime_ms - first[0].uptime_ms < 5 * 200 + 100, "full polling at once"
        assert gateway.of("mtec", "1h"), "what could not be read before is read now"
        inverter.faults.on("unplugged")
        wait_for(lambda: len(gateway.heard("offline", "mtec")) == 2, what="offline again")


def test_a_dead_device_leaves_the_others_cadence_alone(broker: Broker, gateway: Gateway, node: NodeProcess, inverter: Inverter) -> None:
    with line_of({252: inverter}) as line:
        live = device("mtec", 252, group("500ms", 500, *READS))
        dead = device("meter", 7, group("500ms", 500, (3, 0, 10), (3, 20, 10)), timeout_ms=300)
        node.configure(configuration(line.path, [(broker.host, broker.port)], dead, live))
        node.start()
        wait_for(lambda: gateway.heard("offline", "meter"), what="the dead device's offline event")
        given_up = gateway.heard("offline", "meter")[0].at
        wait_for(lambda: len([frame for frame in gateway.of("mtec") if frame.at > given_up + 0.5]) >= 10, what="frames of the live device")
        uptimes = [frame.uptime_ms for frame in gateway.of("mtec") if frame.at > given_up + 0.5]
        periods = [round((uptime - uptimes[0]) / 500) for uptime in uptimes]
        assert periods == list(range(len(periods))), "no period of the live one is lost to the dead one's time-outs"
        assert gateway.fresh_counters("meter")["no_answer"] >= 3
        assert counted(gateway) == {}


def test_a_port_that_is_not_there_is_waited_for(
    broker: Broker, gateway: Gateway, node: NodeProcess, inverter: Inverter, tmp_path: Path
) -> None:
    port = tmp_path / "rs485"
    node.configure(configuration(str(port), [(broker.host, broker.port)], device("mtec", 252, group("200ms", 200, *READS))))
    node.start()
    wait_for(lambda: gateway.heard("fault"), what="the report of the missing port")
    with line_of({252: inverter}) as line:
        port.symlink_to(line.path)
        wait_for(lambda: len(gateway.of("mtec")) >= 3, what="frames once the port is there")
