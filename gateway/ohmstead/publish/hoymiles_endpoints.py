"""What the 0.12 fork of hoymiles-mqtt answers under `/health`, `/ready`, `/stats` and `/metrics`, for dashboards that are there already.

Pure functions from what is known to what is said: names, keys, order and formats as recorded. What is not known has no sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import accumulate
from typing import NamedTuple, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ohmstead.readings import Value

OK, UNAVAILABLE = 200, 503
BUCKETS_S = ("0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5", "5.0", "7.5", "10.0", "+Inf")

_DTU = ("dtu_name",)
_SERIAL = ("serial_number",)


class Figures(Protocol):
    """How the polls of a DTU went (`sources.hoymiles_figures.PollFigures`). Times are UTC seconds."""

    queries: int
    errors: dict[str, int]
    last_success: float | None
    last_error: str | None
    last_error_time: float | None
    durations: list[int]
    duration_s: float


class DtuState(NamedTuple):
    """A DTU as it is now. `online` is None before its first poll has ended; it is offline for `/health` after `offline_after_s` without
    an answer. `values` are those of its last poll, `inverters` by serial number the same of what is behind it."""

    name: str
    figures: Figures
    online: bool | None
    offline_after_s: float
    breaker_open: bool
    values: Mapping[str, Value]
    inverters: Mapping[str, Mapping[str, Value]]


class Service(NamedTuple):
    """The gateway around them. Times are UTC seconds; `configurations` and `states` are counts of MQTT messages, `mqtt_errors` of lost
    ones."""

    now: float
    started: float
    zone: tzinfo
    connected: bool
    configurations: int
    states: int
    mqtt_errors: int
    dtus: Sequence[DtuState]


def health(service: Service) -> tuple[int, str]:
    """Status and body of `/health`: 503 while a DTU is offline or the broker is away."""
    dtus = {dtu.name: _health_of(dtu, service) for dtu in service.dtus}
    healthy = service.connected and all(_status(dtu, service.now) != "offline" for dtu in service.dtus)
    body = {
        "healthy": healthy,
        "uptime_seconds": int(service.now - service.started),
        "start_time": _local(service.started, service.zone),
        "dtus": dtus,
        "mqtt": {"messages_published": service.configurations + service.states, "errors": service.mqtt_errors},
    }
    return OK if healthy else UNAVAILABLE, json.dumps(body, indent=2)


def ready(service: Service) -> tuple[int, str]:
    """Status and body of `/ready`: whether the broker is there and each DTU has been asked."""
    asked = all(dtu.figures.queries for dtu in service.dtus)
    return (OK, "OK") if service.connected and asked else (UNAVAILABLE, "Not ready")


def stats(database: str, size: int, ports: int) -> str:
    """The body of `/stats`. `size` of the database in bytes, `ports` are those whose production is remembered. The fork's other two tables
    are none here."""
    body = {
        "database_path": database,
        "database_size_bytes": size,
        "production_cache_entries": ports,
        "config_cache_entries": 0,
        "metrics_entries": 0,
    }
    return json.dumps(body, indent=2)


def metrics(service: Service) -> Iterator[Metric]:
    """The fork's own metrics in its order, for `prometheus_client` to write down."""
    yield from _polls(service)
    messages = CounterMetricFamily("hoymiles_mqtt_messages", "Total MQTT messages published", labels=("message_type",))
    messages.add_metric(("config",), service.configurations, created=service.started)
    messages.add_metric(("state",), service.states, created=service.started)
    yield messages
    errors = CounterMetricFamily("hoymiles_mqtt_errors", "Total MQTT errors", labels=())
    if service.mqtt_errors:
        errors.add_metric((), service.mqtt_errors)
    yield errors
    available = GaugeMetricFamily("hoymiles_dtu_available", "DTU availability (1=available, 0=unavailable)", labels=_DTU)
    for dtu in service.dtus:
        if dtu.online is not None:
            available.add_metric((dtu.name,), float(dtu.online))
    yield available
    yield from _values(service)
    yield GaugeMetricFamily("hoymiles_mqtt_uptime_seconds", "Application uptime", value=service.now - service.started)
    breaker = GaugeMetricFamily("hoymiles_circuit_breaker_state", "Circuit breaker state (0=closed, 1=open)", labels=_DTU)
    for dtu in service.dtus:
        breaker.add_metric((dtu.name,), float(dtu.breaker_open))
    yield breaker


