"""Commands that are no operations: the MCP server, the daemon, the demo."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable

from pyro_mcp.cli.options import Parser, usage_error
from pyro_mcp.cli.parsing import Pairs, SecretHost, SecretValue
from pyro_mcp.plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Extra(Plain):
    """A command outside the registry. `run` gets the program's name, its words, and what follows `--`."""

    words: tuple[str, ...]
    summary: str
    run: Callable[[str, list[str], list[str] | None], int]


def extras() -> list[Extra]:
    """All of them that this installation has."""
    found = [
        Extra(("mcp", "serve"), "Serve the tools to a chat host over standard input and output, or HTTP.", _mcp_serve),
        Extra(("daemon", "start"), "Start the daemon. Other commands start it when they need it.", _daemon_start),
        Extra(("daemon", "stop"), "Stop the daemon. Machines keep running; the next daemon adopts them.", _daemon_stop),
        Extra(
            ("daemon", "status"),
            "Show whether the daemon is running, and where its socket and log are.",
            _daemon_status,
        ),
        Extra(("daemon", "run"), "Run the daemon in the foreground.", _daemon_run),
    ]
    # Each of these modules offers `run(prog, words, after) -> int`, and is imported only when it runs.
    found += [
        Extra(("up",), "Get a project ready: engine, chat hosts, workspace.", _module("up")),
        Extra(("down",), "Undo what `pyro up` did for a project.", _module("down")),
        Extra(("demo",), "Run the whole workflow on a real project.", _module("demo")),
        Extra(("demo", "ollama"), "Have a local model fix a bug with pyro's tools.", _module("local_model.demo")),
        Extra(("host", "connect"), "Add pyro to a chat host's configuration.", _module("host")),
        Extra(("host", "print-config"), "Print pyro's entry, to paste into a host's configuration.", _module("host")),
        Extra(("host", "doctor"), "Check that chat hosts and pyro work together.", _module("host")),
        Extra(("host", "repair"), "Repair a chat host's connection where possible.", _module("host")),
        *(
            Extra(("agent", name), f"Run {title} inside a workspace of this project.", _module("agent"))
            for name, title in (("claude-code", "Claude Code"), ("codex", "Codex"), ("opencode", "OpenCode"))
        ),
        Extra(("agent", "list"), "List the coding agents that work in workspaces.", _module("agent", "run_list")),
        Extra(("agent", "attach"), "Come back to a coding agent.", _module("agent", "run_attach")),
        Extra(("context", "add"), "Add another computer, reached over ssh.", _module("context", "add")),
        Extra(("context", "use"), "Use another computer for every command.", _module("context", "use")),
        Extra(("context", "list"), "List the computers that workspaces may be on.", _module("context", "show")),
        Extra(("context", "rm"), "Forget another computer.", _module("context", "remove")),
        Extra(("__box",), "Used over ssh by the pyro of another computer.", _box),
        Extra(("ui",), "Show all workspaces on a page in the browser.", _module("ui")),
        Extra(("watch",), "Print what is done in all workspaces, as it happens.", _module("watch")),
        Extra(("sh",), "Open a terminal in a workspace, creating one if needed.", _module("attach", "run_shell")),
        Extra(("cp",), "Copy files in or out: cp a.txt WS:sub/, cp WS:a.txt .", _module("everyday", "cp")),
        Extra(("port",), "List a workspace's published ports.", _module("everyday", "port")),
        Extra(("top",), "List a workspace's processes.", _module("everyday", "top")),
        Extra(("stats",), "Show a workspace's CPU, memory and disk usage.", _module("everyday", "stats")),
        Extra(("completion",), "Print the completion script for bash, zsh or fish.", _module("completion")),
        Extra(("__complete",), "What the last word may become.", _module("completion", "complete")),
        Extra(
            ("workspace", "ssh-config"), "Print the ssh configuration for a workspace.", _module("ssh", "print_config")
        ),
        Extra(("__ssh",), "Used by ssh to enter a workspace.", _module("ssh", "proxy")),
        Extra(("workspace", "shell", "attach"), "Attach to a shell's live terminal.", _module("attach")),
    ]
    return found


def _module(name: str, function: str = "run") -> Callable[[str, list[str], list[str] | None], int]:
    def run(prog: str, words: list[str], after: list[str] | None) -> int:
        module: Any = importlib.import_module(f"pyro_mcp.cli.{name}")
        return int(getattr(module, function)(prog, words, after))

    return run


def _box(prog: str, words: list[str], after: list[str] | None) -> int:
    from pyro_mcp.remote.box import main

    return main([*words, *(after or [])])


