"""A record of a DTU: its fields, its end, and in which unit its current is."""

from __future__ import annotations

from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.sim.hoymiles_plant import NO_RECORD, record
from ohmstead.sources.hoymiles_models import inverter_fields, inverter_model
from ohmstead.sources.hoymiles_records import CurrentUnits, Record, by_inverter, doubled, parse, serial_of


def read(serial: str, port: int = 1, **raw: int) -> Record:
    found = parse(record(serial, port, **raw))
    assert found is not None
    return found


def test_each_field_is_where_the_document_says() -> None:
    octets = bytes.fromhex("0c114182a0b1c202" "0160 0226 090e 1389 0780 02c0 000493e4 ffdb 0003 00d1 0002 01 07 000000000000")  # fmt: skip

    assert parse(octets) == Record("114182a0b1c2", 2, 352, 550, 2318, 5001, 1920, 704, 300_004, -37, 3, 209, 2, 1)


def test_only_the_serial_number_ends_the_list() -> None:
    assert parse(NO_RECORD) is None
    assert any(NO_RECORD)
    assert serial_of(bytes(6)) is None
    assert serial_of(bytes.fromhex("10f8a1b2c3d4")) == "10f8a1b2c3d4"


def test_the_current_of_an_mi_is_in_tenths_and_that_of_an_hm_in_hundredths() -> None:
    units = CurrentUnits()

    assert units.hundredths(read("104162778899", current=74)) == 740
    assert units.hundredths(read("116180123456", current=987)) == 987


def test_of_another_series_the_power_tells_the_unit_of_its_current() -> None:
    units = CurrentUnits()
    assert units.hundredths(read("138212345678", voltage=350, current=3, power=10, status=3)) is None

    assert units.hundredths(read("138212345678", voltage=350, current=550, power=1925, status=3)) == 550
    assert units.hundredths(read("138212345678", voltage=350, current=3, power=10, status=3)) == 3
    assert units.hundredths(read("209912345678", voltage=350, current=55, power=1925, status=3)) == 550


def test_a_port_that_is_listed_twice_the_same_is_one_and_otherwise_nobody_knows() -> None:
    once, again, other = read("114182a0b1c2", power=100), read("114182a0b1c2", power=100), read("114182a0b1c2", power=200)

    assert doubled([once, again]) == set()
    assert by_inverter([once, again]) == {"114182a0b1c2": [once]}
    assert doubled([once, other]) == {("114182a0b1c2", 1)}


def test_a_model_has_the_points_of_each_port_and_sums_over_all() -> None:
    model = inverter_model(library.load("hoymiles-inverter"), {1, 2, 3}, {2: "Left"})
    records = [read("116180123456", port, power=1000 * port, voltage=300, current=300, status=3) for port in (1, 2, 3)]
    fields = inverter_fields(records, CurrentUnits(), {1: (1, 10), 2: (2, 20), 3: (3, 30)}, night=False)
    decoder = Decoder(model)
    values = decoder.decode_fields(fields)
    decoder.calculate(values)

    assert model.points["port_2_pv_power"].name == "Left power"
    assert model.points["port_3_pv_power"].name == "Port 3 power"
    assert (values["port_2_pv_power"], values["pv_power"]) == (200.0, 600.0)
    assert (values["today_production"], values["total_production"]) == (6, 60)


def test_a_sum_lacks_what_one_of_its_ports_lacks() -> None:
    model = inverter_model(library.load("hoymiles-inverter"), {1, 2})
    decoder = Decoder(model)
    values = decoder.decode_fields(
        inverter_fields([read("116180123456", 1, power=1000, status=3)], CurrentUnits(), {1: (1, 10)}, night=False)
    )
    decoder.calculate(values)

    assert values["port_1_pv_power"] == 100.0
    assert not {"pv_power", "today_production", "total_production"} & set(values)
