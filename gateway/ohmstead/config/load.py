"""Reads `ohmstead.yaml`: file, environment, secrets, profiles; finds every mistake before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ohmstead import yamlfile
from ohmstead.config import checks
from ohmstead.config.devices import SOURCES
from ohmstead.config.environment import SECRETS, Keys, as_written, laid_over, overrides
from ohmstead.config.model import Config
from ohmstead.errors import ConfigurationError, Mistake

_PLACES_OF_SECRETS = (("mqtt",), ("prices",), ("web",), ("devices", "*"), ("nodes", "*"), ("nodes", "*", "wifi"), ("nodes", "*", "mqtt"))
_ROUNDS = 20


def load(path: Path | str, environ: Mapping[str, str] = MappingProxyType({})) -> Config:
    """The configuration in `path`, with the overrides of `environ` (`OHM_…`), secrets read and profiles attached.

    Relative paths in it count from the file's folder. Raises ConfigurationError with every mistake: its line in the file, or the
    variable that made it.
    """
    path = Path(path)
    document = yamlfile.read(path, strict=False)
    draft = _Draft(document, path.resolve().parent, mistakes=list(document.mistakes))
    draft.read(as_written(path.read_text(encoding="utf-8")))
    draft.override(environ)
    draft.refuse_empty()
    draft.refuse_sources()
    draft.read_secrets()
    config = draft.validated()
    if config is not None:
        config, problems, wrong = checks.complete(config, draft.folder, draft.left_out)
        draft.mistakes += wrong
        draft.mistakes += [draft.placed(Mistake(document.file, 0, ".".join(keys), text, value), keys) for keys, text, value in problems]
    if draft.mistakes or config is None:
        raise ConfigurationError(dict.fromkeys(draft.mistakes))
    store = config.store.model_copy(update={"path": draft.folder / config.store.path.expanduser()})
    prices = config.prices
    if prices is not None and prices.path is not None:
        prices = prices.model_copy(update={"path": draft.folder / prices.path.expanduser()})
    log = config.log
    if log.file is not None:
        log = log.model_copy(update={"file": draft.folder / log.file.expanduser()})
    return config.model_copy(update={"store": store, "prices": prices, "log": log})


def summary(error: ConfigurationError) -> str:
    """All mistakes, a line each, and how many there are."""
    count = len(error.mistakes)
    return f"{error}\n{count} mistake{'' if count == 1 else 's'}, nothing was changed."


@dataclass
class _Draft:
    """The configuration on its way from text to model, with the mistakes so far and what they made us leave out."""

    document: yamlfile.Document
    folder: Path
    tree: dict[str, Any] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    left_out: set[Keys] = field(default_factory=set)
    sections: set[Keys] = field(default_factory=set)  # of what was left out, whole sections: nothing follows from their absence
    variables: dict[Keys, str] = field(default_factory=dict)
    stands_at: dict[Keys, Keys] = field(default_factory=dict)

    def read(self, tree: Any) -> None:
        if isinstance(tree, dict):
            self.tree = tree
        elif tree is not None:
            self.mistakes.append(Mistake(self.document.file, self.document.line(()), "", "must be a map of `key: value`"))

    def override(self, environ: Mapping[str, str]) -> None:
        found, wrong = overrides(environ, self.tree, Config.model_fields)
        self.mistakes += wrong
        for override in found:
            self.tree = laid_over(self.tree, override)
            self.variables[override.keys] = override.variable

    def refuse_empty(self) -> None:
        """A device or a node of which nothing is said is not passed over in silence."""
        whole = self.document.value if isinstance(self.document.value, dict) else {}
        for section in ("devices", "nodes"):
            entries, said = whole.get(section), self.tree.get(section)
            for name, below in entries.items() if isinstance(entries, dict) else ():
                if below is None and not (isinstance(said, dict) and str(name) in said):
                    self.mistake((section, str(name)), "nothing is said of it; say what it is, indented below, or take the line out")

    def refuse_sources(self) -> None:
        for name, device in self._items(("devices", "*")):
            if "source" in device and device["source"] not in SOURCES:
                known = yamlfile.did_you_mean(str(device["source"]), SOURCES) or f"; the sources are {', '.join(SOURCES)}"
                self.mistake((*name, "source"), f"there is no such source{known}", str(device["source"]))
                self.leave_out(name)
            elif "source" in device and "profile" in device:
                self.mistake((*name, "profile"), "give `profile` or `source`, not both", str(device["profile"]))

    def read_secrets(self) -> None:
        for place in _PLACES_OF_SECRETS:
            for keys, section in self._items(place):
                for secret in SECRETS:
                    if isinstance(section.get(f"{secret}_file"), str):
                        self._read_secret(keys, section, secret)

    def _read_secret(self, keys: Keys, section: dict[str, Any], secret: str) -> None:
        named = (*keys, f"{secret}_file")
        if secret in section:
            self.mistake(named, f"give `{secret}` or `{secret}_file`, not both")
            return
        path = self.folder / Path(section[named[-1]]).expanduser()
        try:
            text = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror or "").lower() if isinstance(error, OSError) else "it is not text"
            self.mistake(named, f"cannot be read: {reason}", section[named[-1]])
            return
        if not text:
            self.mistake(named, "the file is empty", section[named[-1]])
            return
        section[secret] = text
        self.stands_at[(*keys, secret)] = named

    def validated(self) -> Config | None:
        """The model of what is sound; what is faulty is noted as a mistake and left out, so that the rest can be judged."""
        for _ in range(_ROUNDS):
            try:
                return Config.model_validate(self.tree)
            except ValidationError as error:
                told = yamlfile.mistakes(error, replace(self.document, value=self.tree), Config)
                items = error.errors(include_url=False, include_input=False)
                places = [self._known_part(item["loc"]) for item in items]
                for keys, item, mistake in zip(places, items, told, strict=True):
                    self._note(keys, item, mistake)
        return None

    def _note(self, keys: Keys, item: ErrorDetails, mistake: Mistake) -> None:
        missing = item["type"] == "missing"
        wanted = (*keys, str(item["loc"][-1])) if missing else keys
        follows = item["type"] == "value_error" and any(place[: len(keys)] == keys != place for place in self.sections)
        if wanted not in self.left_out and not follows:
            self.mistakes.append(self.placed(mistake, wanted))
        if missing or _holds_a_section(self.tree, keys):
            self.sections.add(keys)
        self.leave_out(wanted)
        if missing:
            self.leave_out(keys)

    def _known_part(self, location: tuple[str | int, ...]) -> Keys:
        """The location without what pydantic adds to it (names of union members, `[key]`)."""
        keys: list[str] = []
        here: Any = self.tree
        for part in location:
            if isinstance(here, dict) and part in here:
                here = here[part]
                keys.append(str(part))
        return tuple(keys)

    def leave_out(self, keys: Keys) -> None:
        self.left_out.add(keys)
        here: Any = self.tree
        for key in keys[:-1]:
            here = here.get(key) if isinstance(here, dict) else None
        if isinstance(here, dict) and keys:
            here.pop(keys[-1], None)

    def mistake(self, keys: Keys, text: str, value: str = "") -> None:
        """Notes a mistake; what is at `keys` is left out from now on."""
        self.mistakes.append(self.placed(Mistake(self.document.file, 0, ".".join(keys), text, value), keys))
        self.leave_out(keys)

    def placed(self, mistake: Mistake, keys: Keys) -> Mistake:
        """The mistake with the line of `keys`, or with the variable that set it."""
        if (there := self.stands_at.get(keys)) is not None:
            keys, mistake = there, mistake._replace(field=".".join(there))
        for length in range(len(keys), 0, -1):
            if variable := self.variables.get(keys[:length]):
                return mistake._replace(file=variable, line=0)
        for missing in (keys, keys[:-1]):
            if not _holds(self.document.value, missing):
                for place, variable in self.variables.items():
                    if place[: len(missing)] == missing:
                        return mistake._replace(file=variable, line=0)
        return mistake._replace(line=self.document.line(keys))

    def _items(self, place: Keys) -> Iterator[tuple[Keys, dict[str, Any]]]:
        """The maps of the tree at `place`, where `*` stands for any key."""
        found: list[tuple[Keys, Any]] = [((), self.tree)]
        for key in place:
            found = [
                ((*keys, name), below)
                for keys, section in found
                if isinstance(section, dict)
                for name, below in list(section.items())
                if key in ("*", name)
            ]
        return ((keys, section) for keys, section in found if isinstance(section, dict))


def _holds(value: Any, keys: Iterable[str]) -> bool:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _holds_a_section(value: Any, keys: Iterable[str]) -> bool:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return isinstance(value, dict)
