"""YAML that a person wrote: read strictly, and every mistake told with its line.

The scalars are those of YAML 1.2's core schema, so that `off`, `no` and `12:30` stay the texts they look like. Keys that
stand twice, tags, and aliases that contain themselves are refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from ohmstead.errors import ConfigurationError, Mistake

Where = tuple[str | int, ...]
"""Where something stands in a document: the keys and indices from the top."""

_MAX_BYTES = 1_000_000
_MAX_NODES = 100_000
_MAX_DIGITS = 40
_BOUNDS = {"greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than", "less_than_equal": "at most"}
_FIELD = re.compile(r"(?!(?:int|float|str|bool|list|dict|tuple)$)[a-z][a-z0-9_]*")
_SECRET = re.compile(r"password|secret|token|key$", re.IGNORECASE)


class _CoreLoader(yaml.SafeLoader):
    """Composes nodes with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - the attribute PyYAML reads


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.0123456789")),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass(frozen=True)
class Document:
    """A YAML file as plain values (`value`), and the line of everything in it. `mistakes`: keys that stand twice (the first counts),
    for who wants to look for more before he refuses it."""

    file: str
    value: Any
    _lines: Mapping[tuple[str, ...], int] = field(repr=False)
    mistakes: tuple[Mistake, ...] = ()

    def line(self, path: Iterable[str | int]) -> int:
        """The line (from 1) of the key or item at `path`; of the nearest thing around it when there is no such key."""
        parts = tuple(str(part) for part in path)
        while parts and parts not in self._lines:
            parts = parts[:-1]
        return self._lines.get(parts, 1)


def read(path: Path | str, shown_as: str | None = None, *, strict: bool = True) -> Document:
    """Reads the file at `path`. Raises ConfigurationError with all mistakes of its form; they name `shown_as` or the path. Unless
    `strict`, keys that stand twice are left to the document's `mistakes`."""
    name = shown_as or str(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError([Mistake(name, 0, "", f"cannot be read: {error.strerror}")]) from error
    if len(content) > _MAX_BYTES:
        raise ConfigurationError([Mistake(name, 0, "", f"is larger than {_MAX_BYTES // 1000} kB")])
    try:
        return parse(content.decode(), name, strict=strict)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigurationError([Mistake(name, line, "", "is not UTF-8 text from here on")]) from error


def parse(text: str, file: str, *, strict: bool = True) -> Document:
    """Like `read`, from a text; `file` is the name that mistakes carry."""
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise ConfigurationError([Mistake(file, line, "", _plain_words(error), column=column)]) from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigurationError([Mistake(file, line, "", f"the character U+{int(error.character):04X} is not allowed")]) from error
    except RecursionError as error:
        raise ConfigurationError([Mistake(file, 0, "", "is nested too deeply")]) from error
    walk = _Walk(file)
    value = None if node is None else walk.value(node, ())
    if walk.mistakes or (strict and walk.repeated):
        raise ConfigurationError([*walk.mistakes, *walk.repeated])
    return Document(file, value, walk.lines, tuple(walk.repeated))


class _Walk:
    """From nodes to values, noting each line and each mistake on the way."""

    def __init__(self, file: str) -> None:
        self.mistakes: list[Mistake] = []
        self.repeated: list[Mistake] = []
        self.lines: dict[tuple[str, ...], int] = {}
        self._file = file
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        self._count += 1
        if id(node) in self._open or self._count > _MAX_NODES:
            self._mistake(node, path, "an alias repeats itself without end" if id(node) in self._open else "too many values")
            return None
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
                return [self.value(item, (*path, str(index))) for index, item in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
                return self._mapping(node, path)
        finally:
            self._open.discard(id(node))
        self._mistake(node, path, f"the tag {node.tag} is not allowed here")
        return None

    def _mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str | int, Any]:
        mapping: dict[str | int, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._mistake(key_node, path, "a key must be a plain word or number")
                continue
            key = self._scalar(key_node, path)
            if not isinstance(key, int) or isinstance(key, bool):
                key = str(key_node.value)
            below = (*path, str(key))
            if key in mapping:
                text = f"stands here a second time; the first is in line {self.lines[below]}"
                self.repeated.append(Mistake(self._file, key_node.start_mark.line + 1, ".".join(below), text))
                continue
            self.lines[below] = key_node.start_mark.line + 1
            mapping[key] = self.value(value_node, below)
        return mapping

    def _scalar(self, node: yaml.ScalarNode, path: tuple[str, ...]) -> Any:
        text = str(node.value)
        match node.tag.rpartition(":")[2]:
            case "str":
                return text
            case "int" | "float" if len(text) > _MAX_DIGITS:
                self._mistake(node, path, "is too long for a number")
                return None
            case "int":
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            case "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan") if text.lower().endswith(("inf", "nan")) else text)
            case "bool":
                return text.lower() == "true"
            case "null":
                return None
            case _:
                self._mistake(node, path, f"the tag {node.tag} is not allowed here")
                return None

    def _mistake(self, node: yaml.Node, path: tuple[str, ...], text: str) -> None:
        self.mistakes.append(Mistake(self._file, node.start_mark.line + 1, ".".join(path), text))


