"""LoxoneSmartHome: its `.env`.

Keys as in its `config/settings.py`, its `.env.example` files and `conf/loxone_smart_home.env`. It controls a Growatt SPH over an
OpenInverterGateway, plans its battery by the prices of OTE, fetches the weather, and speaks UDP with a Miniserver.
"""

from __future__ import annotations

from ohmstead.config.weather import LEAST_PERIOD_S
from ohmstead.migrate.broker import Names, carry_broker, carry_level, seconds
from ohmstead.migrate.home import Home, Keys
from ohmstead.migrate.settings import Settings

NAME = "loxonesmarthome"
MARKS = ("LOXONE_HOST", "UDP_LISTENER_PORT", "GROWATT_CONTROLLER_ENABLED", "UDP_LISTENER_ENABLED")
"""Keys that no other service has."""

GROWATT: Keys = ("devices", "growatt")
WEATHER: Keys = ("devices", "weather")
_BASE = "energy/solar"
"""The base topic of an OpenInverterGateway."""

_UDP_IN, _UDP_OUT = 2000, 4000
_TOPICS = ["energy/solar", "teplomer/TC"]
"""What LoxoneSmartHome bridges when nobody says what."""

_CAPACITY, _POWER = "10 kWh", "3 kW"
"""The battery that it takes for granted (10.0 kWh, 3.0 kW)."""

_COMMANDS = ("BATTERY_FIRST", "AC_CHARGE", "EXPORT_ENABLE", "EXPORT_DISABLE", "GRID_FIRST", "GRID_FIRST_STOPSOC", "GRID_FIRST_POWERRATE",
             "LOAD_FIRST_STOPSOC")  # fmt: skip


def migrate(settings: Settings, home: Home) -> None:
    """Loxone by UDP, the Growatt over the broker with its plan, the weather."""
    home.announces(False, settings.file)
    carry_broker(settings, home, Names("MQTT_BROKER", "MQTT_PORT", "MQTT_USERNAME", "MQTT_PASSWORD"))
    if (zone := settings.text("LOG_TIMEZONE")) is not None:
        home.carry(settings, zone[0], ("timezone",), zone[1])
    carry_level(settings, home, "LOG_LEVEL")
    _listener(settings, home)
    _bridge(settings, home)
    _weather(settings, home)
    _growatt(settings, home)
    _not_carried(settings)


def _enabled(settings: Settings, key: str, what: str) -> bool:
    given = settings.truth(key)
    if given is None:
        return True
    if given[1]:
        settings.carried(given[0], what)
    else:
        settings.not_needed(given[0], "was off, and nothing of it is here")
    return given[1]


def _listener(settings: Settings, home: Home) -> None:
    names = ("UDP_LISTENER_HOST", "UDP_LISTENER_PORT")
    if not _enabled(settings, "UDP_LISTENER_ENABLED", "loxone.udp_in"):
        settings.all_not_needed("the listener was off", *names)
        return
    host, port = settings.text(names[0]), settings.whole(names[1])
    if host is not None:
        home.carry(settings, host[0], ("loxone", "udp_in", "host"), host[1])
    if port is not None:
        home.carry(settings, port[0], ("loxone", "udp_in", "port"), port[1])
    else:
        home.put(("loxone", "udp_in", "port"), _UDP_IN, f"{settings.file}: the listener's port unless it is said")


def _bridge(settings: Settings, home: Home) -> None:
    enabled = _enabled(settings, "MQTT_BRIDGE_ENABLED", "loxone.udp_out")
    host = settings.text("LOXONE_HOST")
    if not enabled or host is None:
        settings.all_not_needed(
            "the bridge was off" if not enabled else "there is no LOXONE_HOST", "LOXONE_HOST", "LOXONE_PORT", "MQTT_TOPICS"
        )
        return
    home.carry(settings, host[0], ("loxone", "udp_out", "host"), host[1])
    if (port := settings.whole("LOXONE_PORT")) is not None:
        home.carry(settings, port[0], ("loxone", "udp_out", "port"), port[1])
    topics = settings.text("MQTT_TOPICS")
    if topics is None:
        home.put(("loxone", "udp_out", "topics"), _TOPICS, f"{settings.file}: what is bridged unless it is said")
        return
    listed = list(dict.fromkeys(topic.strip() for topic in topics[1].split(",") if topic.strip()))
    home.carry(settings, topics[0], ("loxone", "udp_out", "topics"), listed)
    for topic in listed:
        if topic == "weather" or topic.startswith(("weather/", "growatt/")):
            home.note(
                f"{settings.came(topics[0])}: nobody publishes {topic} any more; the gateway's own topics begin with ohm/ and loxone/."
            )


