"""docs/development.md tells the truth: its drawing is the imports, its list of variables is what the code reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import pyro_mcp

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = Path(pyro_mcp.__file__).parent
PAGE = (ROOT / "docs" / "development.md").read_text()
WHERE = ("environ", "environment")


def _rooms() -> dict[str, set[str]]:
    """Which room (a package or module directly below pyro_mcp) imports which others."""
    graph = grimp.build_graph("pyro_mcp", cache_dir=None)
    rooms: dict[str, set[str]] = {}
    for module in graph.modules - {"pyro_mcp"}:
        here = rooms.setdefault(module.split(".")[1], set())
        for imported in graph.find_modules_directly_imported_by(module):
            if imported != "pyro_mcp":
                here.add(imported.split(".")[1])
    return {room: others - {room} for room, others in rooms.items()}


def _drawing() -> str:
    (drawing,) = re.findall(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
    return str(drawing)


def test_every_arrow_of_the_drawing_is_an_import() -> None:
    arrows = re.findall(r"^ *(\w+) --> (\w+)$", _drawing(), re.MULTILINE)
    rooms = _rooms()
    assert len(arrows) == len(set(arrows)) > 20
    assert [arrow for arrow in arrows if arrow[1] not in rooms[arrow[0]]] == []


def test_every_import_follows_the_arrows_down() -> None:
    """What is drawn leaves arrows out that others imply; so each import is an arrow, or a way along arrows."""
    drawn: dict[str, set[str]] = {}
    for above, beneath in re.findall(r"^ *(\w+) --> (\w+)$", _drawing(), re.MULTILINE):
        drawn.setdefault(above, set()).add(beneath)
        drawn.setdefault(beneath, set())

    def below(room: str) -> set[str]:
        found: set[str] = set()
        todo = [room]
        while todo:
            for other in drawn[todo.pop()] - found:
                found.add(other)
                todo.append(other)
        return found

    missing = [
        f"{room} --> {other}"
        for room, others in sorted(_rooms().items())
        if room in drawn
        for other in sorted(others)
        if other in drawn and other not in below(room)
    ]
    assert missing == []
    assert [room for room in drawn if room in below(room)] == []


def test_every_package_is_drawn_and_described() -> None:
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    drawn = set(re.findall(r"\w+", _drawing()))
    described = set(re.findall(r"^\| `(\w+)/`", PAGE, re.MULTILINE))
    assert packages - drawn == set()
    assert described == packages


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def _reads(tree: ast.Module) -> Iterator[tuple[ast.expr, bool]]:
    """The names that are looked up in an environment, and whether in this process's own (`os.environ`)."""
    for node in ast.walk(tree):
        place: ast.expr | None = None
        name: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            place, name = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in ("get", "pop"):
                place, name = node.func.value, node.args[0]
            elif node.func.attr == "getenv":
                yield node.args[0], True
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
            place, name = node.comparators[0], node.left
        if name is not None and isinstance(place, ast.Attribute) and place.attr == "environ":
            yield name, True
        elif name is not None and isinstance(place, ast.Name) and place.id in WHERE:
            yield name, False


def _read_by_the_code() -> set[str]:
    found = set()
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name) and isinstance(node.value.value, str)
        }
        for name, own in _reads(tree):
            text = _text(name, constants)
            if text is not None and (own or text in constants.values()):
                found.add(text)
    # Read through a helper that takes the name: machines/components.find_program, locations._of_xdg.
    helped = re.compile(r'find_program\([^)]*?f?"(PYRO_[A-Z{}a-z.()]+)"', re.DOTALL)
    for path in SOURCE.rglob("*.py"):
        found |= set(re.findall(r'_of_xdg\("(\w+)"\)', path.read_text()))
        for text in helped.findall(path.read_text()):
            found |= {"PYRO_FIRECRACKER", "PYRO_JAILER"} if "{" in text else {text}
    return found


def test_every_variable_that_the_code_reads_is_on_the_page_and_no_other() -> None:
    table = PAGE.split("## Environment variables", 1)[1].split("\n## ", 1)[0]
    listed = {
        name for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == _read_by_the_code()


@pytest.mark.parametrize("page", ["docs/development.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md"])
def test_what_the_pages_for_developers_name_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert (folder / target).exists(), target
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in re.findall(r"(?:`|^ {4})make ([a-z-]+)", text, re.MULTILINE):
        assert name in targets, f"make {name}"
    for path in re.findall(r"`((?:src|tests|agent|scripts|docs|lab)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_no_module_is_long_and_no_room_holds_everything() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {str(path.relative_to(SOURCE)): count for path, count in lines.items() if count > 500} == {}
    rooms = dict.fromkeys({path.relative_to(SOURCE).parts[0] for path in lines if path.parent != SOURCE}, 0)
    for path, count in lines.items():
        if path.parent != SOURCE:
            rooms[path.relative_to(SOURCE).parts[0]] += count
    share = {room: round(100 * count / sum(lines.values()), 1) for room, count in rooms.items()}
    assert {room: percent for room, percent in share.items() if percent >= 12} == {}


def test_each_file_of_the_agent_has_a_test_beside_it() -> None:
    files = {path.stem for path in (ROOT / "agent").glob("*.go")}
    assert {name for name in files if not name.endswith("_test") and f"{name}_test" not in files} == set()
    for path in (ROOT / "agent").glob("*_test.go"):
        tests = re.findall(r"^func (?:Test|Fuzz)\w+\(", path.read_text(), re.MULTILINE)
        assert tests or path.name == "agent_test.go", f"{path.name} tests nothing"


def test_the_walk_of_a_command_takes_at_most_ten_steps_each_a_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    walk = text.split("## The walk of a command", 1)[1].split("\n## ", 1)[0]
    steps = re.findall(r"^(\d+)\. `(\w+)/`", walk, re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    assert 3 <= len(steps) <= 10
    assert {room for _, room in steps} <= {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert steps[0][1] == steps[-1][1] == "cli"
