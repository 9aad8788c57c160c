"""What all former services have in common: the broker, and how loud the log is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ohmstead.config.values import MQTT_PORT, MQTTS_PORT
from ohmstead.migrate.home import Home
from ohmstead.migrate.settings import Setting, Settings

MOST_RETRIES = 10
"""Of a request; who asked for more gets these."""

_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "warn": "warning", "error": "error", "critical": "error"}


class Names(NamedTuple):
    """What a service calls the settings of its broker connection."""

    host: str
    port: str
    user: str
    password: str


_TLS = "MQTT_TLS"
_FILE = "MQTT_PASSWORD_FILE"


def carry_broker(settings: Settings, home: Home, names: Names) -> None:
    """The broker's address, user and password. Another broker than that of the file before is not carried over: there is one."""
    host, port, tls = settings.text(names.host), settings.whole(names.port), settings.truth(_TLS)
    parts = [given[0] for given in (host, port, tls) if given is not None]
    if host is not None:
        safe = tls is not None and tls[1]
        number = port[1] if port is not None else MQTT_PORT
        shown = "" if number == (MQTTS_PORT if safe else MQTT_PORT) else f":{number}"
        otherwise = home.put(("mqtt", "url"), f"mqtt{'s' * safe}://{host[1]}{shown}", settings.came(host[0]))
        _tell(settings, parts, "mqtt.url", otherwise and f"the gateway has one broker: {otherwise}")
        if otherwise:
            settings.all_not_carried("belongs to the other broker", names.user, names.password, _FILE)
            return
    else:
        _tell(settings, parts, "", f"there is no {names.host}")
    if (user := settings.text(names.user)) is not None:
        home.carry(settings, user[0], ("mqtt", "user"), user[1])
    _carry_password(settings, home, names)


def _carry_password(settings: Settings, home: Home, names: Names) -> None:
    password, file = settings.text(names.password), settings.text(_FILE)
    if file is not None and _is_readable(settings.folder / Path(file[1])):
        home.carry(settings, file[0], ("mqtt", "password_file"), str(settings.folder / Path(file[1])))
        if password is not None:
            settings.not_needed(password[0], f"{file[0].key} says it")
        return
    if file is not None:
        settings.not_carried(file[0], f"{file[1]} cannot be read here; name the file under mqtt.password_file where the gateway will run")
    if password is not None:
        home.keep_secret(settings, password[0], ("mqtt", "password_file"), "mqtt_password")


def carry_level(settings: Settings, home: Home, *names: str) -> None:
    """How loud the log is."""
    given = settings.text(*names)
    if given is None:
        return
    level = _LEVELS.get(given[1].lower())
    if level is None:
        raise settings.mistake(given[0], f"must be one of {', '.join(_LEVELS)}")
    home.carry(settings, given[0], ("log", "level"), level)


def _tell(settings: Settings, parts: Sequence[Setting], to: str, why_not: str) -> None:
    for setting in parts:
        if why_not:
            settings.not_carried(setting, why_not)
        else:
            settings.carried(setting, to)


def _is_readable(path: Path) -> bool:
    try:
        return bool(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return False


def seconds(number: float) -> str:
    """A duration as an owner writes it."""
    return f"{number:g} s"
