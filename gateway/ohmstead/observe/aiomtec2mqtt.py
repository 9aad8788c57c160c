"""The metrics of aiomtec2mqtt 1.1.0 under their old names (`web: {compatible: [aiomtec2mqtt]}`), for dashboards that are there already.

Names, labels and units are those of its `prometheus_metrics.py`; what they mean is said there as well, and holds here, other than there:

- A read is a whole group of registers (`now-base`, …): a success when all of it came, an error when something of it is missing. What came
  to nothing at all belongs to no group.
- How long a publication takes is nothing here, where it is handed over: that histogram stays empty. Topics are not told apart.
- Behind a node the duration of reads is not known.
- Figures that are not known have no sample; upstream shows 0.

Upstream reads one inverter; of several, these are the first one's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Protocol, runtime_checkable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ohmstead.config.web import is_mtec
from ohmstead.observe.live import flow
from ohmstead.observe.overview import Overview
from ohmstead.readings import Quality
from ohmstead.sources.resilience import Health

PREFIX = "aiomtec2mqtt_"
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

_MODBUS, _MQTT = "async_modbus", "async_mqtt"
_HEALTH = {Health.UNKNOWN: 0, Health.HEALTHY: 1, Health.DEGRADED: 2, Health.UNHEALTHY: 3}
_BREAKER = {"closed": 0, "open": 1, "half-open": 2}
_ERRORS = {"no_answer": "ModbusTimeoutError", "wrong": "ModbusReadError", "crc": "ModbusReadError", "exception": "ModbusDeviceError"}
_FRESH_S = 60.0
"""No figure is made of a value that is older."""
_NOTHING_CAME = ("no_answer", "wrong", "crc")


@runtime_checkable
class Timed(Protocol):
    """A source that tells how long its reads take."""

    timed: Callable[[str, float], None] | None


class Aiomtec2mqtt(Collector):
    """The former service's view of the first M-TEC of a home. Durations are known from its construction on."""

    def __init__(self, overview: Overview) -> None:
        config = overview.config
        self._overview = overview
        self._device = next(device for device in config.devices if is_mtec(config.profile(device)))
        profile = config.profile(self._device)
        self._groups = {group.name: group.groups for group in config.poll_groups(self._device)}
        self._flow = profile.flow.formulas() if profile.flow else None
        self._durations: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        source = overview.source(self._device)
        if isinstance(source, Timed):
            source.timed = self._took

    def collect(self) -> Iterator[Metric]:
        yield from self._modbus()
        yield from self._mqtt()
        yield from self._system()
        yield from self._values()

    def _took(self, group: str, seconds: float) -> None:
        """A group was read, in so many seconds."""
        for name in self._groups.get(group, ()):
            counts = self._durations.setdefault(name, [0] * (len(BUCKETS_S) + 1))
            counts[bisect_left(BUCKETS_S, seconds)] += 1
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def _modbus(self) -> Iterator[Metric]:
        overview, device = self._overview, self._device
        reads = CounterMetricFamily(f"{PREFIX}modbus_reads_total", "Total number of Modbus read operations", labels=("group", "status"))
        for (read, group, quality), count in overview.latest.polled.items():
            if read == device:
                for name in self._groups.get(group, ()):
                    reads.add_metric((name, "success" if quality is Quality.GOOD else "error"), count)
        counters = overview.counters(device)
        reads.add_metric(("", "error"), sum(int(counters.get(kind) or 0) for kind in _NOTHING_CAME))
        yield reads
        writes = CounterMetricFamily(f"{PREFIX}modbus_writes_total", "Total number of Modbus write operations", labels=("status",))
        answered = overview.desk.answered
        writes.add_metric(("success",), answered.get("done", 0))
        writes.add_metric(("error",), answered.get("failed", 0))
        yield writes
        took = HistogramMetricFamily(
            f"{PREFIX}modbus_read_duration_seconds", "Duration of Modbus read operations in seconds", labels=("group",)
        )
        for name, counts in self._durations.items():
            ends = [*map(str, BUCKETS_S), "+Inf"]
            took.add_metric((name,), list(zip(ends, accumulate(counts), strict=True)), self._seconds[name])
        yield took
        online = overview.online(device)
        text = "Current Modbus connection status (1=connected, 0=disconnected)"
        yield _gauge("modbus_connected", text, None if online is None else float(online))
        age = overview.age(device)
        when = None if age is None else overview.wall() - age
        yield _gauge("last_successful_modbus_read_timestamp_seconds", "Timestamp of last successful Modbus read", when)

    def _mqtt(self) -> Iterator[Metric]:
        mqtt = self._overview.mqtt
        publishes = CounterMetricFamily(
            f"{PREFIX}mqtt_publishes_total", "Total number of MQTT publish operations", labels=("topic", "status")
        )
        publishes.add_metric(("", "success"), mqtt.published)
        publishes.add_metric(("", "error"), mqtt.dropped)
        yield publishes
        yield HistogramMetricFamily(
            f"{PREFIX}mqtt_publish_duration_seconds", "Duration of MQTT publish operations in seconds", labels=("topic",)
        )
        yield _gauge("mqtt_connected", "Current MQTT connection status (1=connected, 0=disconnected)", float(mqtt.connected))

    def _system(self) -> Iterator[Metric]:
        overview, device = self._overview, self._device
        errors = CounterMetricFamily(
            f"{PREFIX}errors_total", "Total number of errors by component and type", labels=("component", "error_type")
        )
        counters = overview.counters(device)
        kinds: dict[str, int] = {}
        for kind, name in _ERRORS.items():
            kinds[name] = kinds.get(name, 0) + int(counters.get(kind) or 0)
        for name, count in kinds.items():
            errors.add_metric((_MODBUS, name), count)
        errors.add_metric((_MQTT, "MqttPublishError"), overview.mqtt.dropped)
        yield errors
        health = GaugeMetricFamily(
            f"{PREFIX}health_status", "System health status (0=unknown, 1=healthy, 2=degraded, 3=unhealthy)", labels=("component",)
        )
        health.add_metric((_MODBUS,), _HEALTH[overview.component(device)])
        mqtt = overview.mqtt
        health.add_metric(
            (_MQTT,), _HEALTH[Health.HEALTHY if mqtt.connected else Health.UNHEALTHY if mqtt.tried.is_set() else Health.UNKNOWN]
        )
        yield health
        breaker = GaugeMetricFamily(
            f"{PREFIX}circuit_breaker_state", "Circuit breaker state (0=closed, 1=open, 2=half_open)", labels=("component",)
        )
        for name, one in overview.breakers():
            if name == device:
                breaker.add_metric((_MODBUS,), _BREAKER[one.state])
        yield breaker
        yield _gauge("uptime_seconds", "Application uptime in seconds", overview.uptime_s)

    def _values(self) -> Iterator[Metric]:
        """Signs as upstream's texts say: what comes in is positive, of the grid and of the battery. Old values are none."""
        overview = self._overview
        values = overview.latest.values(self._device) if overview.state(self._device) == "ok" else {}
        since = overview.wall() - _FRESH_S
        figures = flow(self._flow, {point: read for point, read in values.items() if read.time >= since}) or {}
        battery = figures.get("battery")
        yield _gauge("battery_soc_percent", "Battery state of charge percentage", figures.get("soc"))
        yield _gauge("grid_power_watts", "Grid power in watts (positive=import, negative=export)", figures.get("grid"))
        yield _gauge("solar_power_watts", "Solar PV power generation in watts", figures.get("pv"))
        text = "Battery power in watts (positive=charge, negative=discharge)"
        yield _gauge("battery_power_watts", text, None if battery is None else -battery)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text)
    if value is not None:
        family.add_metric((), value)
    return family
