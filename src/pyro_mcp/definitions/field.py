"""What a parameter's annotation says beside its type: description and bounds.

pydantic's `Field` says the same, but costs the command line 60 ms of import at each start. The daemon, the SDK and the
MCP server, which validate, have these turned into pydantic's (`Operation.parameters`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Field:
    """In an `Annotated[type, Field(...)]`. Bounds that are None do not hold.

    Args:
        description: what help and schemas say, bounds in words included.
        ge, gt, le: bounds of a number, in the parameter's unit.
        min_length, max_length: of a text in characters, of a list or dict in members.
        pattern: a regular expression that a text must match.
    """

    __slots__ = ("description", "ge", "gt", "le", "max_length", "min_length", "pattern")

    def __init__(
        self,
        *,
        description: str = "",
        ge: float | None = None,
        gt: float | None = None,
        le: float | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
    ) -> None:
        self.description = description
        self.ge = ge
        self.gt = gt
        self.le = le
        self.min_length = min_length
        self.max_length = max_length
        self.pattern = pattern

    def facts(self) -> dict[str, Any]:
        """What was said, by pydantic's names."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) not in (None, "")}
