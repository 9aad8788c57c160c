"""From a text that somebody sends to a write, with everything in between that may say no."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmcore.frames import parse_command
from ohmcore.pack import unpack
from ohmcore.seal import unseal
from ohmstead.control.answers import Answers
from ohmstead.control.desk import Answer, Desk
from ohmstead.control.dispatch import NodeActuator, Outcome
from ohmstead.control.freshness import LastRead
from ohmstead.control.quota import BURST
from ohmstead.control.target import Target, targets
from ohmstead.control.topics import ControlTopics
from ohmstead.errors import Reason, Rejected
from ohmstead.messages import Handler, Message
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Quality, Snapshot
from ohmstead.store.protocol import AuditEntry, StoreError

PROFILE = library.load("mtec-energybutler")
TARGETS = targets("mtec", PROFILE, {name: PROFILE.raw_limits(name) for name in PROFILE.controls}, periods=PROFILE.groups)
GRID_LIMIT = TARGETS["grid_inject_limit"]


# What a text means


@pytest.mark.parametrize(
    ("control", "text", "raw"),
    [
        ("on_grid_soc_limit", "16.1", 161),
        ("off_grid_soc_limit", "32.3", 323),
        ("on_grid_soc_limit", "0.3", 3),
        ("grid_inject_limit", "55.55", 555),
        ("charge_limit", " 12 ", 120),
        ("charge_limit", "+12.", 120),
        ("charge_limit", "\t.5\r\n", 5),
        ("charge_limit", "007", 70),
        ("charge_limit", "-0", 0),
        ("charge_limit", "12.34567", 123),
        ("charge_limit", "12.99999999999999999", 129),
        ("mode", "258.5", 258),
        ("grid_inject_switch", "0.9", 0),
        ("grid_inject_limit", "100", 1000),
        ("mode", "Economic mode", 258),
        ("mode", "512", 512),
        ("grid_inject_switch", "1", 1),
        ("grid_inject_switch", "off", 0),
    ],
)
def test_a_label_or_a_number_becomes_the_register_s_value(control: str, text: str, raw: int) -> None:
    assert TARGETS[control].raw_of(text) == raw


@pytest.mark.parametrize(
    ("control", "text", "reason"),
    [
        *[
            ("charge_limit", text, Reason.MALFORMED)
            for text in ("", " ", ".", "1e1", "1,5", "1.2.3", "nan", "nan.0", "inf", "true", "0x10", "1__0", "--1", "5 A", "²", "1" * 65,
                         "1_0", "1_0.5", "1.5e1", "1.0e999", "١٢", "١.٢", "\u00a05", "5\0", "５")
        ],
        ("mode", "economic mode", Reason.MALFORMED),
        ("mode", " Economic mode", Reason.MALFORMED),
        ("mode", "1", Reason.OUT_OF_RANGE),
        ("mode", "256.9", Reason.OUT_OF_RANGE),
        ("mode", "512.5", Reason.OUT_OF_RANGE),
        ("grid_inject_switch", "1.5", Reason.OUT_OF_RANGE),
        ("grid_inject_switch", "-0.5", Reason.OUT_OF_RANGE),
        ("grid_inject_switch", "2", Reason.OUT_OF_RANGE),
        ("on_grid_soc_limit", "101", Reason.OUT_OF_RANGE),
        ("on_grid_soc_limit", "100.05", Reason.OUT_OF_RANGE),
        ("grid_inject_limit", "-5", Reason.OUT_OF_RANGE),
        ("grid_inject_limit", "-0.01", Reason.OUT_OF_RANGE),
        ("grid_inject_limit", "70000", Reason.OUT_OF_RANGE),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_its_reason(control: str, text: str, reason: Reason) -> None:
    with pytest.raises(Rejected) as rejected:
        TARGETS[control].raw_of(text)
    assert rejected.value.reason is reason


@pytest.mark.parametrize(
    ("text", "raw"), [("1_0", 100), ("1.5e1", 150), ("١٢", 120), ("\u00a05", 50), ("12.99999999999999999", 130), ("12.5", 125)]
)
def test_on_a_contract_s_topic_a_number_is_what_upstream_takes_for_one(text: str, raw: int) -> None:
    assert TARGETS["charge_limit"].raw_of(text, contract=True) == raw


@pytest.mark.parametrize("word", ["on", "off"])
def test_where_on_and_off_are_no_words_a_switch_takes_its_numbers_and_a_select_its_labels(word: str) -> None:
    switch = TARGETS["grid_inject_switch"]
    with pytest.raises(Rejected) as rejected:
        switch.raw_of(word, contract=True)
    assert rejected.value.reason is Reason.MALFORMED
    assert switch.raw_of("1", contract=True) == 1
    assert TARGETS["mode"].raw_of("UPS mode", contract=True) == 259


def test_a_read_only_device_refuses_even_what_is_right() -> None:
    with pytest.raises(Rejected) as rejected:
        replace(GRID_LIMIT, read_only=True).raw_of("50")
    assert rejected.value.reason is Reason.READ_ONLY


def test_the_owner_s_own_limits_and_the_steps_hold() -> None:
    narrow = replace(GRID_LIMIT, limits=GRID_LIMIT.limits._replace(maximum=500, step=50))
    assert narrow.raw_of("45") == 450
    for text in ("51", "12.5"):
        with pytest.raises(Rejected) as rejected:
            narrow.raw_of(text)
        assert rejected.value.reason is Reason.OUT_OF_RANGE


@given(st.text(max_size=70))
def test_no_text_whatever_becomes_a_value_beyond_the_limits(text: str) -> None:
    for target in TARGETS.values():
        try:
            raw = target.raw_of(text)
        except Rejected:
            continue
        allowed = target.limits.allowed
        assert raw in allowed if allowed is not None else target.limits.minimum <= raw <= target.limits.maximum


# The desk


class Story:
    """A store, a device and an audience that write down, in order, what happens to them."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.told: list[str] = []
        self.answers: list[Answer] = []
        self.holding: int | None = None
        self.disk_full = False
        self.outcome = Outcome("done", "written and read back")
        self.past: list[AuditEntry] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.desk = Desk({"mtec": TARGETS}, {"mtec": self}, self, self.answers.append, mono=lambda: self.now, wall=lambda: self.now)

    def append_audit(self, *, time: float, author: str, device: str, control: str, requested: str, reason: str = "") -> int:
        if self.disk_full:
            raise StoreError("no space left")
        self.told.append(f"audit {author} {control} {requested}")
        return len(self.told)

    def finish_audit(self, entry: int, *, time: float, outcome: str, reason: str = "") -> None:
        self.told.append(f"finish {outcome}")

    def audit(self, limit: int = 100) -> list[AuditEntry]:
        return self.past

    async def holds(self, target: Target, raw: int) -> bool:
        await self.gate.wait()
        return self.holding == raw

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        assert lease_s == 0.0, "a setting stays"
        self.told.append(f"write {target.control} {raw}")
        return self.outcome

    async def ask(self, control: str, text: str, author: str = "me") -> Outcome:
        count = len(self.answers)
        self.desk.request("mtec", control, text, author)
        async with asyncio.timeout(5):
            while len(self.answers) == count:  # noqa: ASYNC110 - an answer is a fact, not an event
                await asyncio.sleep(0.001)
        return self.answers[-1].outcome