def _polls(service: Service) -> Iterator[Metric]:
    queries = CounterMetricFamily("hoymiles_queries", "Total number of DTU queries", labels=("dtu_name", "status"))
    took = HistogramMetricFamily("hoymiles_query_duration_seconds", "DTU query duration", labels=_DTU)
    errors = CounterMetricFamily("hoymiles_query_errors", "Total number of query errors", labels=("dtu_name", "error_type"))
    for dtu in service.dtus:
        figures = dtu.figures
        failed = sum(figures.errors.values())
        for status, count in (("success", figures.queries - failed), ("error", failed)):
            if count:
                queries.add_metric((dtu.name, status), count, created=service.started)
        took.add_metric((dtu.name,), list(zip(BUCKETS_S, accumulate(figures.durations), strict=True)), figures.duration_s)
        took.add_sample("hoymiles_query_duration_seconds_created", {"dtu_name": dtu.name}, service.started)
        for kind, count in figures.errors.items():
            errors.add_metric((dtu.name, kind), count, created=service.started)
    yield from (queries, took, errors)


def _values(service: Service) -> Iterator[Metric]:
    ports = GaugeMetricFamily("hoymiles_inverter_power_watts", "Current inverter power", labels=("port", "serial_number"))
    heat = GaugeMetricFamily("hoymiles_inverter_temperature_celsius", "Inverter temperature", labels=_SERIAL)
    status = GaugeMetricFamily("hoymiles_inverter_status", "Inverter operating status", labels=_SERIAL)
    power = GaugeMetricFamily("hoymiles_dtu_power_watts", "Total DTU power output", labels=_DTU)
    told: set[str] = set()
    for dtu in service.dtus:
        for serial, values in dtu.inverters.items():
            if serial in told:  # behind two DTUs: a scraper takes each sample once
                continue
            told |= {serial} if values else set()
            for port in sorted(_ports(values)):
                _sample(ports, (str(port), serial), values.get(f"port_{port}_pv_power"))
            _sample(heat, (serial,), values.get("temperature"))
            _sample(status, (serial,), values.get("operating_status"))
        _sample(power, (dtu.name,), dtu.values.get("pv_power"))
    yield from (ports, heat, status, power)
    for name, text, point in (
        ("hoymiles_today_production_wh", "Today energy production", "today_production"),
        ("hoymiles_total_production_wh", "Total lifetime production", "total_production"),
    ):
        produced = GaugeMetricFamily(name, text, labels=_DTU)
        for dtu in service.dtus:
            _sample(produced, (dtu.name,), dtu.values.get(point))
        yield produced


def _sample(family: GaugeMetricFamily, labels: Sequence[str], value: Value | None) -> None:
    if isinstance(value, int | float):
        family.add_metric(labels, value)


def _ports(values: Mapping[str, Value]) -> set[int]:
    return {int(name.split("_")[1]) for name in values if name.startswith("port_")}


def _status(dtu: DtuState, now: float) -> str:
    """A DTU that has not answered yet is unknown; one that is asked in vain from the start is offline."""
    answered = dtu.figures.last_success
    if answered is None:
        return "offline" if dtu.online is False else "unknown"
    return "online" if now - answered <= dtu.offline_after_s else "offline"


def _health_of(dtu: DtuState, service: Service) -> dict[str, object]:
    figures = dtu.figures
    answered, failed = figures.last_success, figures.last_error_time
    return {
        "status": _status(dtu, service.now),
        "last_successful_query": None if answered is None else _local(answered, service.zone),
        "seconds_since_last_success": None if answered is None else int(service.now - answered),
        "query_count": figures.queries,
        "error_count": sum(figures.errors.values()),
        "last_error": figures.last_error,
        "last_error_time": None if failed is None else _local(failed, service.zone),
    }


def _local(time: float, zone: tzinfo) -> str:
    """As the fork writes it: the home's time, without its zone."""
    return datetime.fromtimestamp(time, zone).replace(tzinfo=None).isoformat()
