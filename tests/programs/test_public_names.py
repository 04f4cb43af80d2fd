"""What `import pyro_mcp` offers: the same to a type checker, `dir()`, `import *` and at run time."""

from __future__ import annotations

import ast
import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import pyro_mcp
from pyro_mcp import errors, models
from pyro_mcp.definitions.standing import spelled_out
from pyro_mcp.operations import REGISTRY
from pyro_mcp.operations.validation import validated


def _shown_to_checkers() -> set[str]:
    tree = ast.parse(Path(str(pyro_mcp.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
    return {
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_every_exported_name_is_there_at_run_time_and_for_checkers() -> None:
    assert _shown_to_checkers() | {"__version__"} == set(pyro_mcp.__all__)
    assert len(pyro_mcp.__all__) == len(set(pyro_mcp.__all__))
    for name in pyro_mcp.__all__:
        assert getattr(pyro_mcp, name) is not None
        assert name in dir(pyro_mcp)


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, pyro_mcp; dir(pyro_mcp); print([m for m in sys.modules if m.startswith(('pydantic', 'mcp'))])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"
    script = "import sys, pyro_mcp; pyro_mcp.Pyro, pyro_mcp.Workspace.exec; print('mcp' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"


def test_workspaces_come_with_their_methods_whatever_is_asked_for_first() -> None:
    for name in ("Workspace", "AsyncWorkspace", "Forked", "AsyncForked"):
        script = f"import pyro_mcp; k = pyro_mcp.{name}; print('exec' in dir(k) or 'workspaces' in k.model_fields)"
        assert subprocess.check_output([sys.executable, "-c", script], text=True) == "True\n"


def test_import_star_gives_them() -> None:
    space: dict[str, object] = {}
    exec("from pyro_mcp import *", space)
    assert set(pyro_mcp.__all__) <= space.keys()


def test_every_error_and_every_record_is_exported() -> None:
    kinds = {n.name for n in ast.parse(Path(str(errors.__file__)).read_text()).body if isinstance(n, ast.ClassDef)}
    assert kinds <= set(pyro_mcp.__all__)
    rooms = Path(str(models.__file__)).parent.glob("*.py")
    records = {n.name for room in rooms for n in ast.parse(room.read_text()).body if isinstance(n, ast.ClassDef)}
    assert records <= set(models.__all__) <= set(pyro_mcp.__all__)


def test_a_record_may_stand_where_its_name_is_wanted() -> None:
    at = "2026-01-01T00:00:00Z"
    snapshot = models.Snapshot.model_validate({"workspace": "ws-1", "name": "kept", "created_at": at, "size_bytes": 1})
    service = {"workspace": "ws-1", "name": "web", "state": "running", "handle": "1-2", "command": ["serve"]}
    given = models.Service.model_validate({**service, "started_at": at})
    for operation, parameter, record, meant in (
        ("delete_snapshot", "name", snapshot, "kept"),
        ("fork_workspace", "snapshot", snapshot, "kept"),
        ("stop_service", "name", given, "web"),
        ("logs_workspace", "handle", given, "1-2"),
    ):
        assert spelled_out(REGISTRY[operation], {parameter: record}) == {parameter: meant}
        assert spelled_out(REGISTRY[operation], {parameter: meant}) == {parameter: meant}
        assert spelled_out(REGISTRY[operation], {parameter: None}) == {parameter: None}
    # Another record is not a name, and is refused where arguments are checked.
    for operation, parameter, record in (("create_snapshot", "name", given), ("stop_service", "name", snapshot)):
        with pytest.raises(errors.InvalidInput):
            validated(REGISTRY[operation], spelled_out(REGISTRY[operation], {"workspace": "w", parameter: record}))


def test_workspaces_stand_in_sets_and_are_copied_and_pickled() -> None:
    at = "2026-01-01T00:00:00Z"
    record: dict[str, object] = {
        "id": "ws-1",
        "name": "n",
        "state": "running",
        "environment": "debian:12",
        "engine": "gvisor",
    }
    record |= {"network_policy": "off", "vcpu_count": 1, "mem_mib": 1024, "created_at": at, "last_activity_at": at}
    for kind in (models.Workspace, pyro_mcp.Workspace, pyro_mcp.AsyncWorkspace):
        one = kind.model_validate({**record, "labels": {"a": "b"}})
        for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert type(other) is kind and other == one and len({one, other}) == 1
        assert f"{kind.__name__}(id='ws-1'" in repr(one)


def test_errors_are_copied_and_pickled_with_all_that_they_say() -> None:
    error = errors.NotFound("message", hint="hint", code="code", details={"a": 1})
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is errors.NotFound and other.to_record() == error.to_record()
