"""What the price services send, as periods with prices in EUR/MWh. Pure: octets in, periods out; judging a day is `prices.whole_day`.

Each reader raises WrongPrices for what is not the service's format (a web page, half an answer, another unit) and NotYet where the
service says in its own way that there is nothing so far.
"""

from __future__ import annotations

import csv
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from ohmstead.prices import QUARTER_S, NotYet, Period, WrongPrices, midnight, quarters

OTE, ENERGY_CHARTS, AWATTAR, ENTSO_E, FILE = "OTE", "energy-charts", "aWATTar", "ENTSO-E", "the price file"

_RESOLUTIONS = {"PT15M": 900, "PT30M": 1800, "PT60M": 3600, "PT1H": 3600}
_BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[0-9]{1,6}")
_LARGEST = 1e15
_YEARS = (2000, 2100)
_MOMENTS = (946_684_800, 4_102_444_800)
"""The same in UTC seconds."""


def ote(body: bytes, zone: ZoneInfo) -> list[Period]:
    """The answer of OTE's public SOAP service to GetDamPricePeriodE (prices in EUR/MWh, public data service of ote-cr.cz).

    `PeriodIndex` counts from 1 and is added to the UTC beginning of the local day `Date`; what `PeriodInterval` says of the clock is
    ambiguous on the days of a change and is not looked at.
    """
    root = _xml(body, OTE)
    fault = _first(root, "Fault")
    if fault is not None:
        raise WrongPrices(f"{OTE}: refuses the question: {_text(fault, 'faultstring') or 'without a reason'}")
    if _first(root, "GetDamPricePeriodEResponse") is None:
        raise WrongPrices(f"{OTE}: an answer to something else")
    return [_ote_item(item, zone) for item in _all(root, "Item")]


def _ote_item(item: ElementTree.Element, zone: ZoneInfo) -> Period:
    seconds = _RESOLUTIONS.get(_text(item, "PeriodResolution"))
    if seconds is None:
        raise WrongPrices(f"{OTE}: periods of {_text(item, 'PeriodResolution') or 'unknown length'}")
    try:
        day = date.fromisoformat(_text(item, "Date"))
    except ValueError as error:
        raise WrongPrices(f"{OTE}: an item without its day: {error}") from error
    if not _YEARS[0] <= day.year < _YEARS[1]:
        raise WrongPrices(f"{OTE}: a price of {day}")
    index, last = _whole(_text(item, "PeriodIndex"), OTE), quarters(day, zone) * QUARTER_S // seconds
    if not 1 <= index <= last:
        raise WrongPrices(f"{OTE}: a period number {index} on {day}, which has {last}")
    return Period(midnight(day, zone) + (index - 1) * seconds, seconds, _number(_text(item, "Price"), OTE))


def energy_charts(body: bytes) -> list[Period]:
    """The answer of api.energy-charts.info/price: `unix_seconds` and `price` side by side, EUR/MWh in every bidding zone."""
    said = _json(body, ENERGY_CHARTS)
    starts, prices = said.get("unix_seconds"), said.get("price")
    if not isinstance(starts, list) or not isinstance(prices, list):
        raise WrongPrices(f"{ENERGY_CHARTS}: an answer without `unix_seconds` and `price`")
    if len(starts) != len(prices):
        raise WrongPrices(f"{ENERGY_CHARTS}: {len(starts)} times and {len(prices)} prices")
    _same_unit(str(said.get("unit", "")), ENERGY_CHARTS)
    times = [_moment(start, ENERGY_CHARTS) for start in starts]
    seconds = min((b - a for a, b in pairwise(times)), default=3600)
    if times and seconds <= 0:
        raise WrongPrices(f"{ENERGY_CHARTS}: two prices for one time, or times that go backwards")
    return [Period(at, seconds, _number(price, ENERGY_CHARTS)) for at, price in zip(times, prices, strict=True) if price is not None]


def awattar(body: bytes) -> list[Period]:
    """The answer of api.awattar.at or .de /v1/marketdata: times in ms, `marketprice` in Eur/MWh."""
    said = _json(body, AWATTAR).get("data")
    if not isinstance(said, list):
        raise WrongPrices(f"{AWATTAR}: an answer without `data`")
    return [_awattar_item(item) for item in said]


def _awattar_item(item: Any) -> Period:
    if not isinstance(item, dict):
        raise WrongPrices(f"{AWATTAR}: an entry that is no object")
    _same_unit(str(item.get("unit", "")), AWATTAR)
    start, end = (_moment(_number(item.get(key), AWATTAR) / 1000, AWATTAR) for key in ("start_timestamp", "end_timestamp"))
    return Period(start, end - start, _number(item.get("marketprice"), AWATTAR))


