"""One parameter of an operation as plain facts."""

from __future__ import annotations

from pyro_mcp.plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    Kind = Literal["string", "integer", "number", "boolean", "list", "dict"]


class Taken(Plain):
    """One parameter as the signature has it."""

    name: str
    annotation: Any
    """With the types themselves."""
    required: bool
    default: Any
    """None where there is none."""


class Parameter(Plain):
    """One parameter. Bounds that do not hold are None."""

    name: str
    kind: Kind
    description: str
    required: bool
    default: Any = None
    nullable: bool = False
    """None may be given, and means what the description says."""
    or_list: bool = False
    """A string that may be a list of strings instead."""
    of_objects: bool = False
    """A list whose members are objects, not strings."""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None

    @property
    def tri_state(self) -> bool:
        """A truth value for which "not said" means something else than false."""
        return self.kind == "boolean" and self.default is None
