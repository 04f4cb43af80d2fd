"""Writes what derives from the operations: `docs/public-contract.md`, `methods.pyi` for type checkers, and the
table for the command line.

`python -m pyro_mcp.reference [--check]`: with `--check` it fails when one is not what would be written.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyro_mcp.cli.extra import extras
from pyro_mcp.cli.parsing import TEXT_OPTIONS, option, singular
from pyro_mcp.definitions.parameter import Parameter
from pyro_mcp.errors import PyroError
from pyro_mcp.mcp.schema import operations_of
from pyro_mcp.operations import Operation, Profile
from pyro_mcp.stubs import STUB, stub
from pyro_mcp.tabling import TABLE, in_order, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "public-contract.md"
PROFILES: tuple[Profile, ...] = ("vm-run", "workspace-core", "workspace-full")

HEAD = """\
# Public contract

<!-- Written by `python -m pyro_mcp.reference` from the operations' definitions; do not edit. -->

Each operation has up to three faces: a command, a method of `Pyro` (and of `AsyncPyro`), and an MCP tool. A
workspace is named by its id or its name, everywhere.

- Commands print text for people; `--json` prints exactly one JSON object, `--id-only` ids, `--content-only` the
  content alone. Results go to standard output, progress and notes to standard error.
- Exit status: 0, 1 for failure, 2 for bad usage, the command's own status for `run` and `workspace exec`, 124 when
  the command's time was over, 130 after Ctrl-C.
- Methods return models of `pyro_mcp.models` and raise errors of `pyro_mcp.errors`.
- Tools answer within 50 s, with the same JSON as text and as structured content; empty fields are left out.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Operations at a glance\n", _overview(), "\n## Operations\n"]
    parts += [_section(op) for op in in_order()]
    parts += ["## Other commands\n", *(f"- `pyro {' '.join(e.words)}`: {e.summary}" for e in extras())]
    parts += ["\n## MCP profiles\n"]
    for profile in PROFILES:
        names = ", ".join(f"`{op.mcp}`" for op in operations_of(profile))
        default = " (default)" if profile == "workspace-core" else ""
        parts.append(f"- **{profile}**{default}: {names}")
    parts += [ACCESS, "## Errors\n", _errors()]
    return "\n".join(parts).rstrip("\n") + "\n"


ACCESS = """\

Through the tools, `seed_path`, `path` of a push and `output` of an export reach only the project directory (the
server's working directory, or `CLAUDE_PROJECT_DIR`; never the home directory or `/`) and what the user gave
with `--allow-path`. `workspace_create` without `seed_path` starts from the project directory; with an empty one,
from nothing. `--network off` keeps workspaces from asking for egress. Parameters marked *not in MCP* are
refused there as unknown.
"""


def _overview() -> str:
    rows = ["| command | SDK | MCP tool | what it does |", "|---|---|---|---|"]
    for op in in_order():
        tool = f"`{op.mcp}`" if op.mcp else "–"
        rows.append(f"| `pyro {' '.join(op.cli)}` | `{op.name}` | {tool} | {op.summary} |")
    return "\n".join(rows)


def _section(op: Operation) -> str:
    lines = [f"### pyro {' '.join(op.cli)}\n", op.help + "\n"]
    faces = [f"SDK `{op.name}` → `{op.result.__name__}`"]
    if op.mcp:
        profiles = ", ".join(p for p in PROFILES if p in op.profiles)
        faces.append(f"MCP `{op.mcp}` ({profiles}; {_hints(op)})")
    lines.append(" · ".join(faces) + "\n")
    if op.listed:
        lines += ["| parameter | command line | type | default | |", "|---|---|---|---|---|"]
        lines += [_row(op, p) for p in op.listed]
        lines.append("")
    return "\n".join(lines)


def _hints(op: Operation) -> str:
    said = ["read-only" if op.read_only else "destructive" if op.destructive else "not destructive"]
    said += ["idempotent"] if op.idempotent else []
    said += ["reaches beyond the workspace"] if op.open_world else []
    return ", ".join(said)


def _row(op: Operation, p: Parameter) -> str:
    if p.name == "command" and p.name in op.positional:
        words = "`-- COMMAND…`"
    elif p.name in op.positional:
        words = f"`{p.name.upper()}`"
    elif p.kind in ("list", "dict"):
        words = f"`{option(singular(p))}` (repeatable)"
    elif (op.name, p.name) in TEXT_OPTIONS:
        words = f"`{option(p.name)}`, `{option(p.name)}-file`"
    else:
        words = f"`{option(p.name)}`"
    kind = " or ".join(f"`{c}`" for c in p.choices) or p.kind + (" or list" if p.or_list else "")
    default = "required" if p.required else "–" if p.default is None else f"`{p.default!s}`"
    note = p.description + ("" if not (op.mcp and p.name in op.hidden) else " *Not in MCP.*")
    return f"| `{p.name}` | {words} | {kind}{_bounds(p)} | {default} | {note.replace('|', chr(92) + '|')} |"


def _bounds(p: Parameter) -> str:
    said = []
    if p.above is not None:
        said.append(f"above {p.above:g}")
    if p.minimum is not None:
        said.append(f"from {p.minimum:.12g}")
    if p.maximum is not None:
        said.append(f"to {p.maximum:.12g}")
    if p.kind == "string" and p.max_length is not None:
        said.append(f"at most {p.max_length} characters")
    if p.kind == "dict" and p.max_length is not None:
        said.append(f"at most {p.max_length} entries")
    if p.pattern:
        said.append(f"`{p.pattern}`")
    return f", {' '.join(said)}" if said else ""


def _errors() -> str:
    rows = ["| class | kind | exit status | when |", "|---|---|---|---|"]
    found: list[type[PyroError]] = [PyroError]
    for cls in found:
        found += cls.__subclasses__()
        when = (cls.__doc__ or "").strip().split("\n")[0]
        rows.append(f"| `{cls.__name__}` | `{cls.kind}` | {cls.exit_status} | {when} |")
    return "\n".join(rows)


def main(argv: list[str]) -> int:
    """Write them, or with `--check` compare them."""
    if argv not in ([], ["--check"]):
        print("usage: python -m pyro_mcp.reference [--check]", file=sys.stderr)
        return 2
    for path, text in ((TABLE, table()), (PAGE, page()), (STUB, stub())):
        if not argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path} is out of date; write it with: python -m pyro_mcp.reference", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
