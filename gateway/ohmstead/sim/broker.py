"""A broker for the demo: mosquitto where there is one, else amqtt, which says what it cannot do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from .children import Child, wait_for_port

STAND_IN = (
    "No mosquitto: amqtt stands in for it. It loses QoS 1 messages when their sender goes away, and is no broker\n"
    "for a home (apt install mosquitto). Readings arrive all the same: node and gateway acknowledge end to end."
)


class NoBrokerError(Exception):
    """Neither mosquitto nor amqtt can be started here."""


class LocalBroker:
    """A broker of our own on a port of its own, without passwords, only for this machine. `process` may be killed and started again."""

    def __init__(self, folder: Path, port: int, *, mosquitto: bool = True) -> None:
        self.host = "127.0.0.1"
        self.port = port
        program = find_mosquitto() if mosquitto else None
        self.stands_in = program is None
        if program is not None:
            configuration = folder / "mosquitto.conf"
            configuration.write_text(
                f"listener {port} {self.host}\nallow_anonymous true\npersistence false\nlog_type error\nlog_type warning\n"
            )
            command = [program, "-c", str(configuration)]
        else:
            if importlib.util.find_spec("amqtt") is None:
                raise NoBrokerError("no broker: install mosquitto (apt install mosquitto), or set up the demo (just setup demo)")
            configuration = folder / "amqtt.yaml"
            configuration.write_text(
                f"listeners:\n  default:\n    type: tcp\n    bind: {self.host}:{port}\nplugins:\n"
                "  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
            )
            command = [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(configuration)]
        self.process = Child("the broker", command, folder / "broker.log")

    def start(self) -> None:
        self.process.start()
        wait_for_port(self.process, self.port)

    @property
    def name(self) -> str:
        return "amqtt" if self.stands_in else "mosquitto"


def find_mosquitto() -> str | None:
    """On PATH, or where Debian puts it."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin")
