"""The price services: what to ask each of them for a day, and how to read the answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from ohmstead.prices import QUARTER_S, DayPrices, ExchangeRate, PriceError, midnight, quarters, whole_day
from ohmstead.sources import prices_formats as formats
from ohmstead.sources.prices_http import Ask, Question

OTE_URL = "https://www.ote-cr.cz/services/PublicDataService"
ENERGY_CHARTS_URL = "https://api.energy-charts.info/price"
AWATTAR_URL = "https://api.awattar.{area}/v1/marketdata"
ENTSO_E_URL = "https://web-api.tp.entsoe.eu/api"

_OTE_NAMESPACE = "http://www.ote-cr.cz/schema/service/public"
_OTE_QUESTION = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:pub="{namespace}"><soapenv:Header/><soapenv:Body>'
    "<pub:GetDamPricePeriodE><pub:StartDate>{day}</pub:StartDate><pub:EndDate>{day}</pub:EndDate>"
    "<pub:PeriodResolution>PT15M</pub:PeriodResolution></pub:GetDamPricePeriodE></soapenv:Body></soapenv:Envelope>"
)


class Service(Protocol):
    """Somebody who knows prices."""

    name: str

    async def prices(self, day: date, rate: ExchangeRate | None) -> DayPrices:
        """Those of a local day, checked. `rate` is for prices that are not in EUR. Raises PriceError, NotYet, WrongPrices."""
        ...


class Web(NamedTuple):
    """What an owner may choose of a service on the web; an empty `url` or `area` is the service's own."""

    zone: ZoneInfo
    ask: Ask
    url: str = ""
    area: str = ""
    token: str = ""


class Ote:
    """The Czech market operator's public SOAP service, for the Czech zone."""

    name = formats.OTE

    def __init__(self, web: Web) -> None:
        self._web = web

    async def prices(self, day: date, rate: ExchangeRate | None) -> DayPrices:
        body = _OTE_QUESTION.format(namespace=_OTE_NAMESPACE, day=day).encode()
        headers = (("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", f'"{_OTE_NAMESPACE}/GetDamPricePeriodE"'))
        answer = await self._web.ask(Question(self.name, self._web.url or OTE_URL, body, headers))
        return whole_day(day, self._web.zone, formats.ote(answer, self._web.zone), self.name)


class EnergyCharts:
    """api.energy-charts.info of Fraunhofer ISE: many bidding zones, no registration."""

    name = formats.ENERGY_CHARTS

    def __init__(self, web: Web) -> None:
        self._web = web

    async def prices(self, day: date, rate: ExchangeRate | None) -> DayPrices:
        query = urlencode({"bzn": self._web.area or "CZ", "start": str(day), "end": str(day)})
        answer = await self._web.ask(Question(self.name, f"{self._web.url or ENERGY_CHARTS_URL}?{query}"))
        return whole_day(day, self._web.zone, formats.energy_charts(answer), self.name)


class Awattar:
    """api.awattar.at and .de: Austria and Germany, whole hours."""

    name = formats.AWATTAR

    def __init__(self, web: Web) -> None:
        self._web = web

    async def prices(self, day: date, rate: ExchangeRate | None) -> DayPrices:
        start, end = _span(day, self._web.zone)
        url = self._web.url or AWATTAR_URL.format(area=(self._web.area or "at").lower())
        answer = await self._web.ask(Question(self.name, f"{url}?{urlencode({'start': start * 1000, 'end': end * 1000})}"))
        return whole_day(day, self._web.zone, formats.awattar(answer), self.name)


class EntsoE:
    """The transparency platform of the European grid operators: every zone, by its EIC code, with a token of one's own."""

    name = formats.ENTSO_E

    def __init__(self, web: Web) -> None:
        self._web = web

    async def prices(self, day: date, rate: ExchangeRate | None) -> DayPrices:
        area = self._web.area or "10YCZ-CEPS-----N"
        start, end = (datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d%H%M") for moment in _span(day, self._web.zone))
        asked = {"documentType": "A44", "in_Domain": area, "out_Domain": area, "periodStart": start, "periodEnd": end}
        query = urlencode({**asked, "securityToken": self._web.token})
        answer = await self._web.ask(Question(self.name, f"{self._web.url or ENTSO_E_URL}?{query}"))
        return whole_day(day, self._web.zone, formats.entso_e(answer), self.name)


class PriceFile:
    """A file of one's own, read anew each time."""

    name = formats.FILE

    def __init__(self, path: Path, zone: ZoneInfo) -> None:
        self._path = path
        self._zone = zone

    async def prices(self, day: date, rate: ExchangeRate | None) -> DayPrices:
        try:
            body = await asyncio.to_thread(self._path.read_bytes)
        except OSError as error:
            raise PriceError(f"{self.name}: cannot be read: {(error.strerror or 'it is no file').lower()}") from error
        told = formats.file(body, self._zone, rate.czk_eur if rate else None)
        start, end = _span(day, self._zone)
        return whole_day(day, self._zone, [period for period in told if start - 3600 < period.start < end], self.name)


def _span(day: date, zone: ZoneInfo) -> tuple[int, int]:
    start = midnight(day, zone)
    return start, start + quarters(day, zone) * QUARTER_S
