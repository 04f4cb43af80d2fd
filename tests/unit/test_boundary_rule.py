"""docs/security.md: nothing that a guest can change is ever opened by name on this computer, and nothing that a guest
is shown is writable on this computer's side.

The code is held to it here. What a guest, or a Firecracker that was broken into, may change below a machine's directory
has names (`PARTS`); whatever is made of such a name is followed through a function, and each call that takes it to the
file system must be in `ALLOWED`, with the reason why no link can lead it elsewhere.

The tree of an environment is of a stranger's making, or of a guest's (`pyro env save`): in `environments/` what is
below one (`TREES`) is opened by `rooted`, or stands in `ALLOWED_IN_TREES`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp import enclosure
from pyro_mcp.machines.gvisor import spec

SOURCE = Path(enclosure.__file__).parent
PARTS = {"run", "upper", "tmp", "fs", "agent.sock", "cell", "out", "disk.img", "v.sock", "api.sock", "seed.img"}
"""Below a machine's directory: gVisor's `run` is shown to the guest, its `upper`, `tmp` and `fs` hold what a guest
writes; of Firecracker's `cell`, its process could change what is its own."""
SOURCES = {"PARTS", "_outbox"}
"""What gives such names without spelling them."""
TOUCHING = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "mkdir", "exists", "is_file", "is_dir"),
    *("is_symlink", "stat", "lstat", "unlink", "rename", "replace", "rmdir", "iterdir", "glob", "rglob", "symlink_to"),
    *("hardlink_to", "chmod", "resolve", "readlink", "listdir", "scandir", "walk", "chown", "link", "symlink", "utime"),
    *("copy", "copyfile", "copytree", "rmtree", "move", "truncate", "mkfifo", "mknod", "remove", "access", "clone"),
    *("isfile", "isdir", "islink", "lexists", "getsize", "setxattr", "removexattr", "gettarinfo", "rename", "hardlink"),
    *("open_unix_connection", "create_unix_connection", "start_unix_server", "bind", "connect", "open_socket"),
}
ALLOWED = {
    # gVisor
    ("machines/gvisor/engine.py", "_prepare"): "makes the parts in a directory that no machine knows yet",
    ("machines/gvisor/spec.py", "bundle"): "`bind` describes a mount and touches nothing",
    # Firecracker: everything is made before its process runs, or opened with O_NOFOLLOW and checked on the descriptor
    ("machines/firecracker/cell.py", "furnish"): "before its Firecracker runs",
    ("machines/firecracker/cell.py", "show_all"): "before its Firecracker runs",
    ("machines/firecracker/jail.py", "furnish"): "before its Firecracker runs",
    ("machines/firecracker/jail.py", "settle"): "before a guest runs; in a sticky root where names cannot be replaced",
    ("machines/firecracker/machine.py", "_attempt"): "open_socket: O_PATH | O_NOFOLLOW",
    ("machines/firecracker/machine.py", "_outbox"): "O_DIRECTORY | O_NOFOLLOW, then by the descriptor",
    ("machines/firecracker/machine.py", "snapshot"): "in the outbox's descriptor; images.clone and move follow no link",
    ("machines/firecracker/machine.py", "_write"): "images.clone: O_NOFOLLOW | O_NONBLOCK, and only a regular file",
    ("machines/firecracker/engine.py", "restore"): "`seeded` stands beside the cell",
}


