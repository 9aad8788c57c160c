"""Prometheus metrics, made when they are asked for: counting costs nothing on the way of a reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ohmstead.observe.overview import Overview
from ohmstead.sources.resilience import Health

BUS = ("requests", "ok", "no_answer", "partial", "crc", "exception", "wrong", "late_bytes", "limited", "skipped")
"""The counters of a bus, as nodes report them and as the gateway's own sources count them."""

_STATES = ("ok", "stale", "offline", "waiting")
_BREAKER = ("closed", "open", "half-open")


class Metrics:
    """`text()` is the answer to `/metrics`."""

    def __init__(self, overview: Overview) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Gateway(overview))
        for collector in _former(overview):
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Gateway(Collector):
    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        overview = self._overview
        yield _gauge("ohmstead_info", "Version and site.", [((overview.version, overview.config.site), 1)], ("version", "site"))
        yield _gauge("ohmstead_uptime_seconds", "Seconds since the start.", [((), overview.uptime_s)])
        yield from self._mqtt()
        yield from self._store()
        yield from self._ingest()
        yield from self._control()
        yield from self._devices()
        yield from self._nodes()

    def _mqtt(self) -> Iterator[Metric]:
        mqtt = self._overview.mqtt
        yield _gauge("ohmstead_mqtt_connected", "1 while the broker is there.", [((), float(mqtt.connected))])
        yield _gauge("ohmstead_mqtt_queued_messages", "Messages that wait for the broker to take them.", [((), mqtt.queued)])
        yield _counter("ohmstead_mqtt_connections", "Connections to the broker.", [((), mqtt.connections)])
        yield _counter("ohmstead_mqtt_received_messages", "Messages from the broker.", [((), mqtt.received)])
        yield _counter("ohmstead_mqtt_published_messages", "Messages to the broker.", [((), mqtt.published)])
        yield _counter("ohmstead_mqtt_dropped_messages", "Messages dropped while the broker was away.", [((), mqtt.dropped)])

    def _store(self) -> Iterator[Metric]:
        writer = self._overview.writer
        yield _gauge("ohmstead_store_healthy", "0 while nothing can be stored.", [((), float(writer.healthy))])
        yield _gauge("ohmstead_store_queued_entries", "Frames and snapshots that wait for a commit.", [((), writer.queued)])
        yield _counter("ohmstead_store_commits", "Commits.", [((), writer.commits)])
        yield _counter("ohmstead_store_commit_seconds", "Time spent in commits.", [((), writer.commit_seconds)])
        yield _counter("ohmstead_store_committed_entries", "Frames and snapshots committed.", [((), writer.committed)])
        lost = [(("frame",), writer.dropped_frames), (("snapshot",), writer.lost_snapshots)]
        yield _counter("ohmstead_store_dropped_entries", "Entries that had to make room; frames come again.", lost, ("kind",))
        unfit = [(("frame",), writer.unfit_frames), (("snapshot",), writer.unfit_snapshots)]
        yield _counter("ohmstead_store_unfit_entries", "Entries that can never be stored; frames are kept raw.", unfit, ("kind",))

    def _ingest(self) -> Iterator[Metric]:
        ingest = self._overview.ingest
        yield _counter("ohmstead_ingest_frames", "Data frames taken from nodes.", [((), ingest.frames)])
        yield _counter("ohmstead_ingest_events", "Events taken from nodes.", [((), ingest.events)])
        yield _counter("ohmstead_ingest_replayed", "Frames that came again after they were settled.", [((), ingest.replayed)])
        refused = [((reason,), count) for reason, count in ingest.refused.items()]
        yield _counter("ohmstead_ingest_refused", "Messages or parts of them that were refused.", refused, ("reason",))

    def _control(self) -> Iterator[Metric]:
        desk = self._overview.desk
        answered = [((outcome,), count) for outcome, count in desk.answered.items()]
        yield _counter("ohmstead_commands", "Commands by what became of them.", answered, ("outcome",))
        rejected = [((str(reason),), count) for reason, count in desk.rejected.items()]
        yield _counter("ohmstead_commands_rejected", "Rejected commands by reason.", rejected, ("reason",))
        yield _counter("ohmstead_commands_retained", "Commands that a broker had kept; they are not obeyed.", [((), desk.retained)])

        if loxone := self._overview.loxone():
            counted = [((kind,), count) for kind, count in loxone.items()]
            yield _counter("ohmstead_loxone", "Commands of a Miniserver, and what came or went by UDP, by kind.", counted, ("kind",))

    def _devices(self) -> Iterator[Metric]:
        overview = self._overview
        devices = [listed.device for listed in overview.roster]
        latest = overview.latest
        states = [((device, state), float(overview.state(device) == state)) for device in devices for state in _STATES]
        yield _gauge("ohmstead_device_state", "1 for the state a device is in.", states, ("device", "state"))
        ages = [((device,), age) for device in devices if (age := overview.age(device)) is not None]
        yield _gauge("ohmstead_device_age_seconds", "Age of the newest reading.", ages, ("device",))
        taken = [((device,), latest.snapshots[device]) for device in devices]
        yield _counter("ohmstead_snapshots_published", "Poll groups published.", taken, ("device",))
        readings = [((device,), latest.readings[device]) for device in devices]
        yield _counter("ohmstead_readings_published", "Readings published.", readings, ("device",))
        health = [((device, state), float(overview.component(device) == state)) for device in devices for state in Health]
        yield _gauge("ohmstead_device_health", "1 for the health a device is in.", health, ("device", "health"))
        breakers = [((device, state), float(breaker.state == state)) for device, breaker in overview.breakers() for state in _BREAKER]
        yield _gauge("ohmstead_source_breaker", "1 for the state of an endpoint's circuit breaker.", breakers, ("device", "state"))
        opened = [((device,), breaker.opened) for device, breaker in overview.breakers()]
        yield _counter("ohmstead_source_breaker_opened", "How often it opened.", opened, ("device",))
        spent = [(device, *window) for device, windows in overview.budgets() for window in windows]
        made = [((device, window), count) for device, window, count, _ in spent]
        yield _gauge("ohmstead_source_requests", "Requests to a cloud that counts them, in a window of time.", made, ("device", "window"))
        usable = [((device, window), most) for device, window, _, most in spent]
        yield _gauge("ohmstead_source_requests_usable", "How many of them may be made.", usable, ("device", "window"))
        alerts = [((one.device, one.point), float(bool(one.on))) for one in overview.alerts()]
        yield _gauge("ohmstead_alert", "1 while a value is beyond a limit of its owner's.", alerts, ("device", "point"))
        bus = [((device, kind), count) for device in devices for kind, count in _bus(overview.counters(device))]
        yield _counter("ohmstead_bus_requests", "Requests to a device by what came of them.", bus, ("device", "kind"))

    def _nodes(self) -> Iterator[Metric]:
        nodes = self._overview.fleet.nodes
        yield _gauge(
            "ohmstead_node_online",
            "1 while a node is connected.",
            [((name,), float(bool(node.online))) for name, node in nodes.items()],
            ("node",),
        )
        latched = [
            ((name, node.tripped or node.latched), float(bool(node.latched))) for name, node in nodes.items() if node.latched is not None
        ]
        yield _gauge("ohmstead_node_latched", "1 while a node is stopped; the cause, empty where it is not.", latched, ("node", "cause"))
        yield _gauge(
            "ohmstead_node_late_seconds", "Delay of the last frame.", [((name,), node.late) for name, node in nodes.items()], ("node",)
        )
        for figure, what in (
            ("frames", "Data frames"),
            ("events", "Events"),
            ("replayed", "Frames sent again after they were settled"),
            ("refused", "Messages refused"),
            ("given_up", "Frames that a node had to drop"),
            ("restarts", "Restarts"),
        ):
            yield _counter(
                f"ohmstead_node_{figure}",
                f"{what} of a node.",
                [((name,), getattr(node, figure)) for name, node in nodes.items()],
                ("node",),
            )
        bus = [((name, kind), count) for name, node in nodes.items() for kind, count in _bus(node.bus)]
        yield _counter("ohmstead_node_bus_requests", "Requests on a node's bus by what came of them.", bus, ("node", "kind"))


def _former(overview: Overview) -> Iterator[Collector]:
    """The figures of former services under their old names, where they are wanted."""
    if "aiomtec2mqtt" in overview.config.web.compatible:
        from ohmstead.observe.aiomtec2mqtt import Aiomtec2mqtt

        yield Aiomtec2mqtt(overview)
    if "hoymiles-mqtt" in overview.config.web.compatible:
        from ohmstead.observe.hoymiles import HoymilesMqtt

        yield HoymilesMqtt(overview)


Samples = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, text: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, sample in samples:
        family.add_metric(values, sample)
    return family


def _counter(name: str, text: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, sample in samples:
        family.add_metric(values, sample)
    return family


def _bus(counters: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for kind in BUS:
        count = counters.get(kind)
        if isinstance(count, int):
            yield kind, count
