"""What runs on MicroPython in the power-cut campaign: the node's own code on littlefs, on a flash whose power goes at a chosen moment.

    micropython cut_node.py <image> prepare|run|recover|look <operation> <seed> <cut> <files>

`image`: the flash, a file of 4 kB blocks. `prepare` formats it and does what came before. `run` does the operation and says on each line
`did …` what has been done for good; at the `cut`-th program or erase (0: never) only a part of it happens, from then on the flash does
nothing, and the process ends with code 3. `recover` is the start after that and the first that such a node then writes; it may be cut as
well. `look` starts like a node: it says `found …`. `files`: a folder with what the operation needs.
The power-cut campaign (`power_cuts.py`) judges.
"""

import asyncio
import os
import random
import sys
from hashlib import sha256

import vfs
from cut_flash import CUT_CODE, Flash

_UNIT = 32  # as the ESP32's port has it: read size, program size

image, mode, operation, seed, cut, files = sys.argv[1:7]
chance = random
chance.seed(int(seed))


flash = Flash(image, int(cut), chance)
if mode == "prepare":
    vfs.VfsLfs2.mkfs(flash, readsize=_UNIT, progsize=_UNIT)
vfs.mount(vfs.VfsLfs2(flash, readsize=_UNIT, progsize=_UNIT), "/f")

from hal.common import CommonHal  # the node's code comes after its flash
from ohmcore.gateway import seal
from ohmcore.pack import Packer
from ohmnode import configuration, keep, outbox, proof, slots, spool, transfer, update
from ohmnode.commands import Commands
from ohmnode.leases import Leases


class Hal(CommonHal):
    """The state directory is on that flash; time goes by when somebody says so."""

    name = "cut"
    now = 1000

    def __init__(self, boot: int = 70_000) -> None:
        super().__init__("/f/state")
        self.ticks_ms = lambda: self.now
        self.random = lambda size: boot.to_bytes(size, "big")

    def setting(self, name: str, default: int) -> int:
        return 1 if name == "linger_ms" else default


def did(*words: object) -> None:
    if flash.dead:
        sys.exit(CUT_CODE)
    print("did", *words)


def found(*words: object) -> None:
    print("found", *words)


def given(name: str) -> bytes:
    with open(files + "/" + name, "rb") as file:
        return file.read()


class Configure:
    """A configuration comes, is tried, becomes the current one and then the last good one."""

    def prepare(self) -> None:
        Hal().write("config.ohm", given("config-0"))
        Hal().write("config.good", given("config-0"))

    def run(self) -> None:
        hal = Hal()
        for number in range(1, 6):
            content = given(f"config-{number}")
            hal.write(configuration.NEXT, content)
            hal.rename(configuration.NEXT, configuration.CURRENT)
            did(number)
            proof.keep_as_good(hal, content[4:12])

    def recover(self) -> None:
        hal = Hal()
        hal.remove(configuration.NEXT)
        proof.keep_as_good(hal, configuration.load(hal)[1])

    def look(self) -> None:
        hal = Hal()
        hal.remove(configuration.NEXT)
        current, _, source, complaint = configuration.load(hal)
        good = configuration.load(hal, (configuration.LAST_GOOD,))[0]
        found(current["bus_report_ms"], good["bus_report_ms"], source, complaint)


class Count:
    """Commands come, now often, now rarely; each is counted before it is obeyed."""

    def _commands(self, hal: Hal) -> Commands:
        return Commands(hal, outbox.Outbox(hal, spool.Spool(8, 1024)), bytes(32), b"", None, [])

    def prepare(self) -> None:
        self._commands(Hal()).remember(0, 100)

    def run(self) -> None:
        hal = Hal()
        commands = self._commands(hal)
        counter = commands.last
        for identity in range(1, 60):
            hal.now += chance.choice((1000, 90_000))
            counter += chance.choice((1, 1, 5, 100))
            if commands.remember(identity, counter):
                did(counter)

    def recover(self) -> None:
        commands = self._commands(Hal())
        for identity in range(100, 103):
            counter = commands.last + chance.choice((1, 5))
            if commands.remember(identity, counter):
                did(counter)

    def look(self) -> None:
        found(self._commands(Hal()).last)


class Device:
    """What a control wants of one."""

    name = "growatt"
    online = True


def house(hal: Hal) -> Leases:
    """Three controls with a lease and a budget, as the node has them."""
    leases = Leases(hal, outbox.Outbox(hal, spool.Spool(8, 1024)))
    for name in ("charge", "discharge", "export"):
        field = [0, 1, 0, 0, 1000, 1, None]
        leases.add(Device(), {"name": name, "blocks": [[6, 10, 1]], "fields": [field], "safe": bytes(2), "budget": 40})
    return leases


