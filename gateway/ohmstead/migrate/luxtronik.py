"""luxtronik-logger: its `.env` or YAML. It knows no broker: the gateway's own stands where the other services have one.

Keys as in its `config.py` and `.env.sample`.
"""

from __future__ import annotations

from ohmstead.migrate.broker import carry_level, seconds
from ohmstead.migrate.home import Home, Keys
from ohmstead.migrate.settings import Settings

NAME = "luxtronik-logger"
MARKS = ("LUXTRONIK_HOST", "INTERVAL_SEC", "CSV_TIME", "CSV_RETENTION_DAYS", "OUTPUT_DIRS_DAILY")
"""Keys that no other service has."""

PORT = 8889
_WRONG_PORTS = (80, 8888)
"""What its sample and its default say; a controller listens on 8889 (8888 with firmware before 1.73, which nobody has asked about)."""
_USUAL_S = 30.0


def migrate(settings: Settings, home: Home) -> None:
    """One heat pump, read as often as before; what it says is in the store, and nothing is written to it."""
    host, port = settings.text("LUXTRONIK_HOST", "HOST"), settings.whole("LUXTRONIK_PORT", "PORT")
    device: Keys = ("devices", home.device("heatpump"))
    if host is not None:
        home.put((*device, "source"), "luxtronik", "")
        home.carry(settings, host[0], (*device, "host"), host[1])
    if port is not None and (port[1] == PORT or host is None):
        settings.not_needed(port[0], "is the port of a Luxtronik")
    elif port is not None and port[1] in _WRONG_PORTS:
        settings.not_carried(port[0], f"a Luxtronik listens on {PORT}; write `port: {port[1]}` to the device if yours does not")
    elif port is not None:
        home.carry(settings, port[0], (*device, "port"), port[1])
    if (interval := settings.number("INTERVAL_SEC")) is not None:
        if interval[1] == _USUAL_S or host is None:
            settings.not_needed(interval[0], "30 s is what it is anyway")
        else:
            home.carry(settings, interval[0], (*device, "every"), seconds(interval[1]))
    carry_level(settings, home, "LOG_LEVEL")
    _files(settings)


def _files(settings: Settings) -> None:
    settings.all_not_carried(
        "no reports are written by themselves; `ohmstead export` writes a CSV file of a day or a week when you or a timer ask for it",
        "CSV_TIME", "OUTPUT_DIRS_DAILY", "OUTPUT_DIRS_WEEKLY", "OUTPUT_DIRS", "CSV_OUTPUT_DIR", "READABLE_HEADERS", "CSV_RETENTION_DAYS",
    )  # fmt: skip
    settings.all_not_needed("the store sees to its own room", "DISK_USAGE_THRESHOLD")
    settings.all_not_carried("the gateway has a store of its own; what the cache holds stays there", "CACHE_PATH")
    settings.all_not_carried(
        "the gateway has a store of its own; what that database holds stays there",
        "DB_HOST",
        "DB_PORT",
        "DB_NAME",
        "DB_USER",
        "DB_PASSWORD",
    )
