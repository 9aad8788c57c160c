"""The sections `prices` and `plan`: where prices come from, what a kWh costs this home, and which rules plan its battery."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PlainValidator, WithJsonSchema

from ohmstead.config.values import Duration, Id, Secret, Section, Text
from ohmstead.prices import RATES_CZK_EUR
from ohmstead.units import UnitError, bounds, quantity, quantity_as_written

CURRENCIES = ("CZK", "EUR")
_MONEY_PATTERN = r"^\s*[+-]?\d+(\.\d+)?(\s*(CZK|EUR)/(kWh|MWh))?\s*$"


class Money(NamedTuple):
    """An amount for each kWh; `currency` is empty where 0 needs none."""

    per_kwh: float
    currency: str


def money(written: object) -> Money:
    """`1.0 CZK/kWh` or `40 EUR/MWh`. Raises UnitError."""
    amount, unit = quantity_as_written(written)
    currency, _, energy = unit.partition("/")
    if amount == 0 and not unit:
        return Money(0.0, "")
    if currency not in CURRENCIES or energy not in ("kWh", "MWh"):
        raise UnitError("say for how much energy and in which money, e.g. 1.0 CZK/kWh or 40 EUR/MWh")
    return Money(amount / (1000 if energy == "MWh" else 1), currency)


def percent(written: object) -> float:
    share = quantity(written, "%")
    if not 0 <= share <= 100:
        raise UnitError("must be from 0 to 100 %")
    return share


def round_trip(written: object) -> float:
    share = quantity(written, "%")
    if not 40 <= share <= 100:
        raise UnitError("there and back again, from 40 to 100 %")
    return share / 100


def positive_power(written: object) -> float:
    watts = quantity(written, "W")
    if watts <= 0:
        raise UnitError("must be more than 0")
    return watts


def usable_energy(written: object) -> float:
    energy = quantity(written, "Wh") / 1000
    if not 0.1 <= energy <= 10_000:
        raise UnitError("from 0.1 kWh to 10 MWh")
    return energy


def soc_range(written: object) -> tuple[float, float]:
    low, high = bounds(written, "%")
    low, high = low or 0.0, 100.0 if high is None else high
    if not 0 <= low < high <= 100:
        raise UnitError("within 0..100 %, and the lower end below the upper one")
    return low, high


def exchange_rate(written: object) -> float:
    rate = quantity(written, "CZK/EUR")
    low, high = RATES_CZK_EUR
    if not low <= rate <= high:
        raise UnitError(f"from {low:g} to {high:g} CZK/EUR")
    return rate


def temperature(written: object) -> float:
    return quantity(written, "°C")


def point_of_device(written: object) -> tuple[str, str]:
    device, dot, point = str(written).partition(".")
    if not device or not dot or not point:
        raise ValueError("a device and one of its points, e.g. heatpump.outside_temperature")
    return device, point


def web_address(written: object) -> str:
    if not str(written).startswith(("https://", "http://")):
        raise ValueError("begins with https:// or http://")
    return str(written)


def _text(*examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "examples": list(examples)})


PerKwh = Annotated[Money, PlainValidator(money), WithJsonSchema({"type": ["string", "number"], "pattern": _MONEY_PATTERN})]
Percent = Annotated[float, PlainValidator(percent), _text("30 %")]
Watts = Annotated[float, PlainValidator(positive_power), _text("3 kW")]
PointOfDevice = Annotated[tuple[str, str], PlainValidator(point_of_device), _text("heatpump.outside_temperature")]
Address = Annotated[str, PlainValidator(web_address), WithJsonSchema({"type": "string", "pattern": "^https?://"})]

_NOTHING = Money(0.0, "")


class Buy(Section):
    """What a kWh from the grid costs beside the market: (market + add) · (1 + vat)."""

    add: PerKwh = Field(default_factory=lambda: _NOTHING, description="Grid fees, levies and the supplier's surcharge, e.g. 2.1 CZK/kWh.")
    vat: Percent = Field(default_factory=lambda: 0.0, description="Value added tax on both, e.g. 21 %.")


class Sell(Section):
    """What a kWh into the grid brings: market · share + add."""

    share: Percent = Field(default_factory=lambda: 100.0, description="How much of the market's price, e.g. 90 %; all of it unless given.")
    add: PerKwh = Field(default_factory=lambda: _NOTHING, description="What comes on top of it; a fee is below 0, e.g. -0.4 CZK/kWh.")


class Prices(Section):
    """Where the day-ahead prices come from. They are asked for once a day."""

    source: Literal["ote", "energy-charts", "awattar", "entso-e", "file"] = Field("ote", description="Who is asked.")
    currency: Literal["CZK", "EUR"] | None = Field(None, description="The money of this home; CZK with `ote`, else EUR unless given.")
    area: Text | None = Field(None, description="Bidding zone: CZ, DE-LU, … (energy-charts), at or de (awattar), an EIC code (entso-e).")
    token: Secret | None = Field(None, repr=False, description="What ENTSO-E gives to those who register.")
    token_file: Path | None = Field(None, description="A file that holds the token.")
    path: Path | None = Field(None, description="The file of `source: file`; relative to the folder of this file.")
    url: Address | None = Field(None, description="Another address of the service.")
    rate: Annotated[float, PlainValidator(exchange_rate), _text("24.5 CZK/EUR")] | None = Field(
        None, description="A fixed exchange rate; that of the Czech National Bank unless given."
    )
    rate_url: Address | None = Field(None, description="Another address of the bank's rates.")
    buy: Buy = Field(default_factory=Buy)
    sell: Sell = Field(default_factory=Sell)

    @property
    def money(self) -> str:
        """The home's currency."""
        return self.currency or ("CZK" if self.source == "ote" else "EUR")


