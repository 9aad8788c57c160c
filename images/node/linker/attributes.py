"""What objects of ours have: their attributes and methods, as the names in the trees of `sources` tell."""

from __future__ import annotations

import ast
from collections.abc import Iterable


def defined(nodes: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """Attributes that our sources define; and those among them that are methods."""
    found, methods = set(), set()
    for node in nodes:
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id=owner)) if owner.startswith("self@") and name.startswith("#"):
                found.add(name[1:])
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("#"):
                methods.add(name[1:])
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Name(id=function)) if function.startswith("overlay:"):
                methods |= {name[1:]} if name.startswith("#") else set()
            case ast.Name(id=name, ctx=ast.Store()) if name.startswith("#"):
                found.add(name[1:])
    return found | methods, methods


def families(nodes: Iterable[ast.AST]) -> list[set[str]]:
    """For each set of classes that inherit from each other: all attributes that an object of them may have."""
    own: dict[str, set[str]] = {}
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    for node in classes:
        root[node.name] = node.name
        inside = list(ast.walk(node))
        own[node.name] = defined(inside)[0] | {
            inner.attr.removeprefix("#")
            for inner in inside
            if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id.startswith("self@")
        }
    for node in classes:
        for base in node.bases:
            if isinstance(base, ast.Name) and base.id in root:
                root[find(node.name)] = find(base.id)
    together: dict[str, set[str]] = {}
    for name, attributes in own.items():
        together.setdefault(find(name), set()).update(attributes)
    return list(together.values())
