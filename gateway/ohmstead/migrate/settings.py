"""What a former service was told: the keys of its file, and what has become of each of them.

A file is YAML, or lines of `KEY=VALUE` (`.env`, and the configuration files of configargparse); the services of a Compose file each
have their `environment`. Keys are found whatever their case, and with `-` or `_`: `dtu-host` and `DTU_HOST` are one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from ohmstead import yamlfile
from ohmstead.config.environment import as_written
from ohmstead.errors import ConfigurationError, Mistake

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(?:--)?([A-Za-z][\w.-]*)\s*=\s*(.*)")
_COMMENT = re.compile(r"\s+#.*$")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "none", "")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|API_?KEY", re.IGNORECASE)


class Fate(StrEnum):
    """What has become of a key."""

    CARRIED = "carried"
    NOT_NEEDED = "not needed"
    NOT_CARRIED = "not carried"


class Outcome(NamedTuple):
    """What has become of one key: where it is now, or why it is nowhere."""

    key: str
    line: int
    fate: Fate
    text: str


class Setting(NamedTuple):
    """One key as its file has it. `value`: a text, a list or a map, with every scalar as it was written."""

    key: str
    value: Any
    line: int

    @property
    def text(self) -> str:
        return self.value.strip() if isinstance(self.value, str) else ""

    @property
    def shown(self) -> str:
        """The value for people; a secret is not shown."""
        if _SECRET.search(self.key) and not self.key.lower().endswith("file"):
            return "…"
        text = self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)
        return text if len(text) <= 40 else f"{text[:39]}…"


class Settings:
    """The keys of one service. Each is asked for once, and then it is said what has become of it; `close` accounts for the others."""

    def __init__(self, file: str, settings: Mapping[str, Setting], folder: Path) -> None:
        self.file = file
        self.folder = folder
        self.upstream = ""
        self.outcomes: list[Outcome] = []
        self._settings = dict(settings)
        self._told: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._settings

    def __iter__(self) -> Iterator[Setting]:
        return iter(self._settings.values())

    def without_prefix(self, prefix: str) -> Settings:
        """The same where keys with `prefix` are those without it, which win."""
        plain = {name: setting for name, setting in self._settings.items() if not name.startswith(prefix)}
        prefixed = {name.removeprefix(prefix): setting for name, setting in self._settings.items() if name.startswith(prefix)}
        return Settings(self.file, plain | prefixed, self.folder)

    def came(self, setting: Setting) -> str:
        """Where a setting stands, for a comment."""
        return f"{self.file}:{setting.line} {setting.key}" if setting.line else f"{self.file} {setting.key}"

    def get(self, *names: str) -> Setting | None:
        """The first of these keys that is there and says something; of the empty ones it is said that they are."""
        found = None
        for name in names:
            setting = self._settings.get(name)
            if setting is not None and setting.value in ("", [], {}):
                self.not_needed(setting, "says nothing")
            elif setting is not None and found is None:
                found = setting
        return found

    def text(self, *names: str) -> tuple[Setting, str] | None:
        """The key and its text. Raises ConfigurationError when it is no text."""
        setting = self.get(*names)
        if setting is None:
            return None
        if not isinstance(setting.value, str):
            raise self.mistake(setting, "must be a single value")
        if not setting.text:
            self.not_needed(setting, "says nothing")
            return None
        return setting, setting.text

    def number(self, *names: str) -> tuple[Setting, float] | None:
        """The key and its number. Raises ConfigurationError when it is none."""
        given = self.text(*names)
        if given is None:
            return None
        try:
            number = float(given[1])
        except ValueError:
            raise self.mistake(given[0], "must be a number") from None
        if number != number or number in (float("inf"), float("-inf")):
            raise self.mistake(given[0], "must be a number")
        return given[0], number

    def whole(self, *names: str) -> tuple[Setting, int] | None:
        """The key and its number without decimals. Raises ConfigurationError when it is none."""
        given = self.number(*names)
        if given is not None and given[1] != int(given[1]):
            raise self.mistake(given[0], "must be a number without decimals")
        return None if given is None else (given[0], int(given[1]))

    def truth(self, *names: str) -> tuple[Setting, bool] | None:
        """The key and whether it says yes. Raises ConfigurationError when it says neither yes nor no."""
        given = self.text(*names)
        if given is None:
            return None
        said = given[1].lower()
        if said not in (*_TRUE, *_FALSE):
            raise self.mistake(given[0], "must be true or false")
        return given[0], said in _TRUE

    def several(self, *names: str) -> tuple[Setting, list[Any]] | None:
        """The key and its list: one of YAML, JSON, or a text with commas or blanks. Raises ConfigurationError when it is none."""
        setting = self.get(*names)
        if setting is None:
            return None
        if isinstance(setting.value, list):
            return setting, setting.value
        return setting, self._parted(setting, list)

    def map(self, *names: str) -> tuple[Setting, Mapping[str, Any]] | None:
        """The key and its map: one of YAML or JSON. Raises ConfigurationError when it is none."""
        setting = self.get(*names)
        if setting is None:
            return None
        return setting, setting.value if isinstance(setting.value, dict) else self._parted(setting, dict)

    def _parted(self, setting: Setting, kind: type[Any]) -> Any:
        if not isinstance(setting.value, str):
            raise self.mistake(setting, "must be a list" if kind is list else "must be a map")
        if setting.text.startswith(("[", "{")):
            yamlfile.parse(setting.text, f"{self.file}:{setting.line} {setting.key}")
            value = as_written(setting.text)  # JSON is YAML, and here a number stays as it was written
            if isinstance(value, kind):
                return value
        elif kind is list:
            return [part for part in re.split(r"[,\s]+", setting.text) if part]
        raise self.mistake(setting, "is no list in JSON" if kind is list else "is no map in JSON")

    def mistake(self, setting: Setting, text: str) -> ConfigurationError:
        return ConfigurationError([Mistake(self.file, setting.line, setting.key, text, setting.shown)])

    def carried(self, setting: Setting, to: str) -> None:
        self._tell(setting, Fate.CARRIED, to)

    def not_needed(self, setting: Setting, why: str) -> None:
        self._tell(setting, Fate.NOT_NEEDED, why)

    def not_carried(self, setting: Setting, why: str) -> None:
        self._tell(setting, Fate.NOT_CARRIED, why)

    def all_not_needed(self, why: str, *names: str) -> None:
        for name in names:
            if (setting := self.get(name)) is not None:
                self.not_needed(setting, why)

    def all_not_carried(self, why: str, *names: str) -> None:
        for name in names:
            if (setting := self.get(name)) is not None:
                self.not_carried(setting, why)

    def _tell(self, setting: Setting, fate: Fate, text: str) -> None:
        if setting.key not in self._told:
            self._told.add(setting.key)
            self.outcomes.append(Outcome(setting.key, setting.line, fate, text))

    def close(self) -> None:
        """Says of each key that was not asked for that it is unknown."""
        for setting in self._settings.values():
            self.not_carried(setting, f"{self.upstream or 'the service'} has no such key that is known here")
        self.outcomes.sort(key=lambda outcome: outcome.line)


def read(path: Path) -> list[Settings]:
    """The services that are configured in the file at `path`: one, or those of a Compose file. Raises ConfigurationError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError([Mistake(str(path), 0, "", f"cannot be read: {(error.strerror or '').lower()}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([Mistake(str(path), 0, "", "is not UTF-8 text")]) from error
    folder = path.resolve().parent
    if _is_lines(text):
        return [Settings(path.name, _lines(text), folder)]
    document = yamlfile.parse(text, path.name, strict=False)
    tree = as_written(text)
    if not isinstance(tree, dict) or not isinstance(document.value, dict):
        raise ConfigurationError([Mistake(path.name, 0, "", "holds neither `key: value` nor KEY=VALUE")])
    if isinstance(tree.get("services"), dict):
        return list(_composed(path.name, tree["services"], document, folder))
    everything = {str(key): tree.get(str(key), "") for key in document.value}
    return [Settings(path.name, _named(Setting(key, value, document.line([key])) for key, value in everything.items()), folder)]


def _composed(file: str, services: Mapping[str, Any], document: yamlfile.Document, folder: Path) -> Iterator[Settings]:
    for name, service in services.items():
        told = service.get("environment") if isinstance(service, dict) else None
        if isinstance(told, list):
            place = ["services", name, "environment"]
            pairs = [(str(item).partition("="), document.line([*place, index])) for index, item in enumerate(told)]
            settings = [Setting(key, value, line) for (key, _, value), line in pairs]
        else:
            place = ["services", name, "environment"]
            settings = [Setting(key, value, document.line([*place, key])) for key, value in (told or {}).items()]
        yield Settings(f"{file} ({name})", _named(settings), folder)


def _is_lines(text: str) -> bool:
    """Whether the first line that says something is KEY=VALUE, or a heading of such lines."""
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", ";"))), "")
    return bool(_ASSIGNMENT.fullmatch(first)) or bool(re.fullmatch(r"\[[^\]]*\]\s*", first))


def _lines(text: str) -> dict[str, Setting]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("#", ";")):
            continue
        if (match := _ASSIGNMENT.fullmatch(line)) is not None:
            found.append(Setting(match[1], _unquoted(match[2].strip()), number))
    return _named(found)


def _unquoted(text: str) -> str:
    if text[:1] in ("'", '"') and (end := text.find(text[0], 1)) > 0:
        return text[1:end]
    return "" if text.startswith("#") else _COMMENT.sub("", text)


def _named(settings: Iterator[Setting] | Sequence[Setting]) -> dict[str, Setting]:
    """By the name that all spellings of a key share; of a key that stands twice the last counts."""
    return {setting.key.lstrip("-").upper().replace("-", "_").replace(".", "_"): setting for setting in settings}
