"""Contract `state` against aiomtec2mqtt 1.1.0 itself, on registers and commands that nobody recorded.

Its own decoding, formatting, discovery and command path run in its own environment (`build/peer-venv`, made by `just bench`), without
broker or inverter; skipped where it is not installed. Bit labels and battery temperatures are corrected there (deviations 1 and 6).
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from ohmstead.control.target import Target, targets
from ohmstead.errors import Reason, Rejected
from ohmstead.profiles.model import Point, Profile
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.mtec_state import MtecState
from tests.conftest import REPOSITORY
from tests.publishing import Recorder, Requests, decoded, snapshots

PYTHON = REPOSITORY / "build" / "peer-venv" / "bin" / "python"
DRIVER = Path(__file__).with_name("upstream_driver.py")
SERIAL = "MTEC12K3P4012345"
SEED = 20260621
IMAGES = 150

CONFIGURATION = """
{"MODBUS_IP": "127.0.0.1", "MODBUS_PORT": 502, "MODBUS_SLAVE": 247, "MODBUS_TIMEOUT": 5, "MODBUS_RETRIES": 3, "MODBUS_FRAMER": "rtu",
 "MQTT_SERVER": "127.0.0.1", "MQTT_PORT": 1883, "MQTT_LOGIN": " ", "MQTT_PASSWORD": "", "MQTT_TOPIC": "MTEC", "MQTT_FLOAT_FORMAT": ".3f",
 "HASS_ENABLE": true, "HASS_BASE_TOPIC": "homeassistant", "HASS_BIRTH_GRACETIME": 1, "DEBUG": false}
