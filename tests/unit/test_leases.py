"""Commands that must end: what a node is asked for, for how long, and when nobody asks any more. Latch and reset."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from ohmcore.frames import parse_command
from ohmcore.pack import unpack
from ohmcore.seal import unseal
from ohmstead.control.desk import Answer, Desk
from ohmstead.control.dispatch import DirectActuator, NodeActuator, Outcome, outcome_of
from ohmstead.control.leases import NODE_LEASE_S, RENEW_S
from ohmstead.control.requests import BridgeRequests
from ohmstead.control.target import Target, targets
from ohmstead.errors import Reason, Rejected
from ohmstead.messages import Handler, Message
from ohmstead.nodes.fleet import Event, Fleet, ends_ownership
from ohmstead.profiles import library
from ohmstead.profiles.layout import limit_ends
from ohmstead.store.protocol import AuditEntry

PROFILE = library.load("growatt-sph")
ENDS = limit_ends(PROFILE, {"soc": "15..95 %"})
TARGETS = targets(
    "growatt", PROFILE, {name: PROFILE.raw_limits(name) for name in PROFILE.controls}, periods=PROFILE.groups, ends=ENDS, lease_s=1800
)
CHARGE = TARGETS["charge"]
KEY = bytes(range(32))


class Story:
    """A store, a node and an audience that write down, in order, what happens to them."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.sent: list[tuple[str, int, int | str, float]] = []
        self.answers: list[Answer] = []
        self.audited: list[str] = []
        self.outcome = Outcome("done", "written and read back")
        nodes = {"cellar": self}
        clocks = {"mono": lambda: self.now, "wall": lambda: self.now}
        self.desk = Desk({"growatt": TARGETS}, {"growatt": self}, self, self.answers.append, nodes=nodes, **clocks)

    def append_audit(self, *, time: float, author: str, device: str, control: str, requested: str, reason: str = "") -> int:
        self.audited.append(f"{author} {device} {control} {requested}")
        return len(self.audited)

    def finish_audit(self, entry: int, *, time: float, outcome: str, reason: str = "") -> None:
        self.audited.append(f"finish {outcome}")

    def audit(self, limit: int = 100) -> list[AuditEntry]:
        return []

    async def holds(self, target: Target, raw: int) -> bool:
        return True

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        self.sent.append((target.control, raw, entry, lease_s))
        return self.outcome._replace(value=raw)

    async def system(self, command: str, words: bytes, entry: int | str) -> Outcome:
        self.sent.append((command, len(words), entry, 0.0))
        return self.outcome

    async def ask(self, text: str, **how: Any) -> Outcome:
        count = len(self.answers)
        self.desk.request("growatt", "charge", text, "me", **how)
        await until(lambda: len(self.answers) > count)
        return self.answers[-1].outcome

    async def pass_by(self, seconds: float) -> None:
        """So many seconds, with the desk told of each."""
        for _ in range(int(seconds)):
            self.now += 1
            self.desk.tick()
            worker = self.desk._workers.get("growatt")
            if worker is not None and not worker.done():
                await worker


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - a fact, not an event
            await asyncio.sleep(0.001)


async def test_the_node_gets_a_short_lease_that_is_renewed_while_the_author_wants_it() -> None:
    story = Story()
    assert (await story.ask("60", wanted_s=300)).kind == "done"
    assert story.sent == [("charge", 60, 1, NODE_LEASE_S)], "what it holds already is asked for all the same: the lease is new"
    await story.pass_by(299)
    renewals = story.sent[1:]
    assert [entry for _, _, entry, _ in renewals] == [f"1.{number}" for number in range(1, len(renewals) + 1)]
    assert {raw for _, raw, _, _ in renewals} == {60}
    asked_at = [RENEW_S * (number + 1) for number in range(len(renewals))]
    assert [at + lease for at, (_, _, _, lease) in zip(asked_at, renewals, strict=True)][-1] == 300, "the last one ends with the wish"
    assert story.audited == ["me growatt charge 60", "finish done"], "a renewal writes nothing"
    await story.pass_by(2)
    assert (story.answers[-1].outcome, len(story.sent)) == (Outcome("ended", "its time is over"), 1 + len(renewals))


