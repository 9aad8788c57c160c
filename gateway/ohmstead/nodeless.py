"""Devices that the gateway reaches itself: what reads each of them, and what writes to it, as `ohmstead.yaml` says.

What a home does not have is not loaded: each reader is imported where it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ohmstead.clock import Clock
from ohmstead.config.luxtronik import LuxtronikDevice
from ohmstead.config.model import Config
from ohmstead.config.shelly import ShellyDevice
from ohmstead.config.wishes import fulfilled
from ohmstead.control.dispatch import Actuator, DirectActuator, FieldActuator
from ohmstead.control.guarded import Ended, GuardedActuator, watches
from ohmstead.control.target import Target
from ohmstead.messages import Messenger
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Snapshot
from ohmstead.sources.growatt_mqtt import GrowattMqtt, Timing
from ohmstead.sources.modbus import Endpoint, ModbusSource
from ohmstead.sources.polling import Adopt, Memory, PolledSource, Reader
from ohmstead.store.protocol import Store

Source = ModbusSource | GrowattMqtt | PolledSource

_LONGEST_POLL_S = 30.0


class StoreMemory:
    """What sources keep over restarts, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, key: str) -> str | None:
        return self._store.read_meta(f"source/{key}")

    def write(self, key: str, value: str) -> None:
        self._store.write_meta(f"source/{key}", value)


class Surroundings(NamedTuple):
    """What a source may be given. `emit` takes its snapshots, `adopt` what it finds behind the device."""

    config: Config
    messenger: Messenger
    emit: Callable[[Snapshot], None]
    adopt: Adopt
    memory: Memory
    clock: Clock


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
    if isinstance(chosen, ShellyDevice):
        return _shelly(device, chosen, around, period_s), min(period_s, _LONGEST_POLL_S)
    raise NotImplementedError(around.config.profile(device).reader)


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
        around.memory,
        period_s=period_s,
        wanted=lambda profile: fulfilled(chosen.points, profile),
        wall=around.clock.wall,
    )
