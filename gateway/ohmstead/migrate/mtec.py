"""aiomtec2mqtt and MTECmqtt: `config.yaml`, or `MTEC_…` in the environment.

Keys as in aiomtec2mqtt 1.1.0 (its configuration guide) and in MTECmqtt's templates, which also have MODBUS_PORT2, MQTT_DISABLE and
POLL_FREQUENCY.
"""

from __future__ import annotations

from ohmstead.migrate.broker import MOST_RETRIES, Names, carry_broker, seconds
from ohmstead.migrate.home import Home
from ohmstead.migrate.settings import Settings
from ohmstead.profiles import library

NAME = "aiomtec2mqtt"
PREFIX = "MTEC_"
MARKS = ("MODBUS_IP", "MTEC_MODBUS_IP")
"""Keys that no other service has."""

PROFILE = "mtec-energybutler"
_MODBUS_TCP = 502
_NOW = ("now-base", "now-grid", "now-inverter", "now-backup", "now-battery", "now-pv")
_GROUPS = {
    "REFRESH_NOW": _NOW,
    "POLL_FREQUENCY": _NOW,
    "REFRESH_CONFIG": ("config",),
    "REFRESH_DAY": ("day",),
    "REFRESH_TOTAL": ("total",),
    "REFRESH_STATIC": ("static",),
}


def migrate(settings: Settings, home: Home) -> None:
    """One inverter with the contract `state`: the topics and unique ids of aiomtec2mqtt."""
    broker = Names("MQTT_SERVER", "MQTT_PORT", "MQTT_LOGIN", "MQTT_PASSWORD")
    name = home.device("mtec")
    device = ("devices", name)
    home.put((*device, "profile"), PROFILE, "")
    _way(settings, home, device)
    home.put((*device, "contract"), "state", "the topics and entities of aiomtec2mqtt")
    _line(settings, home, device)
    _periods(settings, home, device)
    carry_broker(settings, home, broker)
    _topics(settings, home)
    _home_assistant(settings, home)
    _debug(settings, home)


def _way(settings: Settings, home: Home, device: tuple[str, ...]) -> None:
    host, port, other = settings.text("MODBUS_IP"), settings.whole("MODBUS_PORT"), settings.whole("MODBUS_PORT2")
    if host is None:
        settings.all_not_carried("there is no MODBUS_IP: write `via: tcp://<address>` to the device", "MODBUS_PORT", "MODBUS_PORT2")
        return
    chosen = other or port
    number = chosen[1] if chosen is not None else _MODBUS_TCP
    via = f"tcp://{host[1]}" + ("" if number == _MODBUS_TCP else f":{number}")
    home.carry(settings, host[0], (*device, "via"), via)
    if chosen is not None:
        settings.carried(chosen[0], ".".join((*device, "via")))
    if port is not None and other is not None:
        settings.not_carried(
            port[0], f"one port is asked, that of firmware from V27.52.4.0 on; with an older one write `via: tcp://{host[1]}:{port[1]}`"
        )


def _line(settings: Settings, home: Home, device: tuple[str, ...]) -> None:
    framer, unit = settings.text("MODBUS_FRAMER"), settings.whole("MODBUS_SLAVE")
    plain = framer is not None and framer[1].lower() == "socket"
    if framer is not None and plain:
        settings.not_needed(framer[0], "Modbus TCP is what is spoken")
    elif framer is not None:
        settings.not_carried(framer[0], "Modbus TCP is spoken here, no serial frames over TCP")
    if unit is not None and plain:
        home.carry(settings, unit[0], (*device, "unit"), unit[1])
    elif unit is not None:
        advice = f"that was for serial frames; over Modbus TCP an Energybutler is unit 255. If it stays silent, try `unit: {unit[1]}`"
        settings.not_carried(unit[0], advice)
    if (timeout := settings.number("MODBUS_TIMEOUT")) is not None:
        home.carry(settings, timeout[0], (*device, "line", "timeout"), seconds(timeout[1]))
    if (retries := settings.whole("MODBUS_RETRIES")) is not None:
        home.carry(settings, retries[0], (*device, "line", "retries"), min(retries[1], MOST_RETRIES))


def _periods(settings: Settings, home: Home, device: tuple[str, ...]) -> None:
    usual = library.load(PROFILE).groups
    for key, groups in _GROUPS.items():
        given = settings.number(key)
        if given is None:
            continue
        if all(usual[group] == given[1] for group in groups):
            settings.not_needed(given[0], "as often as without saying so")
            continue
        for group in groups:
            home.put((*device, "every", group), seconds(given[1]), settings.came(given[0]))
        settings.carried(given[0], f"{'.'.join((*device, 'every'))} of {', '.join(groups)}")


def _topics(settings: Settings, home: Home) -> None:
    if (topic := settings.text("MQTT_TOPIC")) is not None:
        if topic[1] == "MTEC":
            settings.not_needed(topic[0], "is what the contract's topics begin with")
        else:
            settings.not_carried(
                topic[0], f"the contract's topics begin with MTEC, not with {topic[1]}: whoever subscribes to them has to change that"
            )
    if (decimals := settings.text("MQTT_FLOAT_FORMAT")) is not None:
        if decimals[1].strip("{}").lstrip(":") == ".3f":
            settings.not_needed(decimals[0], "is what the contract does")
        else:
            settings.not_carried(decimals[0], "the contract's numbers have three decimals")
    if (disabled := settings.truth("MQTT_DISABLE")) is not None:
        if disabled[1]:
            settings.not_carried(disabled[0], "a gateway without a broker there is not")
        else:
            settings.not_needed(disabled[0], "the broker is used")
    if "MODBUS_PORT2" in settings or "MQTT_DISABLE" in settings or "POLL_FREQUENCY" in settings:
        home.note(
            "MTECmqtt published MTEC/<serial>/<group>/<name>; it is MTEC/<serial>/<group>/<name>/state now. The unique ids are the same."
        )


def _home_assistant(settings: Settings, home: Home) -> None:
    if (wanted := settings.truth("HASS_ENABLE")) is not None:
        home.announces(wanted[1], settings.came(wanted[0]))
        settings.carried(wanted[0], "home_assistant.enabled (on as soon as one of the services had it on)")
    else:
        home.announces(False, f"{settings.file}: there is no HASS_ENABLE")
    if (prefix := settings.text("HASS_BASE_TOPIC")) is not None:
        if prefix[1] == "homeassistant":
            settings.not_needed(prefix[0], "is what it is anyway")
        else:
            home.carry(settings, prefix[0], ("home_assistant", "prefix"), prefix[1])
    if (grace := settings.number("HASS_BIRTH_GRACETIME")) is not None:
        settings.not_needed(
            grace[0], "Home Assistant gets all of it again at each of its starts; `home_assistant: {grace: …}` makes it wait"
        )


def _debug(settings: Settings, home: Home) -> None:
    if (debug := settings.truth("DEBUG")) is None:
        return
    if debug[1]:
        home.carry(settings, debug[0], ("log", "level"), "debug")
    else:
        settings.not_needed(debug[0], "`log: {level: info}` is what it is anyway")
