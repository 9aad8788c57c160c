"""Settings from the environment, laid over those of the file.

`OHM_MQTT__URL=mqtt://nas` sets `mqtt.url`, `OHM_DEVICES__MTEC__VIA=…` sets `devices.mtec.via`: upper case, two underscores between
the levels; one underscore also finds a dash in a name that the file has. A value in braces is read as YAML. An empty variable
counts as not set.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from ohmstead import yamlfile
from ohmstead.errors import ConfigurationError, Mistake

PREFIX = "OHM_"
SECRETS = ("password", "key", "update_key", "token")
"""Keys whose value may stand in a file of its own, named by `<key>_file`."""

Keys = tuple[str, ...]
"""A place in the configuration: the keys from the top."""


class Override(NamedTuple):
    """One variable of the environment: where its value goes."""

    variable: str
    keys: Keys
    value: Any


def as_written(text: str) -> Any:
    """YAML with every scalar as the text it is written as; a key with nothing after it is absent. The form must be sound; of a key
    that stands twice the first counts."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return None if node is None else _as_written(node)


def _as_written(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key, value in node.value:
            if str(key.value) not in values:
                values[str(key.value)] = _as_written(value)
        return {key: value for key, value in values.items() if value is not None}
    if isinstance(node, yaml.SequenceNode):
        return [_as_written(item) for item in node.value]
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)


def overrides(environ: Mapping[str, str], tree: Mapping[str, Any], sections: Iterable[str]) -> tuple[list[Override], list[Mistake]]:
    """What the environment sets, by the variables' names, and the variables that cannot be read.

    `tree` is the file's content, `sections` the keys that may stand at the top. A variable of another name that resembles none of
    them (`OHM_…` is a common prefix) is somebody else's.
    """
    found: list[Override] = []
    wrong: list[Mistake] = []
    known = list(sections)
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or not text.strip():
            continue
        words = variable.removeprefix(PREFIX).lower().split("__")
        if words[0] not in known and len(words) == 1 and not difflib.get_close_matches(words[0], known, n=1, cutoff=0.8):
            continue
        try:
            found.append(Override(variable, tuple(_named(words, tree)), _value(text, variable)))
        except ConfigurationError as error:
            wrong += error.mistakes
    return found, wrong


def _named(words: list[str], tree: Any) -> Iterator[str]:
    """The words as keys, in the spelling that the file has for them."""
    for word in words:
        below = tree if isinstance(tree, Mapping) else {}
        key = word if word in below else next((key for key in below if key.replace("-", "_") == word), word)
        yield key
        tree = below.get(key)


def _value(text: str, variable: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        yamlfile.parse(text, variable)
    except ConfigurationError as error:
        raise ConfigurationError([mistake._replace(line=0, column=0) for mistake in error.mistakes]) from error
    return as_written(text)


def laid_over(tree: Mapping[str, Any], override: Override) -> dict[str, Any]:
    """`tree` with one more setting. A password replaces a password file of the same place, and the other way round."""
    key, *below = override.keys
    copy = dict(tree)
    if below:
        inner = copy.get(key)
        copy[key] = laid_over(inner if isinstance(inner, Mapping) else {}, override._replace(keys=tuple(below)))
        return copy
    for secret in SECRETS:
        if key in (secret, f"{secret}_file"):
            copy.pop(secret, None)
            copy.pop(f"{secret}_file", None)
    copy[key] = override.value
    return copy
