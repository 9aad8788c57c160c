"""What the 0.12 fork of hoymiles-mqtt answered, made of this gateway (`web: {compatible: [hoymiles-mqtt]}`): state in, `hoymiles_endpoints`
out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ohmstead.config.device import DeviceConfig
from ohmstead.config.web import is_dtu
from ohmstead.observe.overview import Overview
from ohmstead.publish import hoymiles_endpoints as endpoints
from ohmstead.readings import Value

_ALONE = "DTU"
"""What the fork calls a DTU that has no name and no other beside it."""

_OFFLINE_AFTER_S = 300.0
_OFFLINE_POLLS = 3


class Answer(NamedTuple):
    """What a probe gets."""

    status: int
    body: str
    media: str = "application/json"


@runtime_checkable
class Counted(Protocol):
    """A reader that counts its polls as the fork does."""

    @property
    def figures(self) -> endpoints.Figures: ...


class HoymilesMqtt(Collector):
    """The fork's view of the DTUs of a home."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview
        self._dtus = [device for device in overview.config.devices if is_dtu(overview.config.profile(device))]
        titles = [overview.roster[device].title for device in self._dtus]
        names = {device: self._name(device, titles) for device in self._dtus}
        unique = len(set(names.values())) == len(names)
        self._names = names if unique else {device: device for device in self._dtus}

    def collect(self) -> Iterator[Metric]:
        yield from endpoints.metrics(self._service())

    def health(self) -> Answer:
        return Answer(*endpoints.health(self._service()))

    def ready(self) -> Answer:
        return Answer(*endpoints.ready(self._service()), "text/plain")

    def stats(self) -> Answer:
        path = self._overview.config.store.path
        states = [inverter for dtu in self._service().dtus for inverter in dtu.inverters.values()]
        remembered = sum(name.startswith("port_") and name.endswith("_total_production") for values in states for name in values)
        return Answer(200, endpoints.stats(str(path), path.stat().st_size if path.is_file() else 0, remembered))

    def _name(self, device: str, titles: list[str]) -> str:
        """The name that its owner gave it; as long as he gave none, what the fork calls a lonely one, or the device's."""
        title = self._overview.roster[device].title
        if title == self._overview.config.profile(device).name:
            return _ALONE if len(self._dtus) == 1 else device
        return title.encode(errors="replace").decode() if titles.count(title) == 1 else device  # half a character is no label

    def _service(self) -> endpoints.Service:
        overview = self._overview
        now, mqtt = overview.wall(), overview.mqtt
        return endpoints.Service(
            now=now,
            started=now - overview.uptime_s,
            zone=overview.config.zone,
            connected=mqtt.connected,
            configurations=mqtt.configurations,
            states=mqtt.published - mqtt.configurations,
            mqtt_errors=mqtt.dropped,
            dtus=list(self._states()),
        )

    def _states(self) -> Iterator[endpoints.DtuState]:
        overview = self._overview
        open_ = {device for device, breaker in overview.breakers() if breaker.state != "closed"}
        for device in self._dtus:
            reader = getattr(overview.source(device), "reader", None) or overview.takers.get(device)
            if not isinstance(reader, Counted):
                raise TypeError(f"{device}: its reader does not count its polls")
            chosen = overview.config.devices[device]
            said = chosen.hoymiles.offline_after if isinstance(chosen, DeviceConfig) else None
            yield endpoints.DtuState(
                name=self._names[device],
                figures=reader.figures,
                online=overview.online(device),
                offline_after_s=said or max(_OFFLINE_AFTER_S, _OFFLINE_POLLS * overview.roster[device].period_s),
                breaker_open=device in open_,
                values=self._values(device),
                inverters={
                    listed.serial: self._values(listed.device) for listed in overview.roster if listed.parent == device and listed.serial
                },
            )

    def _values(self, device: str) -> Mapping[str, Value]:
        """What the last poll brought; nothing of a device whose readings are old."""
        if self._overview.state(device) != "ok":
            return {}
        values = self._overview.latest.values(device)
        newest = max((read.time for read in values.values()), default=0.0)
        return {point: read.value for point, read in values.items() if read.time == newest}
