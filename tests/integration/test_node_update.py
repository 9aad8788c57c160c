"""Updates of a real node over a real broker: signed, resumable, tried before they are believed, taken back without a hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ohmstead.config.model import Config
from ohmstead.nodes import package
from ohmstead.nodes.direct import Direct
from ohmstead.nodes.transfer import Transfer, TransferError
from tests.conftest import Broker, wait_for
from tests.integration.node_harness import NODE, Gateway, Inverter, configuration, device, group, line_of
from tests.integration.node_slots import CRASH, Board, changed, home, image

POLLED = device("mtec", 252, group("300ms", 300, (3, 100, 10)))
QUICK = {"OHM_NODE_GOOD_AFTER_MS": "300", "OHM_NODE_LINGER_MS": "100"}
MARK = {"mark.py": b"MARK = 1\n"}


@pytest.fixture(scope="module")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("cryptography")
    file = tmp_path_factory.mktemp("keys") / "update.pem"
    file.write_bytes(package.new_key_pair()[0])
    return file


@pytest.fixture
def bus() -> Iterator[str]:
    with line_of({252: Inverter({address: address for address in range(100, 120)})}) as line:
        yield line.path


@pytest.fixture
def house(broker: Broker, tmp_path: Path) -> Config:
    return home(tmp_path, broker.port)


@pytest.fixture
def board(micropython: list[str], tmp_path: Path, broker: Broker, bus: str, signing_key: Path) -> Iterator[Board]:
    flash = Board(micropython, tmp_path, QUICK)
    modulus = package.modulus_of(package.read_private_key(signing_key))
    content = configuration(bus, [(broker.host, broker.port)], POLLED)
    (flash.state / "config.ohm").write_bytes(changed(content, update_key=modulus))
    yield flash
    flash.kill()


@pytest.fixture
def running(board: Board, gateway: Gateway) -> Board:
    board.start()
    wait_for(lambda: board.boot == ["a", "safe", "0", "1"] and gateway.of("mtec"), 20, f"a confirmed node; {board.log}")
    return board


def signed(files: dict[str, bytes], key: Path) -> bytes:
    return package.sign(package.pack(files), package.read_private_key(key))


def send(house: Config, content: bytes, **more: float) -> list[int]:
    """Sends an update; the progress."""
    steps: list[int] = []
    with Direct(house, f"{NODE}/up/event") as direct:
        Transfer(direct, house, NODE, "update", content, steps.append, **more).send()
    return steps


def test_an_update_reaches_the_other_slot_and_confirms_itself(running: Board, gateway: Gateway, house: Config, signing_key: Path) -> None:
    steps = send(house, signed(image() | MARK, signing_key))
    assert steps == sorted(steps)
    wait_for(lambda: running.boot == ["b", "a", "0", "1"], 20, f"the confirmed update; {running.log}")
    assert running.files("b") == image() | MARK
    assert running.codes == [85]
    wait_for(lambda: gateway.hellos[-1][5] == "b", what="its hello")
    assert gateway.heard("restart")[-1].detail["slot"] == "b"
    wait_for(lambda: [event for event in gateway.heard("slot") if event.detail["stage"] == "confirmed"], what="the event")
    wait_for(lambda: gateway.of("mtec")[-1].boot == gateway.hellos[-1][2], what="its polls")
    assert not list(running.state.glob("update.*"))


def test_an_update_that_crashes_at_its_start_is_rolled_back_without_a_hand(
    running: Board, gateway: Gateway, house: Config, signing_key: Path
) -> None:
    send(house, signed(image() | {"main.py": CRASH}, signing_key))
    wait_for(lambda: running.boot == ["a", "safe", "0", "1"] and len(running.codes) >= 4, 30, f"the old image; {running.log}")
    assert running.codes == [85] * 4, "the update, and its three starts"
    wait_for(lambda: gateway.heard("restart")[-1].detail["slot"] == "a" and len(gateway.heard("restart")) == 2, what="its word")


def test_three_failures_of_both_end_in_safe_mode_which_takes_an_update(
    board: Board, gateway: Gateway, house: Config, signing_key: Path
) -> None:
    board.put("a", {"main.py": CRASH})
    board.put("b", {"main.py": CRASH})
    (board.state / "boot").write_text("b a 0 0")
    board.start()
    wait_for(lambda: gateway.hellos and gateway.hellos[-1][5] == "safe", 30, f"safe mode; {board.log}")
    assert board.codes == [85] * 6
    assert board.boot == ["a", "safe", "0", "0"]
    before = board.files("safe")
    send(house, signed(image() | MARK, signing_key))
    wait_for(lambda: board.boot == ["b", "a", "0", "1"], 20, f"the way out; {board.log}")
    wait_for(lambda: gateway.of("mtec"), what="polls again")
    assert board.files("b") == image() | MARK
    assert board.files("safe") == before


@pytest.mark.usefixtures("gateway")
def test_safe_mode_leaves_the_bus_alone(board: Board, gateway: Gateway) -> None:
    (board.state / "boot").write_text("safe safe 0 0")
    board.start()
    wait_for(lambda: gateway.link(), 20, "a node in safe mode that reports")
    assert not gateway.of("mtec")
    assert not board.said("opened")


@pytest.mark.parametrize(
    "region", ["magic", "manifest size", "a name", "a digest", "a size", "the first file", "the last file", "signature"]
)
def test_one_flipped_bit_is_refused_and_nothing_changes(
    running: Board, gateway: Gateway, house: Config, signing_key: Path, region: str
) -> None:
    good = bytearray(signed(image(), signing_key))
    manifest = 12 + int.from_bytes(good[8:12], "big")
    name = good[12]
    place = {
        "magic": 3,
        "manifest size": 11,
        "a name": 13,
        "a size": 13 + name + 3,
        "a digest": 13 + name + 4 + 7,
        "the first file": manifest + 5,
        "the last file": len(good) - 257,
        "signature": len(good) - 1,
    }[region]
    good[place] ^= 0x10
    before = running.files("a"), running.files("b"), running.boot
    with pytest.raises(TransferError, match="wrong signature"):
        send(house, bytes(good))
    assert (running.files("a"), running.files("b"), running.boot) == before
    assert running.codes == []
    assert not list(running.state.glob("update.*"))
    count = len(gateway.frames)
    wait_for(lambda: len(gateway.frames) > count, what="polls that go on")


def test_a_foreign_key_is_refused(running: Board, house: Config, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pem"
    foreign.write_bytes(package.new_key_pair()[0])
    with pytest.raises(TransferError, match="wrong signature"):
        send(house, signed(image(), foreign))
    assert running.boot == ["a", "safe", "0", "1"]


def test_power_that_goes_in_the_middle_costs_little(running: Board, gateway: Gateway, house: Config, signing_key: Path) -> None:
    content = signed(image() | MARK, signing_key)
    with Direct(house, f"{NODE}/up/event") as direct:

        def pull_the_plug(offset: int) -> None:
            if offset > len(content) // 2:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            Transfer(direct, house, NODE, "update", content, pull_the_plug).send()
    running.kill()
    kept = (running.state / "update.part").stat().st_size
    assert kept > len(content) // 2
    running.start()
    wait_for(lambda: len(gateway.hellos) == 2, what="the next life")
    steps = send(house, content)
    assert kept <= steps[0] < kept + 8 * 768
    wait_for(lambda: running.boot == ["b", "a", "0", "1"], 20, f"the update; {running.log}")


def test_chunks_that_nobody_offered_and_offers_of_others_change_nothing(running: Board, gateway: Gateway, house: Config) -> None:
    gateway.publish("down/update", b"\x94\x01\x05\x00\xc4\x04abcd")
    gateway.publish("down/update", b"\xc1\xff garbage")
    gateway.publish("down/config", b"\x92\xc4\x01a\xc4\x20" + bytes(32))
    wait_for(lambda: {event.detail["reason"] for event in gateway.heard("rejected")} == {"not offered", "malformed", "unauthorised"})
    assert not list(running.state.glob("*.part"))
    assert running.codes == []
