"""The node's bus task on lines that are broken for good, over the wrap of its clock, with devices of different formats; the scan."""

from __future__ import annotations

import itertools

import pytest

from tests.chaos.virtual import Random
from tests.unit.node_world import WRAP, Answer, Rig, device, framed, group, holding, on_line, refusing

HOUR = 3_600_000
OUTCOMES = ("ok", "no_answer", "partial", "crc", "exception", "wrong")
READS = ((3, 100, 10), (3, 200, 4))


def outcomes(rig: Rig, index: int = 0) -> dict[str, int]:
    counters = rig.counters(index)
    assert counters["requests"] == sum(counters[outcome] for outcome in OUTCOMES)
    return {outcome: counters[outcome] for outcome in OUTCOMES if counters[outcome]}


# The clock wraps


@pytest.mark.parametrize("before", [1, 150, 5000, 29_999])
def test_periods_keep_their_grid_over_the_wrap_of_the_ticks(before: int) -> None:
    began = WRAP - before
    rig = Rig([device("mtec", 1, group("1s", 1000, *READS), group("10s", 10_000, (3, 300, 2)))], on_line({1: holding()}), began)
    rig.run(60_000)
    taken = [(at - began, name) for at, _, name, _, _ in rig.outbox.snapshots]
    assert [at // 1000 for at, name in taken if name == "1s"] == list(range(60))
    assert [at // 10_000 for at, name in taken if name == "10s"] == list(range(6))
    assert outcomes(rig) == {"ok": 2 * 60 + 6}
    assert all(word == address for _, _, _, _, words in rig.outbox.snapshots for address, word in words.items())


@pytest.mark.parametrize("before", [500, 3100, 10_000, 45_000])
def test_a_device_that_is_away_over_the_wrap_is_probed_and_comes_back(before: int) -> None:
    away = True
    rig = Rig([device("mtec", 1, group("1s", 1000, *READS))], lambda request: [] if away else holding()(request), WRAP - before)
    rig.run(90_000)
    assert rig.outbox.heard("offline") == [{"reason": "no_answer"}]
    pauses = [later - earlier for earlier, later in itertools.pairwise(rig.wire.sent_at)]
    assert max(pauses) < 31_000
    assert len(rig.wire.sent_at) < 12, "single probes"
    away = False
    rig.run(32_000)
    assert len(rig.outbox.heard("online")) == 1


@pytest.mark.parametrize("before", range(0, 4000, 250))
def test_late_answers_are_never_mistaken_over_the_wrap(before: int) -> None:
    """Reads of one shape; each second answer comes after the time-out, some when the next one is under way."""
    turn = itertools.count()

    def late(request: bytes) -> Answer:
        ((_, frame),) = holding()(request)
        return [((5, 230, 5, 420, 5, 2900)[next(turn) % 6], frame)]

    rig = Rig([device("mtec", 1, group("1s", 1000, (3, 100, 4), (3, 200, 4), (3, 300, 4)), retries=2)], late, WRAP - before)
    rig.run(60_000)
    assert rig.outbox.snapshots
    assert all(word == address for _, _, _, _, words in rig.outbox.snapshots for address, word in words.items())
    assert rig.counters()["late_bytes"] > 0
    assert rig.beats < 5000, "what is owed lapses within its time, whatever the clock shows"


# Lines that are broken for good


def test_an_hour_of_checksum_errors_is_counted_and_over_at_once() -> None:
    broken = True

    def answer(request: bytes) -> Answer:
        ((delay, frame),) = holding()(request)
        return [(delay, frame[:-1] + bytes([frame[-1] ^ (1 if broken else 0)]))]

    rig = Rig([device("mtec", 1, group("1s", 1000, *READS))], answer)
    rig.run(HOUR)
    assert set(outcomes(rig)) == {"crc"}
    assert rig.outbox.heard("offline") == [{"reason": "crc"}]
    assert rig.outbox.snapshots == []
    assert rig.beats < 5000
    broken = False
    rig.run(40_000)
    assert len(rig.outbox.heard("online")) == 1
    assert len(rig.outbox.snapshots) > 5


def test_garbage_for_ever_stops_neither_the_task_nor_what_comes_after() -> None:
    rig = Rig([device("mtec", 1, group("1s", 1000, *READS)), device("meter", 2, group("1s", 1000, (4, 0, 6)))], holding())
    rig.wire.babble = b"\x5a"  # a byte every millisecond, for ever
    rig.run(HOUR)
    assert rig.beats < 5000
    assert rig.outbox.snapshots == []
    for index in range(2):
        assert not {"ok", "exception"} & set(outcomes(rig, index))
        assert rig.counters(index)["requests"] > 100, "it is asked again and again"
    rig.wire.babble = b""
    rig.run(40_000)
    assert {name for _, name, _, _, _ in rig.outbox.snapshots} == {"mtec", "meter"}


@pytest.mark.parametrize("babble", [b"\x01", b"\x01\x03\x08", bytes([1, 3, 8, 0, 1, 0, 2, 0, 3, 0, 4]), b"\x01\x83\x02", b"\x00", b"\xff"])
def test_garbage_that_looks_like_the_beginning_of_an_answer(babble: bytes) -> None:
    rig = Rig([device("mtec", 1, group("1s", 1000, (3, 100, 4)))], lambda request: [])
    rig.wire.babble = babble
    rig.run(600_000)
    assert rig.beats < 5000
    assert rig.outbox.snapshots == []


def test_a_device_that_answers_with_anothers_frame_is_never_believed() -> None:
    def answer(request: bytes) -> Answer:
        ((delay, frame),) = holding(lambda address: 0xDEAD)(request)
        return [(delay, framed(2, frame[1:-2]))]

    rig = Rig([device("mtec", 1, group("1s", 1000, *READS)), device("meter", 2, group("1s", 1000, *READS))], answer)
    rig.run(HOUR)
    assert set(outcomes(rig, 0)) == {"wrong"}
    assert {name for _, name, _, _, _ in rig.outbox.snapshots} == {"meter"}
    assert rig.outbox.heard("offline") == [{"reason": "wrong"}]


def test_a_device_that_answers_the_request_before_is_never_believed() -> None:
    """Always one answer behind: each is sound, of the right unit, function and often of the right length."""
    queue: list[bytes] = []

    def answer(request: bytes) -> Answer:
        ((_, frame),) = holding()(request)
        queue.append(frame)
        return [(5, queue.pop(0))] if len(queue) > 1 else []

    rig = Rig([device("mtec", 1, group("1s", 1000, (3, 100, 4), (3, 200, 6), (3, 300, 8)))], answer)
    rig.run(600_000)
    assert all(word == address for _, _, _, _, words in rig.outbox.snapshots for address, word in words.items())


# Devices of different formats


def test_the_line_turns_to_each_devices_format_after_the_silence_of_both() -> None:
    forms = {1: (9600, "N", 1), 2: (2400, "E", 1), 3: (9600, "N", 1)}
    rig = Rig(
        [
            device("inverter", 1, group("1s", 1000, (3, 100, 4))),
            device("meter", 2, group("1s", 1000, (4, 0, 2)), baud=2400, parity="E", turnaround_ms=0),
            device("relay", 3, group("1s", 1000, (3, 0, 1)), baud=9600),
        ],
        on_line({unit: holding() for unit in forms}),
    )
    rig.run(10_000)
    now, turned = (9600, "N", 1), list(zip(rig.wire.form_at, rig.wire.forms, strict=True))
    ends = 0
    for at, request in zip(rig.wire.sent_at, rig.wire.written, strict=True):
        if turned and turned[0][0] <= at and forms[request[0]] != now:
            when, form = turned.pop(0)
            assert when - ends >= 17, "3.5 characters of 2400 baud take 16.04 ms"
            now = form
        assert now == forms[request[0]]
        ends = at + 9  # the earliest end of the exchange
    assert turned == [], "the line is set only where the format changes"
    assert len(rig.wire.forms) == 20
    assert all(outcomes(rig, index) == {"ok": 10} for index in range(3))


def test_a_line_of_one_format_is_never_set_again() -> None:
    devices = [device("a", 1, group("1s", 1000, (3, 0, 1))), device("b", 2, group("1s", 1000, (3, 0, 1)), baud=9600, parity="N", stop=1)]
    rig = Rig(devices, on_line({1: holding(), 2: holding()}))
    rig.run(5000)
    assert rig.wire.forms == []


# The scan


def found(rig: Rig) -> list[int]:
    return sorted(unit for detail in rig.outbox.heard("scan") for unit in detail["units"])


def test_a_scan_finds_who_answers_or_refuses_and_who_is_slow_while_polling_goes_on() -> None:
    silent_to_3 = holding()
    present = {
        1: holding(),
        7: refusing(2),
        20: holding(turnaround_ms=350),
        33: lambda request: silent_to_3(request) if request[1] == 4 else [],
        90: refusing(11),
    }
    rig = Rig([device("mtec", 1, group("1s", 1000, *READS)), device("gone", 5, group("10s", 10_000, (3, 0, 2)))], on_line(present))
    rig.run(20_000)
    assert rig.bus.scan(1, 100) == ""
    assert rig.bus.scan(1, 100) == "busy"
    rig.run(120_000)
    assert found(rig) == [1, 7, 20, 33]
    assert [detail["done"] for detail in rig.outbox.heard("scan")][-1] is True
    assert {detail["bus"] for detail in rig.outbox.heard("scan")} == {"rs485-1"}
    seconds = [at // 1000 for at, name, _, _, _ in rig.outbox.snapshots if name == "mtec"]
    assert seconds == list(range(140)), "no period is lost"
    assert max(at % 1000 for at, name, _, _, _ in rig.outbox.snapshots if name == "mtec") < 320, (
        "a probe goes before a snapshot, not into it"
    )
    assert all(request[1] in (3, 4) for request in rig.wire.written)
    probes = [request for request in rig.wire.written if request[0] not in (1, 5)]
    assert all(request[2:6] == b"\0\0\0\1" for request in probes)
    assert len(probes) <= 2 * 98
    assert rig.bus.scan(1, 1) == "", "and another one may follow"


def test_between_two_reads_of_a_busy_bus_there_is_one_probe_at_most() -> None:
    rig = Rig(
        [device("mtec", 1, group("100ms", 100, (3, 0, 10), (3, 20, 10), (3, 40, 10)), timeout_ms=500)],
        on_line({1: holding(turnaround_ms=60)}),
    )
    assert rig.bus.scan(1, 40) == ""
    rig.run(60_000)
    units = [request[0] for request in rig.wire.written]
    assert all(1 in pair for pair in itertools.pairwise(units))
    assert found(rig) == [1]


def test_many_devices_are_told_in_pieces() -> None:
    rig = Rig([], on_line({unit: holding() for unit in range(1, 51)}))
    rig.bus.scan(1, 247)
    rig.run(200_000)
    pieces = rig.outbox.heard("scan")
    assert found(rig) == list(range(1, 51))
    assert [piece["done"] for piece in pieces] == [False, False, False, True]


@pytest.mark.parametrize(("first", "last"), [(0, 10), (5, 4), (1, 248), (300, 301)])
def test_a_scan_of_units_that_cannot_be_is_refused(first: int, last: int) -> None:
    rig = Rig([], on_line({}))
    assert rig.bus.scan(first, last) == "out of range"
    rig.run(1000)
    assert rig.wire.written == []


# Noise of all kinds


@pytest.mark.parametrize("seed", range(8))
def test_nothing_but_what_a_device_holds_is_ever_reported(seed: int) -> None:
    """Answers cut, doubled, late, swapped, with noise before and after."""
    chance = Random(seed)

    def answer(request: bytes) -> Answer:
        ((delay, frame),) = holding()(request)
        kind = chance.number(16)  # half of all answers are sound: the device has to stay online most of the time
        if kind == 0:
            return []
        if kind == 1:
            frame = frame[: chance.number(len(frame))]
        elif kind == 2:
            frame = chance.octets(1 + chance.number(6)) + frame
        elif kind == 3:
            frame += chance.octets(1 + chance.number(6))
        elif kind == 4:
            delay += chance.number(2500)
        elif kind == 5:
            at = chance.number(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ 1 << chance.number(8)]) + frame[at + 1 :]
        elif kind == 6:
            return [(delay, frame[:3]), (delay + chance.number(80), frame[3:])]
        elif kind == 7:
            frame += frame
        return [(delay, frame)]

    rig = Rig([device("mtec", 1, group("1s", 1000, (3, 100, 4), (3, 200, 4), (4, 300, 4), (3, 400, 9)), retries=2)], answer, WRAP - 300_000)
    rig.run(600_000)
    assert len(rig.outbox.snapshots) > 50
    wrong = [(address, word) for _, _, _, _, words in rig.outbox.snapshots for address, word in words.items() if word != address]
    assert wrong == []
    assert rig.beats < 8000
