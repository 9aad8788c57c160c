"""The node alone with a battery: writes, refusals, leases and rivals, each as a story of what goes over the line."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.unit.guard_rig import DISCHARGE, LIMIT, MODE, POWER, House, charge, field, house, limit, raw, signed

# Writing


def test_a_command_is_written_as_a_block_and_read_back() -> None:
    node = house()
    assert node.obey(DISCHARGE) == ("done", "")
    assert [(write.function, write.address, write.words) for write in node.inverter.writes] == [(16, POWER, (0x10000 - 2000, 1))]
    assert node.heard("result")[0]["value"] == -2000


def test_what_reads_back_as_wanted_is_not_written() -> None:
    node = house()
    node.inverter.registers[LIMIT] = 500
    assert node.obey(raw(500), control="limit", lease=0) == ("unchanged", "")
    assert node.obey(raw(510), control="limit", lease=0) == ("done", "")
    assert node.obey(raw(510), control="limit", lease=0) == ("unchanged", "")
    assert node.inverter.wrote(LIMIT) == [510]


def test_only_the_blocks_that_differ_are_written() -> None:
    two = {"name": "two", "blocks": [[6, POWER, 1], [6, LIMIT, 1]], "fields": [field(1, 0, 3000), field(1, 0, 1000, offset=1)]}
    node = House([two])
    assert node.obey(raw(700, 1000), control="two", lease=0) == ("done", "")
    assert [write.address for write in node.inverter.writes] == [POWER]


def test_an_inverter_that_ignores_a_write_is_found_out() -> None:
    node = house()
    node.inverter.deaf.add(POWER)
    assert node.obey(raw(1000, 1)) == ("failed", "reads back otherwise")
    assert node.heard("result")[0]["value"] == 0
    node.inverter.deaf.clear()
    node.run(2000)
    assert node.inverter.registers[MODE] == 0, "half a command is taken back"


def test_a_refused_write_fails_in_the_devices_words() -> None:
    node = house()
    node.inverter.refuses.add(LIMIT)
    assert node.obey(raw(500), control="limit", lease=0) == ("failed", "illegal data address")


def test_a_newer_command_replaces_one_that_waits() -> None:
    node = house()
    first, second = node.send(raw(500), control="limit", lease=0), node.send(raw(600), control="limit", lease=0)
    node.run(1000)
    assert node.result(first) == ("rejected", "replaced")
    assert node.result(second) == ("done", "")
    assert node.inverter.wrote(LIMIT) == [600]


# Every reason of a rejection


@pytest.mark.parametrize(
    ("value", "more", "reason"),
    [
        (raw(0), {}, "malformed"),
        (raw(3001, 1), {}, "out of range"),
        (raw(555), {"control": "limit", "lease": 0}, "off step"),
        (raw(0, 0), {"control": "nothing"}, "unknown control"),
        (raw(0, 0), {"device": "nobody"}, "unknown control"),
        (raw(1), {"device": "meter", "control": "anything"}, "read-only"),
        (raw(500, 1), {"lease": 0}, "lease needed"),
        (raw(500), {"control": "limit", "lease": 1000}, "no lease"),
        (b"", {"device": "", "control": "nothing"}, "unknown control"),
    ],
)
def test_what_may_not_be_is_rejected_with_its_reason(value: bytes, more: dict[str, Any], reason: str) -> None:
    node = house()
    assert node.result(node.send(value, **more)) == ("rejected", reason)
    node.run(1000)
    assert node.inverter.writes == []


def test_a_choice_takes_nothing_else() -> None:
    node = House([limit(fields=[field(1, 0, 9, allowed=[1, 5])])])
    assert node.result(node.send(raw(2), control="limit", lease=0)) == ("rejected", "not allowed")
    assert node.obey(raw(5), control="limit", lease=0) == ("done", "")


def test_a_command_whose_time_is_over_is_not_written() -> None:
    node = house()
    identity = node.send(DISCHARGE, ttl=100)
    node.world.now += 200
    node.run(1000)
    assert node.result(identity) == ("rejected", "expired")
    assert node.inverter.writes == []


def test_commands_closer_than_the_interval_wait_or_are_rejected() -> None:
    node = House([limit(interval_ms=5000)])
    assert node.obey(raw(500), control="limit", lease=0) == ("done", "")
    assert node.result(node.send(raw(600), control="limit", lease=0, ttl=1000)) == ("rejected", "interval")
    patient = node.send(raw(700), control="limit", lease=0, ttl=8000)
    node.run(6000)
    assert node.result(patient) == ("done", "")
    first, second = node.inverter.writes
    assert second.at - first.at >= 5000


def test_an_offline_inverter_gets_no_commands() -> None:
    node = house()
    node.inverter.silent = True
    node.run(10_000)
    assert node.heard("offline")
    assert node.result(node.send(DISCHARGE)) == ("rejected", "offline")


def test_a_command_to_a_dead_inverter_fails_in_words() -> None:
    node = house()
    node.inverter.silent = True
    identity = node.send(DISCHARGE)
    node.run(8000)
    assert node.result(identity) == ("failed", "no answer")


def test_forged_replayed_and_repeated_commands_come_to_nothing() -> None:
    node = house()
    node.deliver(node.sealed([1, 1, 10, "growatt", "charge", DISCHARGE, 2000, 60_000], b"x" * 32))
    message = node.sealed([1, 2, 20, "growatt", "charge", DISCHARGE, 2000, 60_000])
    node.deliver(message)
    node.deliver(message)
    node.deliver(node.sealed([1, 3, 19, "growatt", "charge", raw(3000, 1), 2000, 60_000]))
    node.deliver(node.sealed([1, 4, 21, "growatt", "charge", DISCHARGE, 2000]))
    node.run(1000)
    assert node.refused == [("rejected", "unauthorised"), ("rejected", "duplicate"), ("result", "replayed"), ("rejected", "malformed")]
    assert node.inverter.wrote(POWER) == [0x10000 - 2000]
    node.boot()
    node.deliver(message)
    assert node.refused[-1] == ("result", "replayed")


# Leases


def test_a_lease_that_ends_writes_the_reversion() -> None:
    node = house()
    node.obey(DISCHARGE, lease=10_000)
    node.run(7000)
    assert signed(node.inverter.registers[POWER]) == -2000
    node.run(2000)
    assert node.inverter.wrote(POWER)[-1] == 0
    assert node.told("lapsed") == [("lease", -2000)]
    assert node.told("reverted")[-1] == ("lease", 0)
    assert node.inverter.writes[-1].at - node.inverter.writes[0].at <= 10_000 + 500


def test_a_renewal_writes_nothing_and_extends_the_lease() -> None:
    node = house()
    node.obey(DISCHARGE, lease=10_000)
    for _ in range(5):
        node.run(6000)
        assert node.obey(DISCHARGE, lease=10_000) == ("unchanged", "")
    assert len(node.inverter.writes) == 1
    node.run(10_500)
    assert node.inverter.registers[POWER] == 0


def test_a_repeated_copy_does_not_extend_a_lease() -> None:
    node = house()
    message = node.sealed([1, 1, 10, "growatt", "charge", DISCHARGE, 2000, 10_000])
    node.deliver(message)
    for _ in range(25):
        node.run(500)
        node.deliver(message)
    assert node.inverter.registers[POWER] == 0


def test_a_lease_ends_when_the_link_is_lost() -> None:
    node = house(link_loss_ms=20_000)
    node.obey(DISCHARGE, lease=3_600_000)
    node.connected = False
    node.run(15_000)
    node.connected = True
    node.run(1000)
    node.connected = False
    node.run(19_000)
    assert signed(node.inverter.registers[POWER]) == -2000
    node.run(2000)
    assert node.inverter.registers[POWER] == 0
    assert node.told("lapsed") == [("link lost", -2000)]


def test_a_lease_ends_with_the_inverter_and_the_reversion_waits_for_it() -> None:
    node = house()
    node.obey(DISCHARGE, lease=3_600_000)
    node.inverter.silent = True
    node.run(60_000)
    assert node.told("lapsed") == [("offline", -2000)]
    assert signed(node.inverter.registers[POWER]) == -2000
    node.inverter.silent = False
    node.run(31_000)
    assert node.inverter.registers[POWER] == 0
    assert node.told("reverted")[-1] == ("offline", 0)


def test_a_reversion_is_tried_until_it_succeeds() -> None:
    node = house()
    node.obey(DISCHARGE, lease=5000)
    node.inverter.refuses.add(POWER)
    node.run(120_000)
    assert signed(node.inverter.registers[POWER]) == -2000
    node.inverter.refuses.clear()
    node.run(11_000)
    assert node.inverter.registers[POWER] == 0


def test_a_restart_takes_back_what_was_under_lease() -> None:
    node = House([charge(), limit(reversion=raw(900))])
    node.run(1000)
    node.obey(DISCHARGE, lease=3_600_000)
    node.obey(raw(400), control="limit", lease=3_600_000)
    node.boot()
    node.run(2000)
    assert (node.inverter.registers[POWER], node.inverter.registers[LIMIT]) == (0, 900)
    node.inverter.writes.clear()
    node.inverter.registers[LIMIT] = 300
    node.boot()
    node.run(2000)
    assert node.inverter.writes == [], "a lease that is over is none after the next restart"


def test_after_a_restart_off_is_sent_if_the_inverter_is_not_off_whatever_the_files_say() -> None:
    node = house()
    node.inverter.registers |= {POWER: 1500, MODE: 1}
    node.boot()
    node.run(2000)
    assert (node.inverter.registers[POWER], node.inverter.registers[MODE]) == (0, 0)


def test_a_setting_stays_without_a_lease() -> None:
    node = house(link_loss_ms=5000)
    node.obey(raw(500), control="limit", lease=0)
    node.connected = False
    node.run(60_000)
    node.boot()
    node.run(5000)
    assert node.inverter.wrote(LIMIT) == [500]


def test_a_ramp_reaches_its_target_in_steps_of_a_second() -> None:
    node = House([charge(ramp=500)])
    node.run(1000)
    identity = node.send(raw(2200, 1))
    node.run(8000)
    assert node.result(identity) == ("done", "")
    assert node.inverter.wrote(POWER) == [500, 1000, 1500, 2000, 2200]
    moments = [write.at for write in node.inverter.writes]
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) >= 1000
    assert node.told("limited") == [("ramp", 500)]


def test_safety_does_not_ramp() -> None:
    node = House([charge(ramp=100)])
    node.run(1000)
    node.send(raw(2200, 1))
    node.run(5000)
    node.stop(1)
    node.run(500)
    assert node.inverter.wrote(POWER)[-1] == 0
    assert node.inverter.wrote(POWER)[-2] > 200


def test_a_renewal_amid_a_ramp_lets_it_go_on() -> None:
    node = House([charge(ramp=100, interval_ms=15_000)])
    node.run(1500)
    first = node.send(raw(3000, 1), ttl=10_000, lease=120_000)
    node.run(1000)
    second = node.send(raw(3000, 1), ttl=10_000, lease=120_000)
    node.run(40_000)
    assert node.inverter.wrote(POWER) == [1500, 3000]
    assert (node.result(first), node.result(second)) == (("rejected", "replaced"), ("done", ""))
    assert node.obey(raw(3000, 1)) == ("unchanged", "")


def test_a_ramp_over_some_values_only_makes_no_node() -> None:
    with pytest.raises(ValueError, match="growatt charge: between some values only there is no ramp"):
        House([charge(fields=[field(1, 0, 3000, allowed=[0, 1000, 3000]), field(1, 0, 2, offset=1)], ramp=700)])


# Rivals


def test_a_rival_is_reported_and_not_fought_for_ever() -> None:
    node = house()
    node.obey(DISCHARGE, lease=3_600_000)
    for _ in range(20):
        node.inverter.registers[POWER] = 700
        node.run(12_000)
    assert node.inverter.wrote(POWER) == [0x10000 - 2000] * 4, "the command and three rewrites"
    assert node.told("external") == [("", 700)] * 3 + [("given up", 700)]
    assert node.inverter.registers[POWER] == 700


def test_a_value_that_differs_once_is_no_rival() -> None:
    node = house()
    node.obey(DISCHARGE, lease=3_600_000)

    def flicker() -> None:
        work = node.guard.controls[0].work
        node.inverter.registers[POWER] = 0 if work.differs == 0 and node.world.now % 20_000 < 400 else 0x10000 - 2000

    node.watch = flicker
    node.run(120_000)
    assert node.told("external") == []
