"""Devices that the gateway reaches itself: what reads each of them, and what writes to it, as `ohmstead.yaml` says; and what takes the
frames of those behind a node that are no plain registers.

What a home does not have is not loaded: each reader is imported where it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ohmstead.clock import Clock
from ohmstead.config.device import DeviceConfig
from ohmstead.config.hoymiles import Hoymiles, serial_number
from ohmstead.config.luxtronik import LuxtronikDevice
from ohmstead.config.model import Config
from ohmstead.config.shelly import ShellyDevice
from ohmstead.config.vicare import VicareDevice
from ohmstead.config.weather import WeatherDevice
from ohmstead.config.wishes import fulfilled
from ohmstead.control.dispatch import Actuator, DirectActuator, FieldActuator
from ohmstead.control.guarded import Ended, GuardedActuator, watches
from ohmstead.control.target import Target
from ohmstead.errors import OhmsteadError
from ohmstead.messages import Messenger
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Snapshot
from ohmstead.sources.growatt_mqtt import GrowattMqtt, Timing
from ohmstead.sources.lasting import LastingMemory
from ohmstead.sources.modbus import Endpoint, ModbusSource
from ohmstead.sources.polling import Adopt, Memory, PolledSource, Reader
from ohmstead.store.protocol import OF_SOURCES, Store

if TYPE_CHECKING:
    from ohmstead.weather import WeatherForecast

if TYPE_CHECKING:
    from ohmstead.sources.hoymiles import HoymilesReader
    from ohmstead.sources.hoymiles_node import DtuTaker
    from ohmstead.sources.hoymiles_plant import DtuPlant

Source = ModbusSource | GrowattMqtt | PolledSource

_LONGEST_POLL_S = 30.0
_LONGEST_CLOUD_POLL_S = 180.0


class StoreMemory:
    """What sources keep over restarts, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, key: str) -> str | None:
        return self._store.read_meta(OF_SOURCES + key)

    def write(self, key: str, value: str) -> None:
        self._store.write_meta(OF_SOURCES + key, value)


class Surroundings(NamedTuple):
    """What a source may be given. `emit` takes its snapshots, `adopt` what it finds behind the device, `foresee` the weather's forecast."""

    config: Config
    messenger: Messenger
    emit: Callable[[Snapshot], None]
    adopt: Adopt
    memory: Memory
    clock: Clock
    foresee: Callable[[WeatherForecast], None] = lambda _: None


def source_of(device: str, decoder: Decoder, around: Surroundings) -> Source:
    """What reads a device that is behind no node: code of its own for its kind, an OpenInverterGateway on the broker, or Modbus TCP."""
    config, clock = around.config, around.clock
    chosen, profile = config.devices[device], config.profile(device)
    if profile.reader != "registers":
        return _polled(device, decoder, around)
    if chosen.via.topic is not None:
        return GrowattMqtt(
            device,
            chosen.via.topic,
            profile,
            around.messenger,
            around.emit,
            period_s=min(config.periods(device).values()),
            timing=Timing.of(chosen.line.timeout, chosen.line.gap, chosen.line.retries),
            wall=clock.wall,
            mono=clock.mono,
        )
    return ModbusSource(device, _endpoint(config, device), config.poll_groups(device), decoder, around.emit, wall=clock.wall)


def taker_of(device: str, around: Surroundings) -> DtuTaker | None:
    """What takes the frames of a device behind a node in place of its profile's decoder; None where that is enough."""
    chosen = around.config.devices[device]
    if chosen.via.node is None or not isinstance(chosen, DeviceConfig) or chosen.hoymiles.ports is None:
        return None
    from ohmstead.sources.hoymiles_node import DtuTaker

    return DtuTaker(_dtu_plant(device, around, min(around.config.periods(device).values())), chosen.hoymiles.ports)


def actuator_of(config: Config, device: str, targets: Mapping[str, Target], source: Source, ended: Ended, clock: Clock) -> Actuator:
    """What writes to it. Over an OpenInverterGateway the gateway does what a node would: leases, limits, the way back."""
    if isinstance(source, ModbusSource):
        return DirectActuator(source)
    if isinstance(source, PolledSource):
        return FieldActuator(source)
    limits = watches(config.profile(device), config.limit_ends(device), config.periods(device))
    return GuardedActuator(device, targets, limits, source, ended, mono=clock.mono, wall=clock.wall)


def _endpoint(config: Config, device: str) -> Endpoint:
    chosen, line = config.devices[device], config.profile(device).line
    return Endpoint(
        host=str(chosen.via.host),
        port=chosen.via.port or line.port,
        unit=config.unit(device),
        timeout_s=line.timeout,
        retries=line.retries,
    )


def _polled(device: str, decoder: Decoder, around: Surroundings) -> PolledSource:
    period_s = min(around.config.periods(device).values())
    reader, timeout_s = _reader(device, decoder, around, period_s)
    return PolledSource(device, reader, around.emit, period_s=period_s, timeout_s=timeout_s, mono=around.clock.mono)