async def test_the_audit_is_on_disk_before_anything_is_written() -> None:
    story = Story()
    assert (await story.ask("grid_inject_limit", "55.55")).kind == "done"
    assert story.told == ["audit me grid_inject_limit 55.55", "write grid_inject_limit 555", "finish done"]


async def test_without_an_audit_nothing_is_written() -> None:
    story = Story()
    story.disk_full = True
    outcome = await story.ask("grid_inject_limit", "55")
    assert outcome.kind == "failed"
    assert "no space left" in outcome.detail
    assert story.told == []


async def test_what_reads_back_as_wanted_is_not_written_again() -> None:
    story = Story()
    story.holding = 555
    assert (await story.ask("grid_inject_limit", "55.5")).kind == "unchanged"
    assert story.told == []


async def test_the_point_s_name_does_as_well_as_the_control_s_and_unknown_ones_are_answered() -> None:
    story = Story()
    for device, control in (("mtec", "grid_power"), ("nosuch", "mode"), ("mtec", "nosuch")):
        story.desk.request(device, control, "1", "me")
    assert [answer.outcome.reason for answer in story.answers] == [Reason.UNKNOWN] * 3
    assert story.desk.rejected == {Reason.UNKNOWN: 3}
    assert story.told == []


async def test_a_retained_command_is_counted_and_nothing_else() -> None:
    story = Story()
    story.desk.request("mtec", "mode", "512", "me", retained=True)
    story.desk.request("nosuch", "x" * 5000, "512", "me", contract=True, retained=True)
    await asyncio.sleep(0)
    assert (story.desk.retained, story.desk.answered, story.answers, story.told) == (2, {}, [], [])


