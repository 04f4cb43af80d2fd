"""How a service's readiness is kept."""

from __future__ import annotations

from pyro_mcp.workspaces.readiness import Readiness


def test_a_user_alone_is_no_readiness() -> None:
    assert Readiness(user="node").record() == {}
    kept = Readiness(command="true", user="node").record()
    assert kept == {"command": "true", "user": "node"} and Readiness.of(kept).user == "node"
    assert str(Readiness.of(kept)) == "command true"
