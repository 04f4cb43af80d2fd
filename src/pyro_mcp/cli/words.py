"""Words that people type already: short commands, other names for the same, options by the names of other tools.

The long forms are the commands; what stands here leads to them and is nothing of its own. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SHORT: dict[str, tuple[str, ...]] = {
    "ls": ("workspace", "list"),
    "ps": ("workspace", "list"),
    "list": ("workspace", "list"),
    "new": ("workspace", "create"),
    "create": ("workspace", "create"),
    "exec": ("workspace", "exec"),
    "rm": ("workspace", "delete"),
    "delete": ("workspace", "delete"),
    "inspect": ("workspace", "status"),
    "status": ("workspace", "status"),
    "logs": ("workspace", "logs"),
    "history": ("workspace", "history"),
    "note": ("workspace", "note"),
    "edit": ("workspace", "edit"),
    "search": ("workspace", "search"),
    "grep": ("workspace", "search"),
    "diff": ("workspace", "diff"),
    "export": ("workspace", "export"),
    "land": ("workspace", "land"),
    "update": ("workspace", "update"),
    "push": ("workspace", "sync", "push"),
    "cat": ("workspace", "file", "read"),
    "patch": ("workspace", "patch", "apply"),
    "fork": ("workspace", "fork"),
    "snapshot": ("workspace", "snapshot"),
    "service": ("workspace", "service"),
    "shell": ("workspace", "shell"),
    "disk": ("workspace", "disk"),
    "file": ("workspace", "file"),
    "sync": ("workspace", "sync"),
    "reset": ("workspace", "reset"),
    "rewind": ("workspace", "rewind"),
    "stop": ("workspace", "stop"),
    "ssh-config": ("workspace", "ssh-config"),
    "start": ("workspace", "start"),
    "pull": ("env", "pull"),
    "images": ("env", "list"),
}
"""A first word, and the command that it stands for."""

SAME = {
    "ls": "list",
    "ps": "list",
    "show": "status",
    "info": "status",
    "inspect": "status",
    "rm": "delete",
    "remove": "delete",
    "del": "delete",
    "new": "create",
    "add": "create",
    "run": "exec",
    "cat": "read",
    "get": "read",
    "put": "write",
    "grep": "search",
    "find": "search",
    "kill": "cancel",
    "log": "logs",
    "events": "history",
    "clone": "fork",
    "checkpoint": "snapshot",
    "up": "start",
    "down": "stop",
    "terminal": "shell",
    "build": "pull",
    "clean": "prune",
}
"""Words by which other tools call a command of the same level. `inspect` stays where a group has one."""

MEANT = {
    "attach": "sh",
    "bash": "sh",
    "branch": "fork",
    "build": "env build",
    "checkout": "rewind",
    "clone": "fork",
    "commit": "land",
    "config": "host",
    "connect": "host connect",
    "container": "workspace",
    "containers": "ls",
    "copy": "cp",
    "describe": "inspect",
    "destroy": "rm",
    "download": "export",
    "enter": "sh",
    "events": "history",
    "fetch": "pull",
    "get": "ls",
    "image": "env",
    "import": "new",
    "info": "doctor",
    "init": "new",
    "install": "doctor",
    "kill": "stop",
    "launch": "new",
    "less": "cat",
    "load": "env",
    "log": "logs",
    "machine": "workspace",
    "machines": "ls",
    "make": "new",
    "merge": "land",
    "more": "cat",
    "mv": "cp",
    "network": "update",
    "open": "sh",
    "pause": "stop",
    "port-forward": "port",
    "ports": "port",
    "processes": "top",
    "prune": "env prune",
    "read": "cat",
    "rebase": "land",
    "remove": "rm",
    "rename": "update",
    "restart": "stop",
    "restore": "reset",
    "resume": "start",
    "revert": "rewind",
    "rg": "search",
    "rmi": "env remove",
    "rollback": "reset",
    "rsync": "cp",
    "save": "snapshot",
    "scp": "cp",
    "serve": "mcp serve",
    "services": "service",
    "setup": "doctor",
    "shells": "shell",
    "show": "inspect",
    "snapshots": "snapshot",
    "spawn": "new",
    "ssh": "sh",
    "stash": "snapshot",
    "suspend": "stop",
    "tag": "snapshot",
    "tail": "logs",
    "terminal": "sh",
    "touch": "edit",
    "tree": "file",
    "undo": "rewind",
    "unpause": "start",
    "upload": "push",
    "vi": "edit",
    "vim": "edit",
    "vm": "workspace",
    "wait": "logs",
    "workspaces": "ls",
    "write": "edit",
}
"""First words of docker, git, kubectl and of people, and the command that does it here: offered, never run. What throws
work away stands only where the word does."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "--seed": ("--seed-path",),
    "--cpus": ("--vcpu-count",),
    "--cpu": ("--vcpu-count",),
    "--vcpus": ("--vcpu-count",),
    "--memory": ("--mem-mib",),
    "--mem": ("--mem-mib",),
    "-m": ("--mem-mib", "--message"),
    "--network": ("--network-policy",),
    "--net": ("--network-policy",),
    "--timeout": ("--timeout-seconds", "--ready-timeout-seconds"),
    "--ttl": ("--ttl-seconds",),
    "--workdir": ("--cwd",),
    "-w": ("--cwd",),
    "-e": ("--env",),
    "-n": ("--name", "--count"),
    "-l": ("--label",),
    "-o": ("--output",),
    "--out": ("--output",),
    "-f": ("--follow", "--overwrite"),
    "--force": ("--overwrite",),
    "-p": ("--publish",),
    "-b": ("--branch",),
    "-r": ("--recursive",),
    "--wait": ("--wait-seconds",),
    "-i": ("--stdin", "--ignore-case"),
    "-d": ("--background",),
    "--detach": ("--background",),
    "-q": ("--id-only",),
    "--quiet": ("--id-only",),
    "--volume": ("--seed-path",),
    "--source": ("--seed-path",),
    "--path": ("--seed-path",),
    "--from": ("--seed-path",),
    "--dir": ("--cwd",),
    "--directory": ("--cwd",),
    "--chdir": ("--cwd",),
    "--lines": ("--tail",),
    "--dest-path": ("--dest",),
    "--environment": ("--env",),
    "--label-add": ("--label",),
    "--port": ("--publish",),
    "--domain": ("--allow-domain",),
    "--allow": ("--allow-domain",),
    "--lifetime": ("--lifetime-seconds",),
    "--disk": ("--disk-gib",),
    "--storage": ("--disk-gib",),
    "--stat": ("--summary",),
    "--name-only": ("--summary",),
    "-t": ("--tty",),
    "-it": ("--tty",),
    "-ti": ("--tty",),
    "--interactive": ("--tty",),
    "--no-cache": ("--again",),
}
"""An option by the name that other tools give it, and ours that it may mean: the first that the command has."""

