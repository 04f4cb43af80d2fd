"""What `import pyro_mcp` offers: the same to a type checker, `dir()`, `import *` and at run time."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pyro_mcp
from pyro_mcp import errors, models


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
