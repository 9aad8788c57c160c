"""Makes a node's sources smaller before they are compiled, without changing what they do.

MicroPython keeps every name that it meets in RAM, once, and some 11 bytes of book-keeping with it. What a module calls by names
of its own (one leading underscore: attributes, methods, functions, values) nobody else needs to know, so each module's private
names become `_a`, `_b`, … and all modules share the same few. A name is left alone when another module uses it too, when it belongs
to somebody else's object (`core._io_queue`), or when it appears in a text.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping

_PRIVATE = re.compile(r"_[A-Za-z0-9][A-Za-z0-9_]*")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def short_names() -> Iterator[str]:
    """`_a` … `_z`, `_aa` … without end."""
    for length in itertools.count(1):
        for letters in itertools.product(_LETTERS, repeat=length):
            yield "_" + "".join(letters)


class _Names(ast.NodeVisitor):
    """Which private names a module defines, which it takes from objects other than `self`, and all other words in it."""

    def __init__(self) -> None:
        self.defined: set[str] = set()
        self.foreign: set[str] = set()
        self.words: set[str] = set()

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                self.foreign.add(node.attr)
            elif isinstance(node.ctx, ast.Store):
                self.defined.add(node.attr)
        elif isinstance(node, ast.Name):
            (self.defined if isinstance(node.ctx, ast.Store) else self.words).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.defined.add(node.name)
        else:
            self.words.update(_other_words(node))
        self.generic_visit(node)

    def own(self) -> set[str]:
        """The names that may be changed as far as this module is concerned."""
        return {name for name in self.defined if _PRIVATE.fullmatch(name)}


def _other_words(node: ast.AST) -> Iterator[str]:
    """Names that stand where they are not renamed, and texts that might be names."""
    match node:
        case ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.ExceptHandler(name=str(name)):
            yield name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names
        case ast.alias(name=name, asname=asname):
            yield from (name, asname or "")
        case ast.Constant(value=str(text)):
            yield text


class _Rename(ast.NodeTransformer):
    """Gives the names their short form."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = self._names.get(node.attr, node.attr)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._names.get(node.id, node.id)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        return self.generic_visit(node)


def shrink(sources: Mapping[str, str]) -> dict[str, str]:
    """Module's file name → smaller source. A class may not inherit private names from another module's class."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    seen = {name: _Names() for name in trees}
    for name, tree in trees.items():
        seen[name].visit(tree)
    shared = {name for names in seen.values() for name in names.foreign}
    result = {}
    for name, tree in trees.items():
        own = seen[name]
        unbound = {word for word in own.words if not _PRIVATE.fullmatch(word) or word not in own.defined}
        texts = {word for node in ast.walk(tree) for word in _other_words(node)}
        private = sorted(own.own() - shared - texts)
        taken = own.defined | own.foreign | unbound | texts
        fresh = (short for short in short_names() if short not in taken)
        result[name] = ast.unparse(_Rename(dict(zip(private, fresh, strict=False))).visit(tree)) + "\n"
    return result