INSTEAD: dict[tuple[str, str], str] = {
    ("-f", "delete"): "Deleting never asks; leave it out.",
    ("--force", "delete"): "Deleting never asks; leave it out.",
    ("-v", "run"): "Nothing of this computer is mounted: `pyro new --seed-path DIR` copies it in.",
    ("--volume", "run"): "Nothing of this computer is mounted: `pyro new --seed-path DIR` copies it in.",
    ("-v", "create"): "Nothing of this computer is mounted: --seed-path DIR copies it in.",
    ("--name", "run"): "Such a machine is gone after its command; `pyro new --name NAME` makes one that stays.",
    ("-d", "run"): "Such a machine is gone after its command: `pyro new`, then `pyro exec -d WS COMMAND`.",
    (
        "-p",
        "run",
    ): "Ports are published by services: `pyro new`, then `pyro service start WS NAME --publish PORT -- COMMAND`.",
    ("--tail", "logs"): "Count bytes from the end: --handle HANDLE --offset -2000.",
    ("-n", "logs"): "Count bytes from the end: --handle HANDLE --offset -2000.",
    ("--format", ""): "Every command takes --json.",
}
"""An option of other tools that is none here, the last word of the command (any), and what is done instead."""

_AMOUNT = re.compile(r"^(\d+(?:\.\d+)?)\s*([a-zA-Z]+)$")
_MIB = {"m": 1, "mb": 1, "mib": 1, "g": 1024, "gb": 1024, "gib": 1024, "t": 1024**2, "tb": 1024**2, "tib": 1024**2}
_GIB = {"m": 1 / 1024, "mb": 1 / 1024, "mib": 1 / 1024, "g": 1, "gb": 1, "gib": 1, "t": 1024, "tb": 1024, "tib": 1024}
_BYTES = {"b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 1024**2, "mb": 1024**2, "mib": 1024**2}
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    "ms": 0.001,
}