def _mcp_serve(prog: str, words: list[str], after: list[str] | None) -> int:
    from pyro_mcp.vocabulary import POLICIES

    parser = Parser(
        prog=prog,
        add_help=False,
        description="Serve the tools to a chat host over standard input and output.\n\n"
        "The tools can read and write only the project directory (CLAUDE_PROJECT_DIR, else the working\n"
        "directory) and the directories given with --allow-path on this computer.\n\n"
        "With --http, the server also accepts chat hosts on other computers, at /mcp. They need the\n"
        "bearer token from --token-file, --new-token or the variable PYRO_MCP_TOKEN.",
    )
    parser.add_argument(
        "--profile",
        choices=("vm-run", "workspace-core", "workspace-full"),
        default="workspace-core",
        help="Which tools to offer (default: workspace-core).",
    )
    parser.add_argument(
        "--allow-path",
        metavar="DIR",
        action="append",
        default=[],
        help="Another directory that the tools may reach. Repeatable.",
    )
    parser.add_argument(
        "--network",
        choices=POLICIES,
        default="egress",
        help="The widest network policy a workspace may use. off: none; ask: hosts you allow when asked (`pyro "
        "allow`); "
        "egress: public hosts; egress+published-ports: also service ports published on 127.0.0.1. A workspace has no "
        "network unless it asks for one (default: egress).",
    )
    parser.add_argument(
        "--allow-domain",
        metavar="DOMAIN",
        action="append",
        default=[],
        help="Workspaces may reach only these hosts: an exact name, or *.suffix. Repeatable.",
    )
    parser.add_argument(
        "--allow-host-port",
        metavar="PORT[:NAME]",
        action="append",
        default=[],
        help="A loopback port of this computer that workspaces with egress may reach, as host.pyro.internal:PORT. "
        "Repeatable.",
    )
    parser.add_argument(
        "--allow-address",
        metavar="ADDRESS[:PORT]",
        action="append",
        default=[],
        help="An address on this computer's network that workspaces with egress may reach. Repeatable.",
    )
    parser.add_argument(
        "--ssh-host",
        metavar="[USER@]HOST[:PORT]",
        action="append",
        default=[],
        help="A server at which workspaces with egress log in with your ssh keys, which stay outside. Repeatable.",
    )
    parser.add_argument(
        "--secret",
        action=SecretValue,
        dest="secrets",
        default={},
        metavar=SecretValue.shape,
        help="A secret for every workspace; with a name alone, the value comes from the environment. The model "
        "sees the "
        "name, never the value. Repeatable.",
    )
    parser.add_argument(
        "--secret-file",
        action=Pairs,
        dest="secret_files",
        default={},
        metavar="NAME=FILE",
        help="A secret from a file. Repeatable.",
    )
    parser.add_argument(
        "--secret-host",
        action=SecretHost,
        dest="secret_hosts",
        default={},
        metavar=SecretHost.shape,
        help="The only host that receives the secret, in request headers; workspaces get a placeholder. Repeatable.",
    )
    parser.add_argument(
        "--on",
        metavar="PLACE",
        help="Have the workspaces on another computer: ssh://USER@HOST, or the name of a context.",
    )
    parser.add_argument(
        "--http",
        metavar="HOST:PORT",
        help="Serve streamable HTTP instead. A port alone means 127.0.0.1; port 0 picks a free port.",
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="File with the bearer token; only you may be able to read it."
    )
    parser.add_argument("--new-token", metavar="FILE", help="Create a bearer token, save it in FILE, and use it.")
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="Another host name that clients use for the server. Repeatable.",
    )
    found = parser.none_left(words, after)
    if found.http is None and (found.token_file or found.new_token or found.allow_host):
        raise usage_error("--token-file, --new-token and --allow-host need --http HOST:PORT.")
    if found.token_file and found.new_token:
        raise usage_error("Use either --token-file or --new-token, not both.")
    for path in found.allow_path:
        if not os.path.exists(os.path.expanduser(path)):
            raise usage_error(f"--allow-path {path}: no such file or directory.")
    if found.on is not None:
        from pyro_mcp.client.place import locations
        from pyro_mcp.locations import ON

        os.environ[ON] = found.on
        locations()  # a bad one is said before the host speaks
    from pyro_mcp.mcp.access import Access
    from pyro_mcp.mcp.serve import serve

    access = Access.chosen(
        found.allow_path,
        found.network,
        allow_domains=found.allow_domain,
        allow_host_ports=found.allow_host_port,
        allow_addresses=found.allow_address,
        ssh_hosts=found.ssh_host,
        secrets=found.secrets,
        secret_files={name: os.path.abspath(os.path.expanduser(path)) for name, path in found.secret_files.items()},
        secret_hosts=found.secret_hosts,
    )
    if found.http is not None:
        return _serve_http(found, access)
    return serve(profile=found.profile, access=access)


