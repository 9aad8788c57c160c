"""Puts prices and plan together from the configuration: who is asked, what a kWh costs, by which rules, and where the plan goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from ohmstead.config.model import Config
from ohmstead.config.prices import Plan as PlanSection
from ohmstead.config.prices import Prices as PriceSection
from ohmstead.config.prices import planned_device
from ohmstead.config.weather import WeatherDevice
from ohmstead.control.plan import outlook as foresight
from ohmstead.control.plan.author import RuleAuthor
from ohmstead.control.plan.model import Battery, Forecast
from ohmstead.control.plan.outlook import HOUSE_DAYS, OUTSIDE_DAYS, SUN_DAYS, Measured
from ohmstead.control.plan.planner import Outlook, Planner
from ohmstead.control.plan.settings import ChargeRules, Place, Settings
from ohmstead.control.plan.soc import StateOfCharge
from ohmstead.messages import Messenger
from ohmstead.prices import QUARTER_S, DayPrices, ExchangeRate, Tariff, local_day
from ohmstead.profiles.model import Profile
from ohmstead.publish.plan import PlanTopic
from ohmstead.sources.prices import PriceSource
from ohmstead.sources.prices_http import Ask, Http
from ohmstead.sources.prices_rate import ExchangeRates
from ohmstead.sources.prices_services import Awattar, EnergyCharts, EntsoE, Ote, PriceFile, Service, Web
from ohmstead.store.plans import PlanStore, StoredPlan
from ohmstead.store.protocol import Bucket, StoreError
from ohmstead.weather import Roof, WeatherForecast

log = structlog.get_logger(service="plan")

_OLD_S = 120.0
_OLD_PERIODS = 3
_DAY_S = 86_400
_WEB: dict[str, Callable[[Web], Service]] = {"ote": Ote, "energy-charts": EnergyCharts, "awattar": Awattar, "entso-e": EntsoE}

History = Callable[[str, str, float, float, float], list[Bucket]]
"""`Store.history`."""

Weather = Callable[[], WeatherForecast | None]


class Planning(NamedTuple):
    """The parts: `prices` and `planner` are to be run, `topic` is an outlet, `soc` takes the readings."""

    prices: PriceSource
    planner: Planner
    topic: PlanTopic
    soc: StateOfCharge


def planning(
    config: Config,
    messenger: Messenger,
    kept: PlanStore,
    history: History,
    *,
    wall: Callable[[], float] = time.time,
    mono: Callable[[], float] = time.monotonic,
    ask: Ask | None = None,
    weather: Weather = lambda: None,
) -> Planning | None:
    """All of it, or None at a home without `prices`. `weather` gives the newest forecast. Reads the store: raises StoreError."""
    section = config.prices
    if section is None:
        return None
    plan = config.plan or PlanSection()
    ask = ask or Http()
    parts: list[Planner] = []

    async def keep_prices(day: DayPrices) -> None:
        await _kept(lambda: kept.keep_prices(day))
        parts[0].wake()

    async def keep_rate(rate: ExchangeRate) -> None:
        await _kept(lambda: kept.keep_rate(rate))
        parts[0].wake()

    needs_rate = section.money == "CZK" or section.source == "file"
    rates = ExchangeRates(ask, url=section.rate_url or "", fixed=section.rate, known=kept.rate(), changed=keep_rate) if needs_rate else None
    today = local_day(wall(), config.zone)
    service = _service(config, section, ask)
    # of a stored day only the prices of the service that is asked now count, and a file may have been mended meanwhile
    known = [day for day in kept.prices(today) if day.source == service.name and section.source != "file"]
    source = PriceSource(service, config.zone, rates, wall=wall, known=known, changed=keep_prices)
    device = planned_device(plan, {name: tuple(config.profile(name).controls) for name in config.devices}) or ""
    soc = _state_of_charge(config, device, mono)
    topic = PlanTopic(config.site, messenger)
    planner = Planner(
        RuleAuthor(_settings(plan, device)),
        source,
        config.zone,
        tariff=lambda rate: tariff(section, rate),
        soc=soc.percent,
        outlook=lambda start, quarters: _outlook(config, plan, device, history, weather, start, quarters),
        told=topic.show,
        keep=lambda made: kept.keep_plan(StoredPlan(made.device, made.made, made.as_json())),
        wall=wall,
    )
    parts.append(planner)
    return Planning(source, planner, topic, soc)


async def _kept(write: Callable[[], None]) -> None:
    """What cannot be kept is asked for again after a restart."""
    try:
        await asyncio.to_thread(write)
    except StoreError as error:
        log.warning("not kept", reason=str(error))


def _service(config: Config, section: PriceSection, ask: Ask) -> Service:
    if section.path is not None and section.source == "file":
        return PriceFile(section.path, config.zone)
    return _WEB[section.source](Web(config.zone, ask, section.url or "", section.area or "", section.token or ""))


def tariff(section: PriceSection, rate: ExchangeRate | None) -> Tariff | None:
    """What a kWh costs and brings; None where the home's money needs an exchange rate and there is none."""
    if section.money != "EUR" and rate is None:
        return None
    return Tariff(
        currency=section.money,
        rate=rate.czk_eur if section.money != "EUR" and rate is not None else 1.0,
        buy_add=section.buy.add.per_kwh,
        vat=section.buy.vat / 100,
        sell_share=section.sell.share / 100,
        sell_add=section.sell.add.per_kwh,
    )


