"""MicroPython images and serial ports: what is taken, what is refused, and what is said then."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.nodes import port
from ohmstead.nodes.chip import CHIPS, Chip, ChipError, Esptool, FlashError, FoundChip, cached_image, must_fit, read_image
from ohmstead.nodes.port import PortError

OF_NAME = {chip.name: chip for chip in CHIPS}


def micropython_image(chip: Chip, version: str = "v1.27.0") -> bytes:
    """As a complete image begins and what makes it one: chip number, partition table, banner."""
    image = bytearray(b"\xff" * 0x10000)
    image[:16] = bytes((0xE9, 3, 2, 0x20)) + bytes(8) + chip.identity.to_bytes(2, "little") + bytes(2)
    image[0x8000 - chip.offset : 0x8002 - chip.offset] = b"\xaa\x50"
    banner = b"3.4.0; MicroPython " + version.encode() + b" on 2026-01-02\0"
    image[0x9000 : 0x9000 + len(banner)] = banner
    return bytes(image)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_an_image_tells_its_chip_and_its_version(chip: Chip, tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(micropython_image(chip))
    image = read_image(path)
    assert (image.chip, image.version) == (chip, "v1.27.0")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"UF2\n" + bytes(600), "take the .bin"),
        (b"hello", "no image for an ESP32"),
        (micropython_image(Chip("ESP32-H2", 16, 0)), "no node runs on"),
        (micropython_image(CHIPS[0])[:0x6000], "the complete .bin"),
        (micropython_image(CHIPS[0]).replace(b"MicroPython", b"something__"), "no MicroPython in it"),
    ],
)
def test_what_is_no_complete_micropython_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(content)
    with pytest.raises(ChipError, match=words):
        read_image(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChipError, match="no such file"):
        read_image(tmp_path / "no.bin")


def test_a_chip_that_cannot_be_a_node_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(micropython_image(CHIPS[0]))
    with pytest.raises(ChipError, match="ESP8266, which cannot be a node"):
        must_fit(read_image(path), FoundChip("ESP8266", ""))


def test_the_newest_image_for_the_chip_comes_out_of_the_cache(tmp_path: Path) -> None:
    s3, c3 = OF_NAME["ESP32-S3"], OF_NAME["ESP32-C3"]
    for name, content in {
        "a.bin": micropython_image(s3, "v1.9.4"),
        "b.bin": micropython_image(s3, "v1.27.1"),
        "c.bin": micropython_image(c3, "v1.28.0"),
        "d.bin": b"rubbish",
    }.items():
        (tmp_path / name).write_bytes(content)
    image = cached_image(tmp_path, "ESP32-S3")
    assert image is not None
    assert image.path.name == "b.bin"
    assert cached_image(tmp_path, "ESP32-C6") is None
    assert cached_image(tmp_path / "nowhere", "ESP32-S3") is None


def test_esptool_is_asked_with_exactly_these_words(tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(micropython_image(OF_NAME["ESP32-S3"]))
    image = read_image(path)
    asked: list[list[str]] = []

    def run(command: list[str], show: bool) -> tuple[int, str]:
        asked.append(command[2:])
        return 0, "Connected to ESP32-S3 on /dev/x:\nChip type:          ESP32-S3 (QFN56)\nMAC:                aa:bb:cc:dd:ee:ff\n"

    esptool = Esptool("/dev/x", run)  # type: ignore[arg-type] # a list is a sequence
    assert esptool.detect() == FoundChip("ESP32-S3", "aa:bb:cc:dd:ee:ff")
    esptool.erase(image.chip)
    esptool.write(image)
    to = ["esptool", "--chip", "esp32s3", "--port", "/dev/x", "--baud", "460800"]
    assert asked == [["esptool", "--port", "/dev/x", "chip-id"], [*to, "erase-flash"], [*to, "write-flash", "0x0", str(path)]]


def test_what_esptool_says_at_its_end_is_told() -> None:
    esptool = Esptool("/dev/x", lambda _command, _show: (2, "...\nA fatal error occurred: Failed to connect: no serial data received.\n"))
    with pytest.raises(FlashError, match=r"Failed to connect.*\n.*BOOT"):
        esptool.detect()


def test_without_a_board_it_says_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "boards", list)
    with pytest.raises(PortError, match="no board found on USB"):
        port.choose(None)


def test_of_two_boards_one_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "boards", lambda: [("/dev/ttyUSB0", "CP2102"), ("/dev/ttyACM0", "USB JTAG")])
    with pytest.raises(PortError, match=r"--port /dev/ttyUSB0  \(CP2102\)"):
        port.choose(None)


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="there is no such port"):
        port.choose(str(tmp_path / "ttyUSB9"))
    (tmp_path / "file").write_text("")
    with pytest.raises(PortError, match="this is no serial port"):
        port.choose(str(tmp_path / "file"))


def test_a_port_that_is_not_ours_names_the_group_that_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ohmstead.nodes.port.os.access", lambda *_: False)
    with pytest.raises(PortError, match=r"permission denied.*usermod -aG"):
        port.choose("/dev/null")
