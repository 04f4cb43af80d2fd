"""`pyro agent PROGRAM`: Claude Code, Codex or OpenCode in a workspace of the project, where nothing needs to be asked.

The machine is the boundary, so the program's own tools work freely in it. The key stays here: its one host gets it, the
machine holds a placeholder. What the program did comes back as a branch, when the person says so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pyro_mcp.cli import attach, meant
from pyro_mcp.cli.execute import ProgressView, is_terminal, note, print_text, run_command
from pyro_mcp.cli.host import project_of
from pyro_mcp.cli.options import Parser, too_many, usage_error
from pyro_mcp.cli.parsing import Parsed
from pyro_mcp.client.connection import Connection
from pyro_mcp.client.place import check_here
from pyro_mcp.coding_agents import endpoint, machine, told
from pyro_mcp.coding_agents.programs import FOLDER, PROGRAMS, Program
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import PyroError
from pyro_mcp.hosts.base import git_root
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.visible import visible

VCPU_COUNT = 2
MEM_MIB = 4096
"""The programs themselves take up to 1 GiB, and the project's tests come on top."""
RUN_SECONDS = 86400
"""The longest that a command may run."""
MOST_COMMANDS = 1000
"""As many as one call lists."""


def run(prog: str, words: list[str], after: list[str] | None) -> int:
    """`pyro agent claude-code|codex|opencode`."""
    program = PROGRAMS[prog.split()[-1]]
    found = _parsed(prog, program, words)
    on_terminal = is_terminal(sys.stdin) and is_terminal(sys.stdout)
    if found.prompt is None and not on_terminal:
        raise usage_error("Without a terminal, --prompt is required.")
    if found.prompt is not None and not found.prompt.strip():
        raise usage_error("--prompt is empty.")
    chosen = endpoint.find(program, url=found.api_url, variable=found.key, domains=found.allow_domain)
    if chosen.host_ports:
        check_here("An --api-url on loopback")
    folder = project_of(found)
    project = git_root(folder) or folder
    if found.land:
        _check_branch(project, found.land)
    masker = Redactor([chosen.secret] if chosen.secret else [])
    instructions = b"" if found.no_instructions else told.archive(Path.home(), program.told, masker)
    start = program.start(found.prompt, model=found.model, url=chosen.url, key=chosen.variable, more=after or [])
    command = {
        "command": ["sh", "-c", f'{start.before}\nexec "$@"', "sh", *start.argv],
        "env": {**chosen.command["env"], **start.environment},
        "secret_env": chosen.command["secret_env"],
    }
    with Connection(face="cli", client="agent") as pyro:
        with ProgressView(shown=True) as view:
            environment = machine.prepared(pyro, program, found.environment, view.show_until_ready)
            made = pyro.call(
                KNOWN["create_workspace"],
                {
                    "environment": environment,
                    "user": "root",
                    "seed_path": str(project),
                    "network_policy": found.network,
                    "vcpu_count": found.vcpu_count,
                    "mem_mib": found.mem_mib,
                    "labels": {
                        machine.LABEL: program.name,
                        **({machine.LAND_LABEL: found.land} if found.land else {}),
                    },
                    **({"name": found.name} if found.name else {}),
                    **chosen.machine,
                },
                on_event=view.show_until_ready,
            )
        workspace = str(made["id"])
        try:
            machine.tell(pyro, workspace, instructions)
        except BaseException:
            machine.gone(pyro, workspace)
            raise
        note(f"{program.title} works in {workspace}, on a copy of {visible(str(project))}.")
        message = found.prompt or f"What {program.title} did"
        if found.prompt is None:
            opened = pyro.call(KNOWN["open_shell"], {"workspace": workspace, **command})
            status = _until_it_ends(pyro, workspace, str(opened["shell"]))
            return 0 if status is None else _ended(pyro, workspace, status, message, keep=found.keep)
        arguments = {"workspace": workspace, **command, "timeout_seconds": RUN_SECONDS}
        if found.detach:
            record = pyro.call(KNOWN["exec_workspace"], {**arguments, "background": True})
            print(json.dumps({"workspace": workspace, "handle": record["handle"]}) if found.json else workspace)
            note(f"It keeps running. To follow it to its end: pyro agent attach {workspace}")
            return 0
        status = run_command(pyro, KNOWN["exec_workspace"], Parsed(arguments=arguments))
        return _ended(pyro, workspace, status, message, keep=found.keep)


