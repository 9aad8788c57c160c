"""From a profile to what is polled: which groups travel together, how often, and in how many frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from ohmcore.gateway import pack_data
from ohmcore.pack import Packer
from ohmstead.profiles import library
from ohmstead.profiles.compiler import MAX_FRAME, FrameTooLong, PollGroup, frame_bound, line_cost, period_name, periods, poll_groups
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Line, Point, Profile
from ohmstead.profiles.planner import LineCost, Read, TcpCost, seconds

COST = LineCost.of_line(9600, turnaround_s=0.02)


@pytest.fixture(scope="module")
def mtec() -> Profile:
    return library.load("mtec-energybutler")


def profile(points: dict[str, dict[str, Any]], groups: dict[str, str] | None = None, **line: Any) -> Profile:
    return Profile.model_validate(
        {
            "profile": "meter",
            "name": "Meter",
            "manufacturer": "Me",
            "model": "M",
            "groups": groups or {"live": "10 s", "slow": "5 min"},
            "line": line,
            "points": {id_: {"name": id_, "as": "u16", "group": "live"} | point for id_, point in points.items()},
        }
    )


def test_all_groups_of_one_period_are_one_scan(mtec: Profile) -> None:
    groups = poll_groups(mtec, COST)
    assert [(group.name, group.period_s, group.priority) for group in groups] == [
        ("10s", 10, 0),
        ("30s", 30, 1),
        ("5min", 300, 2),
        ("1h", 3600, 3),
    ]
    assert groups[0].groups == ("now-base", "now-grid", "now-inverter", "now-backup", "now-battery", "now-pv")
    assert groups[2].groups == ("day", "total")


def test_every_point_of_a_group_is_read_whole_in_its_scan(mtec: Profile) -> None:
    groups = poll_groups(mtec, COST)
    for point in mtec.points.values():
        if point.table is None:
            continue
        reads = next(group.reads for group in groups if point.group in group.groups)
        assert any(r.function == point.function and r.address <= point.address and point.last <= r.last for r in reads), point.id


def test_mtec_is_never_asked_for_a_register_that_is_not_known_to_answer(mtec: Profile) -> None:
    known = {register for low, high in mtec.line.readable for register in range(low, high + 1)}
    known |= {register for point in mtec.points.values() if point.table for register in range(point.address, point.last + 1)}
    for group in poll_groups(mtec, TcpCost(round_trip_s=1.0)):
        assert all(set(range(read.address, read.last + 1)) <= known for read in group.reads)
        assert all(read.count <= mtec.line.max_read for read in group.reads)


def test_mtec_needs_thirteen_requests_for_all_and_seven_for_what_changes(mtec: Profile) -> None:
    counts = [len(group.reads) for group in poll_groups(mtec, COST)]
    assert counts[0] == 7
    assert sum(counts) == 13


def test_on_a_slow_network_fewer_and_longer_reads_pay(mtec: Profile) -> None:
    far = poll_groups(mtec, TcpCost(round_trip_s=0.2))
    near = poll_groups(mtec, LineCost(1200))
    assert sum(len(group.reads) for group in far) <= sum(len(group.reads) for group in near)
    cost = LineCost(1200)
    assert all(seconds(slow.reads, cost) <= seconds(quick.reads, cost) for slow, quick in zip(near, far, strict=True))


def test_an_owner_s_duration_is_for_the_fastest_groups_and_the_least_for_all(mtec: Profile) -> None:
    assert periods(mtec, 1.0)["now-pv"] == 1
    assert periods(mtec, 1.0)["config"] == 30
    assert periods(mtec, 60.0) == {group: max(period, 60.0) for group, period in mtec.groups.items()}


def test_an_owner_s_map_is_for_the_groups_it_names(mtec: Profile) -> None:
    wanted = periods(mtec, {"now-base": 1.0, "day": 10.0, "*": 5.0})
    assert (wanted["now-base"], wanted["now-grid"], wanted["day"], wanted["total"]) == (1, 5, 10, 300)
    names = {group.name: group.groups for group in poll_groups(mtec, COST, {"now-base": 1.0, "day": 10.0})}
    assert names["1s"] == ("now-base",)
    assert "day" in names["10s"]


@pytest.mark.parametrize(
    ("period", "name"),
    [(0.25, "250ms"), (1, "1s"), (90, "90s"), (60, "1min"), (300, "5min"), (3600, "1h"), (5400, "90min"), (86400, "24h")],
)
def test_a_period_is_named_in_its_largest_whole_unit(period: float, name: str) -> None:
    assert period_name(period) == name


def test_points_of_other_groups_may_be_read_over() -> None:
    meter = profile({"a": {"holding": 1}, "b": {"holding": 2, "group": "slow"}, "c": {"holding": 3}})
    fast, slow = poll_groups(meter, COST)
    assert fast.reads == (Read(3, 1, 3),)
    assert slow.reads == (Read(3, 2, 1),), "a group keeps to its own scan"


def test_what_a_scan_reads_over_is_not_its_own_and_no_group_comes_in_pieces(mtec: Profile) -> None:
    scans = poll_groups(mtec, COST, {"now-base": 2.0})
    over = {point.id for scan in scans for point in _inside(mtec, scan) if point.group not in scan.groups}
    assert {"ac_voltage_a", "grid_power"} <= over, "else this test tests nothing"
    decoder = Decoder(mtec, scans=scans)
    for scan in scans:
        values = {point for read in scan.reads for point in decoder.decode(read.function, read.address, bytes(2 * read.count), scan.name)}
        mine = {point.id for point in mtec.points.values() if point.table and point.group in scan.groups}
        assert {point for point in values if not point.endswith(".raw")} == mine
    (read, *_) = scans[0].reads
    elsewhere = decoder.decode(read.function, read.address, bytes(2 * read.count), "7s")
    assert set(elsewhere) == {p.id for p in _inside(mtec, replace(scans[0], reads=(read,)))}, "a node with another plan: all counts"


def _inside(profile: Profile, scan: PollGroup) -> list[Point]:
    return [
        point
        for point in profile.points.values()
        if any(read.function == point.function and read.address <= point.address and point.last <= read.last for read in scan.reads)
    ]


def test_gaps_outside_the_readable_ranges_are_left_out() -> None:
    points = {"a": {"holding": 1}, "b": {"holding": 3}}
    assert poll_groups(profile(points), COST)[0].reads == (Read(3, 1, 1), Read(3, 3, 1))
    assert poll_groups(profile(points, readable=["1..3"]), COST)[0].reads == (Read(3, 1, 3),)


def test_a_group_of_calculated_points_alone_is_not_polled() -> None:
    meter = profile({"a": {"holding": 1}, "now": {"clock": "%H:%M", "group": "slow", "as": None}})
    assert [group.name for group in poll_groups(meter, COST)] == ["10s"]


def far_apart(**sizes: int) -> dict[str, dict[str, Any]]:
    """So many points in each group, none beside another: 16 bytes of a frame each."""
    groups = [group for group, size in sizes.items() for _ in range(size)]
    return {f"p{number}": {"holding": 10 * number, "as": "u64", "group": group} for number, group in enumerate(groups)}


def test_what_does_not_fit_one_frame_is_split_between_groups_and_never_within_one() -> None:
    meter = profile(far_apart(a=25, b=25, c=25, d=50), dict.fromkeys("abcd", "10 s"))
    groups = poll_groups(meter, COST, device="meter")
    assert [(group.name, group.priority, group.groups) for group in groups] == [
        ("10s", 0, ("a", "b")),
        ("10s.2", 1, ("c",)),
        ("10s.3", 2, ("d",)),
    ]
    assert [len(group.reads) for group in groups] == [50, 25, 50]
    assert all(frame_bound(group.reads, "meter", group.name) <= MAX_FRAME for group in groups)


def test_groups_that_a_calculated_point_joins_stay_in_one_frame() -> None:
    points = far_apart(a=25, b=25, c=25)
    points["total"] = {"calc": "p0 + p60", "group": "a", "as": None}
    groups = poll_groups(profile(points, dict.fromkeys("abc", "10 s")), COST)
    assert [group.groups for group in groups] == [("a", "c"), ("b",)]


def test_a_group_that_no_frame_can_carry_is_refused_unless_no_frame_has_to() -> None:
    meter = profile(far_apart(live=100))
    with pytest.raises(FrameTooLong, match=r"the group live is \d+ bytes long, and a node's message takes 1000: divide"):
        poll_groups(meter, COST)
    (group,) = poll_groups(meter, TcpCost(), max_frame=None)
    assert (group.name, len(group.reads)) == ("10s", 100)
    points = far_apart(live=40, slow=40) | {"total": {"calc": "p0 + p40", "as": None}}
    with pytest.raises(FrameTooLong, match="the groups live, slow, which calculated points join, are"):
        poll_groups(profile(points, {"live": "10 s", "slow": "10 s"}), COST)


@pytest.mark.parametrize("reads", [[Read(3, 65000, 1)], [Read(3, 0, 125)] * 3, [Read(4, 40000 + i, 4) for i in range(60)], [Read(1, 5, 9)]])
def test_no_frame_is_longer_than_its_bound(reads: list[Read]) -> None:
    packer = Packer(bytearray(4096))
    ranges = [(read.function, read.address, bytes(read.reply_bytes)) for read in reads]
    pack_data(packer, 2**31 - 1, 2**32 - 1, 2**63, "d" * 32, "10s.2", 0, ranges)
    assert len(msgpack.unpackb(packer.message())) == 8
    assert packer.length <= frame_bound(reads, "d" * 32, "10s.2") <= packer.length + 40


def test_the_cost_of_a_line_follows_its_profile() -> None:
    line = Line.model_validate({"baud": 19200, "parity": "even", "stop": 2, "turnaround": "50 ms", "gap": "30 ms"})
    assert line_cost(line) == LineCost(19200, 12, 0.05, 0.03)
