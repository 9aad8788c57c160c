"""The `ohmstead.yaml` that is being made: what stands where, and from where it came."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from ohmstead.migrate.settings import Setting, Settings

ORDER = ("site", "timezone", "mqtt", "nodes", "devices", "prices", "plan", "loxone", "store", "web", "log", "home_assistant", "publish")
SECRETS = Path("secrets")
"""The folder of the secrets' files, beside the `ohmstead.yaml`."""

Keys = tuple[str, ...]
Value = str | int | float | bool | Sequence[str]


class Entry(NamedTuple):
    """A value and the comment that says where it came from."""

    value: Value
    came: str


class Home:
    """Filled key by key by each of the former services. What is said once stays: the next one who wants something else is told so."""

    def __init__(self) -> None:
        self.secrets: dict[Path, str] = {}
        """Name of a file (relative to the `ohmstead.yaml`) → the secret that it holds."""
        self.notes: list[str] = []
        """What an owner has to know beside the keys."""
        self._entries: dict[Keys, Entry] = {}
        self._announced: list[tuple[bool, str]] = []

    def __contains__(self, keys: Keys) -> bool:
        return keys in self._entries

    def put(self, keys: Keys, value: Value, came: str) -> str:
        """Says `value` at `keys`; empty when it says so now, else what says otherwise already."""
        there = self._entries.get(keys)
        if there is None:
            self._entries[keys] = Entry(value, came)
            return ""
        return "" if there.value == value else f"{'.'.join(keys)} is {_scalar(there.value)} already, by {there.came}"

    def carry(self, settings: Settings, setting: Setting, keys: Keys, value: Value) -> bool:
        """Puts it there and accounts for the setting. False when something else stands there already."""
        otherwise = self.put(keys, value, settings.came(setting))
        if otherwise:
            settings.not_carried(setting, otherwise)
        else:
            settings.carried(setting, ".".join(keys))
        return not otherwise

    def keep_secret(self, settings: Settings, setting: Setting, keys: Keys, name: str) -> None:
        """Puts a secret into a file of its own, named at `keys` (which end with `_file`)."""
        file = SECRETS / name
        otherwise = self.put(keys, str(file), settings.came(setting))
        if not otherwise and self.secrets.get(file, setting.text) != setting.text:
            otherwise = f"{'.'.join(keys)} holds another one already"
        if otherwise:
            settings.not_carried(setting, otherwise)
            return
        self.secrets[file] = setting.text
        settings.carried(setting, f"{'.'.join(keys)} (the file {file}, for its owner only)")

    def device(self, wanted: str) -> str:
        """A name for a device that no other one has, made of what it was called."""
        plain = re.sub(r"[^a-z0-9_-]+", "_", wanted.lower()).strip("_-")[:28] or "device"
        name, number = plain, 2
        while any(keys[:2] == ("devices", name) for keys in self._entries):
            name, number = f"{plain}_{number}", number + 1
        return name

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def announces(self, wanted: bool, came: str) -> None:
        """Whether a service told Home Assistant of its devices: if one did, the gateway does."""
        self._announced.append((wanted, came))

    def text(self, heading: Sequence[str]) -> str:
        """The file, with `heading` as its first comment."""
        entries = dict(self._entries)
        if self._announced and not any(wanted for wanted, _ in self._announced):
            entries[("home_assistant", "enabled")] = Entry(False, self._announced[0][1])
        lines = [f"# {line}".rstrip() for line in heading]
        for section in sorted({keys[0] for keys in entries}, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
            inside = {keys: entry for keys, entry in entries.items() if keys[0] == section}
            lines += ["", *_block(inside, 0)]
        return "\n".join(lines) + "\n"


def _block(entries: Mapping[Keys, Entry], depth: int) -> list[str]:
    lines: list[str] = []
    for key in dict.fromkeys(keys[depth] for keys in entries):
        inside = {keys: entry for keys, entry in entries.items() if keys[depth] == key}
        margin = "  " * depth
        ending = next((entry for keys, entry in inside.items() if len(keys) == depth + 1), None)
        if ending is not None:
            lines.append(f"{margin}{_scalar(key)}: {_scalar(ending.value)}{f'  # {ending.came}' if ending.came else ''}")
        else:
            lines += [f"{margin}{_scalar(key)}:", *_block(inside, depth + 1)]
    return lines


def _scalar(value: Value) -> str:
    """A value as YAML has it on one line."""
    plain = value if isinstance(value, str | int | float) else list(value)
    dumped: str = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10_000)
    return dumped.removesuffix("\n").removesuffix("...").strip()
