"""The virtual environment in which a real Home Assistant runs: its own Python, its own packages, made once under `build/`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = "2025.4.4"
PYTHON = "3.13"
COMPANIONS = ("home-assistant-frontend", "paho-mqtt")
"""What `--skip-pip` would leave out: Home Assistant installs these when it starts, in the versions of its constraints."""

_FOLDER = REPOSITORY / "build" / "home-assistant-venv"


def _python() -> Path:
    installed = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{PYTHON}.*/bin/python{PYTHON}"))
    if installed:
        return installed[-1]
    for name in (f"python{PYTHON}", "python3", "python"):
        found = shutil.which(name)
        if found is not None:
            answer = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
            if answer.startswith(f"Python {PYTHON}."):
                return Path(found)
    pytest.skip(
        f"Home Assistant {VERSION} needs Python {PYTHON}, and there is none (in ~/.pyenv/versions or on PATH): no entity was checked"
    )


def _uv(*arguments: str | Path) -> None:
    uv = shutil.which("uv", path=str(REPOSITORY / ".venv" / "bin")) or shutil.which("uv")
    if uv is None:
        pytest.skip("no uv to make Home Assistant's virtual environment (just setup installs it): no entity was checked")
    done = subprocess.run([uv, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"Home Assistant cannot be installed here, no entity was checked: uv {arguments[0]}: {done.stderr.strip()[-600:]}")


def hass() -> Path:
    """The `hass` command of the environment, which is made first if it is not there. Skips the test where that is impossible."""
    program = _FOLDER / "bin" / "hass"
    ready = _FOLDER / f".ready-{VERSION}"
    if ready.exists():
        return program
    _uv("venv", "--quiet", "--clear", "--python", _python(), _FOLDER)
    python = _FOLDER / "bin" / "python"
    _uv("pip", "install", "--quiet", "--python", python, f"homeassistant=={VERSION}")
    constraints = next(_FOLDER.glob("lib/python*/site-packages/homeassistant/package_constraints.txt"))
    wanted = re.findall(rf"^(?:{'|'.join(COMPANIONS)})==\S+", constraints.read_text(), re.MULTILINE)
    if len(wanted) != len(COMPANIONS):
        pytest.fail(f"{constraints} names {wanted}, not one version of each of {COMPANIONS}")
    _uv("pip", "install", "--quiet", "--python", python, "--constraint", constraints, *wanted)
    ready.touch()
    return program
