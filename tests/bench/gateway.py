"""The gateway against aiomtec2mqtt 1.1.0: processor time per 1000 published values, memory, time until ready.

Both read the same simulated inverter over Modbus TCP each second and publish to the same broker.
"""

from __future__ import annotations

import time
from pathlib import Path

from ohmstead.profiles import library
from tests.bench import peer
from tests.bench.figures import Figure
from tests.bench.rig import OHMSTEAD, Listener, cpu_seconds, get, inverter, started, workplace
from tests.conftest import Broker, free_port, wait_for

CONFIGURATION = """
site: bench
mqtt: {{url: "mqtt://127.0.0.1:{mqtt}"}}
store: {{path: "{folder}/{contract}.db"}}
web: {{host: 127.0.0.1, port: {web}}}
log: {{level: warning}}
devices:
  mtec: {{profile: mtec-energybutler, via: "tcp://127.0.0.1:{modbus}", unit: {unit}, contract: {contract}, every: {every}}}
"""
EACH_SECOND = "{" + ", ".join(f"{group}: 1 s" for group in library.load("mtec-energybutler").groups) + "}"


def of_peer(folder: Path, broker: Broker, modbus: int, seconds: float) -> float | None:
    """CPU seconds per 1000 values of aiomtec2mqtt, None where it cannot run."""
    program = peer.program()
    if program is None:
        return None
    home = folder / "peer"
    home.mkdir()
    peer.configure(home, modbus, broker.port)
    listener = Listener(broker.port, "PEER/#", as_json=False)
    with started(program, folder=home) as process:
        wait_for(lambda: listener.values > 100, 30, "the peer's values")
        return measured(process, listener, seconds)


def measured(process: object, listener: Listener, seconds: float) -> float:
    """CPU seconds per 1000 values over the next `seconds`."""
    cpu, values = cpu_seconds(process), listener.values  # type: ignore[arg-type]
    time.sleep(seconds)  # the length of the measurement, not a wait for a state
    result = 1000 * (cpu_seconds(process) - cpu) / (listener.values - values)  # type: ignore[arg-type]
    listener.close()
    return result


def of_ohmstead(folder: Path, broker: Broker, modbus: int, contract: str, seconds: float) -> tuple[float, float, float]:
    """CPU seconds per 1000 values, resident MB at the end with the page open, seconds until /ready."""
    web = free_port()
    file = folder / f"{contract}.yaml"
    file.write_text(
        CONFIGURATION.format(mqtt=broker.port, modbus=modbus, folder=folder, web=web, contract=contract, unit=247, every=EACH_SECOND)
    )
    listener = Listener(broker.port, "MTEC/#", as_json=contract == "json")
    begin = time.monotonic()
    with started(OHMSTEAD, "run", "-c", file, folder=folder) as process:
        wait_for(lambda: get(f"http://127.0.0.1:{web}/ready")[0] == 200, 20, "/ready")
        ready = time.monotonic() - begin
        wait_for(lambda: listener.values > 100, 20, "the gateway's values")
        cost = measured(process, listener, seconds)
        assert get(f"http://127.0.0.1:{web}/")[0] == 200
        assert get(f"http://127.0.0.1:{web}/api/now")[0] == 200
        return cost, process.memory_info().rss / 1e6, ready


def measure(quick: bool) -> list[Figure]:
    seconds = 10.0 if quick else 40.0
    figures: list[Figure] = []
    with workplace() as (folder, broker), inverter(folder, "--unit", "247") as modbus:  # the peer takes no unit above 247
        peers = of_peer(folder, broker, modbus, seconds)
        state, _, _ = of_ohmstead(folder, broker, modbus, "state", seconds)
        json_, memory, ready = of_ohmstead(folder, broker, modbus, "json", seconds)
    if peers is not None:
        figures += [
            Figure("CPU per 1000 values, aiomtec2mqtt 1.1.0", 1000 * peers, "ms"),
            Figure("CPU per 1000 values, contract state, against the peer", state / peers, "×", 0.5),
            Figure("CPU per 1000 values, contract json, against the peer", json_ / peers, "×", 0.2),
        ]
    return [
        *figures,
        Figure("CPU per 1000 values, contract state", 1000 * state, "ms"),
        Figure("CPU per 1000 values, contract json", 1000 * json_, "ms"),
        Figure("resident memory with the page", memory, "MB", 80),
        Figure("from the start until ready", ready, "s", 2),
    ]
