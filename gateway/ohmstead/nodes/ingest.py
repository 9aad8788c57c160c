"""From a node's message to readings, and back to its acknowledgement.

Validate → anchor the time → decode by the device's profile → publish what is news → queue for the store → acknowledge what
the store has committed. What is refused is counted with its reason and never stops anything.

A message that cannot be understood at all leaves no trace but a count. A sound frame whose content has no meaning here (a device or
a range that this configuration does not know) is stored raw, without values, and acknowledged like any other: the node is
not at fault, and a better profile may read it one day.

Duplicates are the store's business: a frame that it reported as settled is not looked at again, and what is published or handed out
here twice (after a restart of the gateway) is stored once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import structlog

from ohmcore.errors import FrameError
from ohmstead.messages import Message, Messenger
from ohmstead.nodes import inbox
from ohmstead.nodes.acknowledger import Acknowledger
from ohmstead.nodes.anchor import Anchors
from ohmstead.nodes.decoding import Decoding, Newest, Taker
from ohmstead.nodes.fleet import DeviceState, Event, Fleet, NodeState
from ohmstead.nodes.inbox import REASONS, RefusedError
from ohmstead.nodes.sound import BootState, Sound
from ohmstead.readings import Quality, Snapshot, Stream, Value
from ohmstead.store.protocol import Acknowledgements, Anchor, Boot, BootKey, Frame, NodeEvent
from ohmstead.store.writer import Writer

log = structlog.get_logger(service="ingest")

LATE_S = 30.0
"""A frame that was under way for longer than this, and longer than until its group's next one, is history: stored, and published as
not live. What is read once an hour is still the newest there is after half an hour."""

_LOG_PAUSE_S = 60.0
_HELLO_S = 300.0
_SET_S = 1.0  # a wall clock that moves by more than this against the monotonic one was set
_BOOTS = 1_000
_MAX_PENDING_EVENTS = 10_000

_QUALITIES = (Quality.GOOD, Quality.PARTIAL)


class Ingest:
    """Takes the messages of all nodes of a site. `start` once in the event loop; everything else runs there as well.

    `decoders`: one for each device behind a node; `takers` go before them. `periods`: per device how often each of its poll groups is
    read, in seconds.
    `boots`: what the store remembers, the newest first. `mono` and `wall` are the clocks, in seconds.
    `refused` counts by reason, `replayed` the frames that came again after they had been settled.
    """

    def __init__(
        self,
        *,
        site: str,
        fleet: Fleet,
        decoders: Mapping[str, Decoding],
        stream: Stream,
        writer: Writer,
        messenger: Messenger,
        takers: Mapping[str, Taker] | None = None,
        periods: Mapping[str, Mapping[str, float]] | None = None,
        boots: Sequence[Boot] = (),
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.fleet = fleet
        self.refused: dict[str, int] = dict.fromkeys(REASONS, 0)
        self.frames = 0
        self.events = 0
        self.replayed = 0
        self._root = f"ohm/{site}/node"
        self._decoders = decoders
        self._takers = takers or {}
        self._stream = stream
        self._writer = writer
        self._messenger = messenger
        self._periods = periods or {}
        self._mono = mono
        self._wall = wall
        self._anchors = Anchors(boots, mono=mono(), wall=wall())
        self._boots: dict[BootKey, BootState] = {(boot.node, boot.boot): BootState(boot.contiguous) for boot in boots}
        self._before = {boot.node: boot.boot for boot in reversed(boots)}
        self._routes: dict[str, tuple[NodeState, str]] = {}
        self._newest = Newest()  # of what was published
        self._shift = wall() - mono()
        self._subscribers: list[Callable[[Event], None]] = []
        self._acknowledger = Acknowledger(self._root, fleet, messenger, self._boots, mono=mono, wall=wall)
        self._first_seqs: dict[BootKey, int] = {}
        self._logged: dict[tuple[str, str], float] = {}
        self._since_logged: Counter[tuple[str, str]] = Counter()

    def start(self) -> None:
        """Subscribes to the nodes' topics and to the store's commits."""
        loop = asyncio.get_running_loop()
        self._acknowledger.start(loop)

        def committed(settled: Acknowledgements) -> None:
            loop.call_soon_threadsafe(self.settled, settled)

        self._writer.on_commit(committed)
        self._messenger.subscribe(f"{self._root}/+/up/#", self.handle)
        self._messenger.on_connect(self.greet)

    def on_event(self, subscriber: Callable[[Event], None]) -> None:
        """`subscriber` gets each event of a node once, as soon as it comes; after a restart of the gateway perhaps again."""
        self._subscribers.append(subscriber)

    # Messages in

    def handle(self, messages: Sequence[Message]) -> None:
        """Takes a batch of messages of `ohm/<site>/node/+/up/#`."""
        mono, wall = self._mono(), self._wall()
        if abs(wall - mono - self._shift) > _SET_S:
            self._clock_was_set(wall - mono - self._shift)
        sound: list[Sound] = []
        for message in messages:
            topic, payload, retain = message
            route = self._routes.get(topic) or self._route(topic)
            if route is None:
                continue
            node, kind = route
            node.heard = wall
            try:
                if kind == "data":
                    if (taken := self._data(node, payload, retain, mono)) is not None:
                        sound.append(taken)
                elif kind == "event":
                    if (taken := self._event(node, payload, retain, mono)) is not None:
                        sound.append(taken)
                elif kind == "hello":
                    self._hello(node, payload, retain, mono)
                elif kind == "online":
                    node.online = payload == b"online"
            except RefusedError as refusal:
                self._refuse(refusal.reason, node, refusal.detail)
        if sound or self._first_seqs:
            self._take(sound, mono, wall)
        if self._acknowledger.due:
            self._acknowledger.send()

    def _clock_was_set(self, seconds: float) -> None:
        """The wall clock jumped by so much: what is known by its time is from now on as long ago as it was before."""
        self._shift += seconds
        self._newest.clock_was_set(seconds)
        self.fleet.clock_was_set(seconds)
        log.warning("the clock was set", seconds=round(seconds, 1))

    def _route(self, topic: str) -> tuple[NodeState, str] | None:
        """Whose message it is and of what kind. Topics of unknown nodes are not remembered: anybody can invent them."""
        name, _, kind = topic[len(self._root) + 1 :].partition("/up/")
        node = self.fleet.nodes.get(name)
        if node is None:
            self._refuse("unknown node", None, name)
            return None
        route = (node, kind)
        if kind in ("data", "event", "hello", "online"):
            self._routes[topic] = route
        return route

    def _data(self, node: NodeState, payload: bytes, retain: bool, mono: float) -> Sound | None:
        boot, seq, uptime_ms, device, group, quality, ranges = inbox.data(payload)
        key = (node.name, boot)
        if self._is_news(node, key, seq, uptime_ms, retain, mono) is None:
            return None
        return Sound(node, key, seq, uptime_ms, device, payload, group, quality, ranges)

    def _event(self, node: NodeState, payload: bytes, retain: bool, mono: float) -> Sound | None:
        boot, seq, uptime_ms, device, kind, detail = inbox.event(payload)
        key = (node.name, boot)
        known = self._is_news(node, key, seq, uptime_ms, retain, mono)
        if known is None:
            return None
        event = NodeEvent(kind, detail)
        if kind == "dropped" and "first" in detail and "ago_s" in detail and detail.get("boot", boot) != boot:
            earlier = (node.name, detail["boot"])
            self._anchors.earlier(earlier, key, detail["ago_s"], mono)
            self._first_seqs[earlier] = max(detail["first"], self._first_seqs.get(earlier, 0))
        handed_out = seq in known.events
        if not handed_out and len(known.events) < _MAX_PENDING_EVENTS:
            known.events.add(seq)
        return Sound(node, key, seq, uptime_ms, device, payload, event=event, handed_out=handed_out)

    def _is_news(self, node: NodeState, key: BootKey, seq: int, uptime_ms: int, retain: bool, mono: float) -> BootState | None:
        """The frame's boot; None if the store has settled the frame already: then the node missed an acknowledgement.

        Frames of an earlier boot that nobody has heard of say nothing of their time by coming now: they are not taken, and not
        acknowledged, before a "dropped" event has said when that was; unless none comes: then a hello was lost, and it is no earlier boot.
        """
        if retain:
            raise RefusedError("retained", "nobody keeps frames in the broker")
        known = self._boots.get(key) or self._new_boot(key)
        if seq <= known.settled:
            self.replayed += 1
            node.replayed += 1
            self._acknowledger.due.add(key)
            return None
        if not node.is_earlier(key[1]):
            self._anchors.heard(key, uptime_ms * 0.001, mono)
        elif key not in self._anchors:
            known.waits = min(known.waits, mono)
            if mono - known.waits < _HELLO_S:
                raise RefusedError("no time", f"boot {key[1]} is not the one that said hello, and nobody said when it was")
            self._anchors.heard(key, uptime_ms * 0.001, mono)
        return known

    def _new_boot(self, key: BootKey) -> BootState:
        if len(self._boots) >= _BOOTS:
            del self._boots[next(iter(self._boots))]
        known = self._boots[key] = BootState()
        return known

    def _hello(self, node: NodeState, payload: bytes, retain: bool, mono: float) -> None:
        """A broker's retained copy says what the node holds, not when it said so: good for everything but the time.

        The copy of a boot that is news was said while we were away from the broker; any other may be an old one, of before its crash.
        """
        hello = inbox.hello(payload)
        key = (node.name, hello.boot)
        known = self._boots.get(key)
        news = known is None or known.waits < float("inf")
        known = known or self._new_boot(key)
        if not retain or node.hello is None or news:
            node.hello = hello
        if not retain:
            self._anchors.heard(key, hello.uptime_ms * 0.001, mono)
        self._first_seqs[key] = max(hello.first_seq, self._first_seqs.get(key, 0))
        if retain or known.settled:  # a copy says that the node was there before us: it waits
            self._acknowledger.due.add(key)

    # What is sound

    def _take(self, sound: list[Sound], mono: float, wall: float) -> None:
        """All of a batch is anchored before any of it gets its time: the quickest tells for all."""
        frames: list[Frame] = []
        anchors: dict[BootKey, Anchor] = {}
        received_ms = round(wall * 1000)
        for item in sound:
            node, key, seq, uptime_ms, device, payload, _, _, _, event, handed_out = item
            anchor = anchors.get(key)
            if anchor is None:
                anchor = anchors[key] = self._anchors.anchor(key, mono, wall)
            at = anchor.offset + uptime_ms * 0.001
            if not node.is_earlier(key[1]):
                node.boot, node.seq, node.late, node.started = key[1], seq, wall - at, anchor.offset
            values: Mapping[str, Value] = {}
            behind: Mapping[str, Mapping[str, Value]] = {}
            if event is None:
                self.frames += 1
                node.frames += 1
                if (taker := self._takers.get(device)) is None:
                    values = self._snapshot(item, at, wall)
                else:
                    behind = self._taken(item, taker, at, wall)
            elif not handed_out:
                self.events += 1
                self._hand_out(Event(node.name, device, event.kind, event.detail, at))
            frames.append(Frame(node.name, key[1], seq, received_ms, round(at * 1000), device, values, payload, event, behind))
        first_seqs, self._first_seqs = self._first_seqs, {}
        anchors.update((key, self._anchors.anchor(key, mono, wall)) for key in first_seqs if key in self._anchors)
        self._writer.submit(frames, anchors, first_seqs)

    def _snapshot(self, item: Sound, at: float, wall: float) -> Mapping[str, Value]:
        """Decodes a frame and publishes it if it is newer than what was published of its device and group."""
        device = item.device
        state = item.node.devices.get(device)
        decoder = self._decoders.get(device)
        if state is None or decoder is None:
            self._refuse("unknown device", item.node, device)
            return {}
        values: dict[str, Value] = {}
        quality = item.quality
        try:
            for function, address, raw in item.ranges:
                try:
                    values.update(decoder.decode(function, address, raw, item.group))
                except FrameError as error:
                    quality = Quality.PARTIAL
                    self._refuse("unknown range", item.node, str(error))
            if values:
                decoder.calculate(values, at)
        except Exception as error:  # noqa: BLE001 - one device's strange registers must not cost the others their frames
            self._refuse("undecodable", item.node, f"{device} {item.group}: {error!r}")
            return {}
        if not values:
            return values
        read = (device, item.group), item.key[1], item.uptime_ms, at
        if self._newest.is_newer(*read):
            self._newest.note(*read)
            age = wall - at
            gone = decoder.missing(values, item.group) if quality == Quality.GOOD else ()
            live = self._answered(state, item, at, age)
            self._stream.publish(Snapshot(device, item.group, at, _QUALITIES[quality], values, live, age, gone))
        return values

    def _taken(self, item: Sound, taker: Taker, at: float, wall: float) -> Mapping[str, Mapping[str, Value]]:
        """Publishes what the device's taker makes of a frame: the values by device. A frame that is not the newest has no meaning here."""
        device = item.device
        state = item.node.devices.get(device)
        if state is None:
            self._refuse("unknown device", item.node, device)
            return {}
        read = (device, ""), item.key[1], item.uptime_ms, at
        if not self._newest.is_newer(*read):
            return {}
        age = wall - at
        try:
            snapshots = taker.take(item.ranges, at, live=self._is_live(item, age), age=age)
        except FrameError as error:
            self._refuse("unknown range", item.node, str(error))
            return {}
        except Exception as error:  # noqa: BLE001 - as in `_snapshot`
            self._refuse("undecodable", item.node, f"{device} {item.group}: {error!r}")
            return {}
        if snapshots:
            self._newest.note(*read)
            self._answered(state, item, at, age)
        for snapshot in snapshots:
            self._stream.publish(snapshot)
        return {snapshot.device: snapshot.values for snapshot in snapshots}

    def _answered(self, state: DeviceState, item: Sound, at: float, age: float) -> bool:
        """Notes that the device answered at `at`; whether the frame is live."""
        if age <= LATE_S:
            state.last_frame = at
            state.seen(True, at)
        return self._is_live(item, age)

    def _is_live(self, item: Sound, age: float) -> bool:
        return age <= LATE_S or age <= self._periods.get(item.device, {}).get(item.group, 0.0)

    def _hand_out(self, event: Event) -> None:
        self.fleet.happened(event)
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                log.exception("a subscriber failed on an event", node=event.node, kind=event.kind)

    def _refuse(self, reason: str, node: NodeState | None, detail: str) -> None:
        """Counts; one line a minute for each reason and node."""
        self.refused[reason] += 1
        name = "" if node is None else node.name
        if node is not None:
            node.refused += 1
        key = (reason, name)
        self._since_logged[key] += 1
        now = self._mono()
        if now - self._logged.get(key, float("-inf")) >= _LOG_PAUSE_S:
            self._logged[key] = now
            log.warning("refused", reason=reason, node=name, detail=detail[:200], times=self._since_logged.pop(key))

    # Acknowledgements out

    def greet(self) -> None:
        """We are connected and hear the nodes: each is told how far its boot is settled, 0 if nothing is, and may send at once what it
        sent to nobody before."""
        for node in self.fleet.nodes.values():
            boots = {node.hello.boot if node.hello else 0, node.boot, self._before.get(node.name, 0)}
            self._acknowledger.due.update((node.name, boot) for boot in boots if boot)
        self._acknowledger.send()

    def settled(self, settled: Acknowledgements) -> None:
        """The store has committed: tell the nodes, a few times a second at most."""
        for key, seq in settled.items():
            known = self._boots.get(key) or self._new_boot(key)
            known.settled = max(known.settled, seq)
            if known.events:
                known.events = {number for number in known.events if number > seq}
            self._acknowledger.due.add(key)
        self._acknowledger.send()

    def flush_acknowledgements(self) -> None:
        """Sends what is due now; also the last thing to do before the broker is left."""
        self._acknowledger.flush()