async def test_without_a_time_a_control_that_must_end_is_held_as_long_as_the_home_says() -> None:
    story = Story()
    await story.ask("60")
    await story.pass_by(1799)
    assert story.answers[-1].outcome.kind == "done"
    await story.pass_by(2)
    assert story.answers[-1].outcome.kind == "ended"


async def test_a_gateway_that_closes_renews_nothing() -> None:
    story = Story()
    await story.ask("60")
    await story.desk.close()
    await story.pass_by(200)
    assert len(story.sent) == 1


async def test_asking_again_prolongs_and_asking_for_something_else_replaces() -> None:
    story = Story()
    await story.ask("60", wanted_s=100)
    await story.pass_by(90)
    await story.ask("60", wanted_s=100)
    await story.pass_by(50)
    assert story.answers[-1].outcome.kind == "done"
    await story.ask("20", wanted_s=100)
    await story.pass_by(45)
    assert {raw for _, raw, _, _ in story.sent[-1:]} == {20}


async def test_a_rejected_command_leaves_the_owner_his_control_and_a_failed_one_nobody() -> None:
    story = Story()
    await story.ask("60", wanted_s=600)
    story.outcome = Outcome("rejected", "no", None, Reason.LIMIT)
    await story.ask("80", wanted_s=600)
    held = story.desk.leases.of("growatt", "charge")
    assert held is not None
    assert held.raw == 60
    story.outcome = Outcome("failed", "no result")
    await story.ask("80", wanted_s=600)
    assert story.desk.leases.of("growatt", "charge") is None


async def test_a_renewal_that_is_lost_is_sent_again_and_one_that_is_rejected_ends_it() -> None:
    story = Story()
    await story.ask("60", wanted_s=600)
    story.outcome = Outcome("failed", "no result")
    await story.pass_by(RENEW_S)
    story.outcome = Outcome("done")
    await story.pass_by(RENEW_S)
    assert [entry for _, _, entry, _ in story.sent] == [1, "1.1", "1.2"], "each with an identity of its own"
    story.outcome = Outcome("rejected", "the limit soc ceiling does not allow it now", None, Reason.LIMIT)
    await story.pass_by(RENEW_S)
    assert story.answers[-1].outcome == Outcome("ended", "the limit soc ceiling does not allow it now")
    await story.pass_by(200)
    assert len(story.sent) == 4


async def test_what_a_node_took_back_is_told_and_not_renewed_but_old_news_changes_nothing() -> None:
    story = Story()
    await story.ask("60", wanted_s=600)
    story.desk.ended("growatt", "charge", "link lost", story.now - 10)
    assert story.desk.leases.of("growatt", "charge") is not None
    story.desk.ended("growatt", "charge", "soc ceiling", story.now + 1)
    assert story.answers[-1].outcome == Outcome("ended", "soc ceiling")
    await story.pass_by(200)
    assert len(story.sent) == 1


async def test_a_release_goes_home_and_is_never_kept_from_it_by_the_budget() -> None:
    story = Story()
    for number in range(PROFILE.controls["charge"].budget):
        await story.ask(str(number + 1), wanted_s=600)
    assert (await story.ask("99", wanted_s=600)).reason == Reason.RATE_LIMIT
    story.desk.release("growatt", "charge", "me")
    await until(lambda: story.sent[-1][1] == 0)
    await until(lambda: story.answers[-1].outcome.kind == "done")
    assert story.desk.leases.of("growatt", "charge") is None
    story.desk.release("growatt", "nosuch", "me")
    assert story.answers[-1].outcome.reason == Reason.UNKNOWN


@pytest.mark.parametrize(("wanted_s", "reason"), [(0.0, Reason.LEASE), (-1.0, Reason.OUT_OF_RANGE), (1e6, Reason.OUT_OF_RANGE)])
async def test_a_control_that_must_end_is_never_set_for_ever(wanted_s: float, reason: Reason) -> None:
    story = Story()
    assert (await story.ask("60", wanted_s=wanted_s)).reason == reason
    assert story.sent == []


async def test_without_a_node_nothing_that_must_end_is_begun() -> None:
    with pytest.raises(Rejected) as rejected:
        await DirectActuator(None).write(CHARGE, 60, 1, 60.0)  # type: ignore[arg-type] # it is not asked
    assert rejected.value.reason is Reason.LEASE