def number(name: str, text: str) -> str:
    """A number with a unit (`1g`, `2h`, `30m`) in the unit that the parameter counts in; other text as it is."""
    units = next(
        (units for end, units in (("_mib", _MIB), ("_gib", _GIB), ("_bytes", _BYTES), ("_seconds", _SECONDS))
         if name.endswith(end)), None,
    )  # fmt: skip
    found = _AMOUNT.match(text)
    if units is None or found is None or found[2].lower() not in units:
        return text
    value = float(found[1]) * units[found[2].lower()]
    return f"{value:g}" if value != int(value) else str(int(value))


def expanded(words: Sequence[str], known: Iterable[tuple[str, ...]]) -> list[str]:
    """The words with a short command written out: `ls` is `workspace list`, `workspace rm` is `workspace delete`."""
    known = set(known)
    out = list(words)
    if not out:
        return out
    groups = {path[:end] for path in known for end in range(1, len(path))}
    if (out[0],) not in known | groups and out[0] in SHORT:
        out = [*SHORT[out[0]], *out[1:]]
    path: tuple[str, ...] = ()
    for place, word in enumerate(out):
        if (*path, word) not in known | groups:
            same = (*path, SAME.get(word, ""))
            if path and path in groups and path not in known and same in known | groups:
                out[place] = SAME[word]
            return out
        path = (*path, word)
        if path in known and path not in groups:
            return out
    return out


def nearest_command(word: str, below: Iterable[str]) -> str | None:
    """The command that is meant by a word that is none: by meaning first, then by spelling."""
    choices = sorted(below)
    if "ls" in choices and MEANT.get(word, "").partition(" ")[0] in choices:
        return MEANT[word]
    if SAME.get(word) in choices:
        return SAME[word]
    begins = [choice for choice in choices if len(word) > 1 and choice.startswith(word)]
    if len(begins) == 1:
        return begins[0]
    import difflib

    # Two letters of three in common are no likeness: `mv` is not `mcp`.
    near = difflib.get_close_matches(word, choices, 1, 0.7 if len(word) > 3 else 0.85)
    return near[0] if near else None


def our_option(word: str, known: Iterable[str]) -> str | None:
    """Our name for an option of other tools, where the command has it."""
    names = set(known)
    return next((ours for ours in OPTIONS.get(word, ()) if ours in names), None)


def option_hint(word: str, prog: str, known: Iterable[str]) -> str:
    """What to do instead of an option that there is not: of another tool, or mistyped."""
    said = INSTEAD.get((word, prog.rpartition(" ")[2])) or INSTEAD.get((word, ""))
    if said:
        return said
    near = nearest_option(word, known)
    return f"Did you mean {near}?" if near else f"See `{prog} --help`."


def one_by_one(prog: str, each: Iterable[str]) -> str:
    """A line for a shell that does something with each of several words."""
    import shlex

    return f"In a shell: for w in {' '.join(map(shlex.quote, each))}; do {prog} $w; done"


def nearest_option(word: str, known: Iterable[str]) -> str | None:
    """The option that is meant by one that there is not: by its beginning first, then by spelling."""
    names = sorted(known)
    begins = [name for name in names if name.startswith(f"{word}-")] or [
        name for name in names if name.startswith(word)
    ]
    if len(begins) == 1 and len(word) > 3:
        return begins[0]
    import difflib

    # Likest of ours and of what other tools call them.
    spoken = {other: ours for other in OPTIONS if (ours := our_option(other, names)) is not None and len(other) > 3}
    near = difflib.get_close_matches(word, sorted({*names, *spoken}), 1, 0.7)
    return spoken.get(near[0], near[0]) if near else None
