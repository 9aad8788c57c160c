"""Contract `json`: the same registers as flat objects, one per group."""

from __future__ import annotations

import json

import pytest

from ohmstead.profiles.model import Profile
from ohmstead.publish.mtec_json import MtecJson
from ohmstead.readings import Quality, Snapshot
from tests.publishing import Recorder, Sent, decoded, snapshots

SERIAL = "MTEC12K3P4012345"

NOW_BASE = {
    "grid_power": 2506, "battery_soc": 73.5, "battery_voltage": 410.7, "battery_current": -4.7, "battery_mode": "Charge",
    "battery": -1932, "inverter_status": "on-grid", "inverter": 4218, "pv": 6243, "backup": 62, "mode": "General mode",
    "consumption": 1712.0, "inverter_date": "26-06-21 13:05:09",
}  # fmt: skip
NOW_GRID = {
    "grid_a": 1203, "grid_b": -312, "grid_c": 1615, "ac_voltage_a_b": 401.2, "ac_voltage_b_c": 400.3, "ac_voltage_c_a": 399.8,
    "ac_voltage_a": 231.7, "ac_voltage_b": 230.9, "ac_voltage_c": 231.1, "ac_current_a": 6.1, "ac_current_b": 6.0,
    "ac_current_c": 6.2, "ac_fequency": 50.01,
}  # fmt: skip


@pytest.fixture
def broker() -> Recorder:
    return Recorder()


@pytest.fixture
def contract(profile: Profile, broker: Recorder) -> MtecJson:
    return MtecJson("mtec", profile, profile.contracts["json"], broker, known={"serial_no": SERIAL})


def _poll(
    contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int], without: tuple[str, ...] = ()
) -> dict[str, dict[str, object]]:
    for snapshot in snapshots(profile, decoded(profile, image, without)):
        contract.take(snapshot)
    return {message.topic.removeprefix(f"MTEC/{SERIAL}/"): json.loads(message.payload) for message in broker.take()}


def test_one_flat_object_per_group_under_the_serial_number(
    contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int]
) -> None:
    for snapshot in snapshots(profile, decoded(profile, image)):
        contract.take(snapshot)
    sent = broker.take()

    assert sorted(message.topic for message in sent) == sorted(f"MTEC/{SERIAL}/{group}" for group in profile.groups)
    assert all((message.retain, message.qos) == (False, 0) for message in sent)


def test_the_bytes_are_those_of_pythons_json(contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int]) -> None:
    for snapshot in snapshots(profile, decoded(profile, image)):
        contract.take(snapshot)
    payloads = {message.topic.rsplit("/", 1)[1]: message.payload for message in broker.take()}

    assert payloads["now-base"] == json.dumps(NOW_BASE)
    assert payloads["now-grid"] == json.dumps(NOW_GRID)


def test_the_values_are_those_of_contract_state(
    contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int], golden: list[Sent]
) -> None:
    groups = _poll(contract, broker, profile, image)
    theirs: dict[tuple[str, str], str] = {}
    for message in golden:
        parts = message.topic.split("/")
        if parts[0] == "MTEC":
            theirs[parts[2], parts[3].replace("grid_fequency", "ac_fequency")] = message.payload

    compared = 0
    for group, values in groups.items():
        for name, value in values.items():
            expected = theirs[group, name]
            assert expected == value if isinstance(value, str) else float(expected) == value, name
            compared += 1
    assert compared == 87


def test_no_number_has_more_than_three_decimals(contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int]) -> None:
    groups = _poll(contract, broker, profile, image)

    assert groups["day"]["own_consumption_day"] == 50.962
    for values in groups.values():
        for value in values.values():
            assert not isinstance(value, float) or round(value, 3) == value


def test_what_was_not_read_is_null_and_so_is_what_follows_from_it(
    contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int]
) -> None:
    """Deviation 3: upstream calculates with 0 for what is missing. Home Assistant warns of a key that is not there, at each message."""
    groups = _poll(contract, broker, profile, image, without=("inverter", "grid_purchase_total"))

    assert groups["now-base"] == NOW_BASE | {"inverter": None, "consumption": None}
    total = groups["total"]
    assert {key for key, value in total.items() if value is None} == {"grid_purchase_total", "consumption_total", "autarky_rate_total"}
    assert total["own_consumption_total"] is not None


def test_a_group_of_which_nothing_was_read_is_not_published(
    contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int]
) -> None:
    backup = tuple(point.id for point in profile.in_group("now-backup"))
    groups = _poll(contract, broker, profile, image, without=backup)

    assert "now-backup" not in groups
    assert "now-base" in groups


def test_nothing_is_published_before_the_serial_number_is_known(profile: Profile, broker: Recorder, image: dict[int, int]) -> None:
    contract = MtecJson("mtec", profile, profile.contracts["json"], broker)
    slowest_last = list(reversed(snapshots(profile, decoded(profile, image))))
    for snapshot in slowest_last[:-1]:
        contract.take(snapshot)
    assert broker.take() == []

    contract.take(slowest_last[-1])
    assert [message.topic for message in broker.take()] == [f"MTEC/{SERIAL}/static"]


def test_a_late_snapshot_from_a_spool_is_not_published(
    contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int]
) -> None:
    contract.take(Snapshot("mtec", "10s", 0.0, Quality.GOOD, decoded(profile, image), live=False))

    assert broker.take() == []


def test_a_battery_below_zero_reads_below_zero(contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int]) -> None:
    """Deviation 6, in this contract too."""
    groups = _poll(contract, broker, profile, {**image, 33003: 65536 - 50})

    assert groups["now-battery"]["battery_temp"] == -5.0


def test_fault_bits_have_their_labels_on_the_values_that_the_contract_does_not_have(
    contract: MtecJson, broker: Recorder, profile: Profile, image: dict[int, int]
) -> None:
    groups = _poll(contract, broker, profile, image)

    assert not {"fault_flag_1", "bms_error_code", "api_date"} & set(groups["now-base"])
    assert contract.covers.isdisjoint({"fault_flag_1", "bms_error_code", "api_date"})


def test_messages_are_plain_for_a_person_too(contract: MtecJson, broker: Recorder) -> None:
    contract.take(Snapshot("mtec", "1h", 0.0, Quality.GOOD, {"serial_no": SERIAL, "equipment_info": "12K", "firmware_version": "V27"}))

    body = f'{{"serial_no": "{SERIAL}", "equipment_info": "12K", "firmware_version": "V27"}}'
    assert broker.take() == [Sent(f"MTEC/{SERIAL}/static", body, False, 0)]
