"""What an hour without the gateway costs the node's flash at the polling of an M-TEC: `python -m tests.chaos.flash_wear`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from ohmstead.config import load
from tests.chaos.power_cuts import Rig, said
from tests.chaos.rows import micropython

CONFIGURATION = """
mqtt: {url: "mqtt://127.0.0.1:1883"}
nodes:
  cellar: {bus: {port: /dev/ttyS0, baud: 9600}}
devices:
  mtec: {profile: mtec-energybutler, via: cellar}
"""


class Wear(NamedTuple):
    """Of one hour: frames and their bytes; programs and erases of 4 kB blocks; what is on flash at its end."""

    frames: int
    octets: int
    programs: int
    erases: int
    segments: int
    held: int


def hour(program: str, folder: Path) -> Wear:
    (folder / "ohmstead.yaml").write_text(CONFIGURATION)
    groups = load(folder / "ohmstead.yaml").poll_groups("mtec")
    rig = Rig(program, folder)
    lines = [f"{group.name} {max(round(group.period_s), 1)} {' '.join(str(read.count) for read in group.reads)}\n" for group in groups]
    (rig.files / "polls").write_text("".join(lines))
    rig.blank()
    rig.start("prepare", "outage", 1)
    _, output = rig.start("run", "outage", 1)
    frames, octets, segments, held = (int(word) for word in said("did", output)[0][1:5])
    programs, erases = (int(word) for word in output[-1][1:])
    return Wear(frames, octets, programs, erases, segments, held)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ohmstead-wear-") as folder:
        print(hour(micropython(), Path(folder)))