class Keep:
    """Leases come and go, budgets are used, the house latches and is reset."""

    def prepare(self) -> None:
        leases = house(Hal())
        leases.cause = "stop 0"
        leases._save()

    def run(self) -> None:
        leases = house(Hal())
        for number in range(1, 30):
            control = chance.choice(leases.controls)
            control.kept = not control.kept
            leases.cause = f"stop {number}"
            control.work.begin(1, b"\0\x01", False, "")  # somebody's command, about to be written
            if leases.may(control.work, 1):
                did(number)

    def recover(self) -> None:
        hal = Hal()
        leases = house(hal)
        leases.cause = keep.load(hal, leases.controls)
        leases._save()

    def look(self) -> None:
        hal = Hal()
        found(keep.load(hal, house(hal).controls))


class Spool:
    """A life of readings and events, with the gateway there and away. `most`: bytes of flash."""

    most = 262144
    readings = 500
    thin = False

    def _box(self, boot: int) -> outbox.Outbox:
        box = outbox.Outbox(Hal(boot), spool.Spool(48, 6144))
        box.use_flash(self.most)
        box.open_flash()
        return box

    def prepare(self) -> None:
        box = self._box(70_001)
        self._live(box, 150)

    def run(self) -> None:
        self._live(self._box(70_002), self.readings)

    def recover(self) -> None:
        self._live(self._box(70_004), 60)

    def _live(self, box: outbox.Outbox, readings: int) -> None:
        kept = box.spool
        last = (0, 0, 0)
        told = 0
        for number in range(readings):
            if chance.randrange(20) == 0:
                box.event("", chance.choice(("trip", "offline", "result")), {"number": number})
                did("event", box.boot, kept.next_seq - 1)
            packer = box.packer
            packer.reset()
            name = chance.choice(("10s", "30s", "5min"))
            packer.value([1, box.boot, kept.next_seq, box.uptime_ms(), "mtec", name, 0, [[3 << 16, bytes(chance.randrange(20, 160))]]])
            box._keep(False, False)
            for _ in range(chance.choice((1, 4, 8))):
                box._hal.now += 500
                box.tend()
            if not self.thin and chance.randrange(30) == 0 and kept.stored > kept.acknowledged:
                kept.connected()
                kept.highest_sent = kept.next_seq - 1
                up_to = chance.randrange(kept.acknowledged + 1, kept.stored + 1)
                did("acking", box.boot, up_to)
                kept.acknowledge(up_to)
                kept.away = True
            if kept.flash is not None and kept.flash.thinned != told:
                told = kept.flash.thinned
                did("thinned", told)
            now = (box.boot, kept.stored, kept.acknowledged)
            if now != last:
                last = now
                did("stored", *now)

    def look(self) -> None:
        """Replays all as a session does, to somebody who never acknowledges."""
        box = self._box(70_003)
        kept, behind = box.spool, box.spool.flash
        kept.away = False
        box.event = lambda device, kind, detail: found("told", box.packer.value(detail) or box.packer.message().hex())
        while True:
            box.packer.reset()
            size = box.replay(1)
            if size == 0:
                break
            if size > 0:
                found("frame", bytes(box.packer.buffer[:size]).hex())
        found("table", behind.failures, behind.count, behind.total)


class Thin(Spool):
    """The same with little room: old segments are thinned and joined all the time."""

    most = 32768
    readings = 700
    thin = True


class Outage:
    """An hour without a gateway at the polling of a real device: `polls` has a line for each group: its name, period in s, words."""

    def prepare(self) -> None:
        pass

    def run(self) -> None:
        box = outbox.Outbox(Hal(70_001), spool.Spool(200, 16384))
        box.use_flash(262144)
        box.open_flash()
        groups = [line.split() for line in str(given("polls"), "utf-8").split("\n") if line]
        frames = size = 0
        for second in range(3600):
            box._hal.now += 1000
            for name, period, *ranges in groups:
                if second % int(period) == 0:
                    packer = box.packer
                    packer.reset()
                    body = [[3 << 16, bytes(2 * int(words))] for words in ranges]
                    packer.value([1, box.boot, box.spool.next_seq, box.uptime_ms(), "mtec", name, 0, body])
                    box._keep(False, False)
                    frames += 1
                    size += packer.length
            box.tend()
        did("outage", frames, size, *box.spool.flash.report())