class PlanBattery(Section):
    """The battery that is planned for."""

    capacity: Annotated[float, PlainValidator(usable_energy), _text("10 kWh")] = Field(description="What can be used of it, e.g. 10 kWh.")
    power: Watts = Field(description="What it takes and gives at most, e.g. 5 kW.")
    soc: Annotated[tuple[float, float], PlainValidator(soc_range), _text("15..95 %")] = Field(
        default_factory=lambda: (10.0, 100.0), description="Between which states of charge it works, e.g. 15..95 %; 10..100 % unless given."
    )
    efficiency: Annotated[float, PlainValidator(round_trip), _text("90 %")] = Field(
        default_factory=lambda: 0.9, description="Into it and out again; 90 % unless given."
    )


class ChargeRules(Section):
    """When to charge from the grid: wherever one of the first three rules chooses, as far as the sun leaves room."""

    cheapest_hours: Annotated[int, Field(ge=0, le=24)] = Field(0, description="In so many of the day's cheapest hours.")
    by: Literal["hours", "quarters"] = Field("hours", description="Whole hours by their mean, or as many single quarter hours.")
    cheapest_quarter: bool = Field(False, description="Whenever the price is in the lowest quarter of the day's range.")
    cheapest_window: Duration = Field(0.0, description="In the cheapest stretch of this length, e.g. 3 h.")
    power: Watts | None = Field(None, description="With how much; the battery's power unless given.")
    fill_to: Percent = Field(
        default_factory=lambda: 100.0, description="Up to this state of charge; as far as the battery goes unless given."
    )
    season_below: Annotated[float, PlainValidator(temperature), _text("8 °C")] | None = Field(
        None, description="Only while the mean outside temperature of three days is below it; needs `outside`."
    )
    before_sunrise: bool = Field(False, description="Never between sunrise and sunset; needs `place`.")
    without_forecast: bool = Field(False, description="Also when nobody knows how much room the sun will need.")


class ExportRule(Section):
    """When power may flow out."""

    above: PerKwh = Field(description="Nothing flows out while it would bring less, e.g. 0 or 1.0 CZK/kWh.")


class SellRule(Section):
    """When the battery is emptied into the grid."""

    above: PerKwh = Field(description="While it brings at least so much, e.g. 6 CZK/kWh.")
    floor: Percent = Field(default_factory=lambda: 50.0, description="Down to this state of charge; 50 % unless given.")
    power: Watts | None = Field(None, description="With how much; the battery's power unless given.")