async def test_a_newer_wish_replaces_one_that_waits() -> None:
    story = Story()
    story.gate.clear()
    for text in ("10", "20", "30"):
        story.desk.request("mtec", "grid_inject_limit", text, "me")
        await asyncio.sleep(0)  # the first is taken up at once
    story.gate.set()
    await asyncio.wait_for(story.desk._workers["mtec"], 5)
    assert [line for line in story.told if line.startswith("write")] == ["write grid_inject_limit 100", "write grid_inject_limit 300"]
    assert [answer.outcome.kind for answer in story.answers] == ["superseded", "done", "done"]


async def test_an_author_who_shouts_is_asked_to_slow_down_and_others_are_not() -> None:
    story = Story()
    for _ in range(BURST):
        story.desk.request("mtec", "mode", "nonsense", "loud")
    story.desk.request("mtec", "mode", "512", "loud")
    assert story.answers[-1].outcome.reason == Reason.RATE_LIMIT
    assert (await story.ask("mode", "512", "quiet")).kind == "done"
    story.now += 10
    assert (await story.ask("mode", "257", "loud")).kind == "done"


async def test_the_budget_of_a_day_survives_a_restart() -> None:
    story = Story()
    story.past = [
        AuditEntry(number, story.now - 3600, "me", "mtec", "mode", "512", "", outcome, "", None)
        for number, outcome in enumerate(["done"] * 18 + ["unchanged", "failed", "", "superseded"])
    ]
    await story.desk.start()
    outcome = await story.ask("mode", "512")
    assert (outcome.kind, outcome.reason) == ("rejected", Reason.RATE_LIMIT), "18 done, one failed, one unknown: 20 of 20"
    story.now += 86_400 - 3600 + 1
    assert (await story.ask("mode", "512")).kind == "done"


async def test_what_the_node_refuses_is_no_write() -> None:
    story = Story()
    story.outcome = Outcome("rejected", "it is too hot", None, Reason.LIMIT)
    for _ in range(25):
        assert (await story.ask("mode", "512")).reason == Reason.LIMIT
    story.outcome = Outcome("failed", "no result")
    for _ in range(20):
        assert (await story.ask("mode", "512")).kind == "failed"
    assert (await story.ask("mode", "512")).reason == Reason.RATE_LIMIT, "these may have been"


async def test_what_is_being_written_ends_before_the_desk_closes_and_nothing_comes_after() -> None:
    story = Story()
    story.gate.clear()
    story.desk.request("mtec", "mode", "512", "me")
    await asyncio.sleep(0)
    closing = asyncio.create_task(story.desk.close())
    await asyncio.sleep(0)
    story.gate.set()
    await closing
    assert story.answers[-1].outcome.kind == "done"
    story.desk.request("mtec", "mode", "257", "me")
    assert story.answers[-1].outcome.kind == "rejected"


# Over a node


KEY = bytes(range(32))


class Sent:
    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        assert isinstance(payload, bytes)
        assert not retain
        self.messages.append((topic, payload))


def over_node(sent: Sent, *, key: bytes | None = KEY, connected: bool = True, timeout_s: float = 5.0) -> NodeActuator:
    numbers = iter(range(7, 100))

    async def next_counter(node: str, above: int = 0) -> int:
        return next(number for number in numbers if number > above)

    return NodeActuator("home", "cellar", key, sent, lambda: connected, next_counter, lambda target, raw: False, timeout_s=timeout_s)


async def test_a_command_goes_sealed_to_its_node_and_its_result_comes_back() -> None:
    sent = Sent()
    actuator = over_node(sent)
    writing = asyncio.create_task(actuator.write(GRID_LIMIT, 555, 42))
    while not sent.messages:  # noqa: ASYNC110 - a message is a fact, not an event
        await asyncio.sleep(0)
    topic, sealed = sent.messages[0]
    assert topic == "ohm/home/node/cellar/down/command"
    command = parse_command(unpack(unseal(KEY, b"home/cellar/command", sealed)))
    assert command[:5] == (42, 7, "mtec", "grid_inject_limit", b"\x02\x2b")
    assert not actuator.result({"id": 41, "stage": "done"})
    assert actuator.result({"id": 42, "stage": "done", "reason": "", "value": b"\x02\x2b"})
    assert await writing == Outcome("done", "written and read back", 555)


async def test_a_node_that_says_nothing_is_given_up_and_one_without_a_key_is_not_asked() -> None:
    assert (await over_node(Sent(), timeout_s=0.01).write(GRID_LIMIT, 555, 1)).kind == "failed"
    sent = Sent()
    assert (await over_node(sent, connected=False).write(GRID_LIMIT, 555, 1)).kind == "failed"
    with pytest.raises(Rejected) as rejected:
        await over_node(sent, key=None).write(GRID_LIMIT, 555, 1)
    assert rejected.value.reason is Reason.UNAUTHORISED
    assert sent.messages == []


