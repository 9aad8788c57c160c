"""The gateway is killed again and again while a node sends: everything arrives, once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
from msgpack import packb, unpackb  # type: ignore[import-untyped] # it comes without types
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import REPOSITORY, Broker, wait_for

FRAMES = 1000
KILLS = 20
BOOT = 4711
TOPIC = "ohm/home/node/cellar"


class Node:
    """Sends a thousand frames, a window at a time, again and again until each is acknowledged; forgets it then, and only then."""

    WINDOW = 40
    RESEND_S = 0.2

    def __init__(self, broker: Broker) -> None:
        self.booted = time.monotonic() - 2 * FRAMES
        self.spool = {seq: self._frame(seq) for seq in range(1, FRAMES + 1)}
        self.sent = 0
        self.gateway_listens = threading.Event()
        self.acknowledgements: list[int] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.connect(broker.host, broker.port)
        self._client.subscribe([(f"{TOPIC}/down/ack", 0), ("test/listening", 0)])
        self._client.loop_start()
        self._thread = threading.Thread(target=self._send)

    @property
    def acknowledged(self) -> int:
        return max(self.acknowledgements, default=0)

    def hello(self) -> None:
        uptime = round((time.monotonic() - self.booted) * 1000)
        self._client.publish(f"{TOPIC}/up/hello", packb([1, "test", BOOT, uptime, bytes(8), "a", "power-on", [], 1]), retain=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(10)
        self._client.disconnect()
        self._client.loop_stop()

    @staticmethod
    def _frame(seq: int) -> bytes:
        frame = packb([1, BOOT, seq, seq * 1000, "meter", "1s", 0, [[3 << 16, seq.to_bytes(2, "big")]]])
        assert isinstance(frame, bytes)
        return frame

    def _on_message(self, _client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == "test/listening":
            self.gateway_listens.set()
            return
        protocol, boot, seq, _ = unpackb(message.payload)
        assert (protocol, boot) == (1, BOOT)
        with self._changed:
            self.acknowledgements.append(seq)
            for settled in [number for number in self.spool if number <= seq]:
                del self.spool[settled]
            self._changed.notify()

    def _send(self) -> None:
        """After an acknowledgement the next frames; after none for a while all of the window again."""
        highest = 0
        while True:
            with self._changed:
                if self._stopping or not self.spool:
                    return
                window = list(self.spool)[: self.WINDOW]
                news = [seq for seq in window if seq > highest]
                frames = [self.spool[seq] for seq in (news or window)]
                highest = window[-1]
            for frame in frames:
                self._client.publish(f"{TOPIC}/up/data", frame)
                self.sent += 1
                time.sleep(0.001)  # the pace of a bus, so that a kill finds frames at every stage
            with self._changed:
                self._changed.wait(self.RESEND_S)


@contextmanager
def node_of(broker: Broker) -> Iterator[Node]:
    node = Node(broker)
    try:
        yield node
    finally:
        node.stop()


@contextmanager
def gateway(broker: Broker, database: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "tests.integration.ingest_gateway", str(broker.port), str(database)], cwd=REPOSITORY)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def count(database: Path, query: str, *parameters: int) -> int:
    connection = sqlite3.connect(database)
    try:
        return int(connection.execute(query, parameters).fetchone()[0])
    finally:
        connection.close()


def test_a_thousand_frames_and_twenty_times_kill_9_a_thousand_are_stored_none_twice(broker: Broker, tmp_path: Path) -> None:
    database = tmp_path / "ohm.db"
    dice = random.Random()
    with node_of(broker) as node:
        for kill in range(KILLS):
            with gateway(broker, database) as process:
                if kill == 0:
                    assert node.gateway_listens.wait(30)
                    node.hello()
                    node.start()
                goal = node.acknowledged + dice.randint(1, FRAMES // KILLS - 10)
                wait_for(lambda goal=goal: node.acknowledged >= goal, 15, f"an acknowledgement of {goal}")  # type: ignore[misc]
                time.sleep(dice.uniform(0, 0.05))  # any moment of the next commit will do
                assert process.poll() is None
                assert node.spool, "every kill has to find the node sending"
            promised = node.acknowledged
            assert count(database, "SELECT count(*) FROM frames WHERE seq <= ?", promised) == promised, "acknowledged, and gone"
        with gateway(broker, database):
            wait_for(lambda: not node.spool, 20, "the last acknowledgement")
    assert count(database, "SELECT count(*) FROM frames") == FRAMES
    assert count(database, "SELECT count(*) FROM samples") == FRAMES
    assert count(database, "SELECT count(DISTINCT value) FROM samples") == FRAMES
    assert count(database, "SELECT max(ts) - min(ts) FROM samples") in range((FRAMES - 2) * 1000, FRAMES * 1000), "where they happened"
    assert node.sent > FRAMES, "something had to be sent again"
    assert node.acknowledged == FRAMES
