"""A configuration file's text, JSON with comments or TOML, that can be changed in one place at a time.

After each change the new text is read again and compared with what was wanted: a file never comes out that holds
anything else than before plus the change. Otherwise `Conflict` is raised, and the file stays as it is.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_mcp import jsonc
from pyro_mcp.errors import Conflict

MISSING: Any = object()
"""There is nothing at that place."""
Path_ = Sequence[str]


def unreadable(path: Path, why: str) -> Conflict:
    """A configuration file that pyro will not touch."""
    return Conflict(
        f"{path} cannot be read as configuration: {why}. It was left unchanged.",
        hint="Fix it or move it away, then try again; `pyro host print-config` prints the entry to paste.",
        code="configuration_unreadable",
    )


class Document(ABC):
    """One file's text; `path` is for messages only."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.data = self._read(text)

    @abstractmethod
    def _read(self, text: str) -> dict[str, Any]: ...

    @abstractmethod
    def _put(self, path: Path_, value: Any) -> str: ...

    @abstractmethod
    def _remove(self, path: Path_) -> str: ...

    def get(self, path: Path_) -> Any:
        """What is at `path`, or MISSING."""
        found: Any = self.data
        for key in path:
            if not isinstance(found, dict) or key not in found:
                return MISSING
            found = found[key]
        return found

    def put(self, path: Path_, value: Any) -> None:
        """Make it `value` there; nothing happens when it is already.

        Raises:
            Conflict: that cannot be done without touching anything else.
        """
        now = self.get(path)
        if now == value and type(now) is type(value):
            return
        wanted = copy.deepcopy(self.data)
        inner = wanted
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise unreadable(self.path, f"{key} is not a table")
        inner[path[-1]] = value
        self._accept(lambda: self._put(path, value), wanted)

    def merge(self, path: Path_, values: dict[str, Any]) -> None:
        """Set these keys of the table at `path`, and leave its others."""
        if not isinstance(self.get(path), dict):
            self.put(path, values)
            return
        for key, value in values.items():
            self.put((*path, key), value)

    def remove(self, path: Path_) -> None:
        """Take it away, if it is there."""
        if self.get(path) is MISSING:
            return
        wanted = copy.deepcopy(self.data)
        inner = wanted
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        self._accept(lambda: self._remove(path), wanted, _without_empty(wanted, path[:-1]))

    def _accept(self, edit: Any, *wanted: dict[str, Any]) -> None:
        try:
            text = edit()
            data = self._read(text)
        except Exception as error:
            raise self._cannot() from error
        if data not in wanted:
            raise self._cannot()
        self.text, self.data = text, data

    def _cannot(self) -> Conflict:
        return Conflict(
            f"{self.path} is written in a way that pyro cannot edit without touching the rest. It was left unchanged.",
            hint="`pyro host print-config` prints the entry to paste.",
            code="configuration_not_editable",
        )


def _without_empty(data: dict[str, Any], path: Path_) -> dict[str, Any]:
    """The same without tables on that path that are empty: in TOML one may be there for what is in it only."""
    found = copy.deepcopy(data)
    for end in range(len(path), 0, -1):
        inner = found
        for key in path[: end - 1]:
            inner = inner[key]
        if inner[path[end - 1]] != {}:
            break
        del inner[path[end - 1]]
    return found


class JsonDocument(Document):
    """JSON, with comments and trailing commas."""

    def _read(self, text: str) -> dict[str, Any]:
        if not text.strip(" \t\r\n\ufeff"):
            return {}
        try:
            data = jsonc.read(text).value
        except jsonc.NotJson as error:
            raise unreadable(self.path, str(error)) from None
        if not isinstance(data, dict):
            raise unreadable(self.path, "it is not an object")
        return data

    def _put(self, path: Path_, value: Any) -> str:
        return jsonc.put(self.text, path, value)

    def _remove(self, path: Path_) -> str:
        return jsonc.remove(self.text, path)

    def append(self, path: Path_, item: Any) -> bool:
        """Add an item to the list there, unless it has it. Says whether that was needed."""
        now = self.get(path)
        if now is not MISSING and not isinstance(now, list):
            raise unreadable(self.path, f"{'.'.join(path)} is not a list")
        if now is not MISSING and item in now:
            return False
        wanted = copy.deepcopy(self.data)
        inner = wanted
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner.setdefault(path[-1], []).append(item)
        self._accept(lambda: jsonc.append(self.text, path, item), wanted)
        return True

    def drop(self, path: Path_, item: Any) -> None:
        """Take an item out of the list there, if it has it."""
        now = self.get(path)
        if not isinstance(now, list) or item not in now:
            return
        wanted = copy.deepcopy(self.data)
        inner = wanted
        for key in path:
            inner = inner[key]
        place = now.index(item)
        del inner[place]  # type: ignore[arg-type]
        self._accept(lambda: jsonc.remove(self.text, (*path, place)), wanted)


class TomlDocument(Document):
    """TOML. A new table is written at the end; other changes go through tomlkit, which keeps comments."""

    def _read(self, text: str) -> dict[str, Any]:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise unreadable(self.path, str(error)) from None

    def _put(self, path: Path_, value: Any) -> str:
        if isinstance(value, dict) and self.get(path) is MISSING and (text := self._with_table(path, value)):
            return text
        import tomlkit

        document = tomlkit.parse(self.text)
        inner: Any = document
        for key in path[:-1]:
            if key not in inner:
                inner[key] = tomlkit.table()
            inner = inner[key]
        inner[path[-1]] = value
        return self._same_line_ends(tomlkit.dumps(document))

    def _with_table(self, path: Path_, value: dict[str, Any]) -> str:
        end = "\r\n" if "\r\n" in self.text else "\n"
        name = ".".join(_toml_key(key) for key in path)
        lines = [f"[{name}]", *(f"{_toml_key(key)} = {toml_value(item)}" for key, item in value.items())]
        before = self.text
        if before and not before.endswith("\n"):
            before += end
        text = before + (end if before.strip() else "") + end.join(lines) + end
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            return ""  # the tables around it are written inline
        return text

    def _without_table(self, path: Path_) -> str | None:
        """The text without the lines of a table, where these are by themselves; comments after them are not its own."""
        name = ".".join(_toml_key(key) for key in path)
        lines = self.text.splitlines(keepends=True)
        first = next((n for n, line in enumerate(lines) if line.strip() == f"[{name}]"), None)
        if first is None:
            return None
        end = next((n for n in range(first + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
        while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
            end -= 1
        if first and not lines[first - 1].strip():
            first -= 1  # as it was put there
        return "".join([*lines[:first], *lines[end:]])

    def _remove(self, path: Path_) -> str:
        if (text := self._without_table(path)) is not None:
            wanted = copy.deepcopy(self.data)
            table: Any = wanted
            for each in path[:-1]:
                table = table[each]
            del table[path[-1]]
            with contextlib.suppress(tomllib.TOMLDecodeError):
                if tomllib.loads(text) in (wanted, _without_empty(wanted, path[:-1])):
                    return text
        import tomlkit

        document = tomlkit.parse(self.text)
        inner: Any = document
        for key in path[:-1]:
            inner = inner[key]
        inner.remove(path[-1]) if hasattr(inner, "remove") else inner.__delitem__(path[-1])
        return self._same_line_ends(tomlkit.dumps(document))

    def _same_line_ends(self, text: str) -> str:
        return re.sub(r"(?<!\r)\n", "\r\n", text) if "\r\n" in self.text else text


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def toml_value(value: Any) -> str:
    """One value on one line; a JSON text is a TOML basic string."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
