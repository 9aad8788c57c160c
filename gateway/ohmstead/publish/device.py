"""Which publishers a device of this home has, and how they divide Home Assistant's entities among them.

With `home_assistant.entities: contract` (the default) a device with a contract is announced by the contract, as its users know it,
and natively comes only what the contract lacks (for `json`: the controls and the fault texts), on the same device. `native` and
`both` mean what they say; with `both` most entities are there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ohmstead.config.device import DeviceConfig
from ohmstead.config.hoymiles import Hoymiles, serial_number
from ohmstead.config.model import Config
from ohmstead.config.wishes import fulfilled
from ohmstead.control.arbitration import Arbitration
from ohmstead.control.topics import Request
from ohmstead.messages import Messenger
from ohmstead.profiles import library
from ohmstead.profiles.model import Profile
from ohmstead.publish.alerts import Alerts, Noted
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.battery import BatteryTopic
from ohmstead.publish.home_assistant import HomeAssistantDevice, bridge_topic
from ohmstead.publish.members import Members
from ohmstead.publish.mtec_json import MtecJson
from ohmstead.publish.mtec_state import MtecState
from ohmstead.publish.node_diagnostics import NodeDiagnostics, Told
from ohmstead.publish.outlet import Outlet
from ohmstead.publish.retired import RetiredDevices
from ohmstead.publish.values import DeviceValues, online_topic
from ohmstead.readings import Value
from ohmstead.roster import Listed, Roster

if TYPE_CHECKING:
    from ohmstead.publish.hoymiles import HoymilesJson


class DeviceOutlets(NamedTuple):
    """`values` also knows whether the device is online; `outlets` are all of them, `values` among them."""

    values: DeviceValues
    outlets: tuple[Outlet, ...]

    def learn(self, listed: Listed) -> None:
        """What the device is, which is only known now that it has answered."""
        self.values.learn(listed.profile)
        for outlet in self.outlets:
            if isinstance(outlet, HomeAssistantDevice):
                outlet.learn(listed.profile, listed.title, listed.serial)


def device_outlets(
    config: Config,
    device: str,
    messenger: Messenger,
    request: Request,
    *,
    period_s: float,
    known: Mapping[str, Value] | None = None,
    claims: MutableMapping[str, str] | None = None,
) -> DeviceOutlets:
    """The publishers of one device, not yet started.

    `period_s` is the period of its fastest poll group here. `known` are its values as the store has them: the contracts' topics carry
    the serial number, which is read once an hour. `claims` are shared by all devices: which of them speaks for a serial number on topics
    that say nothing but that.
    """
    values = DeviceValues(config.site, device, config.profile(device), messenger, period_s, values=config.publish.values)
    settings = config.home_assistant
    discovery = Discovery(settings.prefix, settings.birth_topic, settings.grace) if settings.enabled else None
    by_contract = discovery if settings.entities != "native" else None
    contract: MtecState | MtecJson | HoymilesJson | None
    if config.profile(device).reader == "hoymiles":
        contract = _hoymiles(config, device, messenger, by_contract, known, claims)
    else:
        contract = _contract(config, device, messenger, request, by_contract, known)
    outlets: list[Outlet] = [values]
    if contract is not None:
        outlets.append(contract)
    if discovery is not None and config.publish.values:  # native entities show the plain topics
        native = _native(config, device, messenger, discovery, contract, known)
        if native.has_entities or config.profile(device).reader not in ("registers", "hoymiles"):  # others may learn of some
            outlets.append(native)
    return DeviceOutlets(values, tuple(outlets))


def node_outlets(config: Config, messenger: Messenger, told: Callable[[str], Told]) -> list[NodeDiagnostics]:
    """The diagnostic entities of each node, where Home Assistant is wanted. `told` is what a node last told of itself."""
    settings = config.home_assistant
    if not settings.enabled:
        return []
    discovery = Discovery(settings.prefix, settings.birth_topic, settings.grace)
    return [NodeDiagnostics(config.site, node, messenger, discovery, partial(told, node)) for node in config.nodes]


def battery_outlets(config: Config, messenger: Messenger, arbiter: Arbitration) -> list[BatteryTopic]:
    """Status and entities of each battery that the arbiter commands."""
    settings = config.home_assistant
    discovery = Discovery(settings.prefix, settings.birth_topic, settings.grace) if settings.enabled else None
    longest_s = config.control.longest
    return [BatteryTopic(config.site, view, arbiter, messenger, discovery, longest_s) for view in arbiter.devices.values()]


def alerts(config: Config, roster: Roster, messenger: Messenger, noted: Noted, known: Mapping[str, Mapping[str, Value]]) -> Alerts:
    """The alerts of all devices, on the devices that Home Assistant has already. `known` are their values as the store has them."""
    settings = config.home_assistant
    discovery = Discovery(settings.prefix, settings.birth_topic, settings.grace) if settings.enabled else None
    by_contract = settings.entities == "contract"
    joined = {
        device: _joined(config.profile(device))
        for device, chosen in config.devices.items()
        if by_contract and str(chosen.contract) in config.profile(device).contracts
    }
    wanted = {device: chosen.points for device, chosen in config.devices.items()}
    return Alerts(config.site, roster, wanted, messenger, discovery, noted, joined=joined, known=known)


def retired_devices(config: Config, messenger: Messenger, outlets: Iterable[Outlet]) -> RetiredDevices:
    """Whoever takes back what none of these publishers announces any more."""
    outlets = list(outlets)
    announced = [outlet.topic for outlet in outlets if isinstance(outlet, HomeAssistantDevice | NodeDiagnostics | BatteryTopic)]
    announced += [topic for outlet in outlets if isinstance(outlet, Alerts) for topic in outlet.topics()]
    parents = [device for device in config.devices if config.profile(device).reader != "registers"]
    excluded = [serial.strip().lower() for device in config.devices.values() for serial in device.exclude]
    found = [outlet for outlet in outlets if isinstance(outlet, Members)]

    def listed() -> set[str]:
        return {*config.devices, *(device for members in found for device, _ in members.values())}

    return RetiredDevices(config.site, config.home_assistant.prefix, messenger, announced, parents, excluded, listed)


def members(config: Config, messenger: Messenger) -> Members:
    """The publishers of what is found behind devices."""
    settings = config.home_assistant
    discovery = Discovery(settings.prefix, settings.birth_topic, settings.grace) if settings.enabled else None
    return Members(config.site, messenger, discovery, values=config.publish.values)


def _joined(profile: Profile) -> str:
    """How a contract identifies the device to Home Assistant; {} stands for its serial number."""
    return "hoymiles_mqtt_{}" if profile.reader == "hoymiles" else "{}"


def _contract(
    config: Config, device: str, messenger: Messenger, request: Request, discovery: Discovery | None, known: Mapping[str, Value] | None
) -> MtecState | MtecJson | None:
    profile, chosen = config.profile(device), config.devices[device].contract
    if chosen == "state":
        farewell = f"{config.home_assistant.prefix}/status/lwt"
        return MtecState(device, profile, profile.contracts["state"], messenger, request, discovery, known, farewell_topic=farewell)
    if chosen == "json":
        availability = (bridge_topic(config.site), online_topic(config.site, device))
        return MtecJson(device, profile, profile.contracts["json"], messenger, availability, discovery, known)
    return None


def _hoymiles(
    config: Config,
    device: str,
    messenger: Messenger,
    discovery: Discovery | None,
    known: Mapping[str, Value] | None,
    claims: MutableMapping[str, str] | None,
) -> HoymilesJson | None:
    """The topics of hoymiles-mqtt, which name a plant by its serial numbers alone."""
    if config.devices[device].contract != "json":
        return None
    from ohmstead.publish.hoymiles import HoymilesJson
    from ohmstead.publish.hoymiles_discovery import Wanted

    chosen = config.devices[device]
    said = chosen.hoymiles if isinstance(chosen, DeviceConfig) else Hoymiles()
    wanted = Wanted(
        round(said.expire_after),
        None if said.inverter_entities is None else frozenset(said.inverter_entities),
        None if said.port_entities is None else frozenset(said.port_entities),
        {str(entity): factor for entity, factor in said.multipliers.items()},
        said.names,
        frozenset(serial_number(serial) for serial in chosen.exclude),
        {str(entity): name for entity, name in said.entity_names.items()},
        said.topics,
    )
    period_s = min(config.periods(device).values())
    model = fulfilled(chosen.points, library.load("hoymiles-inverter"))
    profile = config.profile(device)
    return HoymilesJson(device, profile, model, messenger, discovery, period_s=period_s, wanted=wanted, known=known, claims=claims)


def _native(
    config: Config,
    device: str,
    messenger: Messenger,
    discovery: Discovery,
    contract: MtecState | MtecJson | HoymilesJson | None,
    known: Mapping[str, Value] | None,
) -> HomeAssistantDevice:
    profile, chosen = config.profile(device), config.devices[device]
    covered: frozenset[str] | None = None
    name = chosen.name or profile.name
    joins: str | None = None
    if contract is not None and config.home_assistant.entities == "contract":
        covered = contract.covers
        joins = _joined(profile)
        name = (profile.contracts[str(chosen.contract)].device_name or name) if profile.reader == "registers" else ""  # a DTU has one there
    return HomeAssistantDevice(
        config.site,
        device,
        name,
        profile,
        messenger,
        discovery,
        covered=covered or (),
        joins=joins,
        read_only=chosen.read_only,
        limits={control: config.raw_limits(device, control) for control in profile.controls},
        known=known,
    )
