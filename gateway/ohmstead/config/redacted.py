"""What of a configuration may be shown to others: everything but secrets, and of what names a person or a place only a hint."""

from __future__ import annotations

import base64
import ipaddress
import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, urlsplit

from pydantic import BaseModel

from ohmstead.config.values import BrokerAddress, Via

HIDDEN = "•••"

_SECRET = (
    "password", "passwd", "pass", "pwd", "passphrase", "psk", "secret", "token", "key", "apikey", "authorization", "cookie",
    "credentials",
)  # fmt: skip
_PERSONAL = ("user", "client_id", "ssid", "email")
_PLACE = ("latitude", "longitude")
_OF_PERSONS = (
    *_PERSONAL,
    "username",
    "mail",
    "street",
    "housenumber",
    "zip",
    "city",
    "phone",
    "phonenumber",
    "mobilenumber",
    "firstname",
    "lastname",
)
"""What answers of clouds and devices call what names a person or a place."""
_ANYBODY = ("ohmstead", "admin", "root", "mqtt", "user", "guest", "homeassistant", "home", "loxone", "node")
"""Names of users that name nobody, and would be missed in every text."""
_SHORTEST, _SHORTEST_IN_BASE64 = 4, 6
_FOR_ADDRESSES = str.maketrans("+/", "-_")
_NEXT_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|-")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether the value under a key of this name is a secret: `wifi_password`, also as `wifiPassword` and `Wifi-Password`."""
    lower = _NEXT_WORD.sub("_", name).lower()
    return lower in _SECRET or lower.endswith(tuple(f"_{word}" for word in _SECRET))


def secrets(section: BaseModel) -> list[str | bytes]:
    """Every secret in a configuration, wherever it stands."""
    found: list[str | bytes] = []
    for name, value in _fields(section):
        if is_secret(name) and isinstance(value, str | bytes):
            found.append(value)
        elif isinstance(value, str) and (address := _web_address(value)) is not None:
            found += [address.password] if address.password else []
            found += [said for key, said in parse_qsl(address.query) if said and any(word in key.lower() for word in _SECRET)]
    return found


def personal(section: BaseModel) -> list[str]:
    """What names a person, an account or a network."""
    return [value for name, value in _fields(section) if name in _PERSONAL and isinstance(value, str)]


def redacted(value: Any, name: str = "") -> Any:
    """A configuration as plain values that can be given away. Secrets are hidden; of users, accounts and networks the first letter
    stays, of public addresses that they are some, of places about ten kilometres, of files their name."""
    if value is None or isinstance(value, bool | int):
        return value
    if is_secret(name):
        return HIDDEN
    if isinstance(value, float):
        return round(value, 1) if name in _PLACE else value
    if isinstance(value, BaseModel):
        return {key: redacted(one, key) for key, one in _members(value)}
    if isinstance(value, Mapping):
        return {str(key): redacted(one, str(key)) for key, one in value.items()}
    if isinstance(value, BrokerAddress):
        return f"{'mqtts' if value.tls else 'mqtt'}://{host(value.host)}:{value.port}"
    if isinstance(value, Via):
        return str(value if value.host is None else value._replace(host=host(value.host)))
    if isinstance(value, list | tuple):
        return [redacted(one, name) for one in value]
    if isinstance(value, Path):
        return value.name
    if name in _PERSONAL:
        return masked(str(value))
    if isinstance(value, str) and (address := _web_address(value)) is not None:
        return _without_secrets(address)
    return host(str(value)) if name == "host" else str(value)