def _settings(plan: PlanSection, device: str) -> Settings:
    battery, charge, sell = plan.battery, plan.charge, plan.sell
    return Settings(
        device=device,
        battery=None if battery is None else Battery(battery.capacity, battery.power, *battery.soc, battery.efficiency),
        charge=ChargeRules(
            cheapest_hours=charge.cheapest_hours,
            by_quarters=charge.by == "quarters",
            cheapest_quarter=charge.cheapest_quarter,
            window_s=charge.cheapest_window,
            power_w=charge.power,
            fill_to=charge.fill_to,
            season_below=charge.season_below,
            before_sunrise=charge.before_sunrise,
            without_forecast=charge.without_forecast,
        ),
        export_above=None if plan.export is None else plan.export.above.per_kwh,
        sell_above=None if sell is None else sell.above.per_kwh,
        sell_floor=50.0 if sell is None else sell.floor,
        sell_power_w=None if sell is None else sell.power,
        pause_above_w=plan.pause_above,
        place=None if plan.place is None else Place(plan.place.latitude, plan.place.longitude),
    )


def _state_of_charge(config: Config, device: str, mono: Callable[[], float]) -> StateOfCharge:
    if not device:
        return StateOfCharge(device, None, 0.0, mono)
    point = _point(config.profile(device), "soc")
    return StateOfCharge(device, point, max(_OLD_S, _OLD_PERIODS * min(config.periods(device).values())), mono)


def _outlook(config: Config, plan: PlanSection, device: str, history: History, weather: Weather, start: int, quarters: int) -> Outlook:
    """What the weather and the last days say of the ones to come. Blocks; what the store cannot say is unknown."""
    try:
        forecast = _forecast(config, device, history, weather, start, quarters) if device and quarters else None
        outside = None
        if plan.outside is not None:
            outside = foresight.mean_outside(_measured(history(*plan.outside, start - OUTSIDE_DAYS * _DAY_S, start, 3600)))
        return Outlook(forecast, outside)
    except StoreError as error:
        log.warning("what the last days were like is not known", reason=str(error))
        return Outlook()


def _forecast(config: Config, device: str, history: History, weather: Weather, start: int, quarters: int) -> Forecast | None:
    """With the sun by the weather where that is foreseen and the modules are known, else as in the last days."""
    profile = config.profile(device)
    sun, house = _point(profile, "pv"), _point(profile, "house")
    if house is None:
        return None
    house_w = _measured(history(device, house, start - HOUSE_DAYS * _DAY_S, start, QUARTER_S))
    foreseen = _sun_by_weather(config, weather(), start, quarters)
    if foreseen is not None:
        return foresight.by_weather(foreseen, house_w, start, config.zone)
    if sun is None:
        return None
    sun_w = _measured(history(device, sun, start - SUN_DAYS * _DAY_S, start, QUARTER_S))
    return foresight.as_before(sun_w, house_w, start, quarters, config.zone)


def _sun_by_weather(config: Config, weather: WeatherForecast | None, start: int, quarters: int) -> list[float] | None:
    """kWh of each quarter hour; None where nobody knows, also when the forecast is of another day."""
    peaks = [chosen.peak_w for chosen in config.devices.values() if isinstance(chosen, WeatherDevice)]
    peak_w = next((peak for peak in peaks if peak is not None), None)
    if weather is None or peak_w is None or abs(start - weather.made) > _DAY_S:
        return None
    return weather.sun_kwh(start, quarters, Roof(peak_w))


def _measured(buckets: list[Bucket]) -> list[Measured]:
    return [Measured(bucket.time, float(bucket.mean)) for bucket in buckets if not isinstance(bucket.mean, str)]


def _point(profile: Profile, figure: str) -> str | None:
    """The point that is a figure of the device's power flow, where it is one point and no formula over several."""
    text = getattr(profile.flow, figure) if profile.flow is not None else None
    return text if text in profile.points else None
