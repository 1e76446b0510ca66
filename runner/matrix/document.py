"""A YAML file as plain data with the place of every key and value, and the problems found in it.

YAML is composed to nodes and never constructed: a tag is refused, whatever it would make.
"""

import difflib
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from runner.errors import UsageError

#: Where something is in the data: keys and indices from the top.
Place = tuple[str | int, ...]

# A matrix is some kilobytes. What is larger is another file; aliases of aliases can grow without end.
MOST_BYTES = 1_000_000
MOST_NODES = 50_000
MOST_DEPTH = 40
# A misread file breaks everywhere at once; the first lines are what helps.
MOST_PROBLEMS = 20

_TAG = "tag:yaml.org,2002:"
# Malformed escapes and directives break ruamel itself; it is the file's fault all the same.
_BROKEN = (YAMLError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
_IN_WORDS = {"int": "whole number", "float": "finite number", "bool": "truth value", "str": "text"}
_TAB = re.compile(r"found character '\\t' that cannot start any token")


class Position(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(order=True, frozen=True)
class Problem:
    position: Position
    text: str


@dataclass
class Document:
    """`data` is what the file says; `problems` what is wrong with it so far."""

    path: Path
    data: Any = None
    keys: dict[Place, Position] = field(default_factory=dict)
    values: dict[Place, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def value_at(self, place: Place) -> Position:
        """Where the value stands, or the nearest thing that encloses it."""
        return self._nearest(self.values, place)

    def key_at(self, place: Place) -> Position:
        """Where the key stands (the item itself in a list), or the nearest thing that encloses it."""
        return self.keys[place] if place in self.keys else self._nearest(self.values, place)

    def _nearest(self, positions: Mapping[Place, Position], place: Place) -> Position:
        while place and place not in positions:
            place = place[:-1]
        return positions.get(place, Position(1, 1))

    def at_value(self, place: Place, text: str) -> None:
        """Notes a problem with the value at `place`."""
        self._note(self.value_at(place), place, text)

    def at_key(self, place: Place, text: str) -> None:
        """Notes a problem with the key at `place`."""
        self._note(self.key_at(place), place, text)

    def _note(self, position: Position, place: Place, text: str) -> None:
        where = ".".join(map(str, place))
        self.problems.append(Problem(position, f"{where}: {text}" if where else text))

    def refuse_if_wrong(self) -> None:
        """Raises one UsageError with all problems, in the file's order, if there are any."""
        if not self.problems:
            return
        found = sorted(set(self.problems))
        lines = [f"{self.path}:{at.line}:{at.column}: {text}" for at, text in ((p.position, p.text) for p in found)]
        if len(lines) > MOST_PROBLEMS:
            lines[MOST_PROBLEMS:] = [f"… and {len(lines) - MOST_PROBLEMS} more"]
        raise UsageError("\n".join(lines))


def shown(value: object) -> str:
    """A value as a YAML author would write it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping | list):
        noun = "list" if isinstance(value, list) else "mapping"
        return f"a {noun}" if value else f"an empty {noun}"
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def nearest(found: object, allowed: Iterable[str]) -> str:
    """`; did you mean 'threads'?`, or nothing where no spelling is near."""
    close = difflib.get_close_matches(str(found), list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def not_among(found: object, allowed: Sequence[str]) -> str:
    """What was found, what is allowed, and the nearest spelling."""
    return f"found {shown(found)}, allowed: {', '.join(allowed) or 'nothing'}{nearest(found, allowed)}"


def read_document(path: Path) -> Document:
    """The file as plain data; UsageError, with the place if there is one, if it is no YAML that we read."""
    document = Document(path)
    node = _compose(document, _read_text(path))
    if node is None:
        raise UsageError(f"{path}:1:1: the file is empty; a matrix begins with `name:`")
    _Converter(document).run(node)
    return document


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: too large for a matrix: over {MOST_BYTES:,} bytes")
        raw = path.read_bytes()
    except FileNotFoundError as error:
        siblings = [file.name for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise UsageError(f"{path}: there is no such file{nearest(path.name, siblings)}") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path}: this is a folder, not a matrix file") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", errors="replace")
        at = _position_in(before, len(before))
        found = f"byte 0x{raw[error.start]:02x}"
        raise UsageError(f"{path}:{at.line}:{at.column}: not UTF-8: found {found}; save the file as UTF-8") from error


def _position_in(text: str, offset: int) -> Position:
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _compose(document: Document, text: str) -> Node | None:
    try:
        # A reused anchor is legal YAML, and ruamel's warning about it no business of the reader's.
        with warnings.catch_warnings(action="ignore"):
            node: Node | None = YAML(typ="safe", pure=True).compose(text)
            return node
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        problem = _in_words(error)
    except ReaderError as error:
        at, problem = (
            _position_in(text, error.position),
            f"found a control character: U+{error.character:04X}",
        )
    except RecursionError:
        at, problem = Position(1, 1), "nested too deeply"
    except _BROKEN as error:
        at, problem = Position(1, 1), f"no valid YAML: {error}"
    document.problems.append(Problem(at, problem))
    document.refuse_if_wrong()
    return None


def _in_words(error: MarkedYAMLError) -> str:
    if _TAB.search(str(error.problem)):
        return "found a tab; YAML indents with spaces"
    return ", ".join(str(part) for part in (error.context, error.problem) if part)


class _Converter:
    """Nodes to plain data. Every alias is followed, so that the count of nodes is that of the data."""

    def __init__(self, document: Document) -> None:
        self._document = document
        scalars = SafeConstructor(loader=YAML(typ="safe", pure=True))
        self._read: dict[str, Callable[[ScalarNode], Any]] = {
            **dict.fromkeys(("str", "timestamp", "value", "!"), lambda node: _text(node.value)),
            "null": lambda _: None,
            "bool": scalars.construct_yaml_bool,
            "int": scalars.construct_yaml_int,
            "float": lambda node: _finite(scalars.construct_yaml_float(node)),
        }
        self._nodes = 0

    def run(self, node: Node) -> None:
        self._document.data = self._convert(node, ())
        self._document.refuse_if_wrong()

    def _convert(self, node: Node, place: Place) -> Any:
        self._document.values[place] = _position(node)
        self._nodes += 1
        if self._nodes > MOST_NODES or len(place) > MOST_DEPTH:
            text = "too many values, or nested too deeply: does an alias hold itself?"
            self._document.at_value(place[:1], text)
            self._document.refuse_if_wrong()
        if isinstance(node, MappingNode) and self._has_tag(node, place, "map"):
            return self._mapping(node, place)
        if isinstance(node, SequenceNode) and self._has_tag(node, place, "seq"):
            return [self._convert(child, (*place, index)) for index, child in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, place)
        return None

    def _has_tag(self, node: Node, place: Place, plain: str) -> bool:
        if str(node.tag) == _TAG + plain:
            return True
        self._document.at_value(place, f"found the tag {_short(node)}; tags are not read")
        return False

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if str(key_node.tag) == _TAG + "merge":
                merged |= self._merged(value_node, place)
                continue
            key = self._key(key_node)
            if key is None:
                continue
            if key in result:
                first = self._document.keys[*place, key]
                text = f"found {key!r} twice in one mapping; the first is in line {first.line}"
                self._document.problems.append(Problem(_position(key_node), text))
                continue
            self._document.keys[*place, key] = _position(key_node)
            result[key] = self._convert(value_node, (*place, key))
        return {**merged, **result}

    def _merged(self, node: Node, place: Place) -> dict[str, Any]:
        """What `<<` brings in; a mapping's own keys win over it, and the first of several over the others."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            value = self._convert(source, (*place, "<<"))
            if isinstance(value, dict):
                merged = {**value, **merged}
            else:
                self._document.at_value((*place, "<<"), f"found {shown(value)}, allowed: a mapping to merge")
        return merged

    def _key(self, node: Node) -> str | None:
        if isinstance(node, ScalarNode) and str(node.tag) == _TAG + "str" and node.value.isprintable():
            return str(node.value)
        found = repr(node.value) if isinstance(node, ScalarNode) else "a mapping or list"
        text = f"found {found} as a key; keys are text: write it in quotes if it is a name"
        self._document.problems.append(Problem(_position(node), text))
        return None

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        if kind not in self._read:
            self._document.at_value(place, f"found the tag {_short(node)}; tags are not read")
            return None
        try:
            return self._read[kind](node)
        except (ValueError, KeyError, IndexError, OverflowError):
            self._document.at_value(place, f"found {shown(node.value)}, which is no {_IN_WORDS.get(kind, kind)}")
            return None


def _position(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _text(text: str) -> str:
    # An escape can make half a surrogate pair, which nobody can print or save.
    text.encode()
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("a matrix has no use for what is not finite")
    return number


def _short(node: Node) -> str:
    return str(node.tag).replace(_TAG, "!!")
