"""The peer of the gateway: aiomtec2mqtt 1.1.0 from PyPI, on Python 3.13, in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

ENVIRONMENT = REPOSITORY / "build" / "peer-venv"
VERSION = "1.1.0"


def python313() -> str | None:
    """A Python 3.13 of this machine: from PATH, else among pyenv's."""
    candidates = [shutil.which("python3.13"), *map(str, sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python3.13")))]
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def program() -> Path | None:
    """The peer's executable, installed on first use; None (and a word about why) where it cannot be."""
    executable = ENVIRONMENT / "bin" / "aiomtec2mqtt"
    if executable.exists():
        return executable
    python = python313()
    if python is None:
        print("  skipped: aiomtec2mqtt needs Python 3.13, which is not on this machine")
        return None
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, ENVIRONMENT], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", ENVIRONMENT / "bin" / "python", f"aiomtec2mqtt=={VERSION}"], check=True)
    return executable


def configure(folder: Path, modbus_port: int, mqtt_port: int) -> None:
    """Writes the peer's config.yaml: every group each second, discovery off."""
    (folder / "config.yaml").write_text(
        f"""MODBUS_IP: 127.0.0.1
MODBUS_PORT: {modbus_port}
MODBUS_SLAVE: 247
MODBUS_TIMEOUT: 5
MODBUS_RETRIES: 3
MODBUS_FRAMER: socket
MQTT_SERVER: 127.0.0.1
MQTT_PORT: {mqtt_port}
MQTT_LOGIN: " "
MQTT_PASSWORD: ""
MQTT_TOPIC: PEER
MQTT_FLOAT_FORMAT: "{{:.3f}}"
REFRESH_NOW: 1
REFRESH_DAY: 1
REFRESH_TOTAL: 1
REFRESH_CONFIG: 1
REFRESH_STATIC: 1
HASS_ENABLE: false
HASS_BASE_TOPIC: homeassistant
HASS_BIRTH_GRACETIME: 1
DEBUG: false
"""
    )
