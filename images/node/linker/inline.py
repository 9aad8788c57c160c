"""Puts what is called from one place only into that place.

A function costs some 80 bytes beside its code: the object, its entry in the class or the module, the head of its code, what is lost at
its end. Only calls that are a statement, the whole of an assignment or of a `return` are replaced, and only where the function's own
`return`s allow it. Every local name is unique already (`sources`), so nothing can clash.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from .sources import bound_names

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Inliner:
    """`trees`: all parts. `kept`: names of methods that somebody else may call. `done`: what went where."""

    def __init__(self, trees: Mapping[str, list[ast.stmt]], kept: Iterable[str]) -> None:
        self.done: dict[str, str] = {}
        self._trees = trees
        self._kept = frozenset(kept)
        while self._pass():
            pass

    def _pass(self) -> bool:
        nodes = [node for body in self._trees.values() for tree in body for node in ast.walk(tree)]
        uses = Counter(node.attr for node in nodes if isinstance(node, ast.Attribute))
        uses += Counter(node.id for node in nodes if isinstance(node, ast.Name))
        texts = {f"#{node.value}" for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        defined = Counter(node.name for node in nodes if isinstance(node, _Function))
        stored = {node.attr for node in nodes if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)}
        out_of_question = texts | imported | stored
        gone: set[int] = set()
        for part, body in self._trees.items():
            if part == "main":
                continue
            candidates = {
                function.name: (function, owner)
                for function, owner in _functions(body)
                if uses[function.name] == defined[function.name] == 1
                and (function.name.startswith("#") or ":" in function.name)
                and function.name not in out_of_question
                and function.name.removeprefix("#") not in self._kept
                and _suitable(function)
            }
            for caller, _ in list(_functions(body)):
                if id(caller) in gone:
                    continue
                splice = _Splice(candidates, caller)
                caller.body = splice.block(caller.body, True)
                for name in splice.used:
                    function, home = candidates.pop(name)
                    home.remove(function)
                    self.done[name] = caller.name
                    gone.add(id(function))
        for body in self._trees.values():
            for node in body:
                if isinstance(node, ast.ClassDef) and not node.body:
                    node.body.append(ast.Pass())
        return bool(gone)


class _Splice:
    """Replaces calls in the statements of one function. `used`: which functions were put in."""

    def __init__(self, candidates: Mapping[str, tuple[_Function, list[ast.stmt]]], caller: _Function) -> None:
        self._candidates = candidates
        self._caller = caller
        self.used: list[str] = []

    def block(self, statements: list[ast.stmt], last: bool) -> list[ast.stmt]:
        """`last`: what follows the last of these statements is the end of the function."""
        result: list[ast.stmt] = []
        for statement in statements:
            is_last = last and statement is statements[-1]
            if (replaced := self._replace(statement, is_last)) is not None:
                result += replaced
                continue
            for name in ("body", "orelse", "finalbody"):
                inner = getattr(statement, name, None)
                if inner and not isinstance(statement, _Function | ast.ClassDef):
                    setattr(statement, name, self.block(inner, is_last and isinstance(statement, ast.If)))
            for handler in getattr(statement, "handlers", ()):
                handler.body = self.block(handler.body, False)
            result.append(statement)
        return result

    def _replace(self, statement: ast.stmt, last: bool) -> list[ast.stmt] | None:
        """What comes in the place of a statement; None: it stays."""
        if not isinstance(statement, ast.Expr | ast.Assign | ast.Return) or statement.value is None:
            return None
        call = statement.value
        waits = isinstance(call, ast.Await)
        if isinstance(call, ast.Await):
            call = call.value
        if not isinstance(call, ast.Call):
            return None
        name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""
        if name not in self._candidates or name in self.used:
            return None
        function, _ = self._candidates[name]
        if function is self._caller or isinstance(function, ast.AsyncFunctionDef) != waits:
            return None
        body = function.body
        returns = [node for inner in body for node in ast.walk(inner) if isinstance(node, ast.Return)]
        ends = isinstance(body[-1], ast.Return | ast.Raise)
        tail: list[ast.stmt]
        if isinstance(statement, ast.Return):
            tail = [] if ends else [ast.Return(None)]
        elif isinstance(statement, ast.Expr) and last and all(node.value is None for node in returns):
            tail = []
        elif not returns:
            tail = [] if isinstance(statement, ast.Expr) else [ast.Assign(statement.targets, ast.Constant(None))]
        elif len(returns) == 1 and body[-1] is returns[0]:
            value = returns[0].value or ast.Constant(None)
            tail = [ast.Expr(value) if isinstance(statement, ast.Expr) else ast.Assign(statement.targets, value)]
            body = body[:-1]
        else:
            return None
        given = _arguments(function, call)
        if given is None:
            return None
        self.used.append(name)
        changed = bound_names(body)
        replace: dict[str, ast.expr] = {}
        first: list[ast.stmt] = []
        for parameter, argument in given.items():
            simple = isinstance(argument, ast.Constant) or (isinstance(argument, ast.Name) and "@" in argument.id)
            if simple and parameter not in changed:
                replace[parameter] = argument
            else:
                first.append(ast.Assign([ast.Name(parameter, ast.Store())], argument))
        put = _Put(replace)
        return [*first, *(put.visit(node) for node in (*body, *tail))]


class _Put(ast.NodeTransformer):
    def __init__(self, replace: Mapping[str, ast.expr]) -> None:
        self._replace = replace

    def visit_Name(self, node: ast.Name) -> ast.AST:
        given = self._replace.get(node.id)
        if isinstance(given, ast.Name):
            return ast.Name(given.id, node.ctx)
        return ast.Constant(given.value) if isinstance(given, ast.Constant) else node


def _functions(body: list[ast.stmt]) -> Iterator[tuple[_Function, list[ast.stmt]]]:
    """Functions and methods with the list of statements that they are in."""
    for node in list(body):
        if isinstance(node, _Function):
            yield node, body
        elif isinstance(node, ast.ClassDef):
            yield from ((inner, node.body) for inner in list(node.body) if isinstance(inner, _Function))


def _suitable(function: _Function) -> bool:
    every = function.args
    if every.vararg or every.kwarg or every.kwonlyargs or every.posonlyargs or function.decorator_list:
        return False
    forbidden = (*(ast.Yield, ast.YieldFrom, ast.Lambda, ast.Global, ast.Nonlocal), ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    inside = [node for statement in function.body for node in ast.walk(statement)]
    return not any(isinstance(node, forbidden) for node in inside) and (not function.name.startswith("#") or bool(every.args))


def _arguments(function: _Function, call: ast.Call) -> dict[str, ast.expr] | None:
    """What each parameter gets; None if that cannot be told."""
    given = list(call.args)
    if function.name.startswith("#"):
        owner = call.func.value if isinstance(call.func, ast.Attribute) else call.func
        if not isinstance(owner, ast.Attribute) and not (isinstance(owner, ast.Name) and "@" in owner.id):
            return None  # a class, or super()
        given.insert(0, owner)
    names = [argument.arg for argument in function.args.args]
    if len(given) > len(names) or any(isinstance(argument, ast.Starred) for argument in given):
        return None
    bound = dict(zip(names, given, strict=False))
    for keyword in call.keywords:
        fitting = [name for name in names if name.split("@")[0] == keyword.arg]
        if len(fitting) != 1 or fitting[0] in bound:
            return None
        bound[fitting[0]] = keyword.value
    defaults = function.args.defaults
    for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
        if name not in bound and not isinstance(default, ast.Constant):
            return None
        bound.setdefault(name, default)
    return bound if len(bound) == len(names) else None
