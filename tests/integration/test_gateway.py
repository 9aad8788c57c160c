"""The gateway as its owner runs it: a process, a real broker, an inverter on Modbus TCP, the page, signals and kill -9."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ohmstead.web.api import THROTTLE_S
from tests.conftest import Broker, wait_for
from tests.processes import OHMSTEAD, SERIAL, Ear, Gateway, Inverter


@pytest.fixture
def inverter(goldens: Path) -> Iterator[Inverter]:
    with Inverter(goldens) as simulated:
        yield simulated


@pytest.fixture
def gateway(tmp_path: Path, broker: Broker, inverter: Inverter) -> Iterator[Gateway]:
    with Gateway(tmp_path, broker, inverter.port) as process:
        yield process


@pytest.fixture
def ear(broker: Broker) -> Iterator[Ear]:
    with Ear(broker) as listener:
        yield listener


def test_values_reach_the_topics_the_store_and_the_page_and_it_ends_in_order(gateway: Gateway, ear: Ear) -> None:
    gateway.start()
    wait_for(lambda: ear.count(f"MTEC/{SERIAL}/now-base") >= 3, 10, "three readings")
    now_base = json.loads(ear.last(f"MTEC/{SERIAL}/now-base") or b"")
    assert now_base["mode"] == "General mode"
    assert ear.last("ohm/test/bridge/online") == b"online"
    assert ear.last("ohm/test/device/mtec/online") == b"online"
    assert ear.last("ohm/test/device/mtec/grid_inject_limit") == b"70"
    wait_for(lambda: gateway.stored() > 80, 5, "stored samples")

    status, health = gateway.get("/health")
    assert (status, health["ok"], health["devices"]) == (200, True, {"mtec": "ok"})
    _, now = gateway.get("/api/now")
    (device,) = now["devices"]
    assert (device["state"], device["serial"]) == ("ok", SERIAL)
    assert sum(point["text"] is not None for group in device["groups"] for point in group["points"]) >= 90
    assert set(device["flow"]) == {"pv", "battery", "grid", "house", "soc"}
    _, metrics = gateway.get("/metrics")
    assert 'ohmstead_device_state{device="mtec",state="ok"} 1.0' in metrics
    assert "process_resident_memory_bytes" in metrics
    _, stats = gateway.get("/stats")
    assert stats["devices"]["mtec"]["bus"]["ok"] > 0
    assert gateway.get("/")[0] == 200

    assert gateway.end() == 0
    wait_for(lambda: ear.last("ohm/test/bridge/online") == b"offline", 2, "offline")
    lines = gateway.lines()
    assert all("service" in line and line["timestamp"][19:].endswith((":00",)) for line in lines)
    assert not [line for line in lines if line["level"] in ("error", "critical")]
    assert "4711081508" not in gateway.log.read_text()


def test_the_live_stream_says_what_is_new_and_ends_with_the_gateway(gateway: Gateway, ear: Ear) -> None:
    gateway.start()
    wait_for(lambda: ear.count(f"MTEC/{SERIAL}/now-base") >= 1, 10, "a reading")
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.web}/api/live", timeout=10) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        came: list[float] = []
        while len(came) < 4:
            line = stream.readline()
            if line.startswith(b"data: "):
                document = json.loads(line[6:])
                assert document["site"] == "test"
                came.append(document["time"])
        pauses = [later - earlier for earlier, later in pairwise(came)]
        assert min(pauses) > THROTTLE_S / 2, "by the gateway's own clock: new readings come five times a second, the page gets fewer"
        assert gateway.end() == 0
        assert stream.readline() in (b"", b"\n")


def test_a_command_is_written_read_back_and_answered_and_a_wrong_one_only_answered(gateway: Gateway, ear: Ear, inverter: Inverter) -> None:
    gateway.start()
    wait_for(lambda: ear.count(f"MTEC/{SERIAL}/now-base") >= 1, 10, "a reading")
    ear.client.publish("ohm/test/device/mtec/grid_inject_limit/set", "101")
    ear.client.publish("ohm/test/device/mtec/grid_inject_limit/set", "55.5")
    result = "ohm/test/device/mtec/control/grid_inject_limit/result"
    wait_for(lambda: ear.count(result) == 2, 5, "two answers")
    answers = [json.loads(payload) for topic, payload in ear.heard if topic == result]
    assert [(answer["outcome"], answer["reason"]) for answer in answers] == [("rejected", "out of range"), ("done", "")]
    assert [(write.address, write.words) for write in inverter.image.writes] == [(25103, (555,))]
    wait_for(lambda: ear.last("ohm/test/device/mtec/grid_inject_limit") == b"55.5", 2, "the new value, well before its group's 30 s")
    _, stats = gateway.get("/stats")
    assert stats["control"] == {"answered": {"rejected": 1, "done": 1}, "rejected": {"out of range": 1}, "retained": 0}
    assert gateway.end() == 0


def test_the_broker_may_be_absent_come_and_go(tmp_path: Path, broker: Broker, inverter: Inverter) -> None:
    broker.stop()
    with Gateway(tmp_path, broker, inverter.port) as gateway:
        gateway.start()
        assert gateway.get("/health")[1]["mqtt"] == "the broker is away"
        wait_for(lambda: gateway.stored() > 80, 10, "stored samples without a broker")
        for _ in range(2):
            broker.start()
            ear = Ear(broker)
            wait_for(lambda ear=ear: ear.count(f"MTEC/{SERIAL}/now-base") >= 2, 10, "readings")  # type: ignore[misc]
            wait_for(lambda ear=ear: ear.last("ohm/test/bridge/online") == b"online", 2, "online")  # type: ignore[misc]
            ear.close()
            broker.kill()
        assert gateway.end() == 0
        assert gateway.process is None


def test_with_a_broker_that_swallows_everything_ready_answers_at_once_that_it_is_not_and_why(
    tmp_path: Path, broker: Broker, inverter: Inverter
) -> None:
    broker.stop()
    silent = socket.create_server((broker.host, broker.port))  # takes the connection and never says a word
    with silent, Gateway(tmp_path, broker, inverter.port) as gateway:
        gateway.start(ready=False)
        wait_for(lambda: gateway.get("/ready")[0], 10, "any answer")
        status, said = gateway.get("/ready")
        assert (status, said["ready"]) == (503, False)
        assert f"the broker at 127.0.0.1:{broker.port} was called" in said["reason"]
        wait_for(lambda: gateway.stored() > 80, 10, "readings meanwhile")
        assert gateway.end() == 0


def test_the_inverter_may_be_absent_come_and_go(gateway: Gateway, ear: Ear, inverter: Inverter) -> None:
    inverter.stop()
    gateway.start()
    wait_for(lambda: gateway.get("/health")[1]["devices"] == {"mtec": "offline"}, 5, "offline")
    assert gateway.get("/health")[0] == 200, "a restart would not bring the inverter back"
    inverter.start()
    wait_for(lambda: ear.last("ohm/test/device/mtec/online") == b"online", 10, "online")
    inverter.stop()
    wait_for(lambda: ear.last("ohm/test/device/mtec/online") == b"offline", 10, "offline")
    inverter.start()
    wait_for(lambda: ear.last("ohm/test/device/mtec/online") == b"online", 10, "online, for which upstream needed 107 s")


def test_killed_at_any_moment_it_starts_again_with_what_it_had(gateway: Gateway, ear: Ear) -> None:
    before = 0
    for _ in range(3):
        gateway.start()
        wait_for(lambda: gateway.stored() > before, 10, "more samples")  # noqa: B023 - used within the turn
        before = gateway.stored()
        assert gateway.end(signal.SIGKILL) == -signal.SIGKILL
        wait_for(lambda: ear.last("ohm/test/bridge/online") == b"offline", 5, "the last will")
    assert gateway.stored() >= before
    gateway.start()
    assert gateway.end() == 0


def test_a_store_that_cannot_be_opened_ends_it_with_a_word(gateway: Gateway) -> None:
    (gateway.folder / "test.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    gateway.start(ready=False)
    assert gateway.process is not None
    assert gateway.process.wait(30) == 1
    gateway.process = None
    assert gateway.lines()[-1]["event"] == "cannot start"
    assert "move it away together with its -wal and -shm files" in gateway.lines()[-1]["reason"]


def test_a_second_gateway_on_the_same_store_is_refused_and_the_first_goes_on(gateway: Gateway) -> None:
    gateway.start()
    second = subprocess.run([*OHMSTEAD, "run", "-c", str(gateway.file)], capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert "another ohmstead is using it" in second.stdout + second.stderr
    before = gateway.stored()
    wait_for(lambda: gateway.stored() > before, 10, "more samples of the first")
    assert gateway.end() == 0


@pytest.mark.parametrize("module", ["ohmstead.config", "ohmstead.observe.latest"])
def test_asked_to_end_while_it_still_loads_it_ends_at_once(gateway: Gateway, module: str) -> None:
    """As PID 1 it would otherwise not be told at all."""
    at_import = (
        "import builtins, os, signal; real = builtins.__import__\n"
        "def load(name, *rest, **named):\n"
        f"    if name == {module!r}: builtins.__import__ = real; os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return real(name, *rest, **named)\n"
        "builtins.__import__ = load\n"
        "from ohmstead.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", at_import, "run", "-c", str(gateway.file)], capture_output=True, timeout=20)
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stdout
    assert not (gateway.folder / "test.db").exists()


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists() or os.geteuid() != 0, reason="needs root on Linux for a PID namespace")
def test_as_pid_1_it_obeys_sigterm(gateway: Gateway) -> None:
    probe = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("no PID namespaces here")
    with gateway.log.open("ab") as log:
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", *OHMSTEAD, "run", "-c", str(gateway.file)], stdout=log, stderr=log
        )
    try:
        wait_for(lambda: gateway.get("/ready")[0] == 200, 15, "/ready")
        children = subprocess.run(["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True, check=True).stdout
        os.kill(int(children.split()[0]), signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(30)
