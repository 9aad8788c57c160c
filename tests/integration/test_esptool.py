"""The real esptool against a simulated chip: it is recognised, refused where the image is another's, erased and written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from esptool.targets import CHIP_DEFS  # type: ignore[import-untyped] # it comes without types

from ohmstead.cli import main
from ohmstead.nodes.chip import CHIPS, Esptool, FlashError, read_image
from tests.integration.rom_rig import Rom
from tests.unit.test_node_chip import micropython_image

HOME = """\
site: home
mqtt: {url: "mqtt://192.0.2.2"}
nodes:
  cellar: {bus: {pins: {tx: 17, rx: 16}}, wifi: {ssid: at home, password: secret}}
devices:
  mtec: {profile: mtec-energybutler, via: cellar}
"""
OF_NAME = {chip.name: chip for chip in CHIPS}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    file = tmp_path / "ohmstead.yaml"
    file.write_text(HOME)
    return file


@pytest.fixture
def software(tmp_path: Path) -> Path:
    """The least that is a node image."""
    folder = tmp_path / "image"
    (folder / "root").mkdir(parents=True)
    names = ("main.py", "root/main.py", "root/starter.py")
    for name in names:
        (folder / name).write_text("")
    (folder / "SHA256SUMS").write_text("".join(f"{hashlib.sha256().hexdigest()}  {name}\n" for name in names))
    return folder


def flash(home: Path, software: Path, port: str, *more: str, typed: str = "") -> Result:
    arguments = ["node", "flash", "cellar", "-c", str(home), "--image", str(software), "--port", port, *more]
    return CliRunner().invoke(main, arguments, input=typed)


def test_numbers_and_offsets_are_those_of_esptool() -> None:
    theirs = {
        rom.CHIP_NAME: (rom.IMAGE_CHIP_ID, rom.BOOTLOADER_FLASH_OFFSET) for rom in CHIP_DEFS.values() if hasattr(rom, "IMAGE_CHIP_ID")
    }
    assert {chip.name: (chip.identity, chip.offset) for chip in CHIPS} == {chip.name: theirs[chip.name] for chip in CHIPS}


@pytest.mark.parametrize("name", ["ESP32", "ESP32-S3", "ESP32-C3"])
def test_a_chip_is_recognised_erased_and_written_where_it_boots(name: str, tmp_path: Path) -> None:
    chip = OF_NAME[name]
    path = tmp_path / "micropython.bin"
    path.write_bytes(micropython_image(chip))
    image = read_image(path)
    with Rom(chip.identity) as rom:
        esptool = Esptool(rom.port)
        found = esptool.detect()
        assert found.name == name
        esptool.erase(chip)
        assert rom.erased == 1
        esptool.write(image)
        assert bytes(rom.flash[chip.offset : chip.offset + len(image.content)]) == image.content
        assert min(address for address, _ in rom.written) == chip.offset


def test_an_image_for_another_chip_is_refused_and_nothing_is_erased(home: Path, software: Path, tmp_path: Path) -> None:
    path = tmp_path / "s3.bin"
    path.write_bytes(micropython_image(OF_NAME["ESP32-S3"]))
    with Rom(OF_NAME["ESP32-C3"].identity) as rom:
        result = flash(home, software, rom.port, "--erase", "--yes", "--firmware", str(path))
        assert result.exit_code == 1
        assert "is for an ESP32-S3, the chip at this port is an ESP32-C3" in result.stderr
        assert rom.erased == 0
        assert rom.written == []


def test_it_asks_before_it_erases(home: Path, software: Path, tmp_path: Path) -> None:
    path = tmp_path / "s3.bin"
    path.write_bytes(micropython_image(OF_NAME["ESP32-S3"]))
    with Rom(OF_NAME["ESP32-S3"].identity) as rom:
        refused = flash(home, software, rom.port, "--erase", "--firmware", str(path), typed="n\n")
        assert refused.exit_code == 1
        assert "Everything on the board is erased" in refused.stdout
        looked = flash(home, software, rom.port, "--erase", "--dry-run", "--firmware", str(path))
        assert looked.exit_code == 0, looked.output
        assert rom.erased == 0
        assert rom.written == []


def test_without_an_image_it_says_where_to_get_one(home: Path, software: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Rom(OF_NAME["ESP32-S3"].identity) as rom:
        result = flash(home, software, rom.port, "--erase", "--yes")
        assert result.exit_code == 1
        assert "none for an ESP32-S3" in result.stderr
        assert rom.erased == 0


def test_esptool_s_own_failure_comes_with_what_to_do() -> None:
    with pytest.raises(FlashError, match="hold the board's BOOT button"):
        Esptool("socket://127.0.0.1:1").detect()
