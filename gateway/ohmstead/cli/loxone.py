"""`ohmstead loxone`: what to enter in Loxone Config."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import CONFIGURATION, configured

if TYPE_CHECKING:
    from ohmstead.config.model import Config
    from ohmstead.control.views import DeviceView

_NO_SECTION = """\
Nothing of this works yet: {file} has no section `loxone`. Add

loxone: {{}}
"""
_NO_BATTERY = "{file}: there is no battery that could be commanded: a Growatt behind a node, or behind an OpenInverterGateway."


@click.command(
    epilog="""\b
Examples:
  ohmstead loxone                                       what to enter for the MQTT plugin of the Miniserver
  ohmstead loxone growatt --template VIU_growatt.xml    the same as virtual UDP inputs, to be imported
  ohmstead loxone growatt --commands VO_growatt.xml --loxberry 192.0.2.30
                                                        virtual outputs for the MQTT gateway of a LoxBerry
"""
)
@click.argument("device", required=False)
@CONFIGURATION
@click.option(
    "--template", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write a template of virtual UDP inputs for DEVICE."
)
@click.option(
    "--commands", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write a template of virtual outputs for DEVICE."
)
@click.option("--loxberry", metavar="HOST[:PORT]", help="The LoxBerry whose MQTT gateway publishes them (port 11884 unless given).")
def loxone(device: str | None, file: Path, template: Path | None, commands: Path | None, loxberry: str | None) -> None:
    """Prints what to enter in Loxone Config for the batteries of this home, or for DEVICE: topics to subscribe and to publish within the
    16 + 16 of the plugin, and the command recognition of each value. Changes nothing.

    Templates are imported in Loxone Config under Device Templates.
    """
    if commands is not None and loxberry is None:
        raise click.UsageError("--commands needs to know the LoxBerry: --loxberry HOST")
    host, port = _address(loxberry)

    def say(config: Config) -> None:
        from ohmstead.publish.loxone_config import STATUS_PORT, input_template, output_template

        views = _views(config)
        if device is not None and device not in views:
            click.echo(f"{file}: {device!r} is no battery that can be commanded; there is {', '.join(views) or 'none'}", err=True)
            sys.exit(2)
        if not views:
            click.echo(_NO_BATTERY.format(file=file), err=True)
            sys.exit(2)
        chosen = {name: view for name, view in views.items() if device in (None, name)}
        if template is None and commands is None:
            click.echo("\n".join(_entries(config, chosen, file)))
            return
        if len(chosen) > 1:
            raise click.UsageError(f"a template is for one device: {', '.join(chosen)}")
        view = next(iter(chosen.values()))
        if template is not None:
            by_udp = config.loxone.udp_out if config.loxone is not None else None
            _write(template, input_template(view, by_udp.port if by_udp is not None else STATUS_PORT))
            topic = f"loxone/{view.name}/status/json"
            if by_udp is None or topic not in by_udp.topics:
                click.echo(f"For these inputs {file} needs\n\nloxone: {{udp_out: {{host: <the Miniserver>, topics: [{topic}]}}}}")
        if commands is not None:
            _write(commands, output_template(view, host, port))

    configured(say, file)


def _address(loxberry: str | None) -> tuple[str, int]:
    from ohmstead.publish.loxone_config import LOXBERRY_PORT

    host, _, port = (loxberry or "").partition(":")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise click.UsageError(f"{port!r} is no port")
    return host, int(port) if port else LOXBERRY_PORT


def _write(path: Path, text: str) -> None:
    """With the mark that Loxone Config expects at the beginning."""
    try:
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    except OSError as error:
        click.echo(f"{path}: {error.strerror}", err=True)
        sys.exit(1)
    click.echo(f"{path}: written")


def _views(config: Config) -> dict[str, DeviceView]:
    from ohmstead.batteries import batteries, targets_of

    found = batteries(config, {device: targets_of(config, device) for device in config.devices})
    return {device: battery.view for device, battery in found.items()}


def _entries(config: Config, views: Mapping[str, DeviceView], file: Path) -> Iterator[str]:
    from ohmstead.publish.loxone_config import MOST_TOPICS, fitting, inputs
    from ohmstead.publish.loxone_status import pattern

    if config.loxone is None:
        yield _NO_SECTION.format(file=file)
    nodes = dict.fromkeys(node for view in views.values() if (node := config.devices[view.name].via.node) is not None)
    fit, rest = fitting(views.values(), [f"ohm/{config.site}/node/{node}/stop" for node in nodes])
    broker = f"{'mqtts' if config.mqtt.tls else 'mqtt'}://{config.mqtt.host}:{config.mqtt.port}"
    used = f"{len(views)} of {MOST_TOPICS} subscriptions, {len(fit)} of {MOST_TOPICS} publications"
    yield f"MQTT plugin of the Miniserver, broker {broker}: {used}."
    yield ""
    yield "Subscriptions (text). One carries everything of a device:"
    for view in views.values():
        yield f"  loxone/{view.name}/status"
    for view in views.values():
        yield ""
        yield f"Command recognition in loxone/{view.name}/status. Powers are in kW and never negative:"
        rows = [(pattern(one.key), one.unit or "-", one.title) for one in inputs(view)]
        width = max(len(recognition) for recognition, _, _ in rows)
        yield from (f"  {recognition:<{width}}  {unit:<3}  {title}" for recognition, unit, title in rows)
        silent = [one.title for one in view.controls.values() if one.watts is None]
        if silent:
            known = config.devices[view.name].rated is not None
            yield f"  Without a power in kW: {', '.join(silent)}." + ("" if known else " `rated: 5 kW` of the device says what 100 % is.")
    yield ""
    yield "Publications (text):"
    width = max((len(output.topic) for output in (*fit, *rest)), default=0)
    yield from (f"  {output.topic:<{width}}  {output.takes}" for output in fit)
    if rest:
        yield ""
        yield "No room for these in one plugin; use them instead of others, or over a LoxBerry (--commands):"
        yield from (f"  {output.topic:<{width}}  {output.takes}" for output in rest)
    yield ""
    yield "A command holds for its time and need not be repeated. What was not taken is on loxone/rejected, and counted in the status."
    yield "The heartbeat counts up every few seconds; when it stands still, the gateway is away."
