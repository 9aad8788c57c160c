"""Gives everything that is ours a name that costs as little as can be.

Functions, classes and methods get a name each, so that a traceback can be read back. Attributes that only hold values share names: two
that no class has both may be called the same. Arguments have the same few names in every function; local variables have none at run time.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Set

from .attributes import defined
from .link import Linked
from .names import FOREIGN, IN_EVERY_ROM, IN_MOST_ROMS, NEVER_GIVEN
from .texts import INTERNED

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ARGUMENTS = 14
"""So many names are kept for arguments; what a function has beyond them is called like a local variable."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _spare() -> Iterator[str]:
    """`aa`, `ab` … `zz`, `aaa` …: names that cost what a name costs."""
    for length in itertools.count(2):
        names = ("".join(letters) for letters in itertools.product(_LETTERS, repeat=length))
        yield from (name for name in names if name not in NEVER_GIVEN)


class Names:
    """What everything will be called. `globals` and `attributes`: old name → new one."""

    def __init__(self, linked: Linked, reserved: Iterable[str]) -> None:
        """`reserved`: attributes that belong to others as well."""
        self._trees = {"main": linked.main, **linked.parts}
        self._inlined = [(old, into.replace(":", ".").replace("#", ".")) for old, into in linked.inlined.items()]
        nodes = [node for body in self._trees.values() for tree in body for node in ast.walk(tree)]
        first = [node for tree in linked.parts[linked.first] for node in ast.walk(tree)]
        kept = FOREIGN | set(reserved) | _looked_up(nodes)
        self.keywords = {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
        plain = {node.id for node in nodes if isinstance(node, ast.Name) and _IDENTIFIER.fullmatch(node.id)}
        ours, self._methods = defined(nodes)
        # Names that are there in any case: in ROM, as texts, as attributes of others.
        stays = {
            node.value for node in first if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) <= INTERNED
        }
        stays |= {
            node.attr.removeprefix("#")
            for node in first
            if isinstance(node, ast.Attribute) and node.attr.removeprefix("#") not in ours - kept
        }
        free = [
            name
            for name in [*sorted(stays), *IN_EVERY_ROM, *IN_MOST_ROMS]
            if _IDENTIFIER.fullmatch(name) and not name.startswith("__") and name not in NEVER_GIVEN
        ]
        free = list(dict.fromkeys(free))
        usable = [name for name in IN_EVERY_ROM if not hasattr(builtins, name) and name not in NEVER_GIVEN | self.keywords | plain]
        self.arguments = usable[:_ARGUMENTS]
        self.globals = self._name_globals(nodes, [name for name in free if name not in plain | self.keywords | set(self.arguments)])
        in_class_bodies = plain | {self.globals.get(name, name) for name in _read_in_class_bodies(nodes)}
        taken = set(self.globals.values())
        pool = [name for name in free if name not in in_class_bodies]
        pool.sort(key=lambda name: name in taken)
        self.attributes = self._name_attributes(linked.families, ours - kept, pool, kept | in_class_bodies)

    def _name_globals(self, nodes: list[ast.AST], pool: list[str]) -> dict[str, str]:
        every = sorted({name for node in nodes for name in _global_names(node)})
        classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
        names = {}
        for name in every:
            if name.startswith("!"):
                names[name] = name.split(".")[-1].removeprefix("!")
            elif name in classes and _is_exception(classes[name], classes):
                names[name] = name.split(":")[1]  # people get to see it
        if len(set(names.values())) != len(names):
            raise ValueError(f"two of these have the same name: {sorted(names)}")
        taken = set(names.values())
        fresh = (name for name in itertools.chain(pool, _spare()) if name not in taken)
        return names | {name: next(fresh) for name in every if name not in names}

    def _name_attributes(self, families: list[set[str]], ours: set[str], pool: list[str], never: Set[str]) -> dict[str, str]:
        names: dict[str, str] = {}
        used: set[str] = set()
        for name in sorted(ours, key=lambda name: (name not in self._methods, name)):
            rivals = {other for family in families if name in family for other in family}
            taken = {names.get(rival, rival) for rival in rivals}
            is_method = name in self._methods
            candidates = (new for new in itertools.chain(pool, _spare()) if new not in taken and (new in pool or new not in never))
            names[name] = next(new for new in candidates if not is_method or new not in used)
            if is_method:
                used.add(names[name])
        return names

    def apply(self) -> dict[str, ast.Module]:
        """The renamed trees, by part; `main` keeps its local names."""
        result = {}
        for part, body in self._trees.items():
            module = ast.Module([_Rename(self, part == "main").visit(tree) for tree in body], [])
            result[part] = ast.fix_missing_locations(module)
        return result

    def map(self) -> str:
        """New and old names, a line each, for whoever reads a traceback."""
        lines = [f"{new} = {old.replace(':', '.')}\n" for old, new in self.globals.items() if not old.startswith("!")]
        lines += [f".{new} = .{old}{'()' if old in self._methods else ''}\n" for old, new in self.attributes.items()]
        lines += [f"{old.replace(':', '.').replace('#', '.')} is within {into}\n" for old, into in self._inlined]
        return "".join(sorted(lines))