TREES = {"root", "changed", "tree"}
"""How the directories with foreign trees are called where they lie."""
TREE_SOURCES = {"root", "tree", "into", "below", "changed"}
"""And in the code: parameters and attributes that hold such a tree."""
NO_TREES = {
    "environments/rooted.py": "the way in which trees are opened",
    "environments/cache.py": "its `root` is the directory of all environments; into a tree it goes by `wholeness`",
    "environments/debian.py": "Debian's signed packages, unpacked by dpkg",
    "environments/oci/registry.py": "its `into` is a download",
    "environments/oci/layers.py": "makes and removes whole trees",
    "environments/oci/pull.py": "makes and removes whole trees",
}
ROOTED = {"resolve", "exactly", "opened", "holds", "directory", "read_text", "write_text", "remove", "executable"}
WALKS = "os.walk enters no link, and what it gives is looked at by lstat"
ALLOWED_IN_TREES = {
    ("environments/saving.py", "save"): "directories that it made itself",
    ("environments/saving.py", "gone"): WALKS,
    ("environments/saving.py", "as_it_is"): WALKS,
    ("environments/saving.py", "refuse_secrets"): WALKS,
    (
        "environments/prepared.py",
        "entry_mark",
    ): "from `exactly`, a walk that enters no link; of the seed, not a guest's",
    ("environments/preparing.py", "keep"): "directories that it made itself",
    ("environments/preparing.py", "_made"): "directories that it made itself, or that are no link",
    ("environments/preparing.py", "_files"): WALKS,
    ("environments/image_writer.py", "_members"): WALKS,
    ("environments/image_writer.py", "write"): "beside the user's output; of the tree only a digest is in it",
    ("environments/oci/dress.py", "size"): WALKS,
    ("environments/oci/dress.py", "dress"): "chmod of what `rooted.directory` made",
    ("environments/oci/compose.py", "compose"): "from `exactly`, and no link",
    ("environments/oci/compose.py", "_place"): "from `resolve`",
    ("environments/oci/compose.py", "_take_away"): "from `resolve`",
    ("environments/oci/compose.py", "_lay"): "from `_place`, and no link",
    ("environments/oci/compose.py", "merge"): "a walk of both trees that goes into no link but by `resolve`",
    ("environments/oci/layer.py", "member"): "after `Places.make_parents`, which refuses a path through a link",
    ("environments/oci/layer.py", "hard_link"): "after `Places.refuse_through`",
}


