"""The node image's linker: few modules out of many, nothing that nobody uses, names that cost nothing, and the same behaviour."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

Link = Callable[..., dict[str, str]]
MAIN = "from node_code import start\nprint(start.run())\n"
PARTS = {"node": ("node_code.start",)}


@pytest.fixture(scope="module")
def link() -> Link:
    sys.path.insert(0, str(REPOSITORY / "images/node"))
    try:
        from linker.link import Linked  # type: ignore[import-not-found] # it is no package of ours, but beside the image's builder
        from linker.rename import Names  # type: ignore[import-not-found] # as above
        from linker.sources import Program  # type: ignore[import-not-found] # as above
    finally:
        sys.path.remove(str(REPOSITORY / "images/node"))

    def linked(files: Mapping[str, str], main: str = MAIN, parts: Mapping[str, Any] = PARTS, **more: Any) -> dict[str, str]:
        program = Program({f"node_code/{name}.py": text for name, text in files.items()}, main)
        names = Names(Linked(program, parts, **more), program.reserved)
        return {part: ast.unparse(tree) for part, tree in names.apply().items()}

    return linked


def output(program: Mapping[str, str], folder: Path, interpreter: list[str]) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in program.items():
        (folder / f"{name}.py").write_text(text)
    done = subprocess.run([*interpreter, str(folder / "main.py")], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def test_modules_become_one_and_what_is_not_used_is_gone(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    program = link(
        {
            "start": "from node_code import parts\nfrom node_code.parts import Meter as Gauge\n\n"
            "def run():\n    gauge = Gauge(20)\n    return [gauge.twice(), parts.half(gauge.reading)]\n",
            "parts": "LEFT = 'left over'\n\nclass Meter:\n    __slots__ = ('reading',)\n    def __init__(self, reading: int) -> None:\n"
            "        '''Words.'''\n        self.reading = reading\n    def twice(self):\n        return 2 * self.reading\n"
            "    def thrice(self):\n        return 'thrice'\n\ndef half(number):\n    return number // 2\n\n"
            "def unused():\n    return 'unused'\n",
        }
    )
    assert set(program) == {"main", "node"}
    for gone in ("left over", "thrice", "unused", "Words", "__slots__", "import", "reading", "Meter", "half"):
        assert gone not in program["node"], gone
    assert output(program, tmp_path, micropython).strip() == "[40, 10]"


def test_constants_are_put_in_their_places_across_modules(link: Link) -> None:
    program = link(
        {
            "start": "from micropython import const\nfrom node_code.limits import MOST\n_STEP = const(4)\n_BOTH = const(_STEP | 3)\n"
            "def run():\n    return MOST + _STEP + _BOTH\n",
            "limits": "MOST = 1 << 10\n",
        }
    )
    assert "1024 + 4 + 7" in program["node"]
    assert "=" not in program["node"]


def test_what_is_imported_in_a_function_is_a_file_of_its_own(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    program = link(
        {
            "start": "from node_code import shared\n\ndef run():\n    from node_code import rare\n    from node_code.other import Thing\n\n"
            "    return rare.answer() + Thing().more()\n",
            "shared": "def base():\n    return [40]\n",
            "rare": "from node_code.shared import base\n\ndef answer():\n    return base()[0]\n",
            "other": "from node_code import shared\nclass Thing:\n    def more(self):\n        return len(shared.base())\n",
        },
        parts={**PARTS, "extra": ("node_code.rare",)},
    )
    assert set(program) == {"main", "node", "extra", "other"}
    assert "[40]" in program["node"]
    assert output(program, tmp_path, micropython).strip() == "41"


def test_names_of_others_stay_and_keywords_fit(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    program = link(
        {
            "start": "import sys\nfrom struct import pack_into\n\nclass WrongError(Exception):\n    pass\n\nclass Box:\n    kind = 'box'\n"
            "    def __init__(self, first, second=2):\n        self.append = [first]\n        self.platform = second\n"
            "        self.looked_up = 5\n    def pack(self, buffer):\n        pack_into('>H', buffer, 0, self.platform)\n"
            "        self.append.append(self.kind)\n        return [item for item in self.append]\n\n"
            "def run():\n    buffer = bytearray(2)\n    box = Box(1, second=258)\n    try:\n        raise WrongError('no')\n"
            "    except WrongError as wrong:\n        return box.pack(buffer), bytes(buffer), getattr(box, 'looked_up'), repr(wrong), "
            "sys.platform == 'moon', (lambda number: number + 1)(1)\n"
        }
    )
    assert output(program, tmp_path, micropython).strip() == "([1, 'box'], b'\\x01\\x02', 5, \"WrongError('no',)\", False, 2)"


def test_a_library_that_is_imported_in_a_function_is_found_there(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    start = "def run():\n    import struct, sys as system\n    from struct import pack as put\n    return struct.calcsize('>I') + "
    program = link({"start": start + "len(put('>H', 1)) + len(system.byteorder)\n"})
    assert output(program, tmp_path, micropython).strip() == "12"


def test_what_one_module_puts_into_another_gets_there(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    program = link(
        {
            "start": "import node_code.module\n\ndef run():\n    setattr(node_code.module, 'socket', 'a door')\n"
            "    return node_code.module.opened()\n",
            "module": "import usocket as socket\n\ndef opened():\n    return socket\n",
        }
    )
    assert "usocket" not in program["node"]
    assert output(program, tmp_path, micropython).strip() == "a door"


@pytest.mark.parametrize("called", ["self.increase(4)", "return self.increase(4)", "self.total = self.increase(4)"])
def test_what_is_called_once_is_put_in_its_place(link: Link, tmp_path: Path, micropython: list[str], called: str) -> None:
    program = link(
        {
            "start": "class Sum:\n    def __init__(self):\n        self.total = 1\n    def twice(self, number):\n"
            f"        number += 10\n        {called}\n    def increase(self, number, also=3):\n        number += also\n"
            "        self.total += number\n        return self.total\n\n"
            "def run():\n    found = Sum()\n    found.twice(1)\n    found.twice(2)\n    return found.total\n"
        }
    )
    assert program["node"].count("def ") == 3
    assert output(program, tmp_path, micropython).strip() == "15"


def test_a_return_in_the_middle_stays_where_it_is(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    program = link(
        {
            "start": "def sign(number):\n    if number < 0:\n        return 'below'\n    return 'not below'\n\n"
            "def run():\n    found = sign(-1)\n    found += '!'\n    return found\n"
        }
    )
    assert program["node"].count("def ") == 2
    assert output(program, tmp_path, micropython).strip() == "below!"


def test_long_messages_are_kept_in_one_text(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    program = link(
        {
            "start": "def run():\n    try:\n        raise ValueError('a message that is long')\n    except ValueError as wrong:\n"
            "        return f'{wrong} {{and}} {7:04d} {\"x\"!r} is here', 'short', 'that is long'\n"
        }
    )
    assert "'a message that is long'" not in program["node"]
    assert output(program, tmp_path, micropython).strip() == "(\"a message that is long {and} 0007 'x' is here\", 'short', 'that is long')"


def test_arguments_and_attributes_share_the_names_that_every_micropython_has(link: Link) -> None:
    classes = "".join(
        f"class K{i}:\n    def __init__(self, given_{i}):\n        self.kept_{i} = given_{i}\n        self.also_{i} = K{i}\n"
        for i in range(9)
    )
    program = link({"start": classes + "def run():\n    return [" + ", ".join(f"K{i}({i}).kept_{i}" for i in range(9)) + "]\n"})
    attributes = {node.attr for node in ast.walk(ast.parse(program["node"])) if isinstance(node, ast.Attribute)}
    arguments = {node.arg for node in ast.walk(ast.parse(program["node"])) if isinstance(node, ast.arg)}
    assert len(attributes) == len(arguments) == 2


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"start": "print(1)\n"}, "binds no name"),
        ({"start": "from node_code import parts\ndef run():\n    return parts.gone\n", "parts": "a = 1\n"}, "node_code.parts has no gone"),
        (
            {"start": "from node_code import rare\ndef run():\n    return rare.f()\n", "rare": "def f():\n    return 1\n"},
            "needs it from the start",
        ),
    ],
)
def test_what_the_linker_cannot_do_is_said(link: Link, files: dict[str, str], words: str) -> None:
    with pytest.raises(Exception, match=words):
        link(files, parts={**PARTS, "extra": ("node_code.rare",)} if "rare" in files else PARTS)


LAID_OVER = {
    "start": "import sys\nfrom node_code import LINKED\nfrom node_code.meter import Meter, Counter\n\n"
    "def lay():\n    if LINKED:\n        __import__('over')\n\ndef lift():\n    if LINKED:\n        sys.modules.pop('over').close()\n\n"
    "def run():\n    lay()\n    meter = Meter(3)\n    counter = Counter(meter)\n"
    "    said = [meter.twice(), counter.reading, rest(meter)]\n    lift()\n"
    "    try:\n        meter.twice()\n        said.append('still there')\n    except TypeError:\n        said.append('gone')\n"
    "    said.append(meter.close)\n    lay()\n    said.append(Meter(4).twice())\n    return said\n\n"
    "def rest(meter):\n    return meter.close + 1\n",
    "meter": "class Meter:\n    def __init__(self, reading):\n        self.close = reading\n    def twice(self):\n"
    "        return doubled(self.close)\n\nclass Counter:\n    def __init__(self, meter):\n        self.reading = meter.close\n\n"
    "def doubled(number):\n    return 2 * number\n",
    "__init__": "LINKED = False\n",
}
OVERLAYS = {"over": {"node_code.meter:Meter": "__init__ twice", "node_code.meter:Counter": "__init__", "node_code.meter": "doubled"}}


def test_methods_are_there_while_their_overlay_is(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    program = link(LAID_OVER, overlays=OVERLAYS, constants={"node_code:LINKED": True})
    assert set(program) == {"main", "node", "over"}
    assert "2 * " in program["over"], "a function that only they use goes with them"
    assert "2 * " not in program["node"]
    assert program["node"].count("__init__ = None") == 2, "their places in the classes are there from the beginning"
    assert output(program, tmp_path, micropython).strip() == "[6, 3, 4, 'gone', 3, 8]"
    assert output(program, tmp_path / "again", [sys.executable]).strip() == "[6, 3, 4, 'gone', 3, 8]"


def test_without_an_overlay_they_are_there_always(link: Link, tmp_path: Path, micropython: list[str]) -> None:
    assert output(link(LAID_OVER), tmp_path, micropython).strip() == "[6, 3, 4, 'still there', 3, 8]"


@pytest.mark.parametrize(
    ("overlay", "told"),
    [
        ({"node_code.meter:Meter": "thrice"}, "no node_code.meter:Meter.thrice"),
        ({"node_code.meter:Scale": "__init__"}, "no node_code.meter:Scale.__init__"),
        ({"node_code.meter": "trebled"}, "node_code.meter has not all of trebled"),
    ],
)
def test_an_overlay_of_what_is_not_there_is_refused(link: Link, overlay: Mapping[str, str], told: str) -> None:
    with pytest.raises(Exception, match=told):
        link(LAID_OVER, overlays={"over": overlay})


def test_a_method_that_asks_its_base_class_cannot_be_laid_over(link: Link) -> None:
    program = {"start": "class A:\n    def __init__(self):\n        super().__init__()\n\ndef run():\n    return A()\n"}
    with pytest.raises(Exception, match="works within its class only"):
        link(program, overlays={"over": {"node_code.start:A": "__init__"}})