def entso_e(body: bytes) -> list[Period]:
    """A publication document (A44) of the ENTSO-E transparency platform.

    With curve type A03 a position that is left out has the price of the one before it. Of several series for the same time the first
    sequence counts (the coupled day-ahead market; the second is another auction), and of those the one with the shorter periods.
    """
    root = _xml(body, ENTSO_E)
    if _local(root.tag) == "Acknowledgement_MarketDocument":
        reason = _text(root, "text")
        if "no matching data" in reason.lower():
            raise NotYet(f"{ENTSO_E}: {reason}")
        raise WrongPrices(f"{ENTSO_E}: refuses the question: {reason or 'without a reason'}")
    if _local(root.tag) != "Publication_MarketDocument":
        raise WrongPrices(f"{ENTSO_E}: an answer to something else")
    series: dict[tuple[int, int], list[Period]] = {}
    for one in _all(root, "TimeSeries"):
        if (_text(one, "contract_MarketAgreement.type") or "A01") != "A01":
            continue  # intraday
        _same_unit(f"{_text(one, 'currency_Unit.name')}/{_text(one, 'price_Measure_Unit.name')}", ENTSO_E)
        sequence = _text(one, "classificationSequence_AttributeInstanceComponent.position")
        for period in _all(one, "Period"):
            prices = _entso_e_period(period)
            series.setdefault((int(sequence) if sequence.isdecimal() else 1, prices[0].seconds), []).extend(prices)
    return series[min(series)] if series else []


