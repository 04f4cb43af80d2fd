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
            ("doctor --fix", "check this machine and fetch what is missing"),
            ("host connect HOST", "put pyro into claude-code, codex or opencode"),
            ("demo", "see the whole story, end to end"),
            ("run [ENV] COMMAND", "one command in a machine that is gone afterwards"),
        ),
    ),
    (
        "Workspaces",
        (
            ("new [ENV] --seed-path .", "make one, filled from a folder, git tree, archive"),
            ("ls", "list them, last used first"),
            ("inspect WS", "one in full"),
            ("rm WS", "delete it, with everything in it"),
            ("stop WS, start WS", "suspend it to disk, and go on as it was"),
        ),
    ),
    (
        "Work in one",
        (
            ("exec WS COMMAND", "run a command; its output and status are yours"),
            ("sh [WS]", "a terminal of your own; makes one if there is none"),
            ("cp F WS:F, cp WS:F F", "copy a file or folder in, or out"),
            ("ssh-config WS", "how ssh, scp, rsync, git and editors reach it"),
            ("logs WS", "past commands and their output"),
            ("search WS PATTERN", "look through its files"),
            ("cat WS PATH", "read a file"),
            ("edit WS PATH", "replace exact text in a file"),
            ("patch WS --patch-file F", "apply a patch, all or nothing"),
            ("push WS PATH", "copy later changes of this machine in"),
            ("history WS", "everything that was done, and who did it"),
            ("top, stats, port WS", "its processes, what it uses, published ports"),
        ),
    ),
    (
        "Bring it back",
        (
            ("diff WS", "what changed since it began"),
            ("land WS --branch NAME", "commit the changes as a branch of your repository"),
            ("export WS PATH --output P", "copy a file or folder to this machine"),
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
            ("reset WS", "the whole machine as it began, or at a snapshot"),
            ("snapshot create WS NAME", "keep this moment: files, memory, processes"),
            ("fork WS --count N", "more of them, from this very moment"),
        ),
    ),
    (
        "More",
        (
            ("service, shell, disk", "services with readiness, terminals, stopped disks"),
            ("env", "environments: list, inspect, pull, prune"),
            ("mcp serve", "the server that chat hosts start"),
            ("daemon", "the process that owns the machines"),
            ("completion SHELL", "completion for bash, zsh or fish"),
            ("workspace --help", "all commands of a workspace, by their long names"),
            ("help COMMAND", "the options of one command"),
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
    lines += ["", "WS is a workspace's name or id; leave it out where your folder has only one."]
    lines += ["Everywhere: --json, --id-only, --content-only, --help. Also: pyro version."]
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