def _serve_http(found: Any, access: Any) -> int:
    from pyro_mcp.mcp.door import find_token, new_token
    from pyro_mcp.mcp.http import address_of, serve_http

    address_of(found.http)
    token = new_token(found.new_token) if found.new_token else find_token(os.environ, found.token_file)
    return serve_http(profile=found.profile, access=access, address=found.http, token=token, names=found.allow_host)


def _state_parser(prog: str, summary: str) -> Parser:
    parser = Parser(prog=prog, add_help=False, description=summary)
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    return parser


def _health() -> dict[str, Any] | None:
    """What the daemon says of itself; None when none runs."""
    from pyro_mcp.client.sync import Transport
    from pyro_mcp.errors import DaemonUnavailable
    from pyro_mcp.locations import Locations

    transport = Transport(Locations.of_this_user(), start=None, any_version=True)
    try:
        return next(iter(list(transport.request("GET", "/v1/health"))))
    except DaemonUnavailable as error:
        if error.code == "daemon_not_running":
            return None
        raise
    finally:
        transport.close()


def _say_status(as_json: bool) -> int:
    from pyro_mcp.locations import Locations

    locations, health = Locations.of_this_user(), _health()
    facts = {
        "running": health is not None,
        "pid": health and health.get("pid"),
        "version": health and health.get("version"),
        "socket": str(locations.socket),
        "log": str(locations.daemon_log),
        "state": str(locations.state),
        "cache": str(locations.cache),
    }
    if as_json:
        print(json.dumps(facts))
    else:
        said = f"is running, process {facts['pid']}, pyro {facts['version']}" if health else "does not run"
        print(f"The daemon {said}.\n  socket  {locations.socket}\n  log     {locations.daemon_log}")
    return 0 if health is not None else 1


def _daemon_start(prog: str, words: list[str], after: list[str] | None) -> int:
    found = _state_parser(prog, "Start the daemon.").none_left(words, after)
    from pyro_mcp.client.launch import start_daemon
    from pyro_mcp.locations import Locations

    start_daemon(Locations.of_this_user())
    return _say_status(found.json)


def _daemon_status(prog: str, words: list[str], after: list[str] | None) -> int:
    return _say_status(_state_parser(prog, "Show whether the daemon is running.").none_left(words, after).json)


def _daemon_stop(prog: str, words: list[str], after: list[str] | None) -> int:
    found = _state_parser(prog, "Stop the daemon; machines keep running.").none_left(words, after)
    from pyro_mcp.client.sync import Transport
    from pyro_mcp.errors import DaemonUnavailable
    from pyro_mcp.locations import Locations

    pid: int | None = None
    health = _health()
    if health is not None:
        pid = health.get("pid")
        transport = Transport(Locations.of_this_user(), start=None, any_version=True)
        try:
            list(transport.request("POST", "/v1/stop", {}))
        except DaemonUnavailable as error:
            if error.code not in ("daemon_not_running", "daemon_went_away"):
                raise
        finally:
            transport.close()
        _await_end(pid)
    if found.json:
        print(json.dumps({"stopped": health is not None, "pid": pid}))
    else:
        print(f"The daemon (process {pid}) has stopped; machines keep running." if health else "No daemon is running.")
    return 0


STOP_SECONDS = 30.0


def _await_end(pid: int | None) -> None:
    """Wait until the process is gone, by its descriptor: nothing is polled."""
    import select

    from pyro_mcp.errors import DaemonUnavailable

    try:
        descriptor = os.pidfd_open(int(pid or 0))
    except (OSError, ValueError):
        return  # it has gone already
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(STOP_SECONDS * 1000):
            raise DaemonUnavailable(
                f"The daemon (process {pid}) was asked to stop but is still running after {STOP_SECONDS:.0f} s.",
                hint="Its log says why; `pyro daemon status` shows where the log is.",
                code="daemon_stays",
            )
    finally:
        os.close(descriptor)


def _daemon_run(prog: str, words: list[str], after: list[str] | None) -> int:
    Parser(prog=prog, add_help=False, description="Run the daemon in the foreground.").none_left(words, after)
    from pyro_mcp.daemon.lifecycle import run
    from pyro_mcp.locations import Locations

    print("The daemon is running in the foreground; Ctrl-C stops it.", file=sys.stderr)
    return run(Locations.of_this_user())
