"""Lays the modules of a program together, without what nobody uses."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from .attributes import families
from .inline import Inliner
from .names import FOREIGN, NEVER_GIVEN
from .sources import LAZY, Item, LinkError, Program
from .texts import INTERNED, NAME, gather


class Linked:
    """`parts`: file name without its ending → statements in their order; `main`: those of main.py. Names are as in `sources`."""

    def __init__(
        self,
        program: Program,
        parts: Mapping[str, Sequence[str]],
        fleeting: Iterable[str] = (),
        overlays: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        constants: Mapping[str, object] = MappingProxyType({}),
        lasting: Iterable[str] = (),
    ) -> None:
        """`parts`: file → modules in it, or single globals. The first is what the node starts with: what its modules import at their top
        goes in as well.

        A module in none of them is a part of its own, called as its last word.
        `fleeting`: parts that are forgotten when nobody uses them any more, and loaded again when somebody does.
        `overlays`: file → class → methods that go there. Loading it puts them into their classes, its `close` takes them out again. In
        the place of a class may be a module: then its functions go there. `*`: all methods that no overlay before it
        has taken, but not those with a `-` before them.
        `lasting`: overlays that stay, once they are laid.
        `constants`: globals that have another value in the image than in the sources.
        """
        self._program = program
        self.first = next(iter(parts))
        self._moved = {entry: part for part, entries in parts.items() for entry in entries if ":" in entry}
        self._parts = {part: [entry for entry in entries if ":" not in entry] for part, entries in parts.items()}
        placed = {module for modules in self._parts.values() for module in modules}
        if unknown := placed - set(program.modules):
            raise LinkError(f"there is no module {', '.join(sorted(unknown))}")
        start = self._parts[self.first]
        for module in start:
            start += [needed for needed in program.modules[module].first if needed not in placed and needed not in start]
        for module in sorted(set(program.modules) - placed - set(start)):
            part = module.rpartition(".")[2]
            if part in self._parts:
                raise LinkError(f"{module}: there is a part {part} already; give it another name in the table of parts")
            self._parts[part] = [module]
        self._fold(constants)
        live = self._shake(program.reserved | FOREIGN)
        every = [item for module in program.modules.values() for item in module.items if id(item) in live]
        self.families = families(inner for item in every for inner in ast.walk(item.node))
        laid = {part: self._take_out(part, methods, live) for part, methods in overlays.items()}
        self.main = _Emit(self, "").function(program.main).body
        self.parts: dict[str, list[ast.stmt]] = {}
        for part, modules in self._parts.items():
            items = [item for module in self._ordered(modules) for item in program.modules[module].items if id(item) in live]
            items = [item for item in items if item.binds[0] not in self._moved]
            items += [item for item in every if self._moved.get(item.binds[0]) == part]
            if items:
                self.parts[part] = self._emit(part, items)
        for part, methods in laid.items():
            self.parts[part] = self._overlay(part, methods)
        self.inlined = Inliner({"main": self.main, **self.parts}, program.reserved | FOREIGN | NEVER_GIVEN).done
        classes = {node.name: node for body in self.parts.values() for node in body if isinstance(node, ast.ClassDef)}
        for part in laid:
            for owner, place in _places(self.parts[part]):
                classes[owner].body.insert(0, place)
            self.parts[part] = _with_installation(self.parts[part])
        self.parts[self.first] = gather(self.parts[self.first])
        for body in self.parts.values():
            for node in body:
                if isinstance(node, ast.ClassDef):  # nobody asks for these two, and each class would have a place for both
                    node.body = [*ast.parse("del __module__, __qualname__").body, *node.body]
        for part in (*fleeting, *(part for part in laid if part not in lasting)):
            self.parts[part] = gather(self.parts[part], NAME)
        for part in fleeting:
            if part not in self.parts:
                raise LinkError(f"there is no part {part} that could be given back")
            self.parts[part] += ast.parse(f"import sys\ndel sys.modules[{part!r}]").body

    def part_of(self, name: str, here: str) -> str:
        """Where a global is for somebody in the part `here`."""
        if name in self._moved:
            return self._moved[name]
        module = name.split(":")[0].removeprefix("%")
        found = [part for part, modules in self._parts.items() if module in modules]
        return here if here in found else found[0]

    def _ordered(self, modules: Sequence[str]) -> list[str]:
        """Each module after those that it needs."""
        order: list[str] = []

        def place(name: str) -> None:
            for needed in self._program.modules[name].first:
                if needed in modules and needed not in order and needed != name:
                    place(needed)
            if name not in order:
                order.append(name)

        for name in modules:
            place(name)
        return order

    # What is used

    def _shake(self, attributes: set[str]) -> set[int]:
        """The identities of the items that are reached from main.py; methods that nobody asks for are taken out of their classes."""
        binders: dict[str, Item] = {name: item for module in self._program.modules.values() for item in module.items for name in item.binds}
        attributes |= NEVER_GIVEN
        live: set[int] = set()
        methods: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
        todo: list[ast.expr | ast.stmt] = [self._program.main]
        while todo:
            for name in _references(todo.pop(), attributes):
                item = binders.get(name)
                if item is None or id(item) in live:
                    continue
                live.add(id(item))
                if isinstance(item.node, ast.ClassDef):
                    todo += item.node.bases
                    for statement in item.node.body:
                        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                            methods.append(statement)
                        else:
                            todo.append(statement)
                else:
                    todo.append(item.node)
            if not todo:
                todo += [method for method in methods if _wanted(method, attributes)]
                methods = [method for method in methods if not _wanted(method, attributes)]
        dead = {id(method) for method in methods}
        for item in binders.values():
            if isinstance(item.node, ast.ClassDef):
                item.node.body = [node for node in item.node.body if id(node) not in dead] or [ast.Pass()]
        return live

    # Methods that come and go

    def _take_out(self, part: str, methods: Mapping[str, str], live: set[int]) -> list[ast.stmt]:
        """The methods, out of their classes (`type_comment` says which), and the functions. LinkError for one that is not there."""
        taken: list[ast.stmt] = []
        items = [item for module in self._program.modules.values() for item in module.items if id(item) in live]
        classes = {item.node.name: item.node for item in items if isinstance(item.node, ast.ClassDef)}
        for owner, names in methods.items():
            if ":" not in owner:
                wanted = {f"{owner}:{name}" for name in names.split()}
                functions = [item for item in items if item.binds[0] in wanted]
                if len(functions) != len(wanted):
                    raise LinkError(f"{owner} has not all of {names}, or nobody uses them")
                self._moved |= dict.fromkeys(wanted, part)
                taken += [item.node for item in functions]
                continue
            body = classes[owner].body if owner in classes else []
            wanted = set(names.split())
            if "*" in wanted:
                every = (node.name.removeprefix("#") for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
                wanted = {name for name in every if f"-{name}" not in wanted}
            for name in sorted(wanted):
                plain = name if name.startswith("__") else f"#{name}"
                found = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == plain]
                if not found:
                    raise LinkError(f"there is no {owner}.{name} that could be laid over, or nobody uses it")
                if "super" in _names(found[0]):
                    raise LinkError(f"{owner}.{name} says super(), which works within its class only")
                body.remove(found[0])
                found[0].type_comment = owner
                taken.append(found[0])
        return taken

    def _overlay(self, part: str, methods: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The methods as functions, with the imports of what they and their installation need."""
        owners = {method.type_comment for method in methods if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)}
        mentioned = ast.Expr(ast.Tuple([ast.Name(str(owner), ast.Load()) for owner in sorted(map(str, owners))], ast.Load()))
        body = self._emit(part, [Item(part, node, ()) for node in (*methods, mentioned)])
        return [node for node in body if not isinstance(node, ast.Expr)]

    # Constants

    def _fold(self, constants: Mapping[str, object]) -> None:
        """Puts what never changes in the place of its name."""
        items = [item for module in self._program.modules.values() for item in module.items]
        trees: list[ast.stmt] = [*(item.node for item in items), self._program.main]
        changed = {name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
        uses = Counter(
            node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        )
        values: dict[str, object] = dict(constants)
        folded = -1
        while folded != len(values):
            folded = len(values)
            for item in items:
                (name, *more) = item.binds
                if more or name in values or name in changed or not isinstance(item.node, ast.Assign):
                    continue
                try:
                    value = _value(item.node.value, values)
                except ValueError:
                    continue
                if uses[name] <= 1 or not isinstance(value, str | bytes | tuple) or (isinstance(value, str) and len(value) <= INTERNED):
                    values[name] = value
        for tree in trees:
            _Fold(values).visit(tree)

    # What comes out

    def _emit(self, part: str, items: Sequence[Item]) -> list[ast.stmt]:
        body: list[ast.stmt] = [_Emit(self, part).visit(copy.deepcopy(item.node)) for item in items]
        imports: dict[str, list[str]] = {}
        foreign: list[ast.stmt] = []
        for name in sorted({node.id for tree in body for node in ast.walk(tree) if isinstance(node, ast.Name)}):
            if name in self._program.foreign:
                statement = copy.deepcopy(self._program.foreign[name])
                if isinstance(statement, ast.ImportFrom):
                    statement.names[0].asname = name
                foreign.append(statement)
            elif ":" in name and (other := self.part_of(name, part)) != part:
                if part == self.first:
                    raise LinkError(f"{name} is in the part {other}, and yet {part} needs it from the start")
                imports.setdefault(other, []).append(name)
        return [
            *foreign,
            *(ast.ImportFrom(other, [ast.alias(name) for name in names], 0) for other, names in sorted(imports.items())),
            *body,
        ]


class _Emit(ast.NodeTransformer):
    """Makes of an import within a function what it has to be for the part `here`: one of that other part's file, or nothing."""

    def __init__(self, linked: Linked, here: str) -> None:
        self._linked = linked
        self._here = here

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self.function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.function(node)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.FunctionDef | ast.AsyncFunctionDef:
        self.generic_visit(node)
        local: dict[str, str] = {}
        for mark in [mark for mark in ast.walk(node) if isinstance(mark, ast.ImportFrom) and mark.module == LAZY]:
            part = self._linked.part_of(mark.names[0].name, self._here)
            wanted = {alias.name for alias in mark.names}
            used = {name for name in _names(node) if name in wanted or f"%{name.split(':')[0]}" in wanted}
            if part == self._here or (part == self._linked.first and self._here) or not used:
                mark.module = None
                continue
            mark.module = part
            mark.names = []
            for name in sorted(used):
                local[name] = f"{name.split(':')[1]}@{part}"
                mark.names.append(ast.alias(name, local[name]))
        _Locally(local).visit(node)
        return node


class _Locally(ast.NodeTransformer):
    """Takes away imports that are not needed, and lets names refer to what the others bind."""

    def __init__(self, local: Mapping[str, str]) -> None:
        self._local = local

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._local.get(node.id, node.id)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        return ast.Pass() if node.module is None else node


class _Fold(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self._values:
            return ast.parse(repr(self._values[node.id]), mode="eval").body
        return node


def _places(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """What a class has in the place of an overlay's method, from the beginning. A class whose table grew later would leave it among what
    comes and goes.
    """
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.type_comment:
            yield node.type_comment, ast.Assign([ast.Name(node.name, ast.Store())], ast.Constant(None), lineno=0)


def _with_installation(body: list[ast.stmt]) -> list[ast.stmt]:
    """An overlay's statements: each method goes into its class, and `close` takes all of them out."""
    result: list[ast.stmt] = []
    out: list[ast.expr] = []
    for node in body:
        result.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.type_comment:
            owner, node.type_comment = node.type_comment, None
            # One name for all, since each is installed before the next is made; and a global's, as a method may be called like a class.
            name, node.name = node.name, "overlay:method"
            place = ast.Attribute(ast.Name(owner, ast.Load()), name, ast.Store())
            result.append(ast.Assign([place], ast.Name(node.name, ast.Load()), lineno=0))
            # Not `del`: the class's table would keep the function in what looks like an empty place.
            out.append(ast.Attribute(ast.Name(owner, ast.Load()), name, ast.Store()))
    (close,) = ast.parse("def close(): pass").body
    # What is still running keeps its module, and would keep all of it.
    vars(close)["body"] = [ast.Assign(out, ast.Constant(None), lineno=0), *ast.parse("globals().clear()").body]
    return [*result, close]


def _value(node: ast.expr, known: Mapping[str, object]) -> object:
    """What a constant expression is; ValueError for any other."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Tuple(elts=items):
            return tuple(_value(item, known) for item in items)
        case ast.UnaryOp(op=ast.USub(), operand=operand) if isinstance(number := _value(operand, known), int):
            return -number
        case ast.BinOp(left=left, op=operator, right=right):
            one, other = _value(left, known), _value(right, known)
            if isinstance(one, int) and isinstance(other, int):
                match operator:
                    case ast.Add():
                        return one + other
                    case ast.Sub():
                        return one - other
                    case ast.Mult():
                        return one * other
                    case ast.LShift():
                        return one << other
                    case ast.BitOr():
                        return one | other
    raise ValueError


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _references(node: ast.AST, attributes: set[str]) -> Iterator[str]:
    """The globals that it refers to; what it asks objects for, and texts that might be names, are added to `attributes`."""
    for inner in ast.walk(node):
        match inner:
            case ast.Name(id=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Load()):
                attributes.add(name.removeprefix("#"))
            case ast.Constant(value=str(text)):
                attributes.add(text)


def _wanted(method: ast.FunctionDef | ast.AsyncFunctionDef, attributes: set[str]) -> bool:
    name = method.name.removeprefix("#")
    return name in attributes or (name.startswith("__") and name.endswith("__"))