class Modbus:
    """Registers that can be written, and what was."""

    def __init__(self) -> None:
        self.registers: dict[int, int] = {}
        self.written: list[tuple[int, int, list[int]]] = []

    async def write(self, function: int, address: int, words: Any) -> list[int]:
        self.written.append((function, address, list(words)))
        self.registers.update(enumerate(words, address))
        return list(words)

    async def holding(self, address: int, count: int) -> list[int]:
        return [self.registers[at] for at in range(address, address + count)]

    def poll_soon(self, address: int) -> None: ...


async def test_a_setting_in_a_block_can_be_written_without_a_node() -> None:
    modbus = Modbus()
    actuator = DirectActuator(modbus)
    assert await actuator.write(TARGETS["export_limit"], 505, 1) == Outcome("done", "written and read back", 505)
    assert modbus.written == [(16, 123, [505])]
    assert await actuator.holds(TARGETS["export_limit"], 505)


# Over a node


class Wire:
    """A messenger that remembers what was published."""

    connected = True

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.handlers: dict[str, Handler] = {}

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        assert not retain
        self.messages.append((topic, payload))

    def subscribe(self, pattern: str, handler: Handler, *, qos: int = 0) -> None:
        self.handlers[pattern] = handler

    def on_connect(self, callback: object) -> None: ...

    def ask(self, verb: str, said: object, *, retain: bool = False) -> None:
        topic = f"ohm/home/bridge/request/{verb}"
        payload = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.handlers[topic]([Message(topic, payload, retain)])

    def response(self) -> Any:
        topic, payload = self.messages[-1]
        return topic.rpartition("/")[2], json.loads(payload)


def over_node(wire: Wire) -> NodeActuator:
    async def next_counter(node: str, above: int = 0) -> int:
        return above + 7

    return NodeActuator("home", "cellar", KEY, wire, lambda: True, next_counter, lambda target, raw: True, timeout_s=5.0)


async def test_a_leased_command_carries_all_words_and_its_lease_and_a_reset_goes_to_the_node_itself() -> None:
    wire = Wire()
    actuator = over_node(wire)
    assert not await actuator.holds(CHARGE, 60), "one of its registers says nothing of the others"
    writing = asyncio.create_task(actuator.write(CHARGE, 60, "42.1", 120.0))
    await until(lambda: bool(wire.messages))
    command = parse_command(unpack(unseal(KEY, b"home/cellar/command", wire.messages[0][1])))
    assert command == ("42.1", 7, "growatt", "charge", b"\x00\x3c\x00\x5f\x00\x01\x00\x00\x17\x3b\x00\x01", 10_000, 120_000)
    assert actuator.result({"id": "42.1", "stage": "unchanged", "reason": "", "value": 60})
    assert (await writing).kind == "unchanged"
    resetting = asyncio.create_task(actuator.system("reset", b"", 43))
    await until(lambda: len(wire.messages) == 2)
    assert parse_command(unpack(unseal(KEY, b"home/cellar/command", wire.messages[1][1])))[2:] == ("", "reset", b"", 10_000, 0)
    assert actuator.result({"id": 43, "stage": "rejected", "reason": "stop"})
    assert await resetting == Outcome("rejected", "the emergency stop still stands at 1", None, Reason.LATCHED)


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ("latched", "rejected", Reason.LATCHED),
        ("stale", "rejected", Reason.STALE),
        ("read-only", "rejected", Reason.READ_ONLY),
        ("interval", "rejected", Reason.RATE_LIMIT),
        ("budget", "rejected", Reason.RATE_LIMIT),
        ("lease needed", "rejected", Reason.LEASE),
        ("offline", "rejected", Reason.OFFLINE),
        ("expired", "rejected", Reason.EXPIRED),
        ("no storage", "rejected", Reason.NO_STORAGE),
        ("soc floor", "rejected", Reason.LIMIT),
        ("replaced", "superseded", ""),
    ],
)
def test_each_reason_of_a_node_is_a_typed_answer_in_words(said: str, kind: str, reason: str) -> None:
    outcome = outcome_of({"id": 1, "stage": "rejected", "reason": said})
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert len(outcome.detail) > len(said)


# Reset and latch