class Scrubber:
    """Takes whatever secrets and names of a configuration turn up in other texts out of them. Secrets of less than four characters are
    only hidden where the key says what they are: they would take half of every text with them."""

    def __init__(self, section: BaseModel) -> None:
        found = {spelled: HIDDEN for secret in secrets(section) for spelled in spellings(secret)}
        found |= {name: masked(name) for name in personal(section) if len(name) >= _SHORTEST and name.lower() not in _ANYBODY}
        found |= {name: host(name) for key, name in _hosts(section) if host(name) != name}
        self._texts = sorted(found.items(), key=lambda one: len(one[0]), reverse=True)

    def __call__(self, value: Any, name: str = "") -> Any:
        """The same of plain values (maps, lists, texts, numbers), without them."""
        if isinstance(value, Mapping):
            return {self._text(str(key)): self(one, str(key)) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self(one, name) for one in value]
        if isinstance(value, bytes):
            return self._text(value.hex())
        if value is None or isinstance(value, bool | int | float):
            return None if isinstance(value, float) and not math.isfinite(value) else HIDDEN if value and is_secret(name) else value
        text = str(value)
        return HIDDEN if text and is_secret(name) else masked(text) if text and name.lower() in _OF_PERSONS else self._text(text)

    def _text(self, text: str) -> str:
        for found, put in self._texts:
            if found in text:
                text = text.replace(found, put)
        return _MAIL.sub(lambda match: masked(match[0]), text)


def spellings(secret: str | bytes) -> list[str]:
    """How a secret may turn up in a text: as it is, in an address, in JSON, as Python shows it, within something in base 64. One of less
    than four characters has none: it would be in every text."""
    if isinstance(secret, bytes):
        return [secret.hex(), secret.hex().upper(), base64.b64encode(secret).decode(), repr(secret)[2:-1]] if secret else []
    if len(secret) < _SHORTEST:
        return []
    octets = secret.encode(errors="replace")
    escaped = json.dumps(secret)[1:-1], repr(secret)[1:-1], repr(octets)[2:-1]
    quoted = quote(octets, safe=""), quote(octets), quote_plus(octets), *escaped
    return list(dict.fromkeys((secret, *quoted, json.dumps(secret, ensure_ascii=False)[1:-1], *_within_base64(octets))))


def _within_base64(octets: bytes) -> Iterator[str]:
    """What is left of a secret in base 64 whatever stands before and after it, as in `Basic` of a user and a password."""
    for before, start in ((0, 0), (1, 2), (2, 3)):
        coded = base64.b64encode(bytes(before) + octets)[start : 8 * (before + len(octets)) // 6].decode()
        if len(coded) >= _SHORTEST_IN_BASE64:
            yield coded
            yield coded.translate(_FOR_ADDRESSES)


def _web_address(text: str) -> SplitResult | None:
    if not text.startswith(("http://", "https://")):
        return None
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _without_secrets(address: SplitResult) -> str:
    """An address without who asks it and for what."""
    asked_as, _, place = address.netloc.rpartition("@")
    return f"{address.scheme}://{HIDDEN + '@' if asked_as else ''}{place}{address.path}{'?' + HIDDEN if address.query else ''}"


def masked(text: str) -> str:
    """The first letter and nothing else; also how long it was is nobody's business."""
    return text[:1] + HIDDEN


def host(name: str) -> str:
    """An address of the home network as it is; any other one is only said to be public."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name if "." not in name or name.endswith((".lan", ".local", ".home", ".internal", ".home.arpa")) else "a public name"
    return name if address.is_private or address.is_loopback or address.is_unspecified else "a public address"


def _hosts(section: BaseModel) -> Iterator[tuple[str, str]]:
    for name, value in _fields(section):
        if isinstance(value, BrokerAddress) or (isinstance(value, Via) and value.host is not None):
            yield name, str(value.host)
        elif name == "host" and isinstance(value, str):
            yield name, value


def _members(section: BaseModel) -> Iterator[tuple[str, Any]]:
    """The fields that stand in the file, and what a section takes beside them."""
    for name in type(section).model_fields:
        yield name, getattr(section, name)
    yield from (section.__pydantic_extra__ or {}).items()


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of the whole tree with the key that it stands under."""
    if isinstance(value, BaseModel):
        for key, one in _members(value):
            yield from _fields(one, key)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _fields(one, str(key))
    elif isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        for one in value:
            yield from _fields(one, name)
    else:
        yield name, value
