"""Keeps a part's messages in one long text, out of which they are cut when they are wanted.

A text that is too long to be a name is an object of its own, with its bytes beside it: 64 bytes and more, all the time, for what is
said once in a blue moon. Short texts and bytes stay as they are: they are names for MicroPython. Names are never forgotten, though; a
part that comes and goes has its short texts in the long one as well. What stands in f-strings becomes `format`, as MicroPython does anyway.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

INTERNED = 10
"""Texts up to this length are names for MicroPython (MICROPY_ALLOC_PARSE_INTERN_STRING_LEN)."""
_MOST = 255
NAME = 1
"""A text of one character is a name in any case, as soon as somebody looks at it."""
TEXTS, CUT = "texts:all", "texts:cut"


class _Collect(ast.NodeTransformer):
    """Puts a call in the place of every long text within a function."""

    def __init__(self, longest: int) -> None:
        """`longest`: texts up to this length stay."""
        self.all = ""
        self._longest = longest
        self._depth = 0

    def _function(self, node: ast.AST) -> ast.AST:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815 - ast wants these names

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        template = ""
        values: list[ast.expr] = []
        for piece in node.values:
            if isinstance(piece, ast.Constant):
                template += str(piece.value).replace("{", "{{").replace("}", "}}")
            elif isinstance(piece, ast.FormattedValue):
                specification = piece.format_spec.values if isinstance(piece.format_spec, ast.JoinedStr) else []
                if not all(isinstance(part, ast.Constant) for part in specification):
                    return self.generic_visit(node)
                form = "".join(str(part.value) for part in specification if isinstance(part, ast.Constant))
                template += "{" + (f"!{chr(piece.conversion)}" if piece.conversion > 0 else "") + (f":{form}" if form else "") + "}"
                values.append(piece.value)
        if len(template) <= self._longest:
            return self.generic_visit(node)
        return self.generic_visit(ast.Call(ast.Attribute(ast.Constant(template), "format", ast.Load()), values, []))

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        node.value = self.visit(node.value)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        text = node.value
        if not self._depth or not isinstance(text, str) or not self._longest < len(text) <= _MOST or not text.isascii():
            return node
        if text not in self.all:
            self.all += text
        place = self.all.index(text) << 8 | len(text)
        return ast.Call(ast.Name(CUT, ast.Load()), [ast.Constant(place)], [])


def gather(body: Iterable[ast.stmt], longest: int = INTERNED) -> list[ast.stmt]:
    """The same statements with all texts that are longer than that in one; without any they come back as they were."""
    collect = _Collect(longest)
    changed = [collect.visit(statement) for statement in body]
    if not collect.all:
        return changed
    source = f"texts = {collect.all!r}\ndef cut(place):\n    start = place >> 8\n    return texts[start:start + (place & 255)]\n"
    texts = ast.parse(source)
    for node in ast.walk(texts):
        match node:
            case ast.Name(id="texts"):
                node.id = TEXTS
            case ast.FunctionDef():
                node.name = CUT
            case ast.Name(id=name) | ast.arg(arg=name):
                setattr(node, "id" if isinstance(node, ast.Name) else "arg", f"{name}@texts")
    imports = [node for node in changed if isinstance(node, ast.Import | ast.ImportFrom)]
    return [*imports, *texts.body, *(node for node in changed if node not in imports)]
