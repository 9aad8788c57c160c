"""Where device models are found: folders of the owner first, then those that come with ohmstead."""

from __future__ import annotations

from pathlib import Path

from ohmstead.errors import ConfigurationError, Mistake
from ohmstead.profiles.model import Profile
from ohmstead.yamlfile import did_you_mean, read, validate

_HERE = Path(__file__).resolve()
_OWN = (_HERE.parent / "data", _HERE.parents[3] / "shared" / "profiles")
"""In an installed package, and in a checkout."""


def load(name: str, *folders: Path) -> Profile:
    """The profile `name` from `<folder>/<name>.yaml`, the first that exists.

    Raises ConfigurationError with every mistake of the file, or when there is no such profile (then with line 0).
    """
    path = find(name, *folders)
    if path is None:
        raise ConfigurationError([Mistake("", 0, "profile", f"there is none of this name{did_you_mean(name, available(*folders))}", name)])
    return load_file(path)


def load_file(path: Path) -> Profile:
    """The profile in the file at `path`, which bears its name. Raises ConfigurationError with every mistake."""
    document = read(path)
    profile = validate(Profile, document)
    if profile.id != path.stem:
        text = f"must be {path.stem}, the name of the file"
        raise ConfigurationError([Mistake(document.file, document.line(["profile"]), "profile", text, profile.id)])
    return profile


def find(name: str, *folders: Path) -> Path | None:
    """The file of the profile `name`, or None."""
    return next((path for path in _files(*folders) if path.stem == name), None)


def beside(name: str) -> Path:
    """A file that comes with ohmstead's own models, `sunspec/models.yaml`. Raises FileNotFoundError."""
    for folder in _OWN:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(name)


def available(*folders: Path) -> list[str]:
    """The names of all profiles."""
    return sorted({path.stem for path in _files(*folders)})


def _files(*folders: Path) -> list[Path]:
    return [path for folder in (*folders, *_OWN) for path in sorted(Path(folder).glob("*.yaml"))]
