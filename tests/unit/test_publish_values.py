"""The plain topics: retained text in the point's unit, sent on change; and whether a device is online."""

from __future__ import annotations

import pytest

from ohmstead.publish.numbers import plain, three_decimals
from ohmstead.publish.values import DeviceValues
from ohmstead.readings import Quality, Snapshot, Value
from tests.publishing import Recorder, Sent, mtec

ROOT = "ohm/home/device/mtec"
PERIOD_S = 10.0


@pytest.fixture
def broker() -> Recorder:
    return Recorder()


@pytest.fixture
def values(broker: Recorder) -> DeviceValues:
    outlet = DeviceValues("home", "mtec", mtec(), broker, PERIOD_S)
    outlet.start()
    broker.connect()
    broker.take()
    return outlet


def _read(outlet: DeviceValues, **read: Value) -> None:
    outlet.take(Snapshot("mtec", "10s", 0.0, Quality.GOOD, read))


def _texts(broker: Recorder) -> dict[str, str]:
    return {message.topic.removeprefix(f"{ROOT}/"): message.payload for message in broker.take()}


def test_a_value_is_a_retained_text_in_its_unit(values: DeviceValues, broker: Recorder) -> None:
    _read(values, grid_power=2506, battery_mode="Charge")

    assert Sent(f"{ROOT}/grid_power", "2506", True, 0) in broker.sent
    assert Sent(f"{ROOT}/battery_mode", "Charge", True, 0) in broker.sent


def test_a_value_that_was_long_under_way_is_shown_and_is_no_sign_of_life(values: DeviceValues, broker: Recorder) -> None:
    values.take(Snapshot("mtec", "1h", 0.0, Quality.GOOD, {"serial_no": "M1"}, age=1800.0))

    assert _texts(broker) == {"serial_no": "M1"}
    assert not values.online


@pytest.mark.parametrize(
    ("point", "value", "text"),
    [
        ("battery_voltage", 410.7, "410.7"),
        ("battery_voltage", 410.0, "410"),
        ("consumption", 1712.0, "1712"),
        ("own_consumption_day", 50.9615384, "51"),
        ("autarky_rate_day", 90.625, "90.6"),
        ("battery_soc", -0.04, "0"),
        ("battery_cell_v_max", 3.342, "3.342"),
        ("pv_generation_duration", 13579, "13579"),
    ],
)
def test_a_number_has_the_decimals_that_are_worth_showing_and_no_needless_ones(
    values: DeviceValues, broker: Recorder, point: str, value: Value, text: str
) -> None:
    _read(values, **{point: value})

    assert _texts(broker)[point] == text


def test_what_can_be_set_in_tenths_is_shown_in_tenths(values: DeviceValues, broker: Recorder) -> None:
    _read(values, discharge_limit=33.3)

    assert _texts(broker)["discharge_limit"] == "33.3"


def test_only_changes_are_published(values: DeviceValues, broker: Recorder) -> None:
    _read(values, grid_power=2506, pv=6243, consumption=1712.0)
    broker.take()
    _read(values, grid_power=2507, pv=6243, consumption=1712.3)

    assert _texts(broker) == {"grid_power": "2507"}


def test_after_a_reconnection_everything_is_published_again(values: DeviceValues, broker: Recorder) -> None:
    _read(values, grid_power=2506, pv=6243)
    broker.take()
    broker.connect()

    assert _texts(broker) == {"grid_power": "2506", "pv": "6243", "online": "online"}


def test_the_moment_of_a_reading_and_raw_codes_have_no_topic(values: DeviceValues, broker: Recorder) -> None:
    _read(values, **{"api_date": "2026-06-20 13:05:09", "equipment_info": "12K-40A-3P", "equipment_info.raw": "30 07"})

    assert set(_texts(broker)) == {"equipment_info", "online"}


def test_late_snapshots_and_other_devices_change_nothing(values: DeviceValues, broker: Recorder) -> None:
    values.take(Snapshot("mtec", "10s", 0.0, Quality.GOOD, {"grid_power": 1}, live=False))
    values.take(Snapshot("growatt", "10s", 0.0, Quality.GOOD, {"grid_power": 2}))

    assert broker.take() == []


def test_a_device_is_offline_until_it_is_read(broker: Recorder) -> None:
    outlet = DeviceValues("home", "mtec", mtec(), broker, PERIOD_S)
    outlet.start()
    broker.connect()
    assert broker.take() == [Sent(f"{ROOT}/online", "offline", True, 0)]

    _read(outlet, grid_power=1)
    assert Sent(f"{ROOT}/online", "online", True, 0) in broker.take()


def test_a_device_goes_offline_after_three_periods_and_comes_back_with_one_answer(values: DeviceValues, broker: Recorder) -> None:
    _read(values, grid_power=1)
    values.tick(100.0)
    broker.take()
    values.tick(100.0 + 3 * PERIOD_S)
    assert broker.take() == []

    values.tick(100.5 + 3 * PERIOD_S)
    values.tick(200.0)
    assert broker.take() == [Sent(f"{ROOT}/online", "offline", True, 0)]

    _read(values, grid_power=1)
    assert broker.take() == [Sent(f"{ROOT}/online", "online", True, 0)]


def test_polls_keep_a_device_online_though_nothing_changes(values: DeviceValues, broker: Recorder) -> None:
    for now in range(0, 200, 10):
        _read(values, grid_power=1)
        values.tick(float(now))

    assert [message.payload for message in broker.take() if message.topic.endswith("online")] == ["online"]


def test_a_device_known_to_be_lost_is_offline_at_once(values: DeviceValues, broker: Recorder) -> None:
    _read(values, grid_power=1)
    broker.take()
    values.lost()
    values.lost()

    assert broker.take() == [Sent(f"{ROOT}/online", "offline", True, 0)]
    assert not values.online


def test_without_plain_values_only_the_presence_is_published(broker: Recorder) -> None:
    outlet = DeviceValues("home", "mtec", mtec(), broker, PERIOD_S, values=False)
    outlet.start()
    broker.connect()
    _read(outlet, grid_power=1)

    assert {message.topic for message in broker.take()} == {f"{ROOT}/online"}


def test_contract_text_goes_by_type() -> None:
    assert [three_decimals(value) for value in (70.0, -0.1, 70, 0, "OK")] == ["70.000", "-0.100", "70", "0", "OK"]


def test_plain_text_keeps_integers_and_texts_as_they_are() -> None:
    assert [plain(1)(value) for value in (1000, 100.0, 0.05, "1.50", -0.0)] == ["1000", "100", "0.1", "1.50", "0"]
    assert plain(None)(1 / 3) == "0.333333"


def test_a_value_that_is_gone_is_none_and_not_what_it_was(values: DeviceValues, broker: Recorder) -> None:
    """A sensor that is unplugged: what it said last must not stand on the broker as if it were still so."""
    _read(values, grid_power=2506, battery_mode="Charge")
    broker.take()
    values.take(Snapshot("mtec", "10s", 1.0, Quality.GOOD, {"battery_mode": "Charge"}, gone={"grid_power", "consumption", "cheese"}))
    assert {(message.topic, message.payload, message.retain) for message in broker.take()} == {
        (f"{ROOT}/grid_power", "None", True),
        (f"{ROOT}/consumption", "None", True),  # only the broker may know it, from before a restart
    }
    broker.connect()
    assert _texts(broker)["grid_power"] == "None"  # also for a broker that has forgotten all
    _read(values, grid_power=2506)
    assert _texts(broker) == {"grid_power": "2506"}