class Place(Section):
    """Where the home is, for sunrise and sunset."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]


class Plan(Section):
    """How the battery is planned by price. Without a rule it is plain self-use, which is what most days are best served by."""

    device: Id | None = Field(None, description="Whose battery; the only device with a control `charge` unless given.")
    battery: PlanBattery | None = None
    charge: ChargeRules = Field(default_factory=ChargeRules)
    export: ExportRule | None = None
    sell: SellRule | None = None
    pause_above: Watts | None = Field(None, description="While the house draws more, nothing is charged from the grid nor sold, e.g. 8 kW.")
    place: Place | None = None
    outside: PointOfDevice | None = Field(None, description="The outside temperature: a device and its point.")

    @property
    def charges(self) -> bool:
        """Whether a rule charges from the grid."""
        return bool(self.charge.cheapest_hours or self.charge.cheapest_quarter or self.charge.cheapest_window)


class Doubt(NamedTuple):
    """Something that does not fit together: where, what, and what stands there."""

    keys: tuple[str, ...]
    text: str
    value: str = ""


def planned_device(plan: Plan, controls: Mapping[str, Collection[str]]) -> str | None:
    """The device that is planned for: the one that is named, or the only one with a control `charge`; None if that is no single one."""
    able = [device for device, named in controls.items() if "charge" in named]
    return plan.device or (able[0] if len(able) == 1 else None)


def doubts(
    prices: Prices | None, plan: Plan | None, controls: Mapping[str, Collection[str]], points: Mapping[str, Collection[str]]
) -> Iterator[Doubt]:
    """What is wrong between the two sections and the home's devices. `controls` and `points`: those of each device."""
    if prices is not None:
        yield from _of_prices(prices)
    if plan is None:
        return
    if prices is None:
        yield Doubt(("plan",), "needs `prices`, e.g. prices: {source: ote}")
    else:
        for keys, one in _money_of(plan):
            if one.currency not in ("", prices.money):
                yield Doubt(("plan", *keys), f"the money of this home is {prices.money}", f"{one.per_kwh:g} {one.currency}/kWh")
    if plan.battery is None and (plan.charges or plan.sell is not None):
        yield Doubt(("plan", "battery"), "is missing: a rule that moves energy needs to know it, e.g. {capacity: 10 kWh, power: 5 kW}")
    if plan.charge.season_below is not None and plan.outside is None:
        yield Doubt(("plan", "charge", "season_below"), "needs `outside`, the device and point of the outside temperature")
    if plan.charge.before_sunrise and plan.place is None:
        yield Doubt(("plan", "charge", "before_sunrise"), "needs `place: {latitude: …, longitude: …}`")
    if plan.outside is not None and plan.outside[1] not in points.get(plan.outside[0], ()):
        yield Doubt(("plan", "outside"), "there is no such device and point", ".".join(plan.outside))
    chosen = planned_device(plan, controls)
    if plan.device is not None and plan.device not in controls:
        yield Doubt(("plan", "device"), f"there is no such device; there are {', '.join(controls) or 'none'}", plan.device)
    elif chosen is None and (plan.charges or plan.sell is not None or plan.export is not None):
        yield Doubt(("plan", "device"), "whose battery? name the device, one with a control `charge`")


def _of_prices(prices: Prices) -> Iterator[Doubt]:
    if prices.source == "entso-e" and not prices.token:
        yield Doubt(("prices", "token"), "is missing: ENTSO-E answers only who has one; give `token` or `token_file`")
    if prices.source == "file" and prices.path is None:
        yield Doubt(("prices", "path"), "is missing: which file?")
    for keys, one in ((("buy", "add"), prices.buy.add), (("sell", "add"), prices.sell.add)):
        if one.currency not in ("", prices.money):
            yield Doubt(("prices", *keys), f"the money of this home is {prices.money}", f"{one.per_kwh:g} {one.currency}/kWh")


def _money_of(plan: Plan) -> Iterator[tuple[tuple[str, str], Money]]:
    if plan.export is not None:
        yield ("export", "above"), plan.export.above
    if plan.sell is not None:
        yield ("sell", "above"), plan.sell.above