async def test_a_node_whose_counter_is_a_little_ahead_is_asked_again_with_a_higher_one() -> None:
    sent = Sent()
    actuator = over_node(sent)
    writing = asyncio.create_task(actuator.write(GRID_LIMIT, 555, 42))
    while not actuator.result({"id": 42, "stage": "rejected", "reason": "replayed", "counter": 70}):  # noqa: ASYNC110
        await asyncio.sleep(0)
    while len(sent.messages) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert parse_command(unpack(unseal(KEY, b"home/cellar/command", sent.messages[1][1])))[1] == 71
    actuator.result({"id": 42, "stage": "done", "value": 555})
    assert (await writing).kind == "done"


async def test_a_node_s_own_refusal_is_passed_on() -> None:
    actuator = over_node(Sent())
    writing = asyncio.create_task(actuator.write(GRID_LIMIT, 555, 1))
    while not actuator.result({"id": 1, "stage": "rejected", "reason": "duplicate"}):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert await writing == Outcome("rejected", "the node has had this command already", None, Reason.DUPLICATE)


def test_a_reading_says_that_nothing_needs_writing_only_while_it_is_fresh_and_until_something_was_written() -> None:
    now = [0.0]
    last = LastRead(TARGETS.values(), {"mtec": Decoder(PROFILE)}, mono=lambda: now[0])
    read = Snapshot("mtec", "30s", 0.0, Quality.GOOD, {"grid_inject_limit": 55.5, "mode": "General mode", "grid_inject_switch": 1})
    last.take(read)
    assert last.holds(GRID_LIMIT, 555)
    assert last.holds(GRID_LIMIT, 555)
    assert last.holds(TARGETS["mode"], 257)
    assert not last.holds(GRID_LIMIT, 556)
    assert not last.holds(GRID_LIMIT, 555), "556 went out meanwhile"
    last.take(read)
    now[0] = 60.0
    assert not last.holds(GRID_LIMIT, 555)
    last.take(read._replace(live=False))
    assert not last.holds(GRID_LIMIT, 555)
    last.take(read._replace(age=60.0))
    assert not last.holds(GRID_LIMIT, 555), "it was under way for a minute"
    last.take(read._replace(age=20.0))
    assert last.holds(GRID_LIMIT, 555)
    now[0] += 40.0
    assert not last.holds(GRID_LIMIT, 555), "read a minute ago"


# Over MQTT


class Wire:
    """A messenger that only listens."""

    connected = True

    def __init__(self) -> None:
        self.patterns: dict[str, Handler] = {}

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None: ...

    def subscribe(self, pattern: str, handler: Handler, *, qos: int = 0) -> None:
        self.patterns[pattern] = handler

    def on_connect(self, callback: object) -> None: ...


def test_set_topics_command_and_retained_copies_never_do() -> None:
    wire, asked = Wire(), list[tuple[str, ...]]()
    kept: list[str] = []

    def request(device: str, control: str, text: str, author: str, *, contract: bool = False, retained: bool = False) -> None:
        assert not contract
        if retained:
            kept.append(text)
        else:
            asked.append((device, control, text, author))

    ControlTopics("home", wire, request).start()
    take = wire.patterns["ohm/home/device/+/+/set"]
    topic = "ohm/home/device/mtec/mode/set"
    take([Message(topic, b"512", False), Message(topic, b"257", True), Message(topic, b"\xff", False), Message(topic, b"1" * 5000, False)])
    assert asked[0] == ("mtec", "mode", "512", "mqtt")
    assert len(asked) == 3
    assert kept == ["257"]
    for _, _, text, _ in asked[1:]:
        with pytest.raises(Rejected):
            TARGETS["mode"].raw_of(text)


def test_each_answer_is_published_with_its_reason_and_the_home_s_time() -> None:
    published: dict[str, str] = {}

    class Wire:
        def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
            assert not retain
            published[topic] = str(payload)

    answers = Answers("home", Wire(), ZoneInfo("Europe/Prague"))
    answers.say(Answer("mtec", "mode", "x", "mqtt", Outcome("rejected", "neither", None, Reason.MALFORMED), 0.0))
    answers.say(Answer("mtec", "no/such+topic", "x", "mqtt", Outcome("rejected"), 0.0))
    ((topic, payload),) = published.items()
    assert topic == "ohm/home/device/mtec/control/mode/result"
    said: Mapping[str, object] = json.loads(payload)
    assert said["reason"] == "malformed"
    assert said["time"] == "1970-01-01T01:00:00.000+01:00"
