"""Puts the gateway together: the only place where things are constructed. What it does then is in `app`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

import ohmstead
from ohmstead.batteries import Batteries, targets_of
from ohmstead.clock import Clock
from ohmstead.config.model import Config
from ohmstead.config.wishes import fulfilled
from ohmstead.control.answers import Answers
from ohmstead.control.desk import Desk
from ohmstead.control.dispatch import Actuator, NodeActuator
from ohmstead.control.freshness import LastRead
from ohmstead.control.guarded import GuardedActuator
from ohmstead.control.requests import BridgeRequests
from ohmstead.control.topics import ControlTopics
from ohmstead.mqtt import BrokerAddress, MqttClient
from ohmstead.nodeless import StoreMemory, Surroundings, actuator_of, source_of, taker_of
from ohmstead.nodes.fleet import Fleet
from ohmstead.nodes.ingest import Ingest
from ohmstead.observe.latest import Latest
from ohmstead.observe.overview import Overview
from ohmstead.profiles.decode import Decoder
from ohmstead.publish.bridge import Bridge
from ohmstead.publish.device import DeviceOutlets, alerts, battery_outlets, device_outlets, members, node_outlets, retired_devices
from ohmstead.publish.home_assistant import bridge_topic
from ohmstead.publish.node_diagnostics import Told
from ohmstead.publish.outlet import Outlet
from ohmstead.publish.retired import RetiredTopic
from ohmstead.publish.values import forecast_topic
from ohmstead.readings import Snapshot, Stream, Subscriber, Value
from ohmstead.roster import Listed, roster_of
from ohmstead.sources.polling import Member
from ohmstead.store.changes import TALKATIVE, Changes, Standing
from ohmstead.store.lock import StoreLock
from ohmstead.store.notes import Notes
from ohmstead.store.protocol import Store
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.writer import Writer

if TYPE_CHECKING:
    from ohmstead.control.plan.model import Wish
    from ohmstead.loxone import Loxone
    from ohmstead.planning import Planning
    from ohmstead.publish.weather import WeatherTopic
    from ohmstead.weather import WeatherForecast

log = structlog.get_logger(service="app")


class Assembly:
    """The parts of one home's gateway, none of them running. Construct it inside an event loop."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        """Opens the store. Raises StoreError."""
        self.config = config
        self.clock = clock = clock or Clock()
        self.profiles = {device: config.profile(device) for device in config.devices}
        self.scans = {device: config.poll_groups(device) for device in config.devices}
        self.decoders = {device: Decoder(profile, config.zone, self.scans[device]) for device, profile in self.profiles.items()}
        self.periods = {device: config.periods(device) for device in config.devices}
        self._lock = StoreLock(config.store.path)
        self._units = {device: profile.units() for device, profile in self.profiles.items()}
        self._standing = {
            device: Standing.of(profile.points, min(self.periods[device].values()))
            for device, profile in self.profiles.items()
            if profile.reader in TALKATIVE
        }
        self.store = self._open_store()
        self.writer = Writer(self.store, flush=config.store.flush)
        self.notes = Notes(self.store, clock.wall)
        self._kept = Changes(self.writer.record, self._standing)
        self.stream = Stream(_subscriber_failed)
        self.mqtt = self._client()
        self.fleet = Fleet({node: config.devices_of(node) for node in config.nodes})
        memory = StoreMemory(self.store)
        around = {
            device: Surroundings(config, self.mqtt, self._emit, partial(self._adopt, device), memory, clock, self._foresee)
            for device in config.devices
        }
        takers = {device: taker_of(device, around[device]) for device in config.devices}
        self.takers = {device: taker for device, taker in takers.items() if taker is not None}
        self.ingest = Ingest(
            site=config.site,
            fleet=self.fleet,
            decoders={device: decoder for device, decoder in self.decoders.items() if config.devices[device].via.node},
            stream=self.stream,
            writer=self.writer,
            messenger=self.mqtt,
            takers=self.takers,
            periods={device: {scan.name: scan.period_s for scan in scans} for device, scans in self.scans.items()},
            boots=self.store.boots(),
            mono=clock.mono,
            wall=clock.wall,
        )
        self.weather = self._weather()
        self.sources = {
            device: source_of(device, self.decoders[device], around[device])
            for device, chosen in config.devices.items()
            if chosen.via.node is None
        }
        self.latest = Latest(config.devices, clock.mono)
        self.roster = roster_of(config)
        self.members = members(config, self.mqtt)
        self.desk = self._desk()
        self.planning = self._planning()
        self.devices = self._outlets()
        self.overview = Overview(
            config=config,
            roster=self.roster,
            mqtt=self.mqtt,
            writer=self.writer,
            fleet=self.fleet,
            ingest=self.ingest,
            sources=self.sources,
            desk=self.desk,
            latest=self.latest,
            takers=self.takers,
            wall=clock.wall,
            mono=clock.mono,
            started=clock.mono(),
            plan=lambda: self.planning.planner.plan if self.planning else None,
            loxone=lambda: self.loxone.figures() if self.loxone else {},
            audit_trouble=lambda: self.batteries.arbiter.audit.trouble,
            standing=lambda: self.alerts.standing(),
        )
        self.outlets: list[Outlet] = [*(outlet for device in self.devices.values() for outlet in device.outlets), self._bridge()]
        self.outlets += node_outlets(config, self.mqtt, self._told)
        self.outlets += battery_outlets(config, self.mqtt, self.batteries.arbiter)
        self.outlets.append(self.members)
        self.alerts = alerts(config, self.roster, self.mqtt, self.notes.note, self._known)
        self.outlets.append(self.alerts)
        if self.planning is not None:
            self.outlets.append(self.planning.topic)
        self.outlets.append(self.weather or RetiredTopic(forecast_topic(config.site), self.mqtt))
        self.loxone = self._loxone()
        self.outlets += self.loxone.outlets if self.loxone is not None else []
        self.outlets.append(retired_devices(config, self.mqtt, self.outlets))
        self.commands = ControlTopics(config.site, self.mqtt, self.entrance.request)
        self.requests = BridgeRequests(config.site, self.mqtt, self.entrance, lambda node: self.fleet.nodes[node].latched)
        for outlet in self.outlets:
            self.stream.subscribe(outlet.take)
        self.stream.subscribe(self.latest.take)
        self.stream.subscribe(self._last_read.take)
        for guarded in self.guarded.values():
            self.stream.subscribe(guarded.take)
        self.stream.subscribe(self.batteries.take)
        if self.planning is not None:
            self.stream.subscribe(self.planning.soc.take)

    # Construction

    def _client(self) -> MqttClient:
        return MqttClient(broker_of(self.config), bridge_topic(self.config.site))

    def _open_store(self) -> Store:
        return SqliteStore(
            self.config.store.path,
            units=self._units,
            transient={device: [p.id for p in profile.points.values() if p.clock] for device, profile in self.profiles.items()},
            standing=self._standing,
            keep_raw_s=self.config.store.keep_raw,
        )

    def _adopt(self, parent: str, member: Member) -> None:
        """Something behind a device, or the device itself now that it has said what it is."""
        own = member.device == parent
        named = self.config.devices[parent].name != self.profiles[parent].name  # by its owner
        if not own and member.device in self.config.devices:
            log.error("two devices of one name", device=member.device, behind=parent, advice="call one of them otherwise in ohmstead.yaml")
            return
        profile = fulfilled(self.config.devices[parent].points, member.profile)
        listed = Listed(
            device=member.device,
            title=self.roster[parent].title if own and named else member.name,
            profile=profile,
            periods=dict.fromkeys(profile.groups, member.period_s),
            via=self.roster[parent].via,
            parent=None if own else parent,
            serial=member.serial,
        )
        if self.roster.list(listed):
            self._units[member.device] = profile.units()
            self.latest.add(member.device)
            if own:
                self.devices[parent].learn(listed)
            else:
                by_contract = self.config.devices[parent].contract is not None and self.config.home_assistant.entities == "contract"
                self.members.list(listed, announce=not by_contract)

    def _emit(self, snapshot: Snapshot) -> None:
        self._kept.record(snapshot)
        self.stream.publish(snapshot)

    def _desk(self) -> Desk:
        config, known = self.config, {device: targets_of(self.config, device) for device in self.config.devices}
        over_nodes = [target for device, named in known.items() if config.devices[device].via.node for target in named.values()]
        self._last_read = LastRead(over_nodes, self.decoders, self.clock.mono)
        self.node_actuators = {
            node: NodeActuator(
                config.site, node, said.key, self.mqtt, lambda: self.mqtt.connected, self._next_counter, self._last_read.holds
            )
            for node, said in config.nodes.items()
        }
        actuators: dict[str, Actuator] = {
            device: self.node_actuators[chosen.via.node] for device, chosen in config.devices.items() if chosen.via.node is not None
        }
        for device, source in self.sources.items():
            actuators[device] = actuator_of(config, device, known[device], source, self._guard_ended, self.clock)
        self.guarded = {device: actuator for device, actuator in actuators.items() if isinstance(actuator, GuardedActuator)}
        answers = Answers(config.site, self.mqtt, config.zone)
        self.batteries = Batteries(config, known, actuators, self.store.trail, self.mqtt, self._online, self._planned, self.clock)
        others = self.batteries.others(known)
        desk = Desk(others, actuators, self.store, answers.say, nodes=self.node_actuators, mono=self.clock.mono, wall=self.clock.wall)
        self.entrance = self.batteries.entrance(desk, answers.say)
        return desk

    def _online(self, device: str) -> bool | None:
        source = self.sources.get(device)
        return source.online if source is not None else self.fleet.device_online(device)

    def _guard_ended(self, device: str, control: str, reason: str, time: float) -> None:
        if not self.batteries.guard_ended(device, control, reason, time):
            self.desk.ended(device, control, reason, time)

    def _planned(self, now: float, house_w: float | None) -> list[Wish]:
        return [] if self.planning is None else self.planning.planner.wishes(now, house_w)

    def _planning(self) -> Planning | None:
        """Prices and plan, at a home that has them configured; the others need not load what that takes."""
        if self.config.prices is None:
            return None
        from ohmstead.planning import planning

        return planning(
            self.config,
            self.mqtt,
            self.store.plans,
            self.store.history,
            wall=self.clock.wall,
            mono=self.clock.mono,
            weather=lambda: self.weather.forecast if self.weather is not None else None,
        )

    def _weather(self) -> WeatherTopic | None:
        """The forecast's topic, at a home that asks for one."""
        if not any(profile.reader == "open-meteo" for profile in self.profiles.values()):
            return None
        from ohmstead.publish.weather import WeatherTopic

        return WeatherTopic(self.config.site, self.mqtt, self.clock.wall)

    def _foresee(self, forecast: WeatherForecast) -> None:
        if self.weather is not None:
            self.weather.show(forecast)

    def _loxone(self) -> Loxone | None:
        """A Miniserver, at a home that has one."""
        section, clock = self.config.loxone, self.clock
        if section is None:
            return None
        from ohmstead.loxone import Loxone

        judge, record, reset = self.batteries.arbiter, self.writer.record, self.entrance.reset_device
        return Loxone(section, self.config.zone, self.mqtt, judge, record, memory=self.store, reset=reset, wall=clock.wall, mono=clock.mono)

    async def _next_counter(self, node: str, above: int = 0) -> int:
        """The number of the next command to a node: it only grows, even when the store was lost (then the clock makes it grow)."""
        key = f"command-counter/{node}"

        def count() -> int:
            number = max(int(self.store.read_meta(key) or 0) + 1, above + 1, int(self.clock.wall()))
            self.store.write_meta(key, str(number))
            return number

        return await asyncio.to_thread(count)

    def _outlets(self) -> dict[str, DeviceOutlets]:
        self._known: dict[str, dict[str, Value]] = {}
        for latest in self.store.latest():
            self._known.setdefault(latest.device, {})[latest.point] = latest.value
        claims: dict[str, str] = {}
        return {
            device: device_outlets(
                self.config,
                device,
                self.mqtt,
                self.entrance.request,
                period_s=min(self.periods[device].values()),
                known=self._known.get(device),
                claims=claims,
            )
            for device in self.config.devices
        }

    def _told(self, node: str) -> Told:
        state = self.fleet.nodes[node]
        return Told(state.link, state.bus, state.latched, state.hello.firmware if state.hello else None)

    def _bridge(self) -> Bridge:
        config = self.config
        introduction = {
            "version": ohmstead.__version__,
            "site": config.site,
            "devices": {
                name: {"profile": device.profile, "name": device.name, "via": self.roster[name].via}
                for name, device in config.devices.items()
            },
            "nodes": list(config.nodes),
        }
        return Bridge(config.site, self.mqtt, introduction, self.overview.health)


def broker_of(config: Config) -> BrokerAddress:
    """Where the broker is, and who we are there."""
    mqtt = config.mqtt
    return BrokerAddress(mqtt.host, mqtt.port, mqtt.tls, mqtt.user, mqtt.password, config.client_id)


def _subscriber_failed(subscriber: Subscriber, snapshot: Snapshot, error: Exception) -> None:
    name = getattr(subscriber, "__qualname__", repr(subscriber))
    log.error("a subscriber failed", subscriber=name, device=snapshot.device, group=snapshot.group, exc_info=error)