def _plain_words(error: yaml.MarkedYAMLError) -> str:
    said = f"{error.context or ''} {error.problem or ''}"
    opened = f" (opened in line {error.context_mark.line + 1})" if error.context_mark else ""
    for symptom, words in (
        (r"'\\t'", "a tab stands here; indent with blanks"),
        ("mapping values are not allowed", "a colon too many: put the text in quotes, or check the indentation"),
        (r"flow mapping", f"a comma or the closing brace }} is missing{opened}"),
        (r"flow sequence", f"a comma or the closing bracket ] is missing{opened}"),
        (r"quoted scalar", f"the closing quote is missing{opened}"),
        ("could not find expected ':'", "a key without its colon"),
        ("block (mapping|collection|sequence)", "the indentation does not fit what stands above"),
        ("undefined alias", "this alias (*) has no anchor (&)"),
        ("duplicate anchor", "this anchor (&) exists already"),
        ("cannot start any token", "this character cannot begin a text: put the text in quotes"),
        ("single document", "a second document (---) begins; one file holds one"),
    ):
        if re.search(symptom, said):
            return words
    return f"is not YAML: {said.strip()}"


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], document: Document, context: Mapping[str, Any] | None = None) -> Model:
    """The document as a `model`. Raises ConfigurationError with every mistake: those of single fields, and those between
    fields (`problems`) that can be judged without the faulty ones."""
    context = dict(context or {})
    try:
        return model.model_validate(document.value, context=context)
    except ValidationError as error:
        found = mistakes(error, document, model)
        faulty = [tuple(item["loc"]) for item in error.errors(include_url=False, include_input=False) if item["loc"]]
        if faulty:
            found += _mistakes_without(model, document, context, faulty)
        raise ConfigurationError(dict.fromkeys(found)) from error


def _mistakes_without(model: type[BaseModel], document: Document, context: dict[str, Any], faulty: list[Where]) -> list[Mistake]:
    """What is still wrong between fields when each faulty entry is left out (`context["left_out"]` names them)."""
    left_out = frozenset(path[:2] for path in faulty)
    value = document.value
    for path in left_out:
        value = _without(value, path)
    try:
        model.model_validate(value, context={**context, "left_out": left_out})
    except ValidationError as error:
        rest = [item for item in error.errors(include_url=False, include_input=False) if _problems(item) is not None]
        return [mistake for item in rest for mistake in _told(item, document, model)]
    return []


def _without(value: Any, path: Where) -> Any:
    if not path or not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1 or not isinstance(value[path[0]], dict):
        return {key: item for key, item in value.items() if key != path[0]}
    return {**value, path[0]: _without(value[path[0]], path[1:])}


def problems(found: Iterable[tuple[Where, str]]) -> PydanticCustomError:
    """For a model's validator: several problems between fields as one error, each with its path below that model."""
    listed = list(found)
    message = "; ".join(f"{'.'.join(map(str, path))}: {text}" for path, text in listed)
    return PydanticCustomError("problems", "{message}", {"message": message, "problems": listed})


