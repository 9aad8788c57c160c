"""`/health`, `/ready`, `/stats` and `/metrics` of the fork against what it answered, and what it does not say when a DTU is away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ohmstead.errors import NoAnswer
from ohmstead.publish.hoymiles_endpoints import DtuState, Service, health, metrics, ready, stats
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sources.hoymiles_figures import PollFigures
from tests.hoymiles_rig import House
from tests.publishing import read_image

UTC = ZoneInfo("UTC")


@pytest.fixture
def recorded(goldens: Path) -> dict[str, str]:
    """The body of each answer."""
    text = (goldens / "hoymiles" / "endpoints_fork012_ok.txt").read_text()
    parts = re.split(r"^=== (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: answer.partition("\n\n")[2] for name, answer in zip(parts[::2], parts[1::2], strict=True)}


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def figures(queries: int, last: str | None) -> PollFigures:
    found = PollFigures()
    for _ in range(queries):
        found.succeeded(at(last or "2026-11-21T07:46:23"), 0.007)
    return found


def service(dtu: DtuState, *, now: str = "2026-11-21T07:46:24.900000", connected: bool = True) -> Service:
    return Service(at(now), at("2026-11-21T07:46:13.715733"), UTC, connected, 112, 33, 0, [dtu])


def dtu(polls: PollFigures, *, online: bool | None = True) -> DtuState:
    return DtuState("DTU", polls, online, 60.0, False, {}, {})


def test_health_is_the_recorded_one(recorded: dict[str, str]) -> None:
    status, body = health(service(dtu(figures(3, "2026-11-21T07:46:23.775657"))))

    assert status == 200
    assert body == recorded["health"].rstrip("\n")


def test_ready_and_stats_are_the_recorded_ones(recorded: dict[str, str]) -> None:
    assert ready(service(dtu(figures(3, None)))) == (200, recorded["ready"].strip())
    assert stats("fork_A.db", 32768, 9) == recorded["stats"].strip()


def test_deviation_health_says_that_a_dtu_is_down() -> None:
    polls = figures(3, "2026-11-21T07:46:23.775657")
    polls.failed(NoAnswer("no answer from 192.0.2.20:502 within 3 s"), at("2026-11-21T07:47:30"))
    status, body = health(service(dtu(polls, online=False), now="2026-11-21T07:47:31"))

    said = json.loads(body)
    assert (status, said["healthy"]) == (503, False)
    assert said["dtus"]["DTU"] == {
        "status": "offline",
        "last_successful_query": "2026-11-21T07:46:23.775657",
        "seconds_since_last_success": 67,
        "query_count": 4,
        "error_count": 1,
        "last_error": "no answer from 192.0.2.20:502 within 3 s",
        "last_error_time": "2026-11-21T07:47:30",
    }


def test_before_the_first_poll_a_dtu_is_unknown_and_nothing_is_ready() -> None:
    fresh = service(dtu(PollFigures(), online=None))

    assert json.loads(health(fresh)[1])["dtus"]["DTU"]["status"] == "unknown"
    assert ready(fresh)[0] == 503
    assert health(service(dtu(figures(1, None)), connected=False))[0] == 503


async def test_metrics_are_the_recorded_ones_but_for_what_is_counted_otherwise(goldens: Path, recorded: dict[str, str]) -> None:
    """Three polls of the recorded registers, A1 to A3. The fork's metrics know neither its exclusion nor its multipliers."""
    async with Dtu(image={}) as simulated:
        house = House(simulated)
        for number in (1, 2, 3):
            simulated.image = read_image(goldens / "hoymiles" / f"image_A{number}.json")
            read = await house.poll()
    polls = figures(3, "2026-11-21T07:46:23.775657")
    inverters = {name.removeprefix("roof-"): one.values for name, one in read.items() if name != "roof"}
    state = DtuState("DTU", polls, True, 60.0, False, read["roof"].values, inverters)

    ours, theirs = samples(text_of(service(state))), samples(recorded["metrics"])
    assert set(ours) == {key for key in theirs if key.startswith("hoymiles_")}
    counted = re.compile(r"_created|_seconds(_bucket|_sum|\b)|uptime")
    last_port = ours.pop('hoymiles_inverter_status{serial_number="104162778899"}')
    assert last_port == "2.0"  # as its state says; the fork has the last port's, 1.0
    for key, value in ours.items():
        assert counted.search(key) or value == theirs[key], key
    assert helps(text_of(service(state))) == [line for line in helps(recorded["metrics"]) if " hoymiles_" in line]


def test_an_inverter_behind_two_dtus_is_told_once() -> None:
    behind = {"104162778899": {"port_1_pv_power": 3.0, "temperature": 20.0, "operating_status": 3}}
    first, second = (dtu(figures(1, None))._replace(name=name, inverters=behind) for name in ("a", 'b "quoted"\n'))
    away = dtu(figures(1, None))._replace(name="c", inverters={"104162778899": {}})
    text = text_of(service(away)._replace(dtus=[away, first, second]))
    keys = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(set(keys)) == len(keys)
    assert 'hoymiles_inverter_temperature_celsius{serial_number="104162778899"} 20.0' in text


def text_of(state: Service) -> str:
    class Once(Collector):
        def collect(self) -> Iterator[Metric]:
            return metrics(state)

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry).decode()


def samples(text: str) -> dict[str, str]:
    return {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in text.splitlines() if line and not line.startswith("#")}


def helps(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("# ")]
