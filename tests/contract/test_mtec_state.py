"""Contract `state` against what aiomtec2mqtt 1.1.0 published for the same registers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ohmstead.profiles.model import Profile
from ohmstead.publish.mtec_state import MtecState
from ohmstead.readings import Quality, Snapshot
from tests.publishing import Recorder, Requests, Sent, decoded, snapshots

SERIAL = "MTEC12K3P4012345"
CLOCK = "now-base/api_date"


class Contract:
    """A running contract on a recording broker."""

    def __init__(self, profile: Profile) -> None:
        self.broker = Recorder()
        self.requests = Requests()
        self.outlet = MtecState(
            "mtec", profile, profile.contracts["state"], self.broker, self.requests, farewell_topic="homeassistant/status/lwt"
        )
        self.outlet.start()
        self.broker.connect()

    def poll(self, profile: Profile, image: dict[int, int], without: tuple[str, ...] = ()) -> list[Sent]:
        for snapshot in snapshots(profile, decoded(profile, image, without)):
            self.outlet.take(snapshot)
        return self.broker.take()


def _per_group(sent: list[Sent]) -> dict[str, list[Sent]]:
    """Group → its messages of one poll, in order, with the clock masked."""
    groups: dict[str, list[Sent]] = {}
    seen: set[str] = set()
    for message in sent:
        parts = message.topic.split("/")
        if parts[0] != "MTEC" or parts[-1] != "state" or message.topic in seen:
            continue
        seen.add(message.topic)
        masked = message._replace(payload="masked") if message.topic.endswith(f"{CLOCK}/state") else message
        groups.setdefault(parts[2], []).append(masked)
    return groups


def test_each_group_is_published_byte_for_byte_in_upstreams_order(profile: Profile, image: dict[int, int], golden: list[Sent]) -> None:
    ours = _per_group(Contract(profile).poll(profile, image))

    assert ours == _per_group(golden)
    assert {group: len(messages) for group, messages in ours.items()} == {
        "now-base": 20, "now-grid": 13, "now-inverter": 7, "now-backup": 12, "now-battery": 6, "now-pv": 7,
        "config": 8, "day": 9, "total": 9, "static": 3,
    }  # fmt: skip


def test_every_message_of_every_poll_of_the_golden_is_one_of_ours(profile: Profile, image: dict[int, int], golden: list[Sent]) -> None:
    ours = {message for group in _per_group(Contract(profile).poll(profile, image)).values() for message in group}
    theirs = {
        message._replace(payload="masked") if message.topic.endswith(f"{CLOCK}/state") else message
        for message in golden
        if message.topic.startswith("MTEC/")
    }
    assert theirs == ours


def test_the_clock_is_the_moment_of_the_reading_in_the_homes_zone(profile: Profile, image: dict[int, int]) -> None:
    sent = {message.topic: message.payload for message in Contract(profile).poll(profile, image)}

    assert sent[f"MTEC/{SERIAL}/{CLOCK}/state"] == "2026-06-20 13:05:09"


def test_every_value_is_published_at_each_poll_though_nothing_changed(profile: Profile, image: dict[int, int]) -> None:
    contract = Contract(profile)

    assert contract.poll(profile, image) == contract.poll(profile, image)


def test_the_last_word_is_the_golden_s(profile: Profile, golden: list[Sent]) -> None:
    contract = Contract(profile)
    contract.broker.take()
    contract.outlet.close()

    assert contract.broker.take() == [golden[-1]]


def test_what_was_not_read_is_not_published_and_neither_is_what_follows_from_it(profile: Profile, image: dict[int, int]) -> None:
    sent = _per_group(Contract(profile).poll(profile, image, without=("inverter", "grid_purchase_day")))

    names = {group: [message.topic.split("/")[3] for message in messages] for group, messages in sent.items()}
    assert len(names["now-base"]) == 18
    assert {"inverter", "consumption"}.isdisjoint(names["now-base"])
    assert {"grid_purchase_day", "consumption_day", "autarky_rate_day"}.isdisjoint(names["day"])
    assert "own_consumption_day" in names["day"]


def test_nothing_is_published_before_the_serial_number_is_known(profile: Profile, image: dict[int, int]) -> None:
    contract = Contract(profile)
    fast = snapshots(profile, decoded(profile, image))[-1]
    contract.outlet.take(fast)

    assert fast.group == "10s"
    assert contract.broker.take() == []


def test_a_serial_number_known_from_before_the_start_is_enough(profile: Profile, image: dict[int, int]) -> None:
    broker = Recorder()
    outlet = MtecState("mtec", profile, profile.contracts["state"], broker, Requests(), known={"serial_no": SERIAL})
    outlet.start()
    outlet.take(snapshots(profile, decoded(profile, image))[-1])

    assert len(broker.take()) == 65


def test_a_late_snapshot_from_a_spool_and_another_device_are_not_published(profile: Profile, image: dict[int, int]) -> None:
    contract = Contract(profile)
    values = decoded(profile, image)
    contract.outlet.take(Snapshot("mtec", "10s", 0.0, Quality.GOOD, values, live=False))
    contract.outlet.take(Snapshot("other", "10s", 0.0, Quality.GOOD, values))

    assert contract.broker.take() == []


def test_bms_error_bit_0_has_its_label(profile: Profile, image: dict[int, int]) -> None:
    """Deviation 1: upstream takes the masks of its list for bit numbers and says `OK`."""
    sent = {message.topic: message.payload for message in Contract(profile).poll(profile, {**image, 53509: 0, 53510: 1})}

    assert sent[f"MTEC/{SERIAL}/now-base/bms_error_code/state"] == "Internal COM Fault"


def test_a_battery_below_zero_is_not_at_6548_6_degrees(profile: Profile, image: dict[int, int]) -> None:
    """Deviation 6: upstream reads 33003, 33009 and 33011 unsigned."""
    frost = {**image, 33003: 65536 - 50, 33009: 65536 - 31, 33011: 65536 - 70}
    sent = {message.topic: message.payload for message in Contract(profile).poll(profile, frost)}

    root = f"MTEC/{SERIAL}/now-battery"
    assert [sent[f"{root}/{name}/state"] for name in ("battery_temp", "battery_cell_t_max", "battery_cell_t_min")] == [
        "-5.000",
        "-3.100",
        "-7.000",
    ]


def test_what_no_battery_can_have_is_published_as_it_was_read(profile: Profile, image: dict[int, int]) -> None:
    sent = {message.topic: message.payload for message in Contract(profile).poll(profile, {**image, 33000: 65535})}

    assert sent[f"MTEC/{SERIAL}/now-base/battery_soc/state"] == "655.350"


@pytest.mark.parametrize(
    ("octets", "level", "said"),
    [
        (b"AB 12  \0", "AB 12", "AB 12"),
        ("Zähler".encode(), "Zähler", "Zähler"),
        ("Zähler".encode("latin-1"), "Zähler", "Zähler"),
        (b"A\0B\n1", "A?B?1", "A?B?1"),
        (b"A+B#", "A_B_", "A+B#"),
    ],
)
def test_any_serial_number_gives_topics_that_a_broker_takes(
    octets: bytes, level: str, said: str, profile: Profile, image: dict[int, int]
) -> None:
    filled = octets.ljust(16, b"\0")
    serial = {10000 + word: filled[2 * word] << 8 | filled[2 * word + 1] for word in range(8)}
    contract = Contract(profile)
    sent = {message.topic: message.payload for message in contract.poll(profile, image | serial)}

    assert sent[f"MTEC/{level}/static/serial_no/state"] == said
    assert all(topic.startswith(f"MTEC/{level}/") for topic in sent)
    contract.broker.arrive(f"MTEC/{level}/config/charge_limit/set", b"10")
    assert contract.requests.received == [("mtec", "charge_limit", "10")]


def test_a_serial_number_of_blanks_is_none(profile: Profile, image: dict[int, int]) -> None:
    assert Contract(profile).poll(profile, image | dict.fromkeys(range(10000, 10008), 0x2020)) == []


def test_labels_of_several_bits_come_in_the_order_of_the_bits(profile: Profile, image: dict[int, int]) -> None:
    sent = {message.topic: message.payload for message in Contract(profile).poll(profile, {**image, 10112: 0x8000, 10113: 0x8105})}

    assert sent[f"MTEC/{SERIAL}/now-base/fault_flag_1/state"] == "Mains Lost, Grid Frequency Fault"


def test_an_unknown_code_reads_as_upstream_says_it(profile: Profile, image: dict[int, int]) -> None:
    odd = {**image, 10008: 0x6363, 10105: 77}
    sent = {message.topic: message.payload for message in Contract(profile).poll(profile, odd)}

    assert sent[f"MTEC/{SERIAL}/static/equipment_info/state"] == "unknown"
    assert sent[f"MTEC/{SERIAL}/now-base/inverter_status/state"] == "Unknown"


def test_a_night_without_sun_and_consumption_has_zero_rates_as_upstream_formats_them(profile: Profile, image: dict[int, int]) -> None:
    night = {**image, **dict.fromkeys(range(31000, 31006), 0)}
    sent = {message.topic: message.payload for message in Contract(profile).poll(profile, night)}

    assert sent[f"MTEC/{SERIAL}/day/consumption_day/state"] == "0.000"
    assert sent[f"MTEC/{SERIAL}/day/autarky_rate_day/state"] == "0"
    assert sent[f"MTEC/{SERIAL}/day/own_consumption_day/state"] == "0"


def test_the_nine_command_topics_lead_to_their_controls_with_the_text_as_it_came(
    profile: Profile, image: dict[int, int], goldens: Path
) -> None:
    contract = Contract(profile)
    contract.poll(profile, image)
    writes = json.loads((goldens / "mtec" / "writes_A.json").read_text())
    for write in writes:
        contract.broker.arrive(write["topic"], write["payload"].encode())

    assert len([topic for topic in contract.broker.subscriptions() if topic.endswith("/set")]) == 9
    expected = [
        ("mtec", write["topic"].split("/")[3], write["payload"])
        for write in writes
        if write["topic"].split("/")[1] == SERIAL and write["topic"].split("/")[3] in profile.controls
    ]
    assert len(expected) > 15
    assert contract.requests.received == expected


def test_a_retained_command_is_not_obeyed(profile: Profile, image: dict[int, int]) -> None:
    contract = Contract(profile)
    contract.poll(profile, image)
    contract.broker.arrive(f"MTEC/{SERIAL}/config/charge_limit/set", b"10", retain=True)

    assert contract.requests.received == []
    assert contract.requests.retained == 1


def test_bytes_that_are_no_text_reach_the_control_as_something_it_refuses(profile: Profile, image: dict[int, int]) -> None:
    contract = Contract(profile)
    contract.poll(profile, image)
    contract.broker.arrive(f"MTEC/{SERIAL}/config/charge_limit/set", b"\xff\xfe1")

    assert contract.requests.received == [("mtec", "charge_limit", "\ufffd\ufffd1")]


def test_every_fast_group_is_due_each_ten_seconds(profile: Profile) -> None:
    """Upstream reads `now-base` and one of the others at each tick."""
    fast = {group: period for group, period in profile.groups.items() if group.startswith("now-")}

    assert fast == dict.fromkeys(["now-base", "now-grid", "now-inverter", "now-backup", "now-battery", "now-pv"], 10.0)


def test_another_inverter_in_its_place_gets_topics_of_its_own(profile: Profile, image: dict[int, int]) -> None:
    contract = Contract(profile)
    contract.poll(profile, image)
    sent = contract.poll(profile, {**image, 10007: 0x3939})

    assert {message.topic.split("/")[1] for message in sent} == {"MTEC12K3P4012399"}
    contract.broker.arrive(f"MTEC/{SERIAL}/config/charge_limit/set", b"10")
    contract.broker.arrive("MTEC/MTEC12K3P4012399/config/charge_limit/set", b"11")
    assert contract.requests.received == [("mtec", "charge_limit", "11")]