def _parsed(prog: str, program: Program, words: list[str]) -> Any:
    parser = Parser(
        prog=prog,
        add_help=False,
        usage=f"{prog} [--prompt TEXT] [options] [-- ARGUMENTS]",
        description=f"Run {program.title} inside a workspace that holds a copy of the project, with its permission "
        "prompts off: the machine is the boundary. With --prompt it does that task and ends; without, it gets this "
        "terminal; Ctrl-] detaches.\n\n"
        f"The key is read from {', '.join(key.variable for key in program.keys)}; only its host gets it, "
        "and the machine holds a placeholder. The machine reaches only that host and what --allow-domain names.\n\n"
        "When it ends, you see what changed. With --land, or when you confirm, it is committed to a branch; your files "
        "and your work tree stay as they are.",
    )
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="The task.")
    parser.add_argument("--land", metavar="BRANCH", help="If it succeeds, commit its changes to this branch.")
    parser.add_argument("--project", metavar="DIR", help="The project (default: the git work tree of this directory).")
    parser.add_argument("--name", help="A name for the workspace.")
    parser.add_argument("-m", "--model", help=f"The model (default: {program.title}'s own choice).")
    parser.add_argument(
        "--api-url",
        metavar="URL",
        help="Your own endpoint, also on this computer's loopback. Over plain HTTP it gets no key.",
    )
    parser.add_argument("--key", metavar="VARIABLE", help="The variable that holds the key.")
    parser.add_argument(
        "--allow-domain", metavar="DOMAIN", action="append", default=[], help="Also allow this host. Repeatable."
    )
    parser.add_argument(
        "--network",
        choices=("egress", "ask"),
        default="egress",
        help="ask: pyro asks you about other hosts (`pyro allow`). Default: egress, to the named hosts only.",
    )
    parser.add_argument(
        "--environment",
        default="debian:12",
        help="The environment that the program is added to, once (default: debian:12).",
    )
    parser.add_argument("--vcpu-count", type=int, default=VCPU_COUNT, help=f"Default: {VCPU_COUNT}.")
    parser.add_argument("--mem-mib", type=int, default=MEM_MIB, help=f"Default: {MEM_MIB}.")
    parser.add_argument(
        "--no-instructions", action="store_true", help="Do not copy your instructions and skills for it."
    )
    parser.add_argument("--detach", action="store_true", help="With --prompt: return at once; it keeps running.")
    parser.add_argument("--keep", action="store_true", help="Keep the workspace after its work has been landed.")
    parser.add_argument("--json", action="store_true", help="With --detach: print one JSON object.")
    found, rest = parser.taken(words)
    if rest:
        raise usage_error(
            f"Unexpected argument: {rest[0]!r}.",
            hint="Give its task with --prompt; arguments after `--` go to the program.",
        )
    if found.detach and found.prompt is None:
        raise usage_error("--detach needs --prompt. At a terminal, Ctrl-] detaches and leaves it running.")
    return found


def _check_branch(project: Path, branch: str) -> None:
    """That what is done can be landed there is found out before hours of work.

    Raises:
        InvalidInput: the project is in no repository, or no branch can have this name.
        Conflict: the branch is checked out.
    """
    from pyro_mcp.landing.repository import Repository

    if git_root(project) is None:
        raise usage_error(
            f"{visible(str(project))} is in no git repository, so nothing can be landed.",
            hint="Omit --land: the workspace stays, and `pyro export` writes the changes.",
        )
    repository = Repository(project)
    repository.check_branch(branch)
    repository.check_not_checked_out(branch)


# -- while it runs, and its end


def _until_it_ends(pyro: Connection, workspace: str, shell: str) -> int | None:
    """The exit status; None when the person left and it goes on."""
    status = attach.show(pyro, workspace, shell)
    if shell in pyro.call(KNOWN["status_workspace"], {"workspace": workspace})["shells"]:
        note(f"It keeps running. To reattach: pyro agent attach {workspace}")
        return None
    return status


def _ended(pyro: Connection, workspace: str, status: int, message: str, *, keep: bool) -> int:
    """Show what changed; land it where that was asked for, or ask the person what to do with it."""
    from pyro_mcp.cli.render import render

    changed = pyro.call(KNOWN["diff_workspace"], {"workspace": workspace, "summary": True})
    print_text(render("Diff", changed))
    labels = pyro.call(KNOWN["status_workspace"], {"workspace": workspace})["labels"]
    # What only the diff leaves out, or git cannot hold, may be what was wanted.
    nothing = not (changed["files"] or changed["empty_directories"] or changed["left_out_files"])
    branch = labels.get(machine.LAND_LABEL)
    if branch and status != 0:
        note(f"It ended with exit status {status}, so nothing was landed.")
    elif branch and changed["files"]:
        return _land(pyro, workspace, branch, message, keep=keep)
    elif nothing and status == 0:
        if not keep:
            machine.gone(pyro, workspace)
        return status
    elif is_terminal(sys.stdin) and is_terminal(sys.stdout):
        return _choose(pyro, workspace, message, status)
    note(
        f"The workspace stays: pyro diff {workspace}, pyro land {workspace} BRANCH, pyro rm {workspace}",
    )
    return status


def _land(pyro: Connection, workspace: str, branch: str, message: str, *, keep: bool) -> int:
    from pyro_mcp.cli.render import render

    try:
        landed = pyro.call(
            KNOWN["land_workspace"], {"workspace": workspace, "branch": branch, "message": message[:65536]}
        )
    except PyroError:
        note(f"The workspace stays, with its changes: pyro diff {workspace}")
        raise
    print_text(render("Landed", landed))
    if not keep:
        machine.gone(pyro, workspace)
    return 0


