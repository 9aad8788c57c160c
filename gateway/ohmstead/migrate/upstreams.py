"""The services that one can move in from, and a whole move: files in, one `ohmstead.yaml` out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ohmstead.config import load
from ohmstead.config.model import Config
from ohmstead.errors import ConfigurationError, Mistake
from ohmstead.migrate import hoymiles, loxone, luxtronik, mtec, settings
from ohmstead.migrate.home import Home
from ohmstead.migrate.settings import Fate, Settings


class Upstream(NamedTuple):
    """One of them: its name, keys that no other one has, and who carries it over. `prefix`: what its keys begin with in the environment."""

    name: str
    marks: Sequence[str]
    migrate: Callable[[Settings, Home], None]
    prefix: str = ""


UPSTREAMS = (
    Upstream(mtec.NAME, mtec.MARKS, mtec.migrate, mtec.PREFIX),
    Upstream(hoymiles.NAME, hoymiles.MARKS, hoymiles.migrate),
    Upstream(luxtronik.NAME, luxtronik.MARKS, luxtronik.migrate),
    Upstream(loxone.NAME, loxone.MARKS, loxone.migrate),
)
NAMES = tuple(upstream.name for upstream in UPSTREAMS)


class Moved(NamedTuple):
    """What came out: the file, its secrets (by their names beside it), what became of each key of each service, and the rest to know."""

    text: str
    secrets: dict[Path, str]
    services: list[Settings]
    notes: list[str]
    config: Config


def recognised(given: Settings) -> Upstream | None:
    """Whose configuration it is, by the keys that only one service has."""
    return next((upstream for upstream in UPSTREAMS if any(mark in given for mark in upstream.marks)), None)


def move(files: Sequence[Path], source: str | None = None) -> Moved:
    """Reads `files` (all of the service `source`, unless None) and makes the configuration of one home.

    Raises ConfigurationError with the mistakes of the files, and with those that `ohmstead check` would find in what came out.
    """
    home, services, notes = Home(), list[Settings](), list[str]()
    mistakes: list[Mistake] = []
    for file in files:
        found = settings.read(file)
        known = [(given, _chosen(given, source)) for given in found]
        if not any(upstream for _, upstream in known):
            marks = ", ".join(f"{upstream.marks[0]} ({upstream.name})" for upstream in UPSTREAMS)
            text = f"is no configuration of a service that is known; it would have {marks}. Say which it is with --from"
            mistakes.append(Mistake(str(file), 0, "", text))
        for given, upstream in known:
            if upstream is None:
                notes.append(f"{given.file}: is none of {', '.join(NAMES)} and left alone.")
                continue
            one = given.without_prefix(upstream.prefix) if upstream.prefix else given
            one.upstream = upstream.name
            services.append(one)
            try:
                upstream.migrate(one, home)
            except ConfigurationError as error:
                mistakes += error.mistakes
            one.close()
    if mistakes:
        raise ConfigurationError(mistakes)
    if ("mqtt", "url") not in home:
        home.note("None of them names a broker: mqtt://localhost is taken; `mqtt: {url: mqtt://nas}` says another one.")
    text = home.text(_heading(services, home))
    return Moved(text, home.secrets, services, [*notes, *home.notes], _checked(text, home))


def _chosen(given: Settings, source: str | None) -> Upstream | None:
    if source is None:
        return recognised(given)
    return next(upstream for upstream in UPSTREAMS if upstream.name == source)


def _heading(services: Sequence[Settings], home: Home) -> list[str]:
    lines = [f"Made by `ohmstead migrate` from {', '.join(f'{one.file} ({one.upstream})' for one in services)}."]
    left = [(one, outcome) for one in services for outcome in one.outcomes if outcome.fate is Fate.NOT_CARRIED]
    if left:
        lines += ["", "Not carried over:"]
        lines += [f"  {one.file}{f':{outcome.line}' if outcome.line else ''} {outcome.key}: {outcome.text}" for one, outcome in left]
    if home.notes:
        lines += ["", *home.notes]
    return lines


def _checked(text: str, home: Home) -> Config:
    """The configuration that came out, as `ohmstead check` reads it. Raises ConfigurationError."""
    with tempfile.TemporaryDirectory(prefix="ohmstead-migrate-") as name:
        folder = Path(name)
        (folder / "ohmstead.yaml").write_text(text, encoding="utf-8")
        for secret, content in home.secrets.items():
            (folder / secret).parent.mkdir(exist_ok=True)
            (folder / secret).write_text(content, encoding="utf-8")
        try:
            return load(folder / "ohmstead.yaml")
        except ConfigurationError as error:
            lines = text.splitlines()
            raise ConfigurationError(_traced(mistake, lines) for mistake in error.mistakes) from None


def _traced(mistake: Mistake, lines: Sequence[str]) -> Mistake:
    """The mistake at the place of the former file that the comment of its line names."""
    comment = lines[mistake.line - 1].rpartition("  # ")[2] if 0 < mistake.line <= len(lines) and "  # " in lines[mistake.line - 1] else ""
    return mistake._replace(file=comment or "what came out", line=0)
