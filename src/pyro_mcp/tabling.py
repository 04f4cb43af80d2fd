"""Writes `definitions/table.py` from the operations: the facts that the command line needs, as constants.

`python -m pyro_mcp.reference` writes it beside the reference page, and `--check` compares both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyro_mcp.definitions import known
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.plain import Plain

TABLE = Path(known.__file__).with_name("table.py")
HEAD = '''\
"""Written by `python -m pyro_mcp.reference` from the operations' definitions; do not edit.

One row an operation, in the order in which a person meets them: what is not as usual of it, its help, the name of its
result's model, and its parameters.
"""
# fmt: off
# ruff: noqa

ROWS = (
'''
_ORDER = {"doctor": 0, "env": 1, "run": 2, "workspace": 3}


def in_order() -> list[Operation]:
    """The operations in the order in which a person meets them."""

    def place(op: Operation) -> tuple[int, bool]:
        return _ORDER.get(op.cli[0], len(_ORDER)), not op.function.__qualname__.startswith("Workspace")

    return sorted(REGISTRY.values(), key=place)


def table() -> str:
    """The whole file."""
    return HEAD + "".join(_row(op) for op in in_order()) + ")\n"


def _row(op: Operation) -> str:
    facts = ", ".join(f"{name!r}: {_literal(value)}" for name, value in _unusual(op).items())
    rows = "".join(f"{_unusual(p)!r},\n      " for p in op.listed)
    return f"    ({{{facts}}}, {op.help!r}, {op.result_name!r},\n     ({rows})),\n"


def _literal(value: Any) -> str:
    """As `repr`, in the same order each time."""
    return f"frozenset({sorted(value)!r})" if isinstance(value, frozenset) else repr(value)


def _unusual(record: Plain) -> dict[str, Any]:
    """Its fields, but those that are at their defaults."""
    nothing = object()
    values = {name: getattr(record, name) for name in record._fields}
    return {name: value for name, value in values.items() if value != getattr(type(record), name, nothing)}