def mistakes(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Mistake]:
    """Each error of pydantic in plain words with its line; `model` is the model that was validated."""
    return [mistake for item in error.errors(include_url=False) for mistake in _told(item, document, model)]


def _problems(item: ErrorDetails) -> list[tuple[Where, str]] | None:
    found = item.get("ctx", {}).get("problems") if item["type"] == "problems" else None
    return found if isinstance(found, list) else None


def _told(item: ErrorDetails, document: Document, model: type[BaseModel]) -> Iterator[Mistake]:
    location = tuple(item["loc"])
    for path, text in _problems(item) or []:
        full = (*location, *path)
        yield Mistake(document.file, document.line(full), ".".join(map(str, full)), text)
    if _problems(item) is not None:
        return
    shown = item.get("input")
    path = _in_document(location, document.value, whole=None if item["type"] == "missing" else shown)
    plain = isinstance(shown, str | int | float) and item["type"] not in ("missing", "extra_forbidden")
    hidden = any(_SECRET.search(str(part)) for part in path[-1:])
    value = "" if not plain or hidden else str(shown)[:60]
    yield Mistake(document.file, document.line(path), ".".join(map(str, path)), _words(item, model), value)


def _in_document(location: Where, value: Any, whole: Any) -> Where:
    """The location without what pydantic adds for itself (names of union members, `[key]`); the last part may be a field that
    the document leaves out, unless the mistake is one of the `whole` section."""
    path: list[str | int] = []
    for depth, part in enumerate(location, 1):
        inside = isinstance(part, int) and part < len(value) if isinstance(value, list) else isinstance(value, dict) and part in value
        if inside:
            value = value[part]
            path.append(part)
        elif depth == len(location) and isinstance(value, dict) and value != whole and _FIELD.fullmatch(str(part)):
            path.append(part)
    return tuple(path)


def _words(item: ErrorDetails, model: type[BaseModel]) -> str:
    context: Mapping[str, Any] = item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            written, known = str(item["loc"][-1]), _known_keys(model, item["loc"][:-1])
            return "does not fit here" if written in known else f"unknown{did_you_mean(written, known)}"
        case "missing":
            return "is missing"
        case "literal_error" | "enum":
            return f"must be {str(context['expected']).replace(chr(39), '`')}"
        case "int_type" | "int_parsing" | "int_from_float":
            return "must be a whole number"
        case "float_type" | "float_parsing" | "finite_number":
            return "must be a number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "string_type":
            return "must be a text (in quotes if it looks like a number)"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be a map of `key: value`"
        case "list_type" | "tuple_type":
            return "must be a list"
        case "value_error" | "assertion_error":
            return str(context.get("error", item["msg"]))
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" as bound:
            return f"must be {_BOUNDS[bound]} {next(iter(context.values()))}"
        case "string_too_short" | "too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case _:
            return item["msg"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean `x`?" for the closest of `known`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


def _known_keys(model: type[BaseModel], location: Where) -> list[str]:
    """The keys that the model at `location` takes."""
    here: list[Any] = [model]
    for part in location:
        below = [inner for kind in here for inner in _below(kind, part)]
        here = below or here
    return [
        str(spec.alias or name)
        for kind in _models(here)
        for name, spec in kind.model_fields.items()
        if not (spec.json_schema_extra and isinstance(spec.json_schema_extra, dict) and spec.json_schema_extra.get("injected"))
    ]


def _models(kinds: Iterable[Any]) -> Iterator[type[BaseModel]]:
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
        else:
            yield from _models(get_args(kind))


def _below(kind: Any, part: str | int) -> list[Any]:
    """The types that may stand at `part` of a value of type `kind`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [spec.annotation for name, spec in kind.model_fields.items() if part == (spec.alias or name)]
    arguments = get_args(kind)
    origin = getattr(kind, "__origin__", None)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return [arguments[1]]
    if isinstance(origin, type) and issubclass(origin, list | tuple):
        return [arguments[0]]
    return [inner for argument in arguments for inner in _below(argument, part)]
