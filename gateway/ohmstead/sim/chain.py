"""What `smoke` verifies, link by link from the inverter's registers to the topics and the store."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, Protocol

from msgpack import unpackb  # type: ignore[import-untyped] # it comes without types

from . import mtec
from .appliance import DEVICE, NODE, SITE, Appliance
from .listener import Listener

GROUPS = ("config", "now-base", "now-grid", "now-inverter", "now-backup", "now-battery", "now-pv", "day", "total", "static")
_BUS_ERRORS = ("no_answer", "partial", "crc", "exception", "wrong", "late_bytes")
_ENTITIES = 83
"""Sensors that the JSON contract announces: its points but the dates and what never changes."""
_DARK = 4.0
"""Seconds without a broker: two polls fall into it."""


class Verdict(Protocol):
    def __call__(self, what: str, passed: bool, figures: str = "") -> None: ...


class Chain:
    """Looks at a running appliance from outside, each method one link; none waits past `deadline` (monotonic clock)."""

    def __init__(self, appliance: Appliance, listener: Listener, verdict: Verdict, deadline: float) -> None:
        self._appliance = appliance
        self._listener = listener
        self._verdict = verdict
        self._deadline = deadline
        self._node_root = f"ohm/{SITE}/node/{NODE}/up"
        self._device_root = f"ohm/{SITE}/device/{DEVICE}"
        self._contract_root = f"MTEC/{appliance.serial}"

    def gateway_answers(self, began: float) -> None:
        ready = self._until(lambda: self._appliance.fetch("/ready")[0] == 200, 15)
        at = time.monotonic() - began
        health, page = self._appliance.fetch("/health"), self._appliance.fetch("/")
        self._verdict("/ready says 200", ready, f"{at:.1f} s after the start")
        self._verdict("/health says 200", health[0] == 200, "" if health[0] == 200 else f"{health[0]} {health[1][:200]}")
        self._verdict("the page is served", page[0] == 200 and "<html" in page[1], f"{len(page[1])} characters")

    def node_is_there(self) -> None:
        hello_topic = f"{self._node_root}/hello"
        came = self._until(lambda: self._listener.last(hello_topic) and self._listener.last(f"{self._node_root}/online") == b"online", 10)
        hello = self._unpacked(self._listener.last(hello_topic))
        self._verdict("the node is online and said hello", bool(came), f"firmware {hello[1]}, boot {hello[2]}" if hello else "")
        frames = f"{self._node_root}/data"
        came = self._until(lambda: self._listener.all(frames), 10)
        heard = self._listener.all(frames)
        longest = max((len(frame.payload) for frame in heard), default=0)
        self._verdict("its data frames arrive", bool(came) and longest <= 1024, f"{len(heard)} so far, the longest {longest} bytes")

    def every_group_arrives(self) -> None:
        self._until(lambda: all(self._listener.last(f"{self._contract_root}/{group}") for group in GROUPS), 12)
        contents = {group: self._json(f"{self._contract_root}/{group}") for group in GROUPS}
        missing = [group for group, content in contents.items() if not content]
        values = sum(len(content) for content in contents.values())
        self._verdict(
            f"all {len(GROUPS)} M-TEC groups arrive as JSON", not missing, f"missing {missing}" if missing else f"{values} values"
        )

    def neighbours_answer(self) -> None:
        """One value of each device on the network, where it belongs."""
        for name, neighbour in self._appliance.neighbours.known.items():
            topic = f"ohm/{SITE}/device/{name}/{neighbour.point}"
            came = self._until(partial(self._listener.last, topic), 15)
            said = (self._listener.last(topic) or b"nothing").decode()
            here = bool(came) and neighbour.low <= float(said) <= neighbour.high
            self._verdict(f"{neighbour.title} is read", here, f"{name} {neighbour.point} {said}")

    def consumption_is_consistent(self) -> None:
        heard = [json.loads(message.payload) for message in self._listener.all(f"{self._contract_root}/now-base")]
        complete = [now for now in heard if {"inverter", "grid_power", "consumption"} <= now.keys()]
        exact = [now for now in complete if abs(now["consumption"] - max(0.0, now["inverter"] - now["grid_power"])) < 1e-9]
        last = exact[-1] if exact else {"consumption": 0, "inverter": 0, "grid_power": 0}
        figures = f"{last['consumption']:g} = {last['inverter']:g} − {last['grid_power']:g} W, in {len(exact)} of {len(heard)} readings"
        self._verdict("consumption = inverter − grid", 0 < len(exact) == len(heard), figures)

    def home_assistant_finds_it(self) -> None:
        pattern = "homeassistant/+/+/config"
        self._until(lambda: len(self._of_device(pattern)) >= _ENTITIES, 10)
        found, messages = self._of_device(pattern), self._listener.all(pattern)
        self._verdict(
            "Home Assistant's discovery is there", len(found) >= _ENTITIES, f"{len(found)} topics for this inverter, {len(messages)} in all"
        )

    def commands_are_kept_to_their_range(self) -> None:
        topic, result = f"{self._device_root}/grid_inject_limit/set", f"{self._device_root}/control/grid_inject_limit/result"
        before = len(self._appliance.inverter.writes)
        asked = time.monotonic()
        self._listener.publish(topic, "55")
        written = self._until(lambda: self._appliance.inverter[mtec.INJECT_LIMIT] == 550, 8)
        took = time.monotonic() - asked
        self._verdict(
            "a command in range is written", bool(written), f"register {mtec.INJECT_LIMIT} = 550 after {took:.2f} s" if written else ""
        )
        self._until(lambda: self._listener.last(result, asked), 5)
        asked = time.monotonic()
        self._listener.publish(topic, "150")
        refused = self._until(lambda: b"rejected" in (self._listener.last(result, asked) or b""), 6)
        untouched = self._appliance.inverter[mtec.INJECT_LIMIT] == 550 and len(self._appliance.inverter.writes) == before + 1
        answer = self._json(result)
        self._verdict("one out of range is refused and not written", bool(refused) and untouched, str(answer.get("detail", "no answer")))

    def bus_is_clean(self) -> None:
        events = f"{self._node_root}/event"
        self._until(lambda: self._bus_counters(events), 6)
        counters = self._bus_counters(events)
        errors = {name: counters[name] for name in _BUS_ERRORS if counters.get(name)}
        good = {name: counters.get(name, 0) for name in ("requests", "ok")}
        figures = ", ".join(f"{name} {count}" for name, count in (good | errors).items())
        line = self._appliance.line
        late = f"the line was true to {line.worst_lateness * 1000:.2f} ms"
        self._verdict("the bus is without errors", bool(counters) and not errors and not line.damaged, f"{figures}; {late}")

    def unplugged_goes_offline_and_comes_back(self) -> None:
        online = f"{self._device_root}/online"
        self._appliance.station.faults.on("unplugged")
        pulled = time.monotonic()
        gone = self._until(lambda: self._listener.last(online, pulled) == b"offline", 14)
        took = time.monotonic() - pulled
        self._verdict("an unplugged bus takes the device offline", bool(gone), f"after {took:.1f} s")
        self._appliance.station.faults.off("unplugged")
        plugged = time.monotonic()
        base = f"{self._contract_root}/now-base"
        back = self._until(lambda: self._listener.last(online, plugged) == b"online" and self._listener.last(base, plugged), 14)
        self._verdict("plugged in again it is back", bool(back), f"after {time.monotonic() - plugged:.1f} s")

    def broker_dies_and_everything_arrives(self) -> None:
        appliance, broker = self._appliance, self._appliance.broker
        asked_before = appliance.line.requests
        broker.process.kill()
        fell = time.time()
        until = time.monotonic() + _DARK
        while time.monotonic() < until:
            time.sleep(0.1)
            for child in appliance.children:
                if child is not broker.process:
                    child.check()
        asked = appliance.line.requests - asked_before
        broker.start()
        returned, back = time.time(), time.monotonic()
        fresh = self._until(lambda: self._listener.last(f"{self._contract_root}/now-base", back), 14)
        self._verdict("the broker dies and returns, readings go on", bool(fresh), f"{time.monotonic() - back:.1f} s after its return")
        if appliance.node_runs:
            kept = self._until(lambda: self._samples_between(fell + 0.5, returned) >= 1, 20)
            stored = self._samples_between(fell + 0.5, returned)
            figures = f"the bus was asked {asked} times meanwhile, {stored} readings of those {_DARK:g} s are in the store"
            self._verdict("what was read without a broker has arrived", bool(kept), figures)

    def store_has_everything_once(self) -> None:
        if not self._appliance.node_runs:
            with self._store() as store:
                samples = store.execute("SELECT count(*) FROM samples").fetchone()[0]
            self._verdict("the store has samples", samples > 100, f"{samples} samples")
            return
        self._until(lambda: not self._missing()[0], 14)
        missing, frames, samples = self._missing()
        with self._store() as store:
            total = store.execute("SELECT count(*) FROM samples").fetchone()[0]
        figures = f"{frames} frames, {total} samples; of grid_power {samples[0]} samples from {samples[1]} frames"
        self._verdict(
            "the store has every frame, and each once", not missing and samples[0] == samples[1] > 0, f"{figures}, {missing} missing"
        )

    def _missing(self) -> tuple[int, int, tuple[int, int]]:
        """Numbers never stored, frames stored, and (samples of grid_power, frames that carry it)."""
        function_and_address = (3 << 16) | 11000
        with self._store() as store:
            rows = store.execute("SELECT boot_id, seq, body FROM frames").fetchall()
            samples = store.execute(
                "SELECT count(*) FROM samples JOIN series ON series.id = series_id WHERE device = ? AND point = 'grid_power'", (DEVICE,)
            ).fetchone()[0]
        last = Counter[int]()
        carrying = 0
        for boot, seq, body in rows:
            last[boot] = max(last[boot], seq)
            frame = unpackb(body)
            if len(frame) == 8 and any(span <= function_and_address < span + len(words) // 2 for span, words in frame[7]):
                carrying += 1
        return sum(last.values()) - len(rows), len(rows), (samples, carrying)

    def _samples_between(self, first: float, last: float) -> int:
        """How many readings of grid_power the store has from between two moments, in seconds since 1970."""
        with self._store() as store:
            counted = store.execute(
                "SELECT count(*) FROM samples JOIN series ON series.id = series_id"
                " WHERE device = ? AND point = 'grid_power' AND ts BETWEEN ? AND ?",
                (DEVICE, int(first * 1000), int(last * 1000)),
            ).fetchone()
        return int(counted[0])

    def _store(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(f"file:{self._appliance.folder / 'ohmstead.db'}?mode=ro", uri=True, timeout=5))

    def _bus_counters(self, topic: str) -> dict[str, int]:
        """Those of the last report."""
        for message in reversed(self._listener.all(topic)):
            event = self._unpacked(message.payload)
            if len(event) == 7 and event[4:6] == [DEVICE, "bus"]:
                return {name: count for name, count in event[6].items() if type(count) is int}
        return {}

    def _of_device(self, pattern: str) -> set[str]:
        """Discovery topics that speak of this inverter."""
        serial = self._appliance.serial.encode()
        return {message.topic for message in self._listener.all(pattern) if serial in message.payload}

    def _json(self, topic: str) -> dict[str, Any]:
        payload = self._listener.last(topic)
        content = json.loads(payload) if payload else {}
        return content if isinstance(content, dict) else {}

    def _unpacked(self, payload: bytes | None) -> list[Any]:
        content = unpackb(payload) if payload else []
        return content if isinstance(content, list) else []

    def _until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Whether it came true in time. Raises `ChildEndedError` if a part ends meanwhile."""
        until = min(time.monotonic() + seconds, self._deadline)
        while not condition():
            self._appliance.check()
            if time.monotonic() > until:
                return False
            time.sleep(0.03)
        return True
