"""Each value plain, for people and small machines: `ohm/<site>/device/<device>/<point>`, retained, text in the point's unit.

Published when the text changes, and all of them after each connection; `None` when a point has no value any more, which Home Assistant
shows as unknown. Beside them `…/online`: `online` while the device is
read, `offline` after three of its shortest periods without an answer or as soon as somebody knows better.
"""

from __future__ import annotations

from collections.abc import Callable

from ohmstead.messages import Messenger
from ohmstead.profiles.model import Point, Profile
from ohmstead.publish.numbers import plain
from ohmstead.readings import Snapshot, Value

NONE = "None"
_FRESH_PERIODS = 3
_UNDER_WAY_S = 30.0
"""A reading may have been under way so long and still says that the device answers."""


def device_topic(site: str, device: str) -> str:
    """The root of a device's plain topics."""
    return f"ohm/{site}/device/{device}"


def forecast_topic(site: str) -> str:
    """Of the weather."""
    return f"ohm/{site}/weather/forecast"


def online_topic(site: str, device: str) -> str:
    return f"{device_topic(site, device)}/online"


def decimals(profile: Profile, point: Point) -> int | None:
    """Decimals of a plain topic: those worth showing, but never fewer than somebody may set."""
    if point.round is None:
        return None
    steps = [control.step for control in profile.controls.values() if control.point == point.id and control.step]
    return max([point.round, *(_decimals_of(step) for step in steps)])


def _decimals_of(step: float) -> int:
    text = f"{step:.6f}".rstrip("0")
    return len(text) - text.index(".") - 1


class DeviceValues:
    """The plain topics of one device. `period_s` is the period of its fastest group. With `values` False only `online` is published."""

    def __init__(self, site: str, device: str, profile: Profile, messenger: Messenger, period_s: float, *, values: bool = True) -> None:
        self._device = device
        self._messenger = messenger
        self._offline_after_s = _FRESH_PERIODS * period_s
        self._online_topic = online_topic(site, device)
        self._root = device_topic(site, device)
        self._topics: dict[str, tuple[str, Callable[[Value], str]]] = {}
        self._shows_values = values
        self._values: dict[str, Value] = {}
        self._texts: dict[str, str] = {}
        self._gone: set[str] = set()
        self.learn(profile)
        self._online = False
        self._answered = False
        self._last_answer: float | None = None

    @property
    def online(self) -> bool:
        return self._online

    def learn(self, profile: Profile) -> None:
        """The profile of the device, which may have grown. What is no point of it any more is taken back: its last value is nobody's."""
        # The moment of a reading is no value of its own: as a plain topic it would only tell that time passes.
        self._topics = {
            point.id: (f"{self._root}/{point.id}", plain(decimals(profile, point)))
            for point in profile.points.values()
            if self._shows_values and point.clock is None and point.shown != "never"
        }
        shown = {topic for topic, _ in self._topics.values()}
        self._values = {point: value for point, value in self._values.items() if point in self._topics}
        gone = self._texts.keys() - shown
        self._gone = (self._gone | gone) - shown
        for topic in gone:
            del self._texts[topic]
            self._messenger.publish(topic, "", retain=True)

    def start(self) -> None:
        self._messenger.on_connect(self._publish_all)

    def introduce(self) -> None:
        """Says that the device is there, for one that is found while the broker is connected."""
        self._say(self._online)

    def take(self, snapshot: Snapshot) -> None:
        if snapshot.device != self._device or not snapshot.live:
            return
        known = self._values
        for point, value in snapshot.values.items():
            if known.get(point) == value:
                continue
            target = self._topics.get(point)
            if target is None:
                continue
            known[point] = value
            topic, text_of = target
            self._show(topic, text_of(value))
        for point in snapshot.gone:
            known.pop(point, None)
            if point in self._topics:  # also where only the broker knows it, from before a restart
                self._show(self._topics[point][0], NONE)
        if snapshot.age <= _UNDER_WAY_S:
            self._answered = True
            if not self._online:
                self._say(True)

    def tick(self, now: float) -> None:
        if self._answered or self._last_answer is None:
            self._last_answer = now
            self._answered = False
        elif self._online and now - self._last_answer > self._offline_after_s:
            self._say(False)

    def lost(self) -> None:
        """The device, or the node it hangs on, is known to be away. The next snapshot brings it back."""
        if self._online:
            self._say(False)

    def close(self) -> None:
        """Nothing: the bridge's own `offline` covers its devices."""

    def _show(self, topic: str, text: str) -> None:
        if self._texts.get(topic) != text:
            self._texts[topic] = text
            self._messenger.publish(topic, text, retain=True)

    def _say(self, online: bool) -> None:
        self._online = online
        self._messenger.publish(self._online_topic, "online" if online else "offline", retain=True)

    def _publish_all(self) -> None:
        for topic in self._gone:
            self._messenger.publish(topic, "", retain=True)
        for topic, text in self._texts.items():
            self._messenger.publish(topic, text, retain=True)
        self._say(self._online)