def _entso_e_period(period: ElementTree.Element) -> list[Period]:
    seconds = _RESOLUTIONS.get(_text(period, "resolution"))
    if seconds is None:
        raise WrongPrices(f"{ENTSO_E}: periods of {_text(period, 'resolution') or 'unknown length'}")
    start, end = (_utc(_text(period, key), ENTSO_E) for key in ("start", "end"))
    told: dict[int, float] = {}
    for point in _all(period, "Point"):
        position = _whole(_text(point, "position"), ENTSO_E)
        if position in told:
            raise WrongPrices(f"{ENTSO_E}: two prices for position {position}")
        told[position] = _number(_text(point, "price.amount"), ENTSO_E)
    if 1 not in told or not 0 < end - start <= 4 * 86_400:
        raise WrongPrices(f"{ENTSO_E}: a period without a begin")
    prices: list[Period] = []
    for position in range(1, (end - start) // seconds + 1):
        price = told.get(position, prices[-1].eur_mwh if prices else math.nan)
        prices.append(Period(start + (position - 1) * seconds, seconds, price))
    if max(told) > len(prices):
        raise WrongPrices(f"{ENTSO_E}: position {max(told)} lies after the end of its period")
    return prices


def file(body: bytes, zone: ZoneInfo, czk_eur: float | None) -> list[Period]:
    """A file of one's own: `start,EUR/MWh` (or EUR/kWh, CZK/MWh, CZK/kWh) as the first line, then one line for each period.

    A start is ISO 8601; without an offset it is the home's time, which is refused where a clock change makes it mean two instants or
    none. A period lasts until the next one, at most an hour. `czk_eur` is None where no exchange rate is known.
    """
    try:
        rows = [row for row in csv.reader(body.removeprefix(_BOM).decode().splitlines()) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise WrongPrices(f"{FILE}: is no text of lines `start,price`: {error}") from error
    if not rows or len(rows[0]) != 2:
        raise WrongPrices(f"{FILE}: begins with a line `start,EUR/MWh`")
    factor = _file_factor(rows[0][1].strip(), czk_eur)
    starts: list[int] = []
    prices: list[float] = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2:
            raise WrongPrices(f"{FILE}: line {number} is not `start,price`")
        starts.append(_file_start(row[0].strip(), zone, number))
        prices.append(_number(row[1].strip(), FILE) * factor)
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise WrongPrices(f"{FILE}: the lines are not in the order of time, each once")
    lengths = [min(later - earlier, 3600) for earlier, later in pairwise(starts)]
    lengths.append(lengths[-1] if lengths else QUARTER_S)
    return [Period(*one) for one in zip(starts, lengths, prices, strict=True)]


def _file_factor(unit: str, czk_eur: float | None) -> float:
    """What makes EUR/MWh of a unit."""
    currency, _, energy = unit.partition("/")
    if currency not in ("EUR", "CZK") or energy not in ("MWh", "kWh"):
        raise WrongPrices(f"{FILE}: {unit or 'nothing'} is no unit of a price; EUR/MWh, EUR/kWh, CZK/MWh and CZK/kWh are")
    if currency == "CZK" and czk_eur is None:
        raise WrongPrices(f"{FILE}: is in CZK, and no exchange rate is known")
    return (1000.0 if energy == "kWh" else 1.0) / (czk_eur or 1.0 if currency == "CZK" else 1.0)


def _file_start(text: str, zone: ZoneInfo, line: int) -> int:
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongPrices(f"{FILE}: line {line}: {text} is no time such as 2026-03-29T00:15") from error
    if start.tzinfo is None:
        start = start.replace(tzinfo=zone)
        if start.utcoffset() != start.replace(fold=1).utcoffset():
            raise WrongPrices(f"{FILE}: line {line}: {text} is twice or never on a day of a clock change; write it with its offset, +01:00")
    if not _YEARS[0] <= start.year < _YEARS[1]:
        raise WrongPrices(f"{FILE}: line {line}: {text} is not of these years")
    return round(start.timestamp())


def cnb_rate(body: bytes, asked: date) -> tuple[float, date] | None:
    """CZK for one EUR and the day it is valid for, from the Czech National Bank's daily rates; None where there is none for that day.

    `rate` is for `amount` units of the currency (api.cnb.cz/cnbapi/exrates/daily).
    """
    name = "the Czech National Bank"
    rates = _json(body, name).get("rates")
    if not isinstance(rates, list):
        raise WrongPrices(f"{name}: an answer without `rates`")
    for rate in rates:
        if isinstance(rate, dict) and rate.get("currencyCode") == "EUR":
            try:
                valid = date.fromisoformat(str(rate.get("validFor")))
            except ValueError as error:
                raise WrongPrices(f"{name}: a rate without the day it is valid for") from error
            amount = _number(rate.get("amount"), name)
            if amount <= 0 or not asked - timedelta(days=14) <= valid <= asked:
                raise WrongPrices(f"{name}: asked for {asked}, it sent a rate for {amount:g} EUR of {valid}")
            return _number(rate.get("rate"), name) / amount, valid
    return None


# Octets


def _xml(body: bytes, source: str) -> ElementTree.Element:
    if b"<!DOCTYPE" in body.upper():  # a web page, or entities that would grow in here
        raise WrongPrices(f"{source}: sent a web page, not prices")
    try:
        return ElementTree.fromstring(body)  # noqa: S314 - no DOCTYPE, so no entities; the size is bounded by whoever fetched it
    except ElementTree.ParseError as error:
        raise WrongPrices(f"{source}: not the XML it should be ({error})") from error


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _all(root: ElementTree.Element, name: str) -> Iterable[ElementTree.Element]:
    return (element for element in root.iter() if _local(element.tag) == name)


def _first(root: ElementTree.Element, name: str) -> ElementTree.Element | None:
    return next(iter(_all(root, name)), None)


def _text(root: ElementTree.Element, name: str) -> str:
    found = _first(root, name)
    return (found.text or "").strip() if found is not None else ""


def _json(body: bytes, source: str) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        page = body.lstrip()[:1] == b"<"
        raise WrongPrices(f"{source}: {'sent a web page, not prices' if page else f'not the JSON it should be ({error})'}") from error
    if not isinstance(said, dict):
        raise WrongPrices(f"{source}: an answer that is no object")
    return said


def _number(said: Any, source: str) -> float:
    """A finite number, in JSON or as ASCII text with a decimal point."""
    if isinstance(said, int | float) and not isinstance(said, bool) and abs(said) < _LARGEST and math.isfinite(said):
        return float(said)
    if isinstance(said, str) and _NUMBER.fullmatch(said) and math.isfinite(float(said)):
        return float(said)
    raise WrongPrices(f"{source}: {str(said)[:40]!r} where a number should be")


def _whole(said: str, source: str) -> int:
    if not _WHOLE.fullmatch(said):
        raise WrongPrices(f"{source}: {said[:40]!r} where a whole number should be")
    return int(said)


def _moment(said: Any, source: str) -> int:
    """A UTC second of these years."""
    moment = int(_number(said, source))
    if not _MOMENTS[0] <= moment < _MOMENTS[1]:
        raise WrongPrices(f"{source}: a price for the second {moment}, which is not of these years")
    return moment


def _same_unit(unit: str, source: str) -> None:
    if unit.replace(" ", "").upper() != "EUR/MWH":
        raise WrongPrices(f"{source}: prices in {unit[:40]!r}, not in EUR/MWh")


def _utc(text: str, source: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        return _moment(round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()), source)
    except (ValueError, OverflowError) as error:
        raise WrongPrices(f"{source}: {text[:40]!r} where a time should be") from error