def _weather(settings: Settings, home: Home) -> None:
    service = settings.text("USE_SERVICE")
    latitude, longitude = settings.number("LATITUDE"), settings.number("LONGITUDE")
    interval = settings.number("WEATHER_UPDATE_INTERVAL")
    if latitude is None or longitude is None:
        settings.all_not_carried("needs both LATITUDE and LONGITUDE", "LATITUDE", "LONGITUDE")
    enabled = _enabled(settings, "WEATHER_SCRAPER_ENABLED", ".".join(WEATHER)) and latitude is not None and longitude is not None
    if service is not None and service[1].lower() != "openmeteo":
        settings.not_carried(service[0], f"the forecast is Open-Meteo's here, not that of {service[1]}")
    elif service is not None:
        settings.not_needed(service[0], "the forecast is Open-Meteo's anyway")
    settings.all_not_carried("Open-Meteo needs no key", "OPENWEATHERMAP_API_KEY")
    if enabled and latitude is not None and longitude is not None:
        home.put((*WEATHER, "source"), "open-meteo", settings.file)
        home.carry(settings, latitude[0], (*WEATHER, "latitude"), latitude[1])
        home.carry(settings, longitude[0], (*WEATHER, "longitude"), longitude[1])
        if interval is not None and interval[1] < LEAST_PERIOD_S:
            settings.not_carried(interval[0], f"the forecast is asked for every {LEAST_PERIOD_S / 60:g} min at most")
        elif interval is not None:
            home.carry(settings, interval[0], (*WEATHER, "every"), seconds(interval[1]))
    else:
        settings.all_not_needed("no weather is fetched", "LATITUDE", "LONGITUDE", "WEATHER_UPDATE_INTERVAL")


def _growatt(settings: Settings, home: Home) -> None:
    if not _enabled(settings, "GROWATT_CONTROLLER_ENABLED", ".".join(GROWATT)):
        for setting in settings:
            if setting.key.upper().startswith(("GROWATT_", "OTE_")):
                settings.not_needed(setting, "the controller was off")
        return
    home.put((*GROWATT, "profile"), "growatt-sph", settings.file)
    home.put((*GROWATT, "via"), f"growatt-mqtt:{_base(settings)}", settings.file)
    simulated = settings.truth("GROWATT_SIMULATION_MODE")
    if simulated is not None and simulated[1]:
        home.carry(settings, simulated[0], (*GROWATT, "read_only"), True)
    elif simulated is not None:
        settings.not_needed(simulated[0], "it is commanded, as before")
    settings.all_not_needed("the inverter says it", "GROWATT_DEVICE_SERIAL")
    low, high = settings.number("GROWATT_MIN_SOC"), settings.number("GROWATT_MAX_SOC")
    soc = f"{low[1] if low else 20:g}..{high[1] if high else 100:g} %"
    for given in (low, high):
        if given is not None:
            home.put((*GROWATT, "limits", "soc"), soc, settings.came(given[0]))
            settings.carried(given[0], "devices.growatt.limits.soc, plan.battery.soc")
    if home.put(("plan", "device"), GROWATT[1], settings.file) == "":
        home.put(("prices", "source"), "ote", settings.file)
        home.put(("prices", "currency"), "CZK", settings.file)
        _battery(settings, home, soc)
        _rules(settings, home)


def _base(settings: Settings) -> str:
    """The base topic, from the topics of its commands."""
    base = _BASE
    for name in _COMMANDS:
        given = settings.text(f"GROWATT_{name}_TOPIC")
        if given is None:
            continue
        found, command, _ = given[1].partition("/command/")
        if command and found:
            base = found
            settings.carried(given[0], "devices.growatt.via")
        else:
            settings.not_carried(given[0], "is no topic of an OpenInverterGateway, <base>/command/…")
    return base


def _battery(settings: Settings, home: Home, soc: str) -> None:
    battery: Keys = ("plan", "battery")
    if (capacity := settings.number("GROWATT_BATTERY_CAPACITY")) is not None:
        home.carry(settings, capacity[0], (*battery, "capacity"), f"{capacity[1]:g} kWh")
    else:
        home.put((*battery, "capacity"), _CAPACITY, "what LoxoneSmartHome took for granted: is it?")
    if (power := settings.number("GROWATT_MAX_CHARGE_POWER")) is not None:
        home.carry(settings, power[0], (*battery, "power"), f"{power[1]:g} kW")
    else:
        home.put((*battery, "power"), _POWER, "what LoxoneSmartHome took for granted: is it?")
    home.put((*battery, "soc"), soc, settings.file)
    if (efficiency := settings.number("GROWATT_BATTERY_EFFICIENCY")) is not None:
        share = efficiency[1] * 100 if efficiency[1] <= 1 else efficiency[1]
        home.carry(settings, efficiency[0], (*battery, "efficiency"), f"{share:g} %")