class Replace:
    """A signed update is put into the slot that does not run."""

    def __init__(self) -> None:
        sys.path.insert(0, "/f/a")

    def prepare(self) -> None:
        for slot in ("a", "b", "safe"):
            os.mkdir("/f/" + slot)
            for name in ("main.py", "node.mpy"):
                with open(f"/f/{slot}/{name}", "wb") as file:
                    file.write(f"{slot} {name} old".encode() * 300)
        slots.write(Hal(), "a", "b", 0, True)

    def run(self) -> None:
        hal = Hal()
        content = given("package")
        with open("/f/state/update.part", "wb") as file:
            file.write(content)
        refusal = asyncio.run(update.install(hal, "/f/state/update.part", len(content), given("modulus")))
        if refusal:
            raise ValueError(refusal)
        did("installed")

    def recover(self) -> None:
        root = {"__name__": "starter", "__file__": "starter.py"}
        exec(given("starter.py"), root)  # as below
        if root["choose"]("/f/state/boot") == "a":
            self.run()

    def look(self) -> None:
        """Starts as `firmware/root` does, and says what is in the slot it takes."""
        root = {"__name__": "starter", "__file__": "starter.py"}
        exec(given("starter.py"), root)  # MicroPython has no other way to load a file as a module of another name
        slot = root["choose"]("/f/state/boot")
        found("slot", slot, *slots.read(Hal()))
        for name in os.listdir("/f/state"):
            if name == "update.part":
                found("part", os.stat("/f/state/" + name)[6])
        for name in ("a", "safe", slot):
            found("files", name, sha256(b"".join([read(f"/f/{name}/{file}") for file in sorted(os.listdir("/f/" + name))])).digest().hex())


class Ear:
    """What a node says of a transfer. `offset`: how much it has; `stage`: its last word; `refusal`: why it does not take it."""

    offset = 0
    stage = refusal = ""

    def hear(self, _device: str, kind: str, detail: dict) -> None:
        if kind == "transfer":
            self.offset = detail["offset"]
            self.stage = detail["stage"]
            if self.stage == "receiving":
                did("has", self.offset)
            elif self.stage == "rejected":
                self.refusal = detail["reason"]


class Deliver(Replace):
    """A signed update comes down in chunks; offered again after a power cut it goes on with what is there."""

    kind = "update"
    file = "package"

    def run(self) -> None:
        asyncio.run(self._deliver())

    async def _deliver(self) -> None:
        hal = Hal()
        box = outbox.Outbox(hal, spool.Spool(8, 1024))
        ear = Ear()
        box.event = ear.hear
        commands = Commands(hal, box, bytes(32), b"home/cellar/command", None, [])
        outcomes = []
        transfers = transfer.Transfers(hal, box, commands, "home/cellar/", given("modulus"), "a", outcomes.append)
        content = given(self.file)
        packer = Packer(bytearray(1024))
        packer.value((1, 7, commands.last + 1, len(content), sha256(content).digest()))
        transfers.take(self.kind, seal(bytes(32), b"home/cellar/" + self.kind.encode(), packer.message()))
        found("offset", ear.offset)
        sent = ear.offset
        while not outcomes and not flash.dead:
            if ear.refusal:
                raise ValueError(ear.refusal)
            if sent < len(content):
                piece = content[sent : sent + chance.choice((1, 100, 768))]
                packer.reset()
                packer.value((1, 7, sent, piece))
                transfers.take(self.kind, packer.message())
                sent += len(piece)
            await asyncio.sleep_ms(0)
        did("installed")


class DeliverConfiguration(Deliver):
    """The same with a configuration: it is whole when the node is told to try it."""

    kind = "config"
    file = "config-new"

    def prepare(self) -> None:
        Configure().prepare()

    def recover(self) -> None:
        Hal().remove(configuration.NEXT)
        self.run()

    def look(self) -> None:
        hal = Hal()
        tried = hal.read(configuration.NEXT)
        found("current", configuration.load(hal)[0]["bus_report_ms"])
        found("next", "none" if tried is None else configuration.read(tried)["bus_report_ms"])


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return path[path.rfind("/") :].encode() + file.read()


if mode == "prepare":
    os.mkdir("/f/state")
work = {
    "configuration": Configure,
    "counter": Count,
    "control state": Keep,
    "spool": Spool,
    "thinning": Thin,
    "update": Replace,
    "update in chunks": Deliver,
    "configuration in chunks": DeliverConfiguration,
    "outage": Outage,
}[operation]()
try:
    getattr(work, mode)()
finally:
    if flash.dead:  # whatever else came of it
        sys.exit(CUT_CODE)
print("used", flash.programs, flash.erases)
