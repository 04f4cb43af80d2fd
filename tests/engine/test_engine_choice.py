"""Which engine a workspace gets: by what boots here, or as it is told; never another one in silence."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import InvalidInput, Unsupported
from pyro_mcp.sdk import Pyro
from tests import engines


@pytest.mark.parametrize("name", engines.ENGINES)
def test_the_suite_runs_on_this_engine_here(request: pytest.FixtureRequest, name: str) -> None:
    """Says once what the whole run leaves out because of this computer."""
    if request.config.getoption("engine") == "here" and name in engines.lacking():
        pytest.skip(f"nothing ran on {name}: {engines.lacking()[name]} (`make lab` runs Firecracker anywhere)")


def test_doctor_says_of_both_engines_what_was_found_out(pyro: Pyro) -> None:
    found = pyro.doctor()
    engines = {engine.name: engine for engine in found.engines}
    assert set(engines) == {"gvisor", "firecracker"}
    assert found.default_engine == found.engines[0].name
    assert found.engines[0].ok
    assert all(engine.detail and engine.isolation for engine in found.engines)


@pytest.mark.parametrize("name", ["gvisor", "firecracker"])
def test_an_engine_that_is_asked_for_is_used_or_refused_with_the_reason(pyro: Pyro, name: str) -> None:
    status = next(engine for engine in pyro.doctor().engines if engine.name == name)
    if status.ok or name == "gvisor":  # whose parts are fetched when it is asked for
        created = pyro.create_workspace(engine=name)  # type: ignore[arg-type]
        assert created.engine == name
        assert created.isolation == status.isolation
    else:
        with pytest.raises(Unsupported, match="cannot run machines here") as refusal:
            pyro.create_workspace(engine=name)  # type: ignore[arg-type]
        assert status.detail[:40] in refusal.value.message
        assert pyro.list_workspaces().workspaces == []


def test_the_environment_chooses_where_the_call_does_not(
    pyro: Pyro, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRO_ENGINE", engine)
    assert pyro.create_workspace().engine == engine
    monkeypatch.setenv("PYRO_ENGINE", "xen")
    with pytest.raises(InvalidInput):
        pyro.create_workspace()