def _rules(settings: Settings, home: Home) -> None:
    blocks = settings.whole("GROWATT_BATTERY_CHARGE_BLOCKS")
    hours = settings.whole("GROWATT_INDIVIDUAL_CHEAPEST_HOURS")
    if blocks is not None and blocks[1] % 4:
        settings.not_carried(blocks[0], "whole hours can be chosen here: `plan: {charge: {cheapest_hours: …, by: quarters}}`")
    elif blocks is not None and blocks[1]:
        home.put(("plan", "charge", "by"), "quarters", settings.came(blocks[0]))
        home.carry(settings, blocks[0], ("plan", "charge", "cheapest_hours"), blocks[1] // 4)
    elif blocks is not None:
        settings.not_needed(blocks[0], "without a rule nothing is charged from the grid")
    if hours is not None:
        home.carry(settings, hours[0], ("plan", "charge", "cheapest_hours"), hours[1])
    if (window := settings.number("GROWATT_BATTERY_CHARGE_HOURS")) is not None:
        home.carry(settings, window[0], ("plan", "charge", "cheapest_window"), f"{window[1]:g} h")
    if (export := settings.number("GROWATT_EXPORT_PRICE_MIN", "GROWATT_EXPORT_PRICE_THRESHOLD")) is not None:
        home.carry(settings, export[0], ("plan", "export", "above"), f"{export[1]:g} CZK/kWh")
    floor = settings.number("GROWATT_DISCHARGE_MIN_SOC")
    if (sell := settings.number("GROWATT_DISCHARGE_PRICE_MIN")) is not None:
        home.carry(settings, sell[0], ("plan", "sell", "above"), f"{sell[1]:g} CZK/kWh")
        if floor is not None:
            home.carry(settings, floor[0], ("plan", "sell", "floor"), f"{floor[1]:g} %")
    elif floor is not None:
        settings.not_needed(floor[0], "nothing is sold out of the battery")


def _not_carried(settings: Settings) -> None:
    store = "the gateway has a store of its own; what InfluxDB holds stays there"
    settings.all_not_carried(store, "INFLUXDB_HOST", "INFLUXDB_TOKEN", "INFLUXDB_ORG", "INFLUXDB_BUCKET")
    bank = "prices come in CZK by the bank's rate of the day; `prices: {rate: …}` fixes one"
    settings.all_not_needed(bank, "GROWATT_EUR_CZK_RATE")
    settings.all_not_needed("prices are asked for once a day, and kept", "OTE_COLLECTOR_ENABLED")
    settings.all_not_needed("prices are asked for once a day, and again with pauses that grow",
        "OTE_REQUEST_DELAY", "OTE_ERROR_DELAY", "OTE_MAX_RETRIES", "OTE_FIRST_CHECK_HOUR", "OTE_MAX_CHECK_HOUR",
    )  # fmt: skip
    settings.all_not_carried("prices of the past are not fetched", "OTE_LOAD_HISTORICAL_DAYS")
    settings.all_not_needed(
        "a command waits 10 s for its result and is sent again; `line: {timeout, gap, retries}` of the device changes that",
        "GROWATT_COMMAND_DELAY", "GROWATT_COMMAND_RETRY_COUNT", "GROWATT_COMMAND_RETRY_DELAY", "GROWATT_COMMAND_TIMEOUT",
    )  # fmt: skip
    settings.all_not_needed("slots go by the inverter's own clock", "GROWATT_CLOCK_DRIFT_BUFFER_MINUTES")
    settings.all_not_carried(
        "a season is said by its mean temperature here: `plan: {charge: {season_below: …}, outside: weather.temperature}`",
        "GROWATT_SUMMER_TEMP_THRESHOLD", "GROWATT_TEMPERATURE_AVG_DAYS", "GROWATT_SUMMER_PRICE_THRESHOLD",
    )  # fmt: skip
    settings.all_not_carried(
        "no such rule; the battery is sold above a price, down to a floor: `plan: {sell: {above, floor, power}}`",
        "GROWATT_DISCHARGE_POWER_RATE", "GROWATT_DISCHARGE_PROFIT_MARGIN", "GROWATT_PRE_DISCHARGE_CHARGE_BLOCKS",
        "GROWATT_PRE_DISCHARGE_WINDOW_HOURS",
    )  # fmt: skip
    for setting in settings:
        if setting.key.upper().startswith("PEMS_"):
            settings.not_carried(setting, "PEMS is not here; rules plan the battery")
