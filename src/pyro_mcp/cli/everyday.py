"""Short commands that docker, git and kubectl taught: `cp`, `port`, `top`, `stats`. Each is made of operations."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from pyro_mcp.cli import meant
from pyro_mcp.cli.execute import print_text
from pyro_mcp.cli.options import Parser, usage_error
from pyro_mcp.client.connection import Connection
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import PyroError
from pyro_mcp.visible import visible, visible_lines

_PLACE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)?:(.*)$", re.S)
_PROCESSES = """
ps -eo pid,ppid,pcpu,rss,etime,args 2>/dev/null && exit
echo "PID COMMAND"
for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr '\\0' ' ' <"$p/cmdline" 2>/dev/null)"; done
"""
_FIGURES = """
a=$(cut -d' ' -f1 /proc/loadavg)
m=$(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo)
f=$(sed -n 's/^MemAvailable: *\\([0-9]*\\).*/\\1/p' /proc/meminfo)
d=$(df -kP /workspace 2>/dev/null | tail -n1 | sed 's/  */ /g' | cut -d' ' -f3)
p=$(ls -d /proc/[0-9]* | wc -l)
echo "$a $m $f $p $d"
"""
SECONDS = 20


def cp(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """`pyro cp FROM TO`, one of them in a workspace as `WS:PATH`."""
    parser = Parser(
        prog=prog,
        add_help=False,
        usage=f"{prog} [--overwrite] PATH WS:PATH\n       {prog} [--overwrite] WS:PATH PATH",
        description="Copy a file or directory into or out of a workspace. `:PATH` alone means this directory's\n"
        "workspace; paths inside start at /workspace. When copying out, existing files are replaced only\n"
        "with --overwrite, and a backup is kept.",
    )
    parser.add_argument("-f", "--overwrite", "--force", action="store_true", help="Replace existing files.")
    for habit in ("-r", "-R", "-a", "-L", "-q", "--recursive", "--archive", "--quiet"):
        parser.add_argument(habit, action="store_true", help="(directories are always copied whole)")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    wanted = "Give a source and a destination, for example: pyro cp a.txt try:sub/"
    found, (source, target) = _asked(parser, words, after, 2, wanted)
    outside, inside = _place(source), _place(target)
    if (outside is None) == (inside is None):
        raise usage_error(
            "Either the source or the destination must be in a workspace, written WS:PATH."
            if inside is None
            else "To copy between workspaces, copy to this computer first, then into the other workspace.",
            hint="For example: pyro cp a.txt try:sub/, or pyro cp try:report.html .",
        )
    with Connection(face="cli", client="cp") as pyro:
        if inside is not None:
            record = _in(pyro, source, *inside)
        else:
            assert outside is not None
            workspace, path = outside
            record = pyro.call(
                KNOWN["export_workspace"],
                {
                    "workspace": workspace or meant.only_one(),
                    "path": path or ".",
                    "output": target,
                    **({"overwrite": True} if found.overwrite else {}),
                },
            )
    from pyro_mcp.cli.render import render

    kind = "Synced" if inside is not None else "Exported"
    text = json.dumps(record) + "\n" if found.json else render(kind, record)
    print_text(text)
    return 0


def _place(word: str) -> tuple[str, str] | None:
    """Workspace and path of `WS:PATH`; None of a place here, which may hold a colon after a slash."""
    found = _PLACE.match(word)
    return (found[1] or "", found[2]) if found else None


def _in(pyro: Connection, source: str, workspace: str, path: str) -> dict[str, Any]:
    if source == "-":
        raise usage_error("cp cannot copy standard input.", hint="Instead: pyro exec WS 'cat > /workspace/f' < file")
    if not os.path.lexists(os.path.expanduser(source)):
        raise usage_error(f"{source!r} does not exist here.", hint="A path in a workspace is written WS:PATH.")
    workspace = workspace or meant.only_one()
    here = os.path.abspath(os.path.expanduser(source))
    contents = source.endswith(("/.", os.sep + os.curdir)) or source in (".", "..")
    into = path in ("", ".", "/workspace") or path.endswith("/") or _is_folder(pyro, workspace, path)
    push = KNOWN["push_workspace_sync"]
    if os.path.isdir(here):
        target = os.path.join(path, os.path.basename(here)) if into and not contents else path
        return pyro.call(push, {"workspace": workspace, "path": here, "dest": target or "."})
    if into:
        return pyro.call(push, {"workspace": workspace, "path": here, "dest": path or "."})
    folder, name = os.path.split(path)
    with _by_name(here, name) as renamed:
        record = pyro.call(push, {"workspace": workspace, "path": renamed, "dest": folder or "."})
    return {**record, "source": here, "destination": os.path.join(str(record["destination"]), name)}


@contextlib.contextmanager
def _by_name(file: str, name: str) -> Iterator[str]:
    """A file by another name, for as long as it takes to copy it in."""
    if os.path.basename(file) == name:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="pyro-cp-") as folder:
        other = os.path.join(folder, name)
        try:
            shutil.copy2(file, other, follow_symlinks=False)
        except OSError as error:
            raise usage_error(f"{file} cannot be read: {error.strerror or error}.") from None
        yield other


def _is_folder(pyro: Connection, workspace: str, path: str) -> bool:
    from pyro_mcp.errors import InvalidInput, NotFound

    try:
        pyro.call(KNOWN["list_workspace_files"], {"workspace": workspace, "path": path})
    except NotFound as error:
        if error.code == "unknown_workspace":
            raise
        return False
    except InvalidInput:
        return False
    return True


def port(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """`pyro port [WS]`: the published ports."""
    as_json, workspace = _of_one(prog, "List a workspace's ports that are published on this computer.", words, after)
    with Connection(face="cli", client="port") as pyro:
        record = pyro.call(KNOWN["status_workspace"], {"workspace": workspace})
    ports = record["published_ports"]
    if as_json:
        print(json.dumps({"workspace": record["id"], "published_ports": ports}))
        return 0
    for each in ports:
        problem = f"  ({visible(each['problem'])})" if each["problem"] else ""
        print(f"{each['guest_port']}/tcp -> {each['host']}:{each['host_port']}{problem}")
    if not ports:
        print(
            "No ports are published. To publish one: pyro service start WS NAME --publish PORT -- COMMAND",
            file=sys.stderr,
        )
    return 0


def top(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """`pyro top [WS]`: the processes in a workspace."""
    as_json, workspace = _of_one(prog, "List the processes running in a workspace.", words, after)
    with Connection(face="cli", client="top") as pyro:
        record = _said(pyro, workspace, _PROCESSES)
    if as_json:
        print(json.dumps({"workspace": record["workspace"], "processes": record["stdout"].splitlines()}))
    else:
        print_text(visible_lines(record["stdout"]))
    return 0


def stats(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """`pyro stats [WS]`: what a workspace uses."""
    as_json, workspace = _of_one(prog, "Show how much CPU, memory and disk a workspace is using.", words, after)
    with Connection(face="cli", client="stats") as pyro:
        record = _said(pyro, workspace, _FIGURES)
        disk = pyro.call(KNOWN["status_workspace"], {"workspace": workspace})["disk_gib"]
    try:
        load, total, free, processes, used = record["stdout"].split()
        figures = {
            "workspace": record["workspace"],
            "load": float(load),
            "memory_bytes": 1024 * (int(total) - int(free)),
            "memory_limit_bytes": 1024 * int(total),
            "processes": max(0, int(processes) - 3),  # those that counted
            "disk_bytes": 1024 * int(used),
            "disk_limit_bytes": disk * 1024**3,
        }
    except ValueError:
        raise PyroError(
            "The workspace did not report its usage.", hint="`pyro inspect` shows its limits.", code="no_figures"
        ) from None
    if as_json:
        print(json.dumps(figures))
        return 0
    from pyro_mcp.cli.figures import size

    print(f"processes  {figures['processes']}, load {figures['load']:.2f}")
    print(f"memory     {size(figures['memory_bytes'])} of {size(figures['memory_limit_bytes'])}")
    print(f"disk       {size(figures['disk_bytes'])} of {size(figures['disk_limit_bytes'])}")
    return 0


def _said(pyro: Connection, workspace: str, script: str) -> dict[str, Any]:
    arguments = {"workspace": workspace, "command": ["sh", "-c", script], "timeout_seconds": SECONDS}
    record = pyro.call(KNOWN["exec_workspace"], {**arguments, "max_output_bytes": 200_000})
    if record["status"] != "exited" or not record["stdout"]:
        why = record.get("cause") or record["stderr"].strip() or record["status"]
        raise PyroError(f"The workspace did not answer: {why[:300]}.", code="no_figures")
    return record


def _of_one(prog: str, summary: str, words: Sequence[str], after: Sequence[str] | None) -> tuple[bool, str]:
    parser = Parser(prog=prog, add_help=False, usage=f"{prog} [WORKSPACE]", description=summary)
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    found, rest = _asked(parser, words, after, 1, "Give the workspace and nothing else.")
    return found.json, rest[0] if rest else meant.only_one()


def _asked(
    parser: Parser, words: Sequence[str], after: Sequence[str] | None, most: int, wanted: str
) -> tuple[Any, list[str]]:
    """Options and words."""
    found, rest = parser.taken(words, after)
    if len(rest) > most or (most == 2 and len(rest) < most):
        raise usage_error(wanted, hint=f"See `{parser.prog} --help`.")
    return found, rest
