"""The metrics of aiomtec2mqtt under their old names: the same names, kinds and labels as its own, and what they mean."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ohmstead import config
from ohmstead.app import Gateway
from ohmstead.observe.metrics import Metrics
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.modbus import ModbusSource
from tests.conftest import REPOSITORY
from tests.unit.homes import mistakes, writer

PYTHON = REPOSITORY / "build" / "peer-venv" / "bin" / "python"
PREFIX = "aiomtec2mqtt_"

UPSTREAM = """
import json
from prometheus_client import CollectorRegistry
from aiomtec2mqtt.prometheus_metrics import PrometheusMetrics
kept = PrometheusMetrics(enable_http_server=False, registry=CollectorRegistry())
found = {}
for metric in vars(kept).values():
    if hasattr(metric, "describe"):
        (family,) = metric.describe()
        bounds = [str(one) for one in getattr(metric, "_upper_bounds", [])]
        found[family.name] = [family.type, family.documentation, list(metric._labelnames), bounds]
print(json.dumps(found))
"""


@pytest.fixture
async def gateway(tmp_path: Path) -> Gateway:
    text = """
        web: {compatible: [aiomtec2mqtt]}
        devices:
          meter: {profile: eastron-sdm120, via: tcp://127.0.0.1}
          mtec: {profile: mtec-energybutler, via: tcp://127.0.0.1}
    """
    return Gateway(config.load(writer(tmp_path)(text)))


def families(metrics: Metrics) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(metrics.text().decode()) if family.name.startswith(PREFIX)}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """A sample's value; None where there is no such sample."""
    samples: Iterator[Sample] = (sample for family in families(metrics).values() for sample in family.samples)
    return next((sample.value for sample in samples if sample.name == PREFIX + name and sample.labels == labels), None)


def polled_with(gateway: Gateway, group: str) -> str:
    """The poll group that a group of the profile is read with."""
    return next(scan.name for scan in gateway.scans["mtec"] if group in scan.groups)


def read(gateway: Gateway, group: str, quality: Quality = Quality.GOOD, **values: float) -> None:
    gateway.stream.publish(Snapshot("mtec", polled_with(gateway, group), gateway.clock.wall(), quality, values))


@pytest.fixture
def upstream() -> dict[str, tuple[str, str, list[str], list[str]]]:
    """The real program's metrics by name: kind, text, labels, and the bounds of a histogram."""
    if not PYTHON.exists():
        pytest.skip("aiomtec2mqtt is not installed in build/peer-venv (`just bench` does it)")
    said = subprocess.run([str(PYTHON), "-c", UPSTREAM], capture_output=True, check=True, timeout=60).stdout
    found: dict[str, tuple[str, str, list[str], list[str]]] = json.loads(said)
    return found


async def test_names_kinds_texts_and_labels_are_upstream_s(
    gateway: Gateway, upstream: dict[str, tuple[str, str, list[str], list[str]]]
) -> None:
    metrics = Metrics(gateway.overview)
    source = gateway.sources["mtec"]
    assert isinstance(source, ModbusSource)
    assert source.timed is not None
    source.timed(polled_with(gateway, "now-base"), 0.02)
    ours = families(metrics)
    assert set(ours) == set(upstream)
    for name, (kind, text, labels, bounds) in upstream.items():
        assert (ours[name].type, ours[name].documentation) == (kind, text)
        for sample in ours[name].samples:
            assert {label for label in sample.labels if label != "le"} == set(labels)
        if ours[name].samples and kind == "histogram":
            said = [sample.labels["le"] for sample in ours[name].samples if "le" in sample.labels]
            assert [float(end) for end in said] == [float(end) for end in bounds] * (len(said) // len(bounds))


async def test_powers_have_the_signs_that_upstream_s_texts_say(gateway: Gateway) -> None:
    metrics = Metrics(gateway.overview)
    read(gateway, "now-base", grid_power=1500.0, battery=-800.0, pv=3000.0, battery_soc=70.0)
    assert value(metrics, "grid_power_watts") == -1500.0, "export is negative"
    assert value(metrics, "battery_power_watts") == 800.0, "charging is positive"
    assert value(metrics, "solar_power_watts") == 3000.0
    assert value(metrics, "battery_soc_percent") == 70.0


async def test_what_is_not_known_has_no_sample(gateway: Gateway) -> None:
    metrics = Metrics(gateway.overview)
    for name in ("battery_soc_percent", "grid_power_watts", "modbus_connected", "last_successful_modbus_read_timestamp_seconds"):
        assert value(metrics, name) is None
    assert value(metrics, "health_status", component="async_modbus") == 0.0
    assert value(metrics, "mqtt_connected") == 0.0


async def test_reads_are_counted_by_group_with_their_durations(gateway: Gateway) -> None:
    metrics = Metrics(gateway.overview)
    read(gateway, "now-base", pv=1.0)
    read(gateway, "now-base", pv=1.0)
    read(gateway, "now-base", Quality.PARTIAL, pv=1.0)
    source = gateway.sources["mtec"]
    assert isinstance(source, ModbusSource)
    assert source.timed is not None
    source.timed(polled_with(gateway, "now-base"), 0.02)
    source.timed(polled_with(gateway, "now-base"), 20.0)
    source.counters["no_answer"] = 4
    source.counters["exception"] = 2
    assert value(metrics, "modbus_reads_total", group="now-base", status="success") == 2.0
    assert value(metrics, "modbus_reads_total", group="now-base", status="error") == 1.0
    assert value(metrics, "modbus_reads_total", group="", status="error") == 4.0
    assert value(metrics, "errors_total", component="async_modbus", error_type="ModbusTimeoutError") == 4.0
    assert value(metrics, "errors_total", component="async_modbus", error_type="ModbusDeviceError") == 2.0
    buckets = [value(metrics, "modbus_read_duration_seconds_bucket", group="now-base", le=end) for end in ("0.01", "0.025", "10.0", "+Inf")]
    assert buckets == [0.0, 1.0, 1.0, 2.0]
    assert value(metrics, "modbus_read_duration_seconds_sum", group="now-base") == 20.02


async def test_state_health_and_breaker_have_upstream_s_numbers(gateway: Gateway) -> None:
    metrics = Metrics(gateway.overview)
    source = gateway.sources["mtec"]
    assert isinstance(source, ModbusSource)
    source.online = True
    read(gateway, "now-base", pv=1.0)
    gateway.mqtt.tried.set()
    gateway.mqtt.published, gateway.mqtt.dropped = 7, 2
    gateway.desk.answered["done"] = 3
    assert value(metrics, "modbus_connected") == 1.0
    assert value(metrics, "health_status", component="async_modbus") == 1.0
    assert value(metrics, "health_status", component="async_mqtt") == 3.0
    assert value(metrics, "circuit_breaker_state", component="async_modbus") == 0.0
    assert value(metrics, "mqtt_publishes_total", topic="", status="success") == 7.0
    assert value(metrics, "mqtt_publishes_total", topic="", status="error") == 2.0
    assert value(metrics, "modbus_writes_total", status="success") == 3.0
    source.online = False
    source.breaker.state = "half-open"
    assert value(metrics, "modbus_connected") == 0.0
    assert value(metrics, "health_status", component="async_modbus") == 3.0
    assert value(metrics, "circuit_breaker_state", component="async_modbus") == 2.0
    assert value(metrics, "solar_power_watts") is None, "an inverter that is away gives no figure"


async def test_they_are_only_there_where_they_are_wanted(tmp_path: Path) -> None:
    plain = Gateway(config.load(writer(tmp_path)("devices: {mtec: {profile: mtec-energybutler, via: tcp://127.0.0.1}}")))
    assert families(Metrics(plain.overview)) == {}


def test_without_an_m_tec_there_is_nothing_to_be_compatible_with(tmp_path: Path) -> None:
    file = writer(tmp_path)("web: {compatible: [aiomtec2mqtt]}\ndevices: {meter: {profile: eastron-sdm120, via: tcp://127.0.0.1}}")
    (told,) = mistakes(file)
    assert told.startswith("ohmstead.yaml:1: web.compatible: aiomtec2mqtt")
    assert "no M-TEC" in told
