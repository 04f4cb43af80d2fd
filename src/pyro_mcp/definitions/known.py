"""The operations as the command line knows them: facts from a table, without the code that defines them."""

from __future__ import annotations

from pyro_mcp.definitions.operation import Operation
from pyro_mcp.definitions.table import ROWS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_rows: tuple[Any, ...] = ROWS
KNOWN: dict[str, Operation] = {row[0]["name"]: Operation.written(*row) for row in _rows}
"""By name, in the order in which a person meets them."""
