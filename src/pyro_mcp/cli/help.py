"""What `pyro --help` and the help of a group print: grouped, for people, within 80 columns. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    class Command(Protocol):
        """What has a line in the help."""

        @property
        def summary(self) -> str: ...


WIDTH = 80
START: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Begin",
        (
            ("up", "get a project ready: engine, chat host, workspace"),
            ("down", "undo that; asks about work that is not landed"),
            ("doctor --fix", "check this computer and fetch what is missing"),
            ("host connect HOST", "add pyro to claude-code, codex or opencode"),
            ("demo", "run the whole workflow on a real project"),
            ("run [ENV] COMMAND", "run one command in a throwaway machine"),
        ),
    ),
    (
        "Workspaces",
        (
            ("new [ENV] --seed-path .", "create one from a directory, git tree or archive"),
            ("ls", "list them, last used first"),
            ("inspect WS", "show one in full"),
            ("rm WS", "delete it and everything in it"),
            ("stop WS, start WS", "suspend it to disk, and resume it"),
        ),
    ),
    (
        "Work in one",
        (
            ("exec WS COMMAND", "run a command; you get its output and exit status"),
            ("sh [WS]", "open a terminal, creating a workspace if needed"),
            ("cp F WS:F, cp WS:F F", "copy a file or directory in or out"),
            ("ssh-config WS", "print its configuration for ssh, git and editors"),
            ("logs WS", "show past commands and their output"),
            ("search WS PATTERN", "search its files"),
            ("cat WS PATH", "read a file"),
            ("edit WS PATH", "replace exact text in a file"),
            ("patch WS --patch-file F", "apply a patch, all or nothing"),
            ("push WS PATH", "copy later changes from this computer in"),
            ("history WS", "show everything that was done, and by whom"),
            ("top, stats, port WS", "show its processes, usage and published ports"),
        ),
    ),
    (
        "Bring it back",
        (
            ("diff WS", "show what changed since the baseline"),
            ("land WS --branch NAME", "commit the changes to a branch of your repository"),
            ("export WS PATH --output P", "copy a file or directory to this computer"),
        ),
    ),
    (
        "Look on",
        (
            ("ui", "a page in the browser: all workspaces, live; review"),
            ("watch [WS]", "the same as lines in the terminal"),
            ("questions, allow HOST", "what workspaces ask, and your answer"),
            ("note WS TEXT", "tell the agent: its next call says it"),
        ),
    ),
    (
        "Try and undo",
        (
            ("reset WS", "return the machine to its baseline or a snapshot"),
            ("snapshot create WS NAME", "save files, memory and processes under a name"),
            ("fork WS --count N", "copy it as it is now, running processes included"),
        ),
    ),
    (
        "More",
        (
            ("service, shell, disk", "manage services, terminals and stopped disks"),
            ("env", "manage environments: list, inspect, pull, prune"),
            ("mcp serve", "run the server that chat hosts start"),
            ("daemon", "manage the process that owns the machines"),
            ("completion SHELL", "set up completion for bash, zsh or fish"),
            ("workspace --help", "all workspace commands, by their long names"),
            ("help COMMAND", "the options of a command"),
        ),
    ),
)


def start_page() -> str:
    """What `pyro` has to offer, in groups."""
    lines = ["usage: pyro COMMAND …", "", "pyro: the disposable workspace for chat-based coding agents."]
    width = max(len(words) for _, rows in START for words, _ in rows)
    for title, rows in START:
        lines += ["", f"{title}:"]
        lines += [f"  {words:{width}}  {text}" for words, text in rows]
    lines += ["", "WS is a workspace's name or id. Omit it if this directory has only one."]
    lines += ["All take --json, --id-only, --content-only and --help. Also: pyro version."]
    return "\n".join(lines)


def group_page(path: tuple[str, ...], table: Mapping[tuple[str, ...], Command]) -> str:
    """The commands below some words, each with its summary."""
    if not path:
        return start_page()
    import textwrap

    prog = " ".join(("pyro", *path))
    chosen = {known: command for known, command in table.items() if known[: len(path)] == path}
    names = {known: " ".join(known[len(path) :]) for known in chosen}
    width = max(len(name) for name in names.values())
    lines = [f"usage: {prog} COMMAND …", ""]
    for known, command in chosen.items():
        text = textwrap.wrap(command.summary, WIDTH - width - 4) or [""]
        lines.append(f"  {names[known]:{width}}  {text[0]}".rstrip())
        lines += [" " * (width + 4) + more for more in text[1:]]
    return "\n".join([*lines, "", f"More: {prog} COMMAND --help", "Everywhere: --json, --id-only, --content-only."])
