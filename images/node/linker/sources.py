"""Reads modules and finds out what every name in them means.

In the trees that come out of here a name is written so that it tells what it is:
`ohmnode.bus:Bus` a global of ours, `!struct.pack_into` (or `!asyncio`) something imported from elsewhere, `count@12` local to scope 12,
`#run` an attribute or method, anything else a builtin or an attribute of a foreign module.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

LAZY = "%lazy"
"""The module of an import within a function, as it stands in a tree: its names are globals of ours, or modules with a `%` before them."""
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class LinkError(Exception):
    """Something in the sources that the linker does not understand; the text says where and what."""


@dataclass
class Item:
    """A statement of a module's top level, and the globals that it binds."""

    module: str
    node: ast.stmt
    binds: tuple[str, ...]


@dataclass
class Module:
    """`bound`: names of its top level. `imported`: what imports bind there. `first`: modules that have to come before it.

    `replaced`: names of its top level that another module changes.
    """

    name: str
    tree: ast.Module
    machine: bool
    bound: set[str] = field(default_factory=set)
    imported: dict[str, str] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    first: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)


class _Strip(ast.NodeTransformer):
    """Takes out what only people and type checkers read, and `const`."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.stmt | ast.ExceptHandler) and getattr(node, "body", None) == []:
            vars(node)["body"] = [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Pass(self, node: ast.Pass) -> None:
        return None

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.visit_Assign(ast.Assign([node.target], node.value))

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("TYPE_CHECKING", "__slots__"):
            return None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            kept = (self.visit(statement) for statement in node.orelse)
            return [statement for statement in kept if statement is not None]
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        node.names = [name for name in node.names if name.name not in ("const", "TYPE_CHECKING")]
        return node if node.names else None

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return node.args[0] if isinstance(node.func, ast.Name) and node.func.id == "const" else node


class Program:
    """All modules, by name. `files`: relative file name → source. `main`: the source that stays one, as the body of a function.

    `reserved`: attributes that were seen at objects that are not ours. `foreign`: how each thing from elsewhere is imported.
    """

    def __init__(self, files: Mapping[str, str], main: str) -> None:
        self._scopes = itertools.count(1)
        self.reserved: set[str] = set()
        self.foreign: dict[str, ast.Import | ast.ImportFrom] = {}
        self.modules: dict[str, Module] = {}
        for file, text in sorted(files.items()):
            name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            tree = _Strip().visit(ast.parse(text, file))
            self.modules[name] = Module(name, tree, name.startswith("hal"))
        for module in self.modules.values():
            self._replaced(module)
        for module in self.modules.values():
            self._read_top(module)
        for module in self.modules.values():
            resolver = _Resolver(self, module)
            module.items = [Item(module.name, node, binds) for node, binds in resolver.top()]
        started = Module("main", ast.Module([], []), False)
        (body,) = (node for node in ast.parse("def main(): pass").body if isinstance(node, ast.FunctionDef))
        body.body = _Strip().visit(ast.parse(main, "main.py")).body
        self.main: ast.FunctionDef = _Resolver(self, started).visit(body)

    def _replaced(self, module: Module) -> None:
        """`setattr(other, "name", …)` of a module: there the name is a variable from now on, whatever it was."""
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Name(id="setattr"), args=[ast.Attribute() as other, ast.Constant(value=str(name)), _]):
                    changed = self.modules.get(ast.unparse(other))
                    if changed is not None and name not in changed.replaced:
                        changed.replaced.add(name)
                        changed.tree.body.append(ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None), lineno=0))

    def _read_top(self, module: Module) -> None:
        for node in module.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name, target in self.targets(node):
                    if name in module.replaced:
                        continue
                    module.imported[name] = target
                    sources = [target.removeprefix("%").split(":")[0], *(alias.name for alias in node.names)]
                    module.first += [source for source in sources if source in self.modules]
            else:
                module.bound.update(bound_names([node]))

    def targets(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
        """What an import binds, and to what."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in self.modules:
                    yield alias.asname or alias.name.split(".")[0], "%" + (alias.name if alias.asname else alias.name.split(".")[0])
                    continue
                target = "!" + (alias.name if alias.asname else alias.name.split(".")[0])
                self.foreign[target] = ast.Import([ast.alias(alias.name)])
                yield alias.asname or alias.name.split(".")[0], target
            return
        source = node.module or ""
        if node.level:
            raise LinkError(f"from {'.' * node.level}{source} import …: relative imports are not understood")
        for alias in node.names:
            if f"{source}.{alias.name}" in self.modules:
                target = f"%{source}.{alias.name}"
            elif source in self.modules:
                target = f"{source}:{alias.name}"
            else:
                target = f"!{source}.{alias.name}"
                self.foreign[target] = ast.ImportFrom(source, [ast.alias(alias.name)], 0)
            yield alias.asname or alias.name, target

    def resolve(self, target: str) -> str:
        """Follows a name that a module has only imported itself."""
        if ":" not in target or target[0] in "!%":
            return target
        source, name = target.split(":")
        module = self.modules[source]
        if name in module.bound:
            return target
        if name in module.imported:
            return self.resolve(module.imported[name])
        raise LinkError(f"{source} has no {name}")

    def scope(self) -> int:
        return next(self._scopes)


