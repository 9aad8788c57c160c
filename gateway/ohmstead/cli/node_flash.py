"""`ohmstead node flash`: a board becomes a node."""

from __future__ import annotations

import os
import ssl
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ohmstead.cli.common import CONFIGURATION, configured, must_know
from ohmstead.cli.node import NODE, PORT, told

if TYPE_CHECKING:
    from ohmstead.config.model import Config
    from ohmstead.nodes.chip import Esptool, Image
    from ohmstead.nodes.direct import BrokerError, Direct
    from ohmstead.nodes.flash import Piece, Plan
    from ohmstead.nodes.fleet import Hello

_CHECKOUT = Path(__file__).resolve().parents[3]
_START_S = 20.0
"""What MicroPython gets for its first start: it formats the file system then."""


@click.command(
    epilog="""\b
Examples:
  ohmstead node flash cellar                                   software and configuration onto the board on USB
  ohmstead node flash cellar --firmware ESP32_GENERIC.bin      MicroPython first (https://micropython.org/download/?port=esp32)
  ohmstead node flash cellar --erase                           all anew; MicroPython from the cache folder
  ohmstead node flash cellar --dry-run                         what it would do
"""
)
@NODE
@CONFIGURATION
@PORT
@click.option("--firmware", metavar="FILE", type=click.Path(path_type=Path), help="A MicroPython image (.bin) for this chip.")
@click.option("--erase", is_flag=True, help="Erase the whole flash first: counters, kept readings and latches as well. Asks before.")
@click.option("--image", "folder", metavar="DIR", type=click.Path(path_type=Path), help="The node's software [default: build/node-image].")
@click.option("--ca", metavar="FILE", type=click.Path(path_type=Path), help="The authority of an mqtts broker's certificate (PEM or DER).")
@click.option(
    "--wait", "patience", metavar="SECONDS", default=60.0, show_default=True, type=click.FloatRange(0), help="For its first words."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Look, say what would be done, change nothing. The board starts anew all the same.")
def flash(
    node: str,
    file: Path,
    port: str | None,
    firmware: Path | None,
    erase: bool,
    folder: Path | None,
    ca: Path | None,
    patience: float,
    yes: bool,
    dry_run: bool,
) -> None:
    """Makes the board at a serial port the node NODE: MicroPython if need be, the software, key, Wi-Fi, broker and bus.

    What is there already is left as it is; interrupted, it goes on where it was. At the end it waits for the node's hello at the broker.
    """

    def run(config: Config) -> None:
        from ohmstead.nodes.chip import Esptool
        from ohmstead.nodes.compile import config_hash, node_config, read_node_config
        from ohmstead.nodes.flash import pieces, read_software
        from ohmstead.nodes.port import choose

        must_know(config, node, file)
        compiled = node_config(config, node)
        _must_be_for_a_board(node, read_node_config(compiled), file)
        with told():
            software = read_software(folder or _CHECKOUT / "build" / "node-image", _CHECKOUT)
            wanted = pieces(software, compiled, time.time(), None if ca is None else _certificate(ca))
            chosen = choose(port)
            if not _micropython(Esptool(chosen), chosen, firmware, erase=erase, yes=yes, dry_run=dry_run):
                return  # nothing more can be told of a board without MicroPython
            with ExitStack() as while_open:
                ear = _ear(config, node, 0 if dry_run else patience, while_open)
                _install(chosen, node, wanted, dry_run=dry_run)
                ear.hear(node, config_hash(compiled), patience, chosen)

    configured(run, file)


def _must_be_for_a_board(node: str, content: dict[str, Any], file: Path) -> None:
    """Ends with exit code 2 when the node's configuration (as compiled) is not one of an ESP32."""
    devices = [bus["port"] for bus in content["buses"] if isinstance(bus.get("port"), str)]
    if devices:
        click.echo(f"{file}: nodes.{node} has its bus at {devices[0]}: it runs on Linux and is not flashed", err=True)
    elif content["wifi"] is None:
        click.echo(f"{file}: nodes.{node} has no `wifi: {{ssid: …, password_file: …}}`: a board would never reach the broker", err=True)
    else:
        return
    sys.exit(2)


def _certificate(path: Path) -> bytes:
    from ohmstead.nodes.flash import ImageError

    try:
        content = path.read_bytes()
        return ssl.PEM_cert_to_DER_cert(content.decode()) if content.startswith(b"-----") else content
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: no certificate can be read there: {error}") from None


# MicroPython


def _micropython(esptool: Esptool, port: str, firmware: Path | None, *, erase: bool, yes: bool, dry_run: bool) -> bool:
    """Writes MicroPython where it is asked for and not there yet; whether the board has one after that."""
    from ohmstead.nodes import chip

    image = chip.read_image(firmware) if firmware is not None else None
    there = None if erase else _what_runs(port)
    if there is not None and (image is None or f"MicroPython {image.version} on " in there):
        click.echo(f"MicroPython: {there}")
        return True
    found = esptool.detect()
    click.echo(f"Chip: {found.name}{f', {found.mac}' if found.mac else ''} at {port}")
    image = image or _from_cache(found.name)
    chip.must_fit(image, found)
    loss = "Everything on the board is erased: MicroPython, software, counters, kept readings, a latched stop." if erase else ""
    click.echo(f"MicroPython {image.version} for {image.chip.name} ({image.path}) goes to {image.chip.offset:#x}. {loss}".rstrip())
    if dry_run:
        return there is not None
    if not yes:
        click.confirm("Erase the board and write it?" if erase else "Write it over what is on the board?", abort=True)
    if erase:
        esptool.erase(image.chip)
    esptool.write(image)
    _await_micropython(port)
    return True


def _what_runs(port: str) -> str | None:
    """What the board calls its MicroPython; None when none answers."""
    from ohmstead.nodes.board import Board, BoardError

    try:
        with Board(port) as board:
            return board.identity().text
    except BoardError:
        return None


def _from_cache(name: str) -> Image:
    from ohmstead.nodes import chip

    folder = chip.cache_folder(os.environ)
    image = chip.cached_image(folder, name)
    if image is None:
        raise chip.ChipError(
            f"the board needs MicroPython, and {folder} holds none for an {name}. Download the .bin from "
            "https://micropython.org/download/?port=esp32 and give it: --firmware FILE, or put it there"
        )
    return image


def _await_micropython(port: str) -> None:
    from ohmstead.nodes.board import Board, BoardError
    from ohmstead.nodes.port import PortError

    deadline = time.monotonic() + _START_S
    while True:
        try:
            with Board(port) as board:
                click.echo(f"MicroPython: {board.identity().text}")
                return
        except (BoardError, PortError):  # a board with USB of its own goes away for a moment
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


# The software


def _install(port: str, node: str, wanted: list[Piece], *, dry_run: bool) -> None:
    from ohmstead.nodes.board import Board, must_run_a_node
    from ohmstead.nodes.flash import CONFIG, MAIN, carry_out, compare

    with Board(port) as board:
        must_run_a_node(board.identity())
        if any(board.sums([MAIN, CONFIG]).values()):
            board.hold_watchdog()
        plan = compare(board, wanted)
        _say(node, plan)
        if not dry_run:
            with click.progressbar(length=max(plan.octets, 1), label="Copying", item_show_func=lambda name: name or "") as bar:
                carry_out(board, plan, lambda name, octets: bar.update(octets, name))
                bar.update(1 if plan.octets == 0 else 0, "")
            click.echo("Every file is as it should be, verified by its SHA-256 on the board.")
        board.reset()


def _say(node: str, plan: Plan) -> None:
    if not plan.missing and not plan.stale:
        click.echo(f"Node {node}: all {len(plan.same)} files are there already.")
        return
    click.echo(
        f"Node {node}: {len(plan.missing)} files to write ({plan.octets / 1024:.1f} KiB over the cable), {len(plan.same)} are there."
    )
    for piece in plan.missing:
        click.echo(f"  write   {piece.name}  {len(piece.content)} bytes{f', copied from {piece.twin}' if piece.twin else ''}")
    for name in plan.stale:
        click.echo(f"  remove  {name}")


# What it says


class _Ear:
    """The broker, if it can be reached from here: a board is flashed without it as well, but then nobody hears its first words."""

    def __init__(self, direct: Direct | None, problem: BrokerError | None) -> None:
        self._direct = direct
        self._problem = problem

    def hear(self, node: str, running: bytes, seconds: float, port: str) -> None:
        """Waits for the node's hello and says what it said. Raises BrokerError, BoardError."""
        from ohmstead.nodes.board import BoardError
        from ohmstead.nodes.direct import BrokerError

        if self._problem is not None:
            raise BrokerError(f"The board is flashed, but whether it comes to the broker cannot be heard from here: {self._problem}")
        if self._direct is None:
            return
        click.echo(f"Waiting for {node} at the broker …")
        hello = _hello(self._direct, seconds)
        if hello is None:
            raise BoardError(
                f"{node} is flashed, but did not say hello within {seconds:g} s. What it prints tells more: "
                f"ohmstead node logs {node} --port {port}. Often it is the Wi-Fi's name or password, or a broker's address that the "
                "node cannot reach (`mqtt: {url: mqtt://localhost}` is the node itself to it)"
            )
        click.echo(f"{node} says hello: {hello.firmware}, slot {hello.slot or '–'}, started by {hello.reset_cause}.")
        if hello.config_hash != running:
            raise BoardError(f"{node} runs another configuration than the one just written: it found that one unusable (node logs {node})")


def _ear(config: Config, node: str, seconds: float, while_open: ExitStack) -> _Ear:
    """Listens before the board starts, so that its hello is not missed."""
    from ohmstead.nodes.direct import BrokerError, Direct

    if seconds <= 0:
        return _Ear(None, None)
    try:
        return _Ear(while_open.enter_context(Direct(config, f"{node}/up/hello")), None)
    except BrokerError as problem:
        return _Ear(None, problem)


def _hello(direct: Direct, seconds: float) -> Hello | None:
    from ohmstead.nodes.direct import hello_of

    for _, _, message in direct.messages(seconds):
        if not message.retain and (hello := hello_of(message)) is not None:
            return hello
    return None
