"""What the price services send, as they sent it, and what they must not get away with."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmstead.prices import (
    QUARTER_S,
    ExchangeRate,
    NotYet,
    Period,
    PriceError,
    Tariff,
    WrongPrices,
    believed_rate,
    clock,
    local_day,
    midnight,
    quarters,
    whole_day,
)
from ohmstead.sources import prices_formats as formats
from tests.unit.price_days import CLOCKS_BACK, CLOCKS_FORWARD, DAY, DEAR_DAY, FIRST_DAY, PRAGUE, recorded


def every_quarter(day: date, seconds: int = QUARTER_S) -> list[Period]:
    start, count = midnight(day, PRAGUE), quarters(day, PRAGUE) * QUARTER_S // seconds
    return [Period(start + at * seconds, seconds, float(at)) for at in range(count)]


# Days


@pytest.mark.parametrize(("day", "count"), [(DAY, 96), (CLOCKS_FORWARD, 92), (CLOCKS_BACK, 100)])
def test_a_day_has_all_its_quarter_hours_each_at_its_instant(day: date, count: int) -> None:
    prices = whole_day(day, PRAGUE, every_quarter(day), "test")
    assert prices.eur_mwh == tuple(range(count))
    assert prices.end == midnight(day + timedelta(days=1), PRAGUE)
    assert {local_day(prices.start + at * QUARTER_S, PRAGUE) for at in range(count)} == {day}


def test_the_hour_that_is_left_out_and_the_one_that_comes_twice() -> None:
    forward = [clock(midnight(CLOCKS_FORWARD, PRAGUE) + at * QUARTER_S, PRAGUE) for at in range(6, 10)]
    assert forward == ["01:30", "01:45", "03:00", "03:15"]
    back = [clock(midnight(CLOCKS_BACK, PRAGUE) + at * QUARTER_S, PRAGUE) for at in (7, 8, 12, 16)]
    assert back == ["01:45", "02:00+02:00", "02:00+01:00", "03:00"]


@given(day=st.dates(date(2020, 1, 1), date(2040, 1, 1)))
def test_days_follow_each_other_without_a_gap(day: date) -> None:
    assert midnight(day, PRAGUE) + quarters(day, PRAGUE) * QUARTER_S == midnight(day + timedelta(days=1), PRAGUE)
    assert quarters(day, PRAGUE) in (92, 96, 100)


def test_an_hourly_price_stands_for_four_quarter_hours() -> None:
    prices = whole_day(CLOCKS_BACK, PRAGUE, every_quarter(CLOCKS_BACK, 3600), "test")
    assert len(prices.eur_mwh) == 100
    assert prices.eur_mwh[:8] == (0, 0, 0, 0, 1, 1, 1, 1)
    assert prices.seconds == 3600


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (lambda told: [], NotYet, "test: no prices of 2025-10-23 yet"),
        (lambda told: told[:40] + told[41:], WrongPrices, "95 of the 96 quarter hours of 2025-10-23, none for 10:00"),
        (lambda told: told[:-1], WrongPrices, "95 of the 96 quarter hours of 2025-10-23, none for 23:45"),
        (lambda told: [*told, told[40]], WrongPrices, "two prices for 2025-10-23 10:00"),
        (lambda told: [one._replace(start=one.start - 86_400) for one in told], WrongPrices, "asked for 2025-10-23, it sent 2025-10-22"),
        (lambda told: [told[0]._replace(eur_mwh=99_999.0), *told[1:]], WrongPrices, "99999 EUR/MWh for 2025-10-23 00:00 is no price"),
        (lambda told: [told[0]._replace(eur_mwh=float("nan")), *told[1:]], WrongPrices, "nan EUR/MWh for 2025-10-23 00:00 is no price"),
        (lambda told: [one._replace(eur_mwh=0.0) for one in told], WrongPrices, "0 EUR/MWh all day of 2025-10-23, which no market has"),
        (lambda told: [one._replace(eur_mwh=2000 + one.eur_mwh) for one in told], WrongPrices, "is that another currency?"),
        (lambda told: [one._replace(start=one.start + 60) for one in told], WrongPrices, "no quarter of an hour"),
    ],
)
def test_wrong_prices_are_refused_with_their_reason(
    spoil: Callable[[list[Period]], list[Period]], error: type[PriceError], told: str
) -> None:
    with pytest.raises(error) as refused:
        whole_day(DAY, PRAGUE, spoil(every_quarter(DAY)), "test")
    assert told in str(refused.value)
    assert refused.value.try_again


def test_negative_prices_are_prices() -> None:
    told = [one._replace(eur_mwh=-one.eur_mwh - 1) for one in every_quarter(DAY)]
    assert min(whole_day(DAY, PRAGUE, told, "test").eur_mwh) == -96.0


def test_what_a_kwh_costs_and_brings() -> None:
    """100 EUR/MWh at 25 CZK/EUR are 2.50 CZK/kWh; with 1.50 for the grid and 21 % on both 4.84. Sold at 90 % less 0.25: 2.00."""
    tariff = Tariff("CZK", 25.0, buy_add=1.5, vat=0.21, sell_share=0.9, sell_add=-0.25)
    assert tariff.market(100.0) == pytest.approx(2.5)
    assert tariff.buy(100.0) == pytest.approx(4.84)
    assert tariff.sell(100.0) == pytest.approx(2.0)


# OTE


@pytest.mark.parametrize("day", [FIRST_DAY, DEAR_DAY, DAY])
def test_the_recorded_answers_of_ote_are_read_as_the_recorded_prices(goldens: Path, day: date) -> None:
    said = json.loads((goldens / "prices" / "prices_ote_2025-10_15min.json").read_text())["days"][str(day)]
    prices = recorded(goldens, day)
    assert list(prices.eur_mwh) == [item["eur_mwh"] for item in said]
    assert [clock(prices.start + (item["i"] - 1) * QUARTER_S, PRAGUE) for item in said] == [item["interval"][:5] for item in said]


def ote_answer(*items: str) -> bytes:
    return (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><GetDamPricePeriodEResponse'
        f' xmlns="http://www.ote-cr.cz/schema/service/public"><Result>{"".join(items)}</Result></GetDamPricePeriodEResponse></e:Body></e:Envelope>'
    ).encode()


def ote_item(day: date, index: int, price: object = 50.0, resolution: str = "PT15M") -> str:
    return (
        f"<Item><Date>{day}</Date><PeriodResolution>{resolution}</PeriodResolution><PeriodIndex>{index}</PeriodIndex>"
        f"<Price>{price}</Price></Item>"
    )


@pytest.mark.parametrize(("day", "count"), [(CLOCKS_FORWARD, 92), (CLOCKS_BACK, 100)])
def test_otes_period_numbers_count_from_the_begin_of_the_local_day(day: date, count: int) -> None:
    body = ote_answer(*(ote_item(day, number, number) for number in range(1, count + 1)))
    prices = whole_day(day, PRAGUE, formats.ote(body, PRAGUE), formats.OTE)
    assert prices.eur_mwh == tuple(range(1, count + 1))
    number_at_three = prices.eur_mwh[(midnight(day, PRAGUE) + count * QUARTER_S - 21 * 3600 - prices.start) // QUARTER_S]
    assert number_at_three == count - 84 + 1, "03:00 is 21 hours before the end of the day, whichever way the clocks go"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<!DOCTYPE html><html></html>", "OTE: sent a web page, not prices"),
        (b"<html><body>Maintenance</body></html>", "OTE: an answer to something else"),
        (ote_answer(ote_item(DAY, 1))[:-40], "OTE: not the XML it should be"),
        (b"", "OTE: not the XML it should be"),
        (b"<E><Fault><faultstring>Invalid date</faultstring></Fault></E>", "OTE: refuses the question: Invalid date"),
        (ote_answer(ote_item(DAY, 0)), "OTE: a period number 0 on 2025-10-23, which has 96"),
        (ote_answer(ote_item(DAY, 97)), "OTE: a period number 97 on 2025-10-23, which has 96"),
        (ote_answer(ote_item(CLOCKS_FORWARD, 93)), "OTE: a period number 93 on 2026-03-29, which has 92"),
        (ote_answer(ote_item(date(1, 1, 1), 1)), "OTE: a price of 0001-01-01"),
        (ote_answer(ote_item(DAY, 1, "1_0")), "OTE: '1_0' where a number should be"),
        (ote_answer(ote_item(DAY, 1, "85,5")), "OTE: '85,5' where a number should be"),
        (b"<a>" + b" " * 5000 + b"<!DOCTYPE a></a>", "OTE: sent a web page, not prices"),
        (ote_answer(ote_item(DAY, 1, "n/a")), "OTE: 'n/a' where a number should be"),
        (ote_answer(ote_item(DAY, 1, "1e999")), "OTE: '1e999' where a number should be"),
        (ote_answer(ote_item(DAY, 1, resolution="PT7M")), "OTE: periods of PT7M"),
        (ote_answer("<Item><Price>1</Price></Item>"), "OTE: periods of unknown length"),
    ],
)
def test_what_is_no_answer_of_ote_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(WrongPrices) as refused:
        formats.ote(body, PRAGUE)
    assert told in str(refused.value)


def test_no_items_are_no_prices_yet() -> None:
    with pytest.raises(NotYet):
        whole_day(DAY, PRAGUE, formats.ote(ote_answer(), PRAGUE), formats.OTE)


# The others


def test_energy_charts_has_hours_or_quarters() -> None:
    for seconds in (900, 3600):
        told = every_quarter(DAY, seconds)
        said = {"unix_seconds": [one.start for one in told], "price": [one.eur_mwh for one in told], "unit": "EUR / MWh"}
        assert formats.energy_charts(json.dumps(said).encode()) == told
        said["price"] = [None, *said["price"][1:]]
        with pytest.raises(WrongPrices, match="none for 00:00"):
            whole_day(DAY, PRAGUE, formats.energy_charts(json.dumps(said).encode()), formats.ENERGY_CHARTS)


def test_awattar_has_milliseconds() -> None:
    entry = {"start_timestamp": 1_761_170_400_000, "end_timestamp": 1_761_174_000_000, "marketprice": -5.12, "unit": "Eur/MWh"}
    assert formats.awattar(json.dumps({"data": [entry]}).encode()) == [Period(1_761_170_400, 3600, -5.12)]


@pytest.mark.parametrize(
    ("reader", "said", "told"),
    [
        (formats.energy_charts, {"unix_seconds": [1], "price": [1], "unit": "PLN / MWh"}, "prices in 'PLN / MWh', not in EUR/MWh"),
        (formats.energy_charts, {"unix_seconds": [1], "price": [], "unit": "EUR / MWh"}, "1 times and 0 prices"),
        (
            formats.energy_charts,
            {"unix_seconds": [1_761_170_400, 1_761_170_400], "price": [1, 2], "unit": "EUR / MWh"},
            "two prices for one time",
        ),
        (formats.energy_charts, {"detail": "no"}, "without `unix_seconds` and `price`"),
        (formats.energy_charts, [], "an answer that is no object"),
        (formats.awattar, {"data": [{"unit": "Ct/kWh"}]}, "prices in 'Ct/kWh'"),
        (formats.awattar, {"data": [1]}, "an entry that is no object"),
        (formats.awattar, {"data": [{"unit": "Eur/MWh", "start_timestamp": True}]}, "where a number should be"),
        (formats.awattar, {}, "without `data`"),
    ],
)
def test_json_of_another_shape_is_refused(reader: Callable[[bytes], object], said: object, told: str) -> None:
    with pytest.raises(WrongPrices) as refused:
        reader(json.dumps(said).encode())
    assert told in str(refused.value)
    with pytest.raises(WrongPrices, match="sent a web page"):
        reader(b"<html></html>")


def series(points: dict[int, float], *, resolution: str = "PT15M", sequence: int = 1, contract: str = "A01", currency: str = "EUR") -> str:
    return (
        f"<TimeSeries><classificationSequence_AttributeInstanceComponent.position>{sequence}"
        f"</classificationSequence_AttributeInstanceComponent.position><contract_MarketAgreement.type>{contract}</contract_MarketAgreement.type>"
        f"<currency_Unit.name>{currency}</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name><Period><timeInterval>"
        f"<start>2025-10-22T22:00Z</start><end>2025-10-23T00:00Z</end></timeInterval><resolution>{resolution}</resolution>"
        + "".join(f"<Point><position>{at}</position><price.amount>{price}</price.amount></Point>" for at, price in points.items())
        + "</Period></TimeSeries>"
    )


def publication(*all_series: str) -> bytes:
    return f'<Publication_MarketDocument xmlns="urn:x">{"".join(all_series)}</Publication_MarketDocument>'.encode()


def test_entso_es_omitted_positions_repeat_the_one_before() -> None:
    told = formats.entso_e(publication(series({1: 10.0, 2: 20.0, 5: -3.5})))
    assert [one.eur_mwh for one in told] == [10.0, 20.0, 20.0, 20.0, -3.5, -3.5, -3.5, -3.5]
    assert [one.start - midnight(DAY, PRAGUE) for one in told] == [at * QUARTER_S for at in range(8)]


def test_of_entso_es_series_the_first_sequence_and_the_shortest_periods_count() -> None:
    body = publication(
        series({1: 1.0}, sequence=2), series({1: 2.0}, resolution="PT60M"), series({1: 3.0}), series({1: 4.0}, contract="A07")
    )  # fmt: skip
    assert {one.eur_mwh for one in formats.entso_e(body)} == {3.0}


def test_entso_e_says_that_there_is_nothing_yet_in_its_own_way() -> None:
    said = b"<Acknowledgement_MarketDocument><Reason><text>No matching data found for X</text></Reason></Acknowledgement_MarketDocument>"
    with pytest.raises(NotYet):
        formats.entso_e(said)
    with pytest.raises(WrongPrices, match="Unauthorized"):
        formats.entso_e(said.replace(b"No matching data found for X", b"Unauthorized. Invalid token"))


@pytest.mark.parametrize(
    "body",
    [
        publication(series({2: 1.0})),
        publication(series({1: 1.0, 9: 1.0})),
        publication(series({1: 1.0}, currency="CZK")),
        b"<a/>",
        publication(series({1: 1.0}, resolution="P1D")),
    ],
)
def test_what_is_no_publication_is_refused(body: bytes) -> None:
    with pytest.raises(WrongPrices):
        formats.entso_e(body)


# A file of one's own


def test_a_file_may_be_in_any_of_four_units() -> None:
    for unit, price in (("EUR/MWh", 50.0), ("EUR/kWh", 0.05), ("CZK/MWh", 1250.0), ("CZK/kWh", 1.25)):
        body = f"start,{unit}\n2025-10-23T00:00,{price}\n2025-10-23T00:15,{price}\n\n2025-10-23T01:15,{price}\n".encode()
        told = formats.file(body, PRAGUE, 25.0)
        assert [one.eur_mwh for one in told] == [pytest.approx(50.0)] * 3
        assert [one.seconds for one in told] == [900, 3600, 3600]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "begins with a line"),
        ("start,USD/kWh\n", "USD/kWh is no unit of a price"),
        ("start,CZK/kWh\n2025-10-23T00:00,1\n", "no exchange rate is known"),
        ("start,EUR/MWh\nyesterday,1\n", "line 2: yesterday is no time"),
        ("start,EUR/MWh\n2026-10-25T02:30,1\n", "is twice or never on a day of a clock change"),
        ("start,EUR/MWh\n2026-03-29T02:30,1\n", "is twice or never on a day of a clock change"),
        ("start,EUR/MWh\n2025-10-23T00:15,1\n2025-10-23T00:00,1\n", "not in the order of time"),
        ("start,EUR/MWh\n2025-10-23T00:15,1,2\n", "line 2 is not `start,price`"),
        ("start,EUR/MWh\n2025-10-23T00:15,cheap\n", "'cheap' where a number should be"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(WrongPrices) as refused:
        formats.file(text.encode(), PRAGUE, None)
    assert told in str(refused.value)


def test_the_ambiguous_hour_is_told_apart_by_its_offset() -> None:
    body = b"start,EUR/MWh\n2026-10-25T02:00+02:00,1\n2026-10-25T02:00+01:00,2\n"
    first, second = formats.file(body, PRAGUE, None)
    assert second.start - first.start == 3600


@given(body=st.binary(max_size=300))
def test_no_octets_break_a_reader(body: bytes) -> None:
    def judged(reader: Callable[[], object]) -> None:
        try:
            reader()
        except PriceError:
            return

    judged(lambda: formats.ote(body, PRAGUE))
    judged(lambda: formats.energy_charts(body))
    judged(lambda: formats.awattar(body))
    judged(lambda: formats.entso_e(body))
    judged(lambda: formats.file(body, PRAGUE, 25.0))
    judged(lambda: formats.cnb_rate(body, DAY))


@given(
    starts=st.lists(
        st.one_of(st.integers(), st.floats(), st.integers(0, 96).map(lambda at: midnight(DAY, PRAGUE) + at * QUARTER_S)), max_size=8
    ),
    price=st.one_of(st.integers(), st.floats(), st.none(), st.text(max_size=5)),
)
def test_no_numbers_break_a_day(starts: list[float], price: object) -> None:
    said = {"unix_seconds": starts, "price": [price] * len(starts), "unit": "EUR / MWh"}
    entries = [{"start_timestamp": at, "end_timestamp": at, "marketprice": price, "unit": "Eur/MWh"} for at in starts]
    for told in (lambda: formats.energy_charts(json.dumps(said).encode()), lambda: formats.awattar(json.dumps({"data": entries}).encode())):
        with pytest.raises(PriceError):
            whole_day(DAY, PRAGUE, told(), "test")


@pytest.mark.parametrize("start", ["0001-01-01T00:00Z", "9999-12-31T23:59Z", "soon"])
def test_times_of_other_ages_are_refused(start: str) -> None:
    with pytest.raises(WrongPrices):
        formats.entso_e(publication(series({1: 1.0})).replace(b"2025-10-22T22:00Z", start.encode()))
    with pytest.raises(WrongPrices):
        formats.file(f"start,EUR/MWh\n{start},1\n".encode(), PRAGUE, None)


# The exchange rate


def test_the_banks_rate_as_recorded(goldens: Path) -> None:
    body = (goldens / "prices" / "raw" / "cnb-2025-10-22.json").read_bytes()
    assert formats.cnb_rate(body, DEAR_DAY) == (24.315, DEAR_DAY)
    with pytest.raises(WrongPrices):
        formats.cnb_rate(body, DEAR_DAY - timedelta(days=1))


def test_a_rate_is_for_an_amount_and_must_be_believable() -> None:
    said = {"rates": [{"currencyCode": "EUR", "validFor": str(DAY), "amount": 100, "rate": 2431.5}]}
    assert formats.cnb_rate(json.dumps(said).encode(), DAY) == (24.315, DAY)
    assert formats.cnb_rate(b'{"rates": []}', DAY) is None
    assert believed_rate(24.3, DAY, "x") == ExchangeRate(24.3, DAY, "x")
    with pytest.raises(WrongPrices, match="2431 CZK for one EUR is not believed"):
        believed_rate(2431.0, DAY, "x")
