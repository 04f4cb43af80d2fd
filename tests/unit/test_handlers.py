"""The daemon's handlers and the definitions of the operations cannot drift apart."""

from __future__ import annotations

import inspect

import pytest

from pyro_mcp.daemon.dispatch import AREAS
from pyro_mcp.operations import REGISTRY
from pyro_mcp.operations.relayed import RELAYED

SERVED = {**REGISTRY, **RELAYED}


@pytest.mark.parametrize("name", sorted(SERVED))
def test_an_operation_has_one_handler_with_its_parameters(name: str) -> None:
    handlers = [getattr(area, name) for area in AREAS if hasattr(area, name)]
    assert len(handlers) == 1
    taken = list(inspect.signature(handlers[0]).parameters)
    assert taken[:2] == ["self", "call"]
    assert taken[2:] == list(SERVED[name].takes)


def test_no_handler_is_without_an_operation() -> None:
    public = {name for area in AREAS for name in vars(area) if not name.startswith("_")}
    assert public == set(SERVED)