def _reader(device: str, decoder: Decoder, around: Surroundings, period_s: float) -> tuple[Reader, float]:
    """The reader of a device's profile, and how long one of its polls may take in seconds."""
    chosen = around.config.devices[device]
    if isinstance(chosen, LuxtronikDevice):
        return _luxtronik(device, chosen, decoder, around), min(period_s, _LONGEST_POLL_S)
    if isinstance(chosen, WeatherDevice):
        return _weather(device, chosen, decoder, around), _LONGEST_POLL_S
    if isinstance(chosen, ShellyDevice):
        return _shelly(device, chosen, around, period_s), min(period_s, _LONGEST_POLL_S)
    if isinstance(chosen, VicareDevice):
        return _vicare(device, chosen, around, period_s), _LONGEST_CLOUD_POLL_S
    if around.config.profile(device).reader == "hoymiles":
        dtu = _hoymiles(device, around, period_s)
        return dtu, dtu.longest_s
    if around.config.profile(device).reader == "sunspec":
        return _sunspec(device, around, period_s), _LONGEST_POLL_S  # its first poll has to find out what there is
    raise OhmsteadError(f"{device}: {around.config.profile(device).name} is read by its `source`, which `ohmstead check` says")


def _weather(device: str, chosen: WeatherDevice, decoder: Decoder, around: Surroundings) -> Reader:
    from ohmstead.sources.weather import Lie, OpenMeteoReader, Place

    roofs = tuple(Lie(roof.tilt, roof.azimuth, roof.peak or 1.0) for roof in chosen.roof)
    place = Place(chosen.latitude, chosen.longitude, around.config.timezone, roofs)
    return OpenMeteoReader(
        device,
        place,
        decoder,
        around.memory,
        around.foresee,
        around.clock.wall,
        emit=around.emit,
        url=chosen.url or "",
        key=chosen.token or "",
    )


def _luxtronik(device: str, chosen: LuxtronikDevice, decoder: Decoder, around: Surroundings) -> Reader:
    from ohmstead.sources.luxtronik import LuxtronikReader
    from ohmstead.sources.luxtronik_wire import Endpoint as Controller

    return LuxtronikReader(device, Controller(chosen.host, chosen.port), decoder, around.config.zone, around.clock.wall)


def _shelly(device: str, chosen: ShellyDevice, around: Surroundings, period_s: float) -> Reader:
    from ohmstead.sources.shelly import ShellyReader
    from ohmstead.sources.shelly_rpc import Channel, HttpChannel, MqttChannel

    channel: Channel
    if chosen.mqtt is not None:
        channel = MqttChannel(chosen.mqtt, around.messenger, f"ohm-{around.config.site}-{device}")
    else:
        channel = HttpChannel(str(chosen.host), chosen.port, chosen.password)
    return ShellyReader(
        device,
        channel,
        around.adopt,
        around.emit,
        LastingMemory(around.memory, device),
        period_s=period_s,
        wanted=lambda profile: fulfilled(chosen.points, profile),
        wall=around.clock.wall,
    )


def _vicare(device: str, chosen: VicareDevice, around: Surroundings, period_s: float) -> Reader:
    from ohmstead.sources.vicare import VicareReader
    from ohmstead.sources.vicare_budget import Allowance, Budget
    from ohmstead.sources.vicare_cloud import Account, Cloud
    from ohmstead.sources.vicare_login import Endpoints
    from ohmstead.sources.vicare_token import TokenFile

    granted, wall, memory = chosen.requests, around.clock.wall, LastingMemory(around.memory, device)
    cloud = Cloud(
        Account(chosen.client_id, chosen.user or "", chosen.password or ""),
        TokenFile(chosen.token_kept(device, around.config.store.path)),
        Budget(Allowance(granted.day, granted.ten_minutes, granted.margin), memory, f"vicare/{device}/requests", wall),
        memory,
        f"vicare/{device}",
        endpoints=Endpoints.of(chosen.cloud),
        wall=wall,
    )
    return VicareReader(
        device,
        cloud,
        around.adopt,
        memory,
        zone=around.config.zone,
        period_s=period_s,
        stale_s=chosen.stale,
        one_by_one=chosen.each_device,
        wanted=lambda profile: fulfilled(chosen.points, profile),
        wall=wall,
    )


def _sunspec(device: str, around: Surroundings, period_s: float) -> Reader:
    from ohmstead.sources.sunspec import SunSpecReader
    from ohmstead.sources.sunspec_line import Endpoint as Place
    from ohmstead.sources.sunspec_line import RegisterLine

    place = Place(*_endpoint(around.config, device))
    return SunSpecReader(
        device,
        RegisterLine(place),
        around.config.profile(device),
        around.adopt,
        LastingMemory(around.memory, device),
        period_s=period_s,
        wanted=lambda profile: fulfilled(around.config.devices[device].points, profile),
        wall=around.clock.wall,
        mono=around.clock.mono,
    )


def _hoymiles(device: str, around: Surroundings, period_s: float) -> HoymilesReader:
    from ohmstead.sources.hoymiles import HoymilesReader
    from ohmstead.sources.hoymiles_line import Endpoint as Dtu

    plant = _dtu_plant(device, around, period_s)
    return HoymilesReader(plant, Dtu(*_endpoint(around.config, device)), period_s=period_s, wall=around.clock.wall)


def _dtu_plant(device: str, around: Surroundings, period_s: float) -> DtuPlant:
    from ohmstead.profiles import library
    from ohmstead.sources.hoymiles_plant import DtuPlant, Wishes

    config = around.config
    chosen = config.devices[device]
    said = chosen.hoymiles if isinstance(chosen, DeviceConfig) else Hoymiles()
    return DtuPlant(
        device,
        config.profile(device),
        library.load("hoymiles-inverter"),
        around.adopt,
        around.memory,
        zone=config.zone,
        period_s=period_s,
        wishes=Wishes(frozenset(serial_number(serial) for serial in chosen.exclude), said.names, said.reset_hour, said.hot_above),
        shaped=lambda profile: fulfilled(chosen.points, profile),
    )
