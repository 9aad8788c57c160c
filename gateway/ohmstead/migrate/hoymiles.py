"""hoymiles-mqtt: its environment or configuration file, and those of its 0.12 fork, which knows several DTUs.

Keys as in hoymiles-mqtt 0.11.0 (`--help`) and in the fork's `config.yaml.example`; older ones that both have given up are known too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from ohmstead.config.hoymiles import Multiplied, Named, OfInverter, OfPort
from ohmstead.migrate.broker import MOST_RETRIES, Names, carry_broker, carry_level, seconds
from ohmstead.migrate.home import Home, Keys
from ohmstead.migrate.settings import Setting, Settings

NAME = "hoymiles-mqtt"
MARKS = ("DTU_HOST", "DTU_CONFIGS")
"""Keys that no other service has."""

PROFILE = "hoymiles-dtu"
_OF_THE_FORK = ("DTU_CONFIGS", "EXCLUDE_INVERTERS", "RESET_HOUR", "PERSISTENCE_ENABLED", "HEALTH_ENABLED", "HEALTH_PORT", "METRICS_ENABLED")
"""Keys that only the fork has, which says how it is over HTTP unless it is told not to."""

_MODBUS_TCP, _UNIT = 502, 1
_TOPICS = "homeassistant"
_PERIOD_S = 60.0


def migrate(settings: Settings, home: Home) -> None:
    """Each DTU with the contract of hoymiles-mqtt: the same topics and unique ids."""
    carry_broker(settings, home, Names("MQTT_BROKER", "MQTT_PORT", "MQTT_USER", "MQTT_PASSWORD"))
    home.announces(True, settings.file)
    devices = list(_dtus(settings, home))
    _of_each(settings, home, devices)
    _entities(settings, home, devices)
    _service(settings, home, devices)
    _not_carried(settings)
    _not_needed(settings)


def _dtus(settings: Settings, home: Home) -> Iterable[Keys]:
    several = settings.several("DTU_CONFIGS")
    if several is not None and several[1]:
        setting, listed = several
        for number, one in enumerate(listed, 1):
            yield _listed(settings, home, setting, one, number)
        settings.carried(setting, "devices, one for each DTU")
        settings.all_not_needed("DTU_CONFIGS says it for each DTU", "DTU_HOST", "DTU_PORT", "MODBUS_UNIT_ID")
        return
    host, port, unit = settings.text("DTU_HOST"), settings.whole("DTU_PORT"), settings.whole("MODBUS_UNIT_ID")
    if host is None:
        return
    device: Keys = ("devices", home.device("roof"))
    home.put((*device, "profile"), PROFILE, "")
    if home.carry(settings, host[0], (*device, "via"), _via(host[1], port[1] if port else _MODBUS_TCP)) and port is not None:
        settings.carried(port[0], ".".join((*device, "via")))
    if unit is not None and unit[1] == _UNIT:
        settings.not_needed(unit[0], "is the unit of a DTU")
    elif unit is not None:
        home.carry(settings, unit[0], (*device, "unit"), unit[1])
    yield device


def _listed(settings: Settings, home: Home, setting: Setting, one: Any, number: int) -> Keys:
    """One DTU of `DTU_CONFIGS`: {name, host, port, unit_id}."""
    if not isinstance(one, dict) or not str(one.get("host", "")).strip():
        raise settings.mistake(setting, f"the {number}. DTU has no host")
    known = {str(key).lower(): str(value).strip() for key, value in one.items()}
    if unknown := known.keys() - {"name", "host", "port", "unit_id"}:
        home.note(f"{settings.came(setting)}: {', '.join(sorted(unknown))} of the {number}. DTU is not known here and not carried over.")
    try:
        port, unit = int(known.get("port", _MODBUS_TCP)), int(known.get("unit_id", _UNIT))
    except ValueError:
        raise settings.mistake(setting, f"port and unit_id of the {number}. DTU must be numbers") from None
    name = known.get("name", "")
    device: Keys = ("devices", home.device(name or "roof"))
    came = settings.came(setting)
    home.put((*device, "profile"), PROFILE, "")
    if name:
        home.put((*device, "name"), name, came)
    home.put((*device, "via"), _via(known["host"], port), came)
    if unit != _UNIT:
        home.put((*device, "unit"), unit, came)
    return device


def _via(host: str, port: int) -> str:
    return f"tcp://{host}" + ("" if port == _MODBUS_TCP else f":{port}")


def _of_each(settings: Settings, home: Home, devices: list[Keys]) -> None:
    """How each of the DTUs is asked."""
    for key, where in (("QUERY_PERIOD", ("every",)), ("COMM_TIMEOUT", ("line", "timeout"))):
        given = settings.number(key)
        if given is not None and given[1] == 0:
            settings.not_needed(given[0], "says nothing")
        elif given is not None:
            _carry(settings, home, devices, given[0], where, seconds(given[1]))
    if (expires := settings.number("EXPIRE_AFTER")) is not None and expires[1] == 0:
        settings.not_needed(expires[0], "says nothing")
    elif expires is not None:
        _carry_longer(settings, home, devices, expires, ("hoymiles", "expire_after"))
    if (retries := settings.whole("COMM_RETRIES")) is not None:
        _carry(settings, home, devices, retries[0], ("line", "retries"), min(retries[1], MOST_RETRIES))
    if (excluded := settings.several("EXCLUDE_INVERTERS")) is not None:
        _carry(settings, home, devices, excluded[0], ("exclude",), [str(serial).strip().lower() for serial in excluded[1]])
    if (hour := settings.whole("RESET_HOUR")) is not None:
        _carry(settings, home, devices, hour[0], ("hoymiles", "reset_hour"), hour[1])
    if (prefix := settings.text("MQTT_TOPIC_PREFIX")) is not None and prefix[1] == _TOPICS:
        settings.not_needed(prefix[0], "is what the contract's topics begin with")
    elif prefix is not None:
        _carry(settings, home, devices, prefix[0], ("hoymiles", "topics"), f"{prefix[1]}/hoymiles_mqtt")
        home.note("If Home Assistant looks for discovery elsewhere than under homeassistant, say so with `home_assistant: {prefix: …}`.")
    if (zone := settings.text("TIMEZONE")) is not None:
        home.carry(settings, zone[0], ("timezone",), zone[1])


def _entities(settings: Settings, home: Home, devices: list[Keys]) -> None:
    for key, where, known in (
        ("MI_ENTITIES", "inverter_entities", get_args(OfInverter)),
        ("PORT_ENTITIES", "port_entities", get_args(OfPort)),
    ):
        given = settings.several(key)
        if given is None:
            continue
        wanted = [str(entity).strip() for entity in given[1]]
        if strange := [entity for entity in wanted if entity not in known]:
            raise settings.mistake(given[0], f"there is no {', '.join(strange)}; there are {', '.join(known)}")
        if set(wanted) == set(known):
            settings.not_needed(given[0], "all of them, as without saying so")
        else:
            _carry(settings, home, devices, given[0], ("hoymiles", where), wanted)
    if (factors := settings.map("VALUE_MULTIPLIERS")) is not None:
        _multipliers(settings, home, devices, *factors)
    if (called := settings.map("ENTITY_FRIENDLY_NAMES")) is not None:
        _friendly_names(settings, home, devices, *called)


def _multipliers(settings: Settings, home: Home, devices: list[Keys], setting: Setting, factors: Mapping[str, Any]) -> None:
    for value, written in factors.items():
        if value not in get_args(Multiplied):
            raise settings.mistake(setting, f"{value} has no multiplier; there are {', '.join(get_args(Multiplied))}")
        try:
            factor = float(written)
        except (TypeError, ValueError):
            raise settings.mistake(setting, f"the multiplier of {value} is no number") from None
        for device in devices:
            home.put((*device, "hoymiles", "multipliers", value), factor, settings.came(setting))
    settings.carried(setting, _places(devices, ("hoymiles", "multipliers")))


def _friendly_names(settings: Settings, home: Home, devices: list[Keys], setting: Setting, names: Mapping[str, Any]) -> None:
    """They did nothing in the fork; here they do."""
    known = [entity for kind in get_args(Named) for entity in (get_args(kind) or (kind,))]
    if strange := [entity for entity in names if entity not in known]:
        raise settings.mistake(setting, f"there is no {', '.join(strange)}; there are {', '.join(known)}")
    for entity, name in names.items():
        for device in devices:
            home.put((*device, "hoymiles", "entity_names", entity), str(name), settings.came(setting))
    settings.carried(setting, _places(devices, ("hoymiles", "entity_names")))


def _service(settings: Settings, home: Home, devices: list[Keys]) -> None:
    """The log, the page and what is watched."""
    carry_level(settings, home, "LOG_LEVEL")
    if (file := settings.text("LOG_FILE")) is not None and file[1].lower() not in ("none", "null"):
        home.carry(settings, file[0], ("log", "file"), file[1])
    elif file is not None:
        settings.not_needed(file[0], "says nothing")
    if (form := settings.text("LOG_FORMAT")) is not None:
        home.carry(settings, form[0], ("log", "format"), "json" if form[1].lower() == "json" else "console")
    enabled, metrics = settings.truth("HEALTH_ENABLED"), settings.truth("METRICS_ENABLED")
    for given, what in ((enabled, "/health, /ready and /stats are on the page's port"), (metrics, "/metrics is on the page's port")):
        if given is not None:
            settings.not_needed(given[0], what)
    if (host := settings.text("HEALTH_HOST")) is not None:
        home.carry(settings, host[0], ("web", "host"), host[1])
    if (port := settings.whole("HEALTH_PORT")) is not None:
        home.carry(settings, port[0], ("web", "port"), port[1])
    off = any(given is not None and not given[1] for given in (enabled, metrics))
    if devices and not off and any(key in settings for key in _OF_THE_FORK):
        home.put(("web", "compatible"), [NAME], f"{settings.file}: the bodies and names that dashboards know")
    if (offline := settings.number("DTU_OFFLINE_THRESHOLD")) is not None:
        _carry_longer(settings, home, devices, offline, ("hoymiles", "offline_after"))
    if (hot := settings.number("TEMPERATURE_THRESHOLD")) is not None:
        _carry(settings, home, devices, hot[0], ("hoymiles", "hot_above"), f"{hot[1]:g} °C")


def _not_carried(settings: Settings) -> None:
    if (insecure := settings.truth("MQTT_TLS_INSECURE")) is not None:
        if insecure[1]:
            settings.not_carried(insecure[0], "a broker's certificate is always checked")
        else:
            settings.not_needed(insecure[0], "a broker's certificate is always checked")
    settings.all_not_carried("certificates of the system are trusted; add this one to them", "MQTT_TLS_CA_CERT")
    settings.all_not_carried("the gateway is another client and calls itself ohmstead-<site>", "MQTT_CLIENT_ID")
    for name, instead in (("DRY_RUN", "`ohmstead run --dry-run`"), ("DUMP_DATA", "`ohmstead dump`")):
        if (given := settings.truth(name)) is not None:
            if given[1]:
                settings.not_carried(given[0], f"is a command here: {instead}")
            else:
                settings.not_needed(given[0], f"is a command here: {instead}")
    settings.all_not_carried("goes where `ohmstead dump -o FILE` says", "DUMP_DATA_PATH")
    settings.all_not_carried("the gateway has a store of its own; what that database holds stays there", "DATABASE_PATH", *(
        f"DB_{part}" for part in ("TYPE", "HOST", "PORT", "NAME", "USER", "PASSWORD", "POOL_SIZE", "MAX_OVERFLOW")
    ))  # fmt: skip
    settings.all_not_carried("no alert by that; `points: {<point>: {below: …}}` makes one", "PRODUCTION_DROP_THRESHOLD")


def _not_needed(settings: Settings) -> None:
    settings.all_not_needed("the day's production is always kept", "PERSISTENCE_ENABLED")
    settings.all_not_needed("the log always goes to the console", "LOG_TO_CONSOLE")
    settings.all_not_needed("log: {size: 10 MB, keep: 5}", "LOG_MAX_BYTES", "LOG_BACKUP_COUNT")
    settings.all_not_needed("what is hot or offline is always said", "ALERTS_ENABLED")
    settings.all_not_needed(
        "pauses grow after each failure, and a DTU that is back is asked again within one period",
        "COMM_RECONNECT_DELAY", "COMM_RECONNECT_DELAY_MAX", "EXPONENTIAL_BACKOFF", "MAX_BACKOFF", "CIRCUIT_BREAKER_THRESHOLD",
        "CIRCUIT_BREAKER_TIMEOUT",
    )  # fmt: skip
    settings.all_not_needed("the serial number of each inverter says it", "MICROINVERTER_TYPE")
    settings.all_not_needed("a broken answer is asked for again, always", "COMM_RETRY_ON_EMPTY", "COMM_CLOSE_COMM_ON_ERROR", "COMM_STRICT")


def _carry(settings: Settings, home: Home, devices: list[Keys], setting: Setting, where: Keys, value: Any) -> None:
    """The same for each DTU of the file."""
    if not devices:
        settings.not_carried(setting, "there is no DTU_HOST that it would belong to")
    for device in devices:
        home.put((*device, *where), value, settings.came(setting))
    settings.carried(setting, _places(devices, where))


def _carry_longer(settings: Settings, home: Home, devices: list[Keys], given: tuple[Setting, float], where: Keys) -> None:
    """A time that must be longer than the one between two polls: twice that where it is not."""
    period = settings.number("QUERY_PERIOD")
    period_s = period[1] if period is not None and period[1] else _PERIOD_S
    if given[1] <= period_s:
        home.note(
            f"{settings.came(given[0])}: {given[1]:g} s is no longer than the {period_s:g} s between two polls, it became twice that."
        )
    _carry(settings, home, devices, given[0], where, seconds(given[1] if given[1] > period_s else 2 * period_s))


def _places(devices: list[Keys], where: Keys) -> str:
    return ", ".join(".".join((*device, *where)) for device in devices)