"""

Image = dict[int, int]
Message = tuple[str, str, bool]

NUMBERS = (0, 1, 2, 3, 5, 10, 49, 50, 51, 99, 100, 101, 999, 1000, 5000, 9999, 10000, 11001)
OCTETS = (0, 1, 9, 10, 12, 13, 31, 32, 59, 60, 99, 100, 255)
MODELS = [(30, 0), (30, 9), (30, 10), (31, 9), (32, 4), (32, 5), (33, 0), (100, 7), (0, 0)]
SERIALS = [SERIAL.encode(), b"AB 12  ", b"  AB", "Zähler 1".encode(), "Zähler 1".encode("latin-1"), b'"\\', b"A/B", b"\xc3", b"", b" " * 16]

COMMANDS = [
    *("", "0", "1", "2", "-0", "+5", " 5", "5 ", "\t5\n", "5.", ".5", "-.5", ".", "+", "007", "00.50", "1_0", "1__0", "1_0.5", "_1"),
    *("1e1", "1.0e1", "1.5e-1", "1.0e999", "0x10", "nan", "nan.", "inf", "inf.0", "1,5", "1.2.3", "12.34567", "12.99999999999999999"),
    *("-0.04", "100.05", "55.55", "16.1", "32.3", "64.7", "4.35", "8.7", "on", "off", "ON", "true", "١٢", "१", "²", "5\u00a0", "\x0b5"),
    *("5\0", "\ufeff5", "257", "258.5", "512.0", "513", "General mode", "general mode", " General mode", "General mode\n", "Unknown"),
    *("101", "65535", "65536", "6553.6", "5 A", "50%", '"5"', "{}", "None", "- 5", "--5", "1 0", "10\r\n20"),
    *(f"{tenths / 10}" for tenths in range(0, 1001, 7)),
    *(f"{hundredths / 100:.2f}" for hundredths in range(0, 10001, 37)),
]  # fmt: skip


def upstream(folder: Path, jobs: list[dict[str, object]]) -> list[dict[str, list[list[object]]]]:
    """The answers of the real program, one for each job."""
    if not PYTHON.exists():
        pytest.skip("aiomtec2mqtt is not installed in build/peer-venv (`just bench` does it)")
    (folder / "config.yaml").write_text(CONFIGURATION)
    lines = "\n".join(json.dumps(job) for job in jobs)
    done = subprocess.run([PYTHON, DRIVER], input=lines, capture_output=True, text=True, cwd=folder, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def ours(profile: Profile, image: Image) -> list[Message]:
    broker = Recorder()
    outlet = MtecState(
        "mtec", profile, profile.contracts["state"], broker, Requests(), Discovery("homeassistant", "homeassistant/status", 1.0)
    )
    outlet.start()
    broker.connect()
    for snapshot in snapshots(profile, decoded(profile, image)):
        outlet.take(snapshot)
    outlet.tick(0.0)
    outlet.tick(1.0)
    return [(message.topic, message.payload, message.retain) for message in broker.take()]


def in_groups(messages: list[Message]) -> dict[str, list[Message]]:
    """Discovery, and each group, in its order. The clock is masked."""
    groups: dict[str, list[Message]] = {}
    for topic, payload, retain in messages:
        group = "discovery" if topic.startswith("homeassistant/") else topic.rsplit("/", 3)[1]
        groups.setdefault(group, []).append((topic, "masked" if topic.endswith("/api_date/state") else payload, retain))
    return groups


def write(image: Image, point: Point, value: int) -> None:
    for word in range(point.words):
        image[point.address + word] = value >> 16 * (point.words - 1 - word) & 0xFFFF


def some_value(point: Point, chance: random.Random) -> int:
    """Ends of ranges, codes and their neighbours, single bits, odd dates, and anything."""
    bits = 16 * point.words
    if point.id == "equipment_info":
        high, low = chance.choice(MODELS)
        return high << 8 | low
    if point.kind in ("dat", "byte"):
        return int.from_bytes(bytes(chance.choice(OCTETS) for _ in range(2 * point.words)), "big")
    if point.kind == "bit":
        return chance.choice([0, 1, 3, 1 << 31, 0xFFFF0000, 0xFFFFFFFF, 1 << chance.randrange(32), chance.randrange(1 << 32)])
    half = 1 << bits - 1
    codes = [code + more for code in point.values if isinstance(code, int) for more in (0, 1)]
    return chance.choice([*NUMBERS, *codes, half - 1, half, half + 1, 2 * half - 1, chance.randrange(2 * half)])


def images(profile: Profile) -> list[Image]:
    chance = random.Random(SEED)
    points = [point for point in profile.points.values() if point.table]
    serial = profile.points["serial_no"]
    found: list[Image] = []
    for number in range(IMAGES):
        image: Image = {}
        for point in points:
            if point is not serial:
                write(image, point, some_value(point, chance))
        write(image, serial, int.from_bytes(SERIALS[number % len(SERIALS)].ljust(16, b"\0"), "big"))
        found.append(image)
    for filled in (0x0000, 0x0001, 0x7FFF, 0x8000, 0xFFFF):
        image = {register: filled for point in points for register in range(point.address, point.last + 1)}
        write(image, serial, int.from_bytes(SERIAL.encode(), "big"))
        found.append(image)
    return found


def test_any_registers_give_upstreams_messages_byte_for_byte_and_in_its_order(profile: Profile, tmp_path: Path) -> None:
    wanted = images(profile)
    answers = upstream(tmp_path, [{"image": image, "repaired": True} for image in wanted])

    assert len(answers) == len(wanted)
    spoken = 0
    for image, answer in zip(wanted, answers, strict=True):
        theirs = in_groups([(str(topic), str(payload), bool(retain)) for topic, payload, retain in answer["messages"]])
        assert in_groups(ours(profile, image)) == theirs
        spoken += bool(theirs)
    assert spoken >= IMAGES * 8 // 10, "all but those without a serial number"


def answered(control: Target, text: str) -> tuple[list[list[int]], Reason | None]:
    """What we write for a command, or why we do not."""
    try:
        return [[control.address, control.raw_of(text, contract=True)]], None
    except Rejected as rejection:
        return [], rejection.reason


def test_any_command_gives_upstreams_write_or_is_refused_as_out_of_range(profile: Profile, tmp_path: Path) -> None:
    image: Image = {}
    for point in profile.points.values():
        if point.table:
            write(image, point, int.from_bytes(SERIAL.encode(), "big") if point.id == "serial_no" else 0)
    limits = {name: profile.raw_limits(name) for name in profile.controls}
    controls = targets("mtec", profile, limits, periods=profile.groups)
    payloads = [text.encode() for text in COMMANDS] + [b"\xff\xfe1", b"5\xff"]
    sent = [
        (control, f"MTEC/{SERIAL}/{profile.points[control.point].group}/{control.point}/set", payload)
        for control in controls.values()
        for payload in payloads
    ]
    commands = [[topic, payload.decode("latin-1")] for _, topic, payload in sent]
    (answer,) = upstream(tmp_path, [{"image": image, "commands": commands}])

    agreed = 0
    for (control, topic, payload), theirs in zip(sent, answer["writes"], strict=True):
        written, reason = answered(control, payload.decode(errors="replace"))
        assert written == theirs or (theirs and reason is Reason.OUT_OF_RANGE), (topic, payload, theirs, written)
        agreed += bool(written)
    assert agreed > 2000