class _Resolver(ast.NodeTransformer):
    def __init__(self, program: Program, module: Module) -> None:
        self._program = program
        self._module = module
        self._scopes: list[dict[str, str]] = []
        self._class: list[bool] = []

    def top(self) -> Iterator[tuple[ast.stmt, tuple[str, ...]]]:
        """The statements of the top level but imports, resolved, with what they bind."""
        for node in self._module.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                continue
            bound = sorted(bound_names([node]))
            if not bound:
                raise LinkError(f"{self._module.name}, line {node.lineno}: a statement that binds no name")
            yield self.visit(node), tuple(f"{self._module.name}:{name}" for name in bound)

    def _meaning(self, name: str) -> str:
        for depth in range(len(self._scopes) - 1, -1, -1):
            if name in self._scopes[depth] and (depth == len(self._scopes) - 1 or not self._class[depth]):
                return self._scopes[depth][name]
        if name in self._module.bound:
            return f"{self._module.name}:{name}"
        return self._program.resolve(self._module.imported.get(name, name))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._meaning(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id.startswith("%"):
            source = node.value.id[1:]
            target = f"%{source}.{node.attr}" if f"{source}.{node.attr}" in self._program.modules else f"{source}:{node.attr}"
            return ast.Name(self._program.resolve(target), node.ctx)
        own = isinstance(node.value, ast.Name) and node.value.id.startswith("self@")
        if _foreign(node.value) or (self._module.machine and not own):
            if not isinstance(node.value, ast.Name) or not node.value.id.startswith("!"):
                self._program.reserved.add(node.attr)
        elif not (node.attr.startswith("__") and node.attr.endswith("__")):
            node.attr = "#" + node.attr
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        match node.value:
            case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id=module), ast.Constant(value=str(name)), value]) if (
                module.startswith("%")
            ):
                target = f"{module[1:]}:{name}"
                return [ast.Global([target]), ast.Assign([ast.Name(target, ast.Store())], value, lineno=node.lineno)]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._meaning(node.name)
        node.bases = [self.visit(base) for base in node.bases]
        self._scopes.append({name: name if name.startswith("__") else "#" + name for name in bound_names(node.body)})
        self._class.append(True)
        node.body = [self.visit(statement) for statement in node.body]
        self._leave()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._function(node)

    def _function(self, node: Function) -> ast.AST:
        if not isinstance(node, ast.Lambda):
            node.name = self._meaning(node.name)
            node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        every = node.args
        every.defaults = [self.visit(default) for default in every.defaults]
        every.kw_defaults = [None if default is None else self.visit(default) for default in every.kw_defaults]
        body = node.body if isinstance(node.body, list) else [node.body]
        arguments = [arg for arg in (*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg) if arg]
        number = self._program.scope()
        scope = {name: f"{name}@{number}" for name in bound_names(body) | {arg.arg for arg in arguments}}
        for statement in body:
            for inner in _within(statement):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    for name, target in self._program.targets(inner):
                        scope[name] = f"!{name}@{number}" if target.startswith("!") else self._program.resolve(target)
                elif isinstance(inner, ast.Global | ast.Nonlocal):
                    for name in inner.names:
                        scope.pop(name, None)
        self._scopes.append(scope)
        self._class.append(False)
        for arg in arguments:
            arg.arg = scope[arg.arg]
        if isinstance(node, ast.Lambda):
            node.body = self.visit(node.body)
        else:
            node.body = [inner for statement in node.body for inner in _several(self.visit(statement))]
        self._leave()
        return node

    def _leave(self) -> None:
        self._scopes.pop()
        self._class.pop()

    def _comprehension(self, node: _Comprehension) -> ast.AST:
        number = self._program.scope()
        self._scopes.append({name: f"{name}@{number}" for part in node.generators for name in bound_names([part.target])})
        self._class.append(False)
        self.generic_visit(node)
        self._leave()
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815 - ast wants these names

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self._meaning(node.name) if node.name else None
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [self._meaning(name) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self._meaning(name) for name in node.names]
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        return self._lazy(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        return self._lazy(node)

    def _lazy(self, node: ast.Import | ast.ImportFrom) -> ast.AST:
        """An import within a function: from elsewhere it stays, of ours it becomes a mark."""
        ours = []
        for name, target in self._program.targets(node):
            if target.startswith("!"):
                alias = next(alias for alias in node.names if name in (alias.asname, alias.name))
                alias.asname = self._meaning(name).removeprefix("!")
            else:
                ours.append(ast.alias(self._program.resolve(target)))
        return ast.ImportFrom(LAZY, ours, 0) if ours else node


def _several(visited: ast.stmt | list[ast.stmt]) -> list[ast.stmt]:
    return visited if isinstance(visited, list) else [visited]


def _foreign(node: ast.expr) -> bool:
    """Whether this begins with something imported from elsewhere."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and node.id.startswith("!")


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is in it, but not what is in the scopes within it."""
    yield node
    if not isinstance(node, Function | ast.ClassDef | _Comprehension):
        for child in ast.iter_child_nodes(node):
            yield from _within(child)


def bound_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that are bound in a scope with these statements or targets."""
    found: set[str] = set()
    for node in nodes:
        for inner in _within(node):
            match inner:
                case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.ExceptHandler(name=str(name)):
                    found.add(name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    found.add(name)
                case ast.Import(names=names) | ast.ImportFrom(names=names):
                    found.update(alias.asname or alias.name.split(".")[0] for alias in names)
    return found
