"""What a guest's agent said, read with checks: the one way in which a field of its answer is looked at.

The agent runs where the guest is root, so it may leave out, invent or garble anything. Each accessor gives what it
promises or raises `GuestError`, which names the field; nothing that a guest says can look like a defect of pyro.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyro_mcp.errors import GuestError

_HANDLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_WHOLE = 2**63 - 1


def damaged(what: str) -> GuestError:
    return GuestError(
        f"The machine's agent gave an invalid answer: {what}.",
        hint="Something in the machine may have replaced or disturbed it. Reset the workspace to get a fresh machine.",
        code="bad_answer",
    )


def wire_name(name: str) -> str | dict[str, str]:
    """A file's name as it is sent to the agent; `Said.name` reads it back."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return {"b64": base64.b64encode(os.fsencode(name)).decode()}
    return name


def parsed(data: bytes) -> Any:
    """The JSON in `data`.

    Raises:
        GuestError: it is none, or nested without end.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise damaged("it is not JSON") from None


@dataclass(frozen=True)
class Said:
    """One object of an answer."""

    fields: Mapping[str, Any]

    @classmethod
    def of(cls, value: Any, what: str = "the answer") -> Said:
        if not isinstance(value, dict):
            raise damaged(f"{what} is not an object")
        return cls(value)

    def has(self, name: str) -> bool:
        """Whether it is there and not null."""
        return self.fields.get(name) is not None

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise damaged(f"`{name}` is not text")
        return value

    def name(self, name: str) -> str:
        """A file's name or a link's target: text, or `{"b64": …}` where it is not UTF-8 (surrogate escapes here)."""
        if isinstance(self.fields.get(name), dict):
            return os.fsdecode(self.record(name).data("b64"))
        text = self.text(name)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise damaged(f"`{name}` is not text") from None
        return text

    def handle(self, name: str) -> str:
        """Text that may stand in the path of a request."""
        value = self.text(name)
        if not _HANDLE.fullmatch(value):
            raise damaged(f"`{name}` is not a handle")
        return value

    def word(self, name: str, choices: Sequence[str]) -> str:
        value = self.text(name)
        if value not in choices:
            raise damaged(f"`{name}` is none of {', '.join(choices)}")
        return value

    def whole(self, name: str, least: int = 0, most: int = MAX_WHOLE) -> int:
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise damaged(f"`{name}` is not a number from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """False where it is left out."""
        value = self.fields.get(name, False)
        if not isinstance(value, bool):
            raise damaged(f"`{name}` is neither true nor false")
        return value

    def data(self, name: str) -> bytes:
        """Bytes, sent in base64."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            raise damaged(f"`{name}` is not base64") from None

    def record(self, name: str) -> Said:
        return Said.of(self.fields.get(name), f"`{name}`")

    def records(self, name: str) -> list[Said]:
        """Empty where it is null, which is how Go writes an empty list."""
        value = self.fields.get(name, None)
        if value is None and name in self.fields:
            return []
        if not isinstance(value, list):
            raise damaged(f"`{name}` is not a list")
        return [Said.of(item, f"an item of `{name}`") for item in value]


def whole_header(headers: Mapping[str, str], name: str, most: int = MAX_WHOLE) -> int:
    """A header that is a number; its name in lower case."""
    value = headers.get(name, "")
    if not value.isascii() or not value.isdecimal() or len(value) > 19 or int(value) > most:
        raise damaged(f"the header `{name}` is not a number")
    return int(value)