class _Rename(ast.NodeTransformer):
    def __init__(self, names: Names, source: bool) -> None:
        self._names = names
        self._source = source
        self._locals: dict[str, str] = {}
        self._depth = 0

    def _local(self, name: str, argument: bool = False) -> str:
        name = name.removeprefix("!")  # an import binds it without, a use has it
        if name not in self._locals:
            old = name.split("@")[0]
            if self._source or (argument and old in self._names.keywords):
                new = old
            elif argument:
                new = next((new for new in self._names.arguments if new not in self._locals.values()), f"_{len(self._locals)}")
            else:
                new = f"_{len(self._locals)}"
            self._locals[name] = new
        return self._locals[name]

    def _new(self, name: str) -> str:
        if "@" in name:
            return self._local(name)
        if name.startswith("#"):
            return self._names.attributes.get(name[1:], name[1:])
        return self._names.globals.get(name, name)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._new(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = self._new(node.attr)
        return self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> ast.AST:
        node.name = self._new(node.name)
        node.asname = self._new(node.asname) if node.asname else None
        if node.asname == node.name:
            node.asname = None
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self._new(node.name) if node.name else None
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [self._new(name) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self._new(name) for name in node.names]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._new(node.name)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> ast.AST:
        if self._depth == 0 and not self._source:
            self._locals = {}
        self._depth += 1
        if not isinstance(node, ast.Lambda):
            node.name = self._new(node.name)
        every = node.args
        for arg in (*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg):
            if arg:
                arg.arg = self._local(arg.arg, argument=True)
        self.generic_visit(node)
        self._depth -= 1
        return node


def _global_names(node: ast.AST) -> Iterator[str]:
    """The globals that a node mentions."""
    match node:
        case ast.Name(id=name) | ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            names = [name]
        case ast.ImportFrom(names=aliases):
            names = [name for alias in aliases for name in (alias.name, alias.asname or "")]
        case _:
            names = []
    yield from (name for name in names if ":" in name or (name.startswith("!") and "@" not in name))


def _looked_up(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that are given to getattr and the like as a text."""
    found = set()
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
                found.add(name)
    return found


def _read_in_class_bodies(nodes: Iterable[ast.AST]) -> set[str]:
    """What is looked up while a class is made: there the names of its methods come first."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                    read: list[ast.AST] = [*statement.decorator_list, *statement.args.defaults]
                else:
                    read = [statement]
                found |= {name.id for part in read for name in ast.walk(part) if isinstance(name, ast.Name)}
    return found


def _is_exception(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> bool:
    for base in node.bases:
        if isinstance(base, ast.Name) and (
            base.id.endswith(("Error", "Exception")) or (base.id in classes and _is_exception(classes[base.id], classes))
        ):
            return True
    return False
