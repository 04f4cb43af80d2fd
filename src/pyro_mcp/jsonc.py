"""Reads JSON with comments and trailing commas, and changes one place of such a text and no other byte.

The text is read into nodes that know where they stand; an edit is a splice. Comments, blank lines, trailing
commas, indentation, line ends and the order of keys stay. What comes out is for the caller to check (`documents`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_SPACE = " \t\r\n\ufeff"
_SCALAR = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
MAX_DEPTH = 200
Key = str | int


class NotJson(ValueError):
    """The text cannot be read; says the line."""


@dataclass
class Node:
    """A value and where it stands."""

    start: int
    end: int
    value: Any
    children: list[Child] = field(default_factory=list)

    def child(self, key: Key) -> Child | None:
        """The last with this key, as readers take it."""
        return next((child for child in reversed(self.children) if child.key == key), None)


@dataclass
class Child:
    """A member of an object or an item of a list; `comma` is where the comma after it stands, -1 without."""

    key: Key
    start: int
    node: Node
    comma: int = -1


def read(text: str) -> Node:
    """The text as nodes.

    Raises:
        NotJson: it is not JSON, comments and trailing commas allowed.
    """
    reader = _Reader(text)
    at = reader.skip(0)
    if at == len(text):
        raise NotJson("it is empty")
    node = reader.value(at, 0)
    if reader.skip(node.end) != len(text):
        raise reader.wrong(reader.skip(node.end), "there is text after the end")
    return node


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def wrong(self, at: int, why: str) -> NotJson:
        return NotJson(f"line {self.text.count(chr(10), 0, at) + 1}: {why}")

    def skip(self, at: int) -> int:
        """Past whitespace and comments."""
        text = self.text
        while at < len(text):
            if text[at] in _SPACE:
                at += 1
            elif text.startswith("//", at):
                end = text.find("\n", at)
                at = len(text) if end < 0 else end
            elif text.startswith("/*", at):
                end = text.find("*/", at + 2)
                if end < 0:
                    raise self.wrong(at, "a comment does not end")
                at = end + 2
            else:
                break
        return at

    def value(self, at: int, depth: int) -> Node:
        text = self.text
        if depth > MAX_DEPTH:
            raise self.wrong(at, "too deeply nested")
        if text.startswith("{", at) or text.startswith("[", at):
            return self._inside(at, depth)
        if match := _STRING.match(text, at):
            try:
                return Node(at, match.end(), json.loads(match[0]))
            except ValueError:
                raise self.wrong(at, "this string has an invalid escape") from None
        if match := _SCALAR.match(text, at):
            try:
                return Node(at, match.end(), json.loads(match[0]))
            except ValueError:  # more digits than Python reads
                raise self.wrong(at, "this number is too long") from None
        raise self.wrong(at, "a value was expected")

    def _inside(self, at: int, depth: int) -> Node:
        text, is_object = self.text, self.text[at] == "{"
        close = "}" if is_object else "]"
        node = Node(at, at, {} if is_object else [])
        at = self.skip(at + 1)
        while not text.startswith(close, at):
            start, key = at, len(node.children)  # type: int, Key
            if is_object:
                match = _STRING.match(text, at)
                if not match:
                    raise self.wrong(at, f"a name in quotes or {close} was expected")
                try:
                    key = str(json.loads(match[0]))
                except ValueError:
                    raise self.wrong(at, "this name has an invalid escape") from None
                at = self.skip(match.end())
                if not text.startswith(":", at):
                    raise self.wrong(at, "a colon was expected")
                at = self.skip(at + 1)
            found = self.value(at, depth + 1)
            child = Child(key, start, found)
            node.children.append(child)
            if is_object:
                node.value[key] = found.value
            else:
                node.value.append(found.value)
            at = self.skip(found.end)
            if text.startswith(",", at):
                child.comma = at
                at = self.skip(at + 1)
            elif not text.startswith(close, at):
                raise self.wrong(at, f"a comma or {close} was expected")
        node.end = at + 1
        return node


# -- editing


def put(text: str, path: Sequence[Key], value: Any) -> str:
    """With `value` at `path`; objects on the way are made when they are missing.

    Raises:
        NotJson: something on the way is not an object.
    """
    if not text.strip(_SPACE):
        text = text.rstrip(_SPACE) + "{}\n"
    node = read(text)
    for depth, key in enumerate(path):
        if not isinstance(node.value, dict):
            raise NotJson(f"{'.'.join(map(str, path[:depth])) or 'the whole'} is not an object")
        child = node.child(key)
        if child is None:
            for missing in reversed(path[depth + 1 :]):
                value = {missing: value}
            return _insert(text, node, key, value)
        node = child.node
    return text[: node.start] + _written(text, value, _line_indent(text, node.start)) + text[node.end :]


def append(text: str, path: Sequence[Key], item: Any) -> str:
    """With `item` at the end of the list at `path`, which is made when it is missing."""
    node = read(text if text.strip(_SPACE) else "{}\n")
    for key in path:
        child = node.child(key) if isinstance(node.value, dict) else None
        if child is None:
            return put(text, path, [item])
        node = child.node
    if not isinstance(node.value, list):
        raise NotJson(f"{'.'.join(map(str, path))} is not a list")
    return _insert(text, node, None, item)


def remove(text: str, path: Sequence[Key]) -> str:
    """Without what is at `path`; the last step may be the place in a list."""
    node = read(text)
    for key in path[:-1]:
        child = node.child(key)
        if child is None:
            return text
        node = child.node
    child = node.child(path[-1])
    if child is None:
        return text
    end = child.node.end if child.comma < 0 else child.comma + 1
    start = child.start
    place = node.children.index(child)
    line = text.rfind("\n", 0, start) + 1
    rest = re.compile(r"[ \t]*\r?\n").match(text, end)
    if not text[line:start].strip() and rest:
        start, end = line, rest.end()
    elif child.comma >= 0 and (gap := re.compile(r"[ \t]+").match(text, end)):
        end = gap.end()
    if child.comma < 0 and place > 0 and (comma := node.children[place - 1].comma) >= 0:
        between = text[comma + 1 : start]
        return text[:comma] + (between if between.strip() or "\n" in between else "") + text[end:]
    return text[:start] + text[end:]


def _insert(text: str, node: Node, key: Key | None, value: Any) -> str:
    """A last member or item (`key` None)."""
    name = "" if key is None else json.dumps(key, ensure_ascii=False) + ": "
    line_end = "\r\n" if "\r\n" in text else "\n"
    last = node.children[-1] if node.children else None
    if last is not None and "\n" not in text[node.start : node.end]:
        at = last.node.end if last.comma < 0 else last.comma + 1
        flat = json.dumps(value, ensure_ascii=False)
        after = "," if last.comma >= 0 else ""
        return text[:at] + (", " if last.comma < 0 else " ") + name + flat + after + text[at:]
    outer = _line_indent(text, node.start)
    own_line = last is not None and not text[text.rfind("\n", 0, last.start) + 1 : last.start].strip()
    indent = _line_indent(text, last.start) if last is not None and own_line else outer + _unit(text)
    member = indent + name + _written(text, value, indent)
    if last is None:
        inner = text[node.start + 1 : node.end - 1].rstrip(_SPACE)
        return text[: node.start + 1] + inner + line_end + member + line_end + outer + text[node.end - 1 :]
    at = _line_rest(text, last.node.end if last.comma < 0 else last.comma + 1)
    if last.comma >= 0:
        new = text[:at] + line_end + member + ","
    else:
        new = text[: last.node.end] + "," + text[last.node.end : at] + line_end + member
    closes = text[at:].lstrip(" \t").startswith(("}", "]"))
    return new + (line_end + outer + text[at:].lstrip(" \t") if closes else text[at:])


def _line_rest(text: str, at: int) -> int:
    """After the whitespace and comments that share the line."""
    rest = re.compile(r"(?:[ \t]*/\*(?:(?!\*/)[^\n])*\*/)*(?:[ \t]*//[^\r\n]*)?").match(text, at)
    return rest.end() if rest else at


def _line_indent(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at].lstrip("\ufeff")
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    """One step of indentation, as the text has it."""
    found = re.search(r'[{\[]\s*?\n([ \t]+)["{\[]', text)
    return found[1] if found else "  "


def _written(text: str, value: Any, indent: str) -> str:
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    return (line_end + indent).join(lines)