async def test_a_reset_is_on_record_before_it_is_sent_and_its_answer_comes_back() -> None:
    story = Story()
    assert (await story.desk.reset("cellar", "me")).kind == "done"
    assert (story.sent, story.audited) == ([("reset", 0, 1, 0.0)], ["me cellar reset reset", "finish done"])
    assert (await story.desk.reset("nosuch", "me")).reason == Reason.UNKNOWN


def happened(fleet: Fleet, kind: str, detail: dict[str, Any], device: str = "", time: float = 100.0) -> None:
    fleet.happened(Event("cellar", device, kind, detail, time))


def test_the_fleet_knows_what_is_latched_why_and_what_became_of_controls() -> None:
    fleet = Fleet({"cellar": ["growatt"]})
    node = fleet.nodes["cellar"]
    assert [node.latched] == [None], "nothing is known yet"
    happened(fleet, "link", {"latched": "", "held": 1})
    assert node.latched == ""
    happened(fleet, "trip", {"limit": "cell temperature ceiling", "value": 601}, time=110)
    happened(fleet, "latch", {"cause": "cell temperature ceiling"}, time=110)
    assert (node.latched, node.tripped) == ("cell temperature ceiling", "cell temperature ceiling")
    happened(fleet, "reset", {"by": 7}, time=105)
    assert node.latched, "older than the latch"
    happened(fleet, "control", {"control": "charge", "stage": "safe", "reason": "stop", "value": 100}, "growatt", 111)
    happened(fleet, "result", {"control": "charge", "stage": "rejected", "reason": "latched"}, "growatt", 112)
    assert node.devices["growatt"].controls["charge"][:3] == ("safe", "stop", 100)
    happened(fleet, "reset", {"by": 8}, time=120)
    assert [node.latched, node.tripped] == ["", ""]


def test_some_stages_end_an_ownership_and_others_do_not() -> None:
    assert all(ends_ownership({"stage": stage}) for stage in ("lapsed", "safe", "reverted"))
    assert ends_ownership({"stage": "external", "reason": "given up"})
    assert not any(ends_ownership({"stage": stage, "reason": ""}) for stage in ("external", "limited", "done"))


# Over MQTT


async def test_the_bridge_takes_requests_and_answers_each() -> None:
    story, wire = Story(), Wire()
    BridgeRequests("home", wire, story.desk, {"cellar": "stop"}.__getitem__).start()
    wire.ask("command", {"device": "growatt", "control": "charge", "value": 60, "seconds": 90, "id": "a"})
    assert wire.response() == ("command", {"id": "a", "outcome": "taken"})
    await until(lambda: bool(story.answers))
    assert story.sent == [("charge", 60, 1, 90)]
    wire.ask("release", {"device": "growatt", "control": "charge"})
    await until(lambda: len(story.answers) == 2)
    assert story.sent[-1][1] == 0
    wire.ask("latch", {"node": "cellar"})
    assert wire.response() == ("latch", {"outcome": "done", "node": "cellar", "latched": True, "cause": "stop"})
    wire.ask("reset", {"node": "cellar", "id": 5})
    await until(lambda: wire.response()[0] == "reset")
    assert wire.response()[1]["outcome"] == "done"
    assert wire.response()[1]["id"] == 5


@pytest.mark.parametrize(
    ("verb", "said", "reason"),
    [
        ("command", b"nonsense", "malformed"),
        ("command", b"[" * 900, "malformed"),
        ("command", b'{"device": "' + b"x" * 2000 + b'"}', "malformed"),
        ("command", {"device": "growatt", "control": "charge"}, "malformed"),
        ("command", {"device": "growatt", "control": "charge", "value": 1, "seconds": "long"}, "malformed"),
        ("reset", {}, "malformed"),
        ("latch", {"node": "nosuch"}, "unknown"),
    ],
)
async def test_what_makes_no_sense_is_answered_and_changes_nothing(verb: str, said: object, reason: str) -> None:
    story, wire = Story(), Wire()
    BridgeRequests("home", wire, story.desk, {"cellar": "stop"}.__getitem__).start()
    wire.ask(verb, said)
    assert wire.response()[1]["reason"] == reason
    assert story.sent == []


async def test_a_retained_request_is_one_of_yesterday() -> None:
    story, wire = Story(), Wire()
    BridgeRequests("home", wire, story.desk, dict[str, str]().__getitem__).start()
    wire.ask("reset", {"node": "cellar"}, retain=True)
    assert (wire.messages, story.audited) == ([], [])
