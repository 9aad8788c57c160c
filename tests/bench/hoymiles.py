"""The gateway against hoymiles-mqtt 0.11.0: nine ports of a DTU each second, what that costs, and over how many connections.

Both read the same simulated DTU and publish to the same broker; ours has its store, its page and the plain topics beside the contract.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.bench.figures import Figure
from tests.bench.rig import OHMSTEAD, Listener, cpu_seconds, listens, started, workplace
from tests.conftest import REPOSITORY, Broker, free_port, wait_for

ENVIRONMENT = REPOSITORY / "build" / "hoymiles-venv"
VERSION = "0.11.0"
TOPICS = "homeassistant/hoymiles_mqtt/#"
VALUES = 4 + 4 * 7 + 9 * 5
"""Of one poll at noon: the DTU, four inverters, nine ports."""

CONFIGURATION = """
site: bench
mqtt: {{url: "mqtt://127.0.0.1:{mqtt}"}}
store: {{path: "{folder}/hoymiles.db"}}
web: {{host: 127.0.0.1, port: {web}}}
log: {{level: warning}}
devices:
  roof: {{profile: hoymiles-dtu, via: "tcp://127.0.0.1:{modbus}", every: 1 s}}
"""


def program() -> Path | None:
    """The peer's interpreter, its environment made on first use; None (and a word about why) where it cannot be had."""
    python = ENVIRONMENT / "bin" / "python"
    if (ENVIRONMENT / "lib").is_dir() and list(ENVIRONMENT.glob(f"lib/*/site-packages/hoymiles_mqtt-{VERSION}.dist-info")):
        return python
    uv = Path(sys.executable).with_name("uv")
    try:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, ENVIRONMENT], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, f"hoymiles-mqtt=={VERSION}"], check=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        print(f"  skipped: hoymiles-mqtt {VERSION} cannot be installed here ({error})")
        return None
    return python


@contextmanager
def dtu(folder: Path) -> Iterator[int]:
    """A simulated DTU at noon; yields its port."""
    port = free_port()
    options = ("--tcp", str(port), "--day", "2026-06-21", "--hour", "12")
    with started(OHMSTEAD, "simulate", "hoymiles", *options, folder=folder):
        wait_for(lambda: listens(port), 15, "the simulated DTU")
        yield port


def measured(process: psutil.Process, broker: Broker, seconds: float) -> tuple[float, float, int]:
    """CPU seconds and values in 60 s, and the most connections to the broker that were seen at once."""
    listener = Listener(broker.port, TOPICS, as_json=True)
    wait_for(lambda: listener.values > 3 * VALUES, 60, "values of the ports")
    cpu, values, begin, most = cpu_seconds(process), listener.values, time.monotonic(), 0
    while time.monotonic() < begin + seconds:
        most = max(most, sum(1 for one in process.net_connections("tcp") if one.raddr and one.raddr.port == broker.port))
        time.sleep(1.0)  # the length of the measurement, not a wait for a state
    share = 60.0 / (time.monotonic() - begin)
    result = share * (cpu_seconds(process) - cpu), share * (listener.values - values), most
    listener.close()
    return result


def of_peer(folder: Path, broker: Broker, modbus: int, seconds: float) -> tuple[float, float] | None:
    """CPU seconds and values in 60 s of hoymiles-mqtt, None where it cannot run."""
    python = program()
    if python is None:
        return None
    options = [
        "--mqtt-broker",
        "127.0.0.1",
        "--mqtt-port",
        broker.port,
        "--dtu-host",
        "127.0.0.1",
        "--dtu-port",
        modbus,
        "--query-period",
        1,
    ]
    with started(python, "-m", "hoymiles_mqtt", *map(str, options), folder=folder) as process:
        return measured(process, broker, seconds)[:2]


def measure(quick: bool) -> list[Figure]:
    seconds = 15.0 if quick else 60.0
    with workplace() as (folder, broker), dtu(folder) as modbus:
        peer = of_peer(folder, broker, modbus, seconds)
        web = free_port()
        file = folder / "hoymiles.yaml"
        file.write_text(CONFIGURATION.format(mqtt=broker.port, folder=folder, web=web, modbus=modbus))
        with started(OHMSTEAD, "run", "-c", file, folder=folder) as process:
            cpu, values, connections = measured(process, broker, seconds)
            memory = process.memory_info().rss / 1e6
    figures = [
        Figure("9 ports at 1 s: CPU in 60 s", cpu, "s"),
        Figure("values of the contract in 60 s", values, "", 0.9 * 60 * VALUES, "at least"),
        Figure("connections to the broker", connections, "", 1),
        Figure("resident memory", memory, "MB", 80),
    ]
    if peer is None:
        return figures
    return [
        Figure(f"9 ports at 1 s: CPU in 60 s, hoymiles-mqtt {VERSION}", peer[0], "s"),
        Figure("its values in 60 s", peer[1]),
        *figures,
        Figure("CPU against hoymiles-mqtt", cpu / peer[0], "×", 0.5),
    ]
