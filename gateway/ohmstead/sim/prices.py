"""Price services and the central bank on the loopback interface, kind or unkind, for the demo and the tests.

The prices are made up from the day alone: cheap at night and at noon, dear in the evening, never twice the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from ohmstead.prices import QUARTER_S, local_day, midnight, quarters

from .service import HttpService, answered

CZK_EUR = 24.315

DOWN, HTML, HALF, LATE, FAULT, EMPTY = "down", "html", "half", "late", "fault", "empty"
GAP, TWICE, WRONG_DAY, ABSURD, ALL_THE_SAME = "gap", "twice", "wrong-day", "absurd", "all-the-same"
UNKIND = (DOWN, HTML, HALF, LATE, FAULT, EMPTY, GAP, TWICE, WRONG_DAY, ABSURD, ALL_THE_SAME)
"""503 / a web page / it breaks off / no answer until it is kind again / a SOAP fault / no prices so far / wrong in one way each."""

_PAGE = b"<!DOCTYPE html><html><body>Maintenance</body></html>"
_LATEST_S = 30.0


class _Price(NamedTuple):
    """One line of an answer; `number` counts the quarter hours of the day from 1."""

    day: date
    number: int
    start: int
    eur_mwh: float


def price_of(day: date, number: int, count: int) -> float:
    """EUR/MWh of a quarter hour; `number` from 1 to `count`."""
    hour = (number - 1) * 24 / count
    shape = 60 if hour < 5 else 110 if hour < 10 else 40 if hour < 15 else 180 if hour < 21 else 90
    return round(shape + (day.toordinal() * 7 + number * 13) % 29 / 10 - 5 * (number % 4), 2)


class PriceServices(HttpService):
    """`start` listens on a port of its own; `kindness` may be changed at any time (empty: kind). `asked` has the path of each question.

    `published` says up to which day there are prices; None: of every day.
    """

    def __init__(self, zone: ZoneInfo, published: date | None = None) -> None:
        super().__init__()
        self.kindness = ""
        self.published = published
        self.asked: list[str] = []
        self._zone = zone

    def _serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.asked.append(request.path)
        if self.kindness == LATE:
            self._kind_again.wait(_LATEST_S)
        status, answer = (
            (503, b"no") if self.kindness == DOWN else (200, _PAGE) if self.kindness == HTML else self._answer(request.path, body)
        )
        answered(request, status, {}, answer, len(answer) // 2 if self.kindness == HALF else None)

    def _answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(path)
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        answers: dict[str, Callable[[], bytes | None]] = {
            "/ote": lambda: self._ote(body.decode()),
            "/energy-charts": lambda: self._energy_charts(date.fromisoformat(asked["start"])),
            "/awattar": lambda: self._awattar(local_day(int(asked["start"]) / 1000, self._zone)),
            "/entso-e": lambda: self._entso_e(asked["periodStart"]),
            "/cnb": lambda: self._cnb(date.fromisoformat(asked["date"])),
        }
        answer = answers[url.path]() if url.path in answers else None
        return (404, b"{}") if answer is None else (200, answer)

    def _prices(self, day: date) -> list[_Price]:
        """A day's prices, or what stands for them while the service is unkind."""
        if self.kindness == EMPTY or (self.published is not None and day > self.published):
            return []
        if self.kindness == WRONG_DAY:
            day -= timedelta(days=1)
        count, start = quarters(day, self._zone), midnight(day, self._zone)
        prices = [_Price(day, at + 1, start + at * QUARTER_S, price_of(day, at + 1, count)) for at in range(count)]
        if self.kindness == GAP:
            del prices[40]
        elif self.kindness == TWICE:
            prices.insert(40, prices[40])
        elif self.kindness == ABSURD:
            prices[40] = prices[40]._replace(eur_mwh=99_999.0)
        elif self.kindness == ALL_THE_SAME:
            prices = [price._replace(eur_mwh=0.0) for price in prices]
        return prices

    def _ote(self, question: str) -> bytes:
        day = date.fromisoformat(question.split("StartDate>")[1][:10])
        if self.kindness == FAULT:
            result = "<s:Fault><faultcode>s:Server</faultcode><faultstring>Internal error</faultstring></s:Fault>"
        else:
            items = "".join(
                f"<Item><Date>{price.day}</Date><PeriodResolution>PT15M</PeriodResolution><PeriodIndex>{price.number}</PeriodIndex>"
                f"<Price>{price.eur_mwh}</Price></Item>"
                for price in self._prices(day)
            )
            namespace = "http://www.ote-cr.cz/schema/service/public"
            result = f'<GetDamPricePeriodEResponse xmlns="{namespace}"><Result>{items}</Result></GetDamPricePeriodEResponse>'
        return f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{result}</s:Body></s:Envelope>'.encode()

    def _energy_charts(self, day: date) -> bytes | None:
        prices = self._prices(day)
        if not prices:
            return None
        said = {"unix_seconds": [price.start for price in prices], "price": [price.eur_mwh for price in prices], "unit": "EUR / MWh"}
        return json.dumps(said).encode()

    def _awattar(self, day: date) -> bytes:
        """Whole hours, at the price of their first quarter."""
        hours = self._prices(day)[::4]
        return json.dumps(
            {
                "data": [
                    {
                        "start_timestamp": hour.start * 1000,
                        "end_timestamp": (hour.start + 3600) * 1000,
                        "marketprice": hour.eur_mwh,
                        "unit": "Eur/MWh",
                    }
                    for hour in hours
                ]
            }
        ).encode()

    def _entso_e(self, start: str) -> bytes:
        begin = datetime.strptime(start, "%Y%m%d%H%M").replace(tzinfo=UTC)
        prices = self._prices(local_day(begin.timestamp(), self._zone))
        if not prices:
            return b"<Acknowledgement_MarketDocument><Reason><text>No matching data found</text></Reason></Acknowledgement_MarketDocument>"
        first, end = (
            datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%MZ") for moment in (prices[0].start, prices[-1].start + QUARTER_S)
        )
        points = "".join(
            f"<Point><position>{price.number}</position><price.amount>{price.eur_mwh}</price.amount></Point>" for price in prices
        )
        return (
            '<Publication_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"><TimeSeries>'
            "<currency_Unit.name>EUR</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name><curveType>A03</curveType>"
            f"<Period><timeInterval><start>{first}</start><end>{end}</end></timeInterval><resolution>PT15M</resolution>{points}</Period>"
            "</TimeSeries></Publication_MarketDocument>"
        ).encode()

    def _cnb(self, day: date) -> bytes:
        """A rate on working days only."""
        rates = [{"validFor": str(day), "amount": 1, "currencyCode": "EUR", "rate": CZK_EUR}]
        return json.dumps({"rates": rates if day.weekday() < 5 and self.kindness != EMPTY else []}).encode()
