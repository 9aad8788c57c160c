"""Devices that the gateway reaches itself: what reads each of them, and what writes to it, as `ohmstead.yaml` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ohmstead.clock import Clock
from ohmstead.config.model import Config
from ohmstead.control.dispatch import Actuator, DirectActuator
from ohmstead.control.guarded import Ended, GuardedActuator, watches
from ohmstead.control.target import Target
from ohmstead.messages import Messenger
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Snapshot
from ohmstead.sources.growatt_mqtt import GrowattMqtt, Timing
from ohmstead.sources.modbus import Endpoint, ModbusSource

Source = ModbusSource | GrowattMqtt


def source_of(
    config: Config, device: str, decoder: Decoder, messenger: Messenger, emit: Callable[[Snapshot], None], clock: Clock
) -> Source:
    """What reads a device that is behind no node: an OpenInverterGateway on the broker, or Modbus TCP."""
    chosen, line = config.devices[device], config.profile(device).line
    if chosen.via.topic is not None:
        return GrowattMqtt(
            device,
            chosen.via.topic,
            config.profile(device),
            messenger,
            emit,
            period_s=min(config.periods(device).values()),
            timing=Timing.of(chosen.line.timeout, chosen.line.gap, chosen.line.retries),
            wall=clock.wall,
            mono=clock.mono,
        )
    endpoint = Endpoint(
        host=str(chosen.via.host),
        port=chosen.via.port or line.port,
        unit=config.unit(device),
        timeout_s=line.timeout,
        retries=line.retries,
    )
    return ModbusSource(device, endpoint, config.poll_groups(device), decoder, emit, wall=clock.wall)


def actuator_of(config: Config, device: str, targets: Mapping[str, Target], source: Source, ended: Ended, clock: Clock) -> Actuator:
    """What writes to it. Over an OpenInverterGateway the gateway does what a node would: leases, limits, the way back."""
    if isinstance(source, ModbusSource):
        return DirectActuator(source)
    limits = watches(config.profile(device), config.limit_ends(device), config.periods(device))
    return GuardedActuator(device, targets, limits, source, ended, mono=clock.mono, wall=clock.wall)