class _Function(ast.NodeVisitor):
    """Calls in one function that take a name with a part in it to the file system."""

    def __init__(self, parts: set[str] = PARTS, sources: set[str] = SOURCES) -> None:
        self.parts, self.sources = parts, sources
        self.tainted: set[str] = set()
        self.found: list[tuple[int, str]] = []

    def names_a_part(self, node: ast.AST) -> bool:
        return any(map(self._is_a_part, ast.walk(node)))

    def _is_a_part(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
            return bool(self.parts & set(node.value.split("/")))
        return getattr(node, "id", None) in self.tainted | self.sources or getattr(node, "attr", None) in self.sources

    def visit_Assign(self, node: ast.Assign) -> None:
        if self.names_a_part(node.value):
            self.tainted |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        if self.names_a_part(node.iter):
            self.tainted |= {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
        self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if item.optional_vars is not None and self.names_a_part(item.context_expr):
                self.tainted |= {n.id for n in ast.walk(item.optional_vars) if isinstance(n, ast.Name)}
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        subjects = [*node.args, *(keyword.value for keyword in node.keywords)]
        if isinstance(called, ast.Attribute):
            subjects.append(called.value)
        # A function that is handed on, as to `asyncio.to_thread`, is called as well.
        handed = [arg.attr if isinstance(arg, ast.Attribute) else getattr(arg, "id", "") for arg in node.args]
        touches = not _is_rooted(node) and (name in TOUCHING or bool(TOUCHING & set(handed)))
        if touches and any(map(self.names_a_part, subjects)):
            self.found.append((node.lineno, ast.unparse(node)))
        self.generic_visit(node)


def _is_rooted(call: ast.Call) -> bool:
    return (
        isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "rooted" and call.func.attr in ROOTED
    )


def violations(text: str, parts: set[str] = PARTS, sources: set[str] = SOURCES) -> Iterator[tuple[str, int, str]]:
    """Function, line and call, for each call in `text` that takes a guest's name to the file system."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            look = _Function(parts, sources)
            look.visit(node)
            yield from ((node.name, line, call) for line, call in look.found)


def _of_the_machines() -> Iterator[tuple[str, str]]:
    for path in sorted((SOURCE / "machines").rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), path.read_text()


def test_nothing_that_a_guest_can_change_is_opened_by_name() -> None:
    wrong = [
        f"{module}:{line} in {function}: {call}"
        for module, text in _of_the_machines()
        for function, line, call in violations(text)
        if (module, function) not in ALLOWED
    ]
    assert not wrong, "\n".join(wrong)


def test_what_is_allowed_is_still_there() -> None:
    used = {(module, function) for module, text in _of_the_machines() for function, _, _ in violations(text)}
    assert set(ALLOWED) <= used, f"take these out: {set(ALLOWED) - used}"


def _in_trees() -> Iterator[tuple[str, str, int, str]]:
    for path in sorted((SOURCE / "environments").rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        if module not in NO_TREES:
            for function, line, call in violations(path.read_text(), TREES, TREE_SOURCES):
                yield module, function, line, call


def test_nothing_in_the_tree_of_an_environment_is_opened_but_by_the_one_way() -> None:
    found = list(_in_trees())
    wrong = [f"{m}:{line} in {f}: {call}" for m, f, line, call in found if (m, f) not in ALLOWED_IN_TREES]
    assert not wrong, "\n".join(wrong)
    used = {(module, function) for module, function, _, _ in found}
    assert set(ALLOWED_IN_TREES) <= used, f"take these out: {set(ALLOWED_IN_TREES) - used}"
    assert all((SOURCE / module).exists() for module in NO_TREES)


def test_no_file_of_a_tree_is_opened_for_reading_by_a_plain_open() -> None:
    """However it came to its name: what is read of a tree is read by `rooted.opened`."""
    for path in sorted((SOURCE / "environments").rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        if module in NO_TREES or module == "environments/oci/local.py":  # the user's own file with an image in it
            continue
        opens = [
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open", "os.open")
        ]
        reads = [call for call in opens if "'wb'" not in call and "'xb'" not in call and "os.O_EXCL" not in call]
        allowed = {
            "environments/saving.py": ["open(archive, 'rb')"],  # spooled by the daemon
            "environments/preparing.py": ["open(archive, 'rb')"],
            "environments/oci/layer.py": ["open('/proc/self/uid_map')", "open('/proc/self/gid_map')"],
        }
        assert reads == allowed.get(module, []), module


@pytest.mark.parametrize(
    "line",
    [
        'os.path.lexists(root / "etc/gitconfig")',
        '(cache.tree(digest) / "etc/passwd").read_text()',
        'open(staged / "changed" / name, "rb")',
        'found = os.path.join(root, "etc"); os.listdir(found)',
        'asyncio.to_thread(shutil.copy, tree / "etc", there)',
    ],
)
def test_the_rule_sees_what_would_follow_a_link_of_a_tree(line: str) -> None:
    assert list(violations(f"async def f(self, root, tree):\n    {line}", TREES, TREE_SOURCES))


@pytest.mark.parametrize(
    "line",
    [
        '(directory / "run" / "thaw").touch()',
        'frozen = self.directory / "run" / "frozen"; frozen.exists()',
        'asyncio.open_unix_connection(str(self.directory / "run" / "agent.sock"))',
        'path = f"{directory}/run/agent.sock"; os.open(path, 0)',
        'await asyncio.to_thread(shutil.copy, directory / "upper", there)',
        'for left in (directory / "cell" / "out").iterdir(): left.unlink()',
    ],
)
def test_the_rule_sees_what_once_broke_it(line: str) -> None:
    assert list(violations(f"async def f(self, directory):\n    {line}"))


def test_only_these_modules_reach_into_a_machines_directory_at_all() -> None:
    """Above `machines/`, a machine's directory is only made, removed and listed by name of the machine."""
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).as_posix()
        if not module.startswith("machines/"):
            assert "machine.directory" not in path.read_text(), module


def test_every_mount_of_a_gvisor_machine_is_bound_from_a_read_only_twin(tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    made = spec.bundle(
        disk_gib=20,
        directory=tmp_path / "machine",
        shown=shown / "machine",
        root=shown / "root",
        agent=shown / "agents" / "x" / "pyro-agent",
        hostname="pyro",
    )
    hinted = {value for key, value in made["annotations"].items() if key.endswith(".source")}
    binds = [mount for mount in made["mounts"] if mount["type"] == "bind"]
    assert len(binds) >= 4
    for mount in binds:
        if mount["source"] in hinted:
            continue  # a file system of the guest's kernel, in a file that only the sentry holds; never bound
        assert Path(mount["source"]).is_relative_to(shown) and "ro" in mount["options"], mount
    assert Path(made["root"]["path"]).is_relative_to(shown)
    json.dumps(made)


def test_a_path_that_has_no_read_only_twin_is_never_shown(tmp_path: Path) -> None:
    shown = enclosure.Shown(tmp_path)
    with pytest.raises(ValueError, match="not below a directory"):
        shown(tmp_path / "anything")