def _choose(pyro: Connection, workspace: str, message: str, status: int) -> int:
    """One key: land, keep, throw away."""
    while True:
        print("[l]and on a branch, [d]iff, [k]eep the workspace, [t]hrow it away? ", end="", flush=True)
        try:
            key = input().strip().lower()[:1]
            if key == "l":
                branch = input("Branch: ").strip()
                if branch:
                    return _land(pyro, workspace, branch, message, keep=False)
                continue
        except (EOFError, KeyboardInterrupt):
            print()
            key = "k"
        except PyroError as error:
            note(f"error: {error.message}")
            continue
        if key == "d":
            from pyro_mcp.cli.render import render

            print_text(render("Diff", pyro.call(KNOWN["diff_workspace"], {"workspace": workspace})))
        elif key == "t":
            machine.gone(pyro, workspace)
            return status
        elif key == "k":
            note(f"It stays: pyro land {workspace} BRANCH, pyro rm {workspace}")
            return status


# -- those that run


def run_list(prog: str, words: list[str], after: list[str] | None) -> int:
    """`pyro agent list`: the workspaces in which a program works or has worked."""
    parser = Parser(prog=prog, add_help=False, usage=prog, description="List the workspaces of coding agents.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    found = parser.none_left(words, after)
    with Connection(face="cli", client="agent") as pyro:
        listed = pyro.call(KNOWN["list_workspaces"], {})["workspaces"]
    rows = [
        {
            "workspace": each["id"],
            "name": each["name"],
            "program": each["labels"][machine.LABEL],
            "state": "running" if each["running_commands"] or each["shells"] else "ended",
            "project": (each["seed"] or {}).get("source") or "",
            "land": each["labels"].get(machine.LAND_LABEL),
        }
        for each in listed
        if machine.LABEL in each["labels"]
    ]
    if found.json:
        print(json.dumps({"agents": rows}))
        return 0
    from pyro_mcp.cli.shown import table

    if not rows:
        print("No coding agent is in a workspace. To start one: pyro agent claude-code")
        return 0
    cells = [tuple(visible(str(row[key] or "")) for key in rows[0]) for row in rows]
    print(table(cells, tuple(key.upper() for key in rows[0])))
    return 0


def run_attach(prog: str, words: list[str], after: list[str] | None) -> int:
    """`pyro agent attach [WORKSPACE]`: come back to one, and decide at its end."""
    parser = Parser(
        prog=prog,
        add_help=False,
        usage=f"{prog} [WORKSPACE]",
        description="Reattach to a coding agent: its terminal or its output. Ctrl-] detaches. When it ends, you see "
        "what changed, and it is landed on the branch that --land named.",
    )
    parser.add_argument("--keep", action="store_true", help="Keep the workspace after its work has been landed.")
    found, rest = parser.taken(words, after)
    if len(rest) > 1:
        raise too_many(rest[1], prog)
    with Connection(face="cli", client="agent") as pyro:
        record = pyro.call(KNOWN["status_workspace"], {"workspace": rest[0] if rest else meant.only_one()})
        workspace = str(record["id"])
        program = PROGRAMS.get(record["labels"].get(machine.LABEL, ""))
        if program is None:
            raise usage_error(f"No coding agent works in {workspace}.", hint="`pyro agent list` shows those that do.")
        message = f"What {program.title} did"
        handle = _handle(pyro, workspace)
        if handle is None:
            return _ended(pyro, workspace, 0, message, keep=True)
        if handle in record["shells"]:
            if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
                raise usage_error("It runs in a terminal, so attaching needs one.")
            status = _until_it_ends(pyro, workspace, handle)
            return 0 if status is None else _ended(pyro, workspace, status, message, keep=found.keep)
        return _ended(pyro, workspace, _read_on(pyro, workspace, handle), message, keep=found.keep)


def _handle(pyro: Connection, workspace: str) -> str | None:
    """The command or shell in which the program runs, or ran; others may have run beside it."""
    listed = pyro.call(KNOWN["logs_workspace"], {"workspace": workspace, "limit": MOST_COMMANDS})["commands"]
    return next((str(each["handle"]) for each in listed if FOLDER in " ".join(each["command"])), None)


def _read_on(pyro: Connection, workspace: str, handle: str) -> int:
    """Show what it says from the beginning until it ends; its exit status."""
    from pyro_mcp.cli.execute import follow

    arguments = {"workspace": workspace, "handle": handle, "raw": True}
    follow(pyro, KNOWN["logs_workspace"], Parsed(arguments=arguments, content_only=True))
    code = pyro.call(KNOWN["logs_workspace"], {"workspace": workspace, "handle": handle})["exit_code"]
    return code if isinstance(code, int) else 1
