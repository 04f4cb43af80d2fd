"""`pyro context`: other computers, reached over ssh, that workspaces may be on."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path

from pyro_mcp.cli.options import Parser, too_many, usage_error
from pyro_mcp.client import place
from pyro_mcp.errors import NotFound, PyroError
from pyro_mcp.locations import ON, Locations
from pyro_mcp.visible import visible_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _taken(prog: str, summary: str, words: list[str], after: list[str] | None, names: tuple[str, ...]) -> Any:
    """The options, and the words by name."""
    parser = Parser(
        prog=prog, usage=" ".join((prog, *map(str.upper, names), "[options]")), description=summary, add_help=False
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    if prog.endswith(" add"):
        parser.add_argument("--install", action="store_true", help="Install this version of pyro there, by uv.")
        parser.add_argument("--use", action="store_true", help="Use it for every command from now on.")
    found, rest = parser.taken(words, after)
    if len(rest) < len(names):
        raise usage_error(f"{names[len(rest)].upper()} is missing.", hint=f"See `{prog} --help`.")
    if len(rest) > len(names):
        raise too_many(rest[len(names)], prog)
    for name, word in zip(names, rest, strict=True):
        setattr(found, name, word)
    return found


def add(prog: str, words: list[str], after: list[str] | None) -> int:
    """`pyro context add NAME ssh://USER@HOST`."""
    found = _taken(
        prog,
        "Add another computer: log in over ssh, check the pyro there, and remember it.\n\n"
        "The address is ssh://[USER@]HOST[:PORT][/PROGRAM]; PROGRAM is the path of pyro there, unless the shell finds "
        "it. Keys, ssh agent and ~/.ssh/config are yours, as `ssh HOST` has them.",
        words,
        after,
        ("name", "address"),
    )
    name, address = place.checked_name(found.name), place.parsed(found.address)
    here = Locations.of_this_user()
    place.contexts(here)  # that they can be read is seen before anything is done
    said = asyncio.run(_checked(address, found.install))
    current, known = place.contexts(here)  # another may have been added meanwhile
    place.keep_contexts(here, name if found.use else current, {**known, name: str(address)})
    if found.json:
        print(json.dumps({"name": name, "address": str(address), **said}))
    else:
        print(f"{name} is {address}, with pyro {said['version']}.")
        for problem in said["problems"]:
            print(f"  {visible_lines(problem)}")
        if not found.use:
            print(f"Use it: pyro --on {name} …, or for every command: pyro context use {name}")
    return 0


async def _checked(address: place.Address, install: bool) -> dict[str, Any]:
    """Its version, and what its doctor says is wrong there."""
    from pyro_mcp.remote.install import install_there
    from pyro_mcp.remote.link import answered, checked
    from pyro_mcp.remote.ssh import Ssh

    with tempfile.TemporaryDirectory(prefix="pyro-") as directory:
        ssh = Ssh(address, Path(directory))
        try:
            await ssh.connect()
            if install:
                await install_there(ssh)
            said = checked(ssh, answered(await ssh.run("doctor")))
        finally:
            await ssh.close()
    problems = said.get("problems")
    listed = [str(each) for each in problems] if isinstance(problems, list) else []
    return {"version": visible_lines(str(said.get("version"))), "ok": said.get("ok") is True, "problems": listed}


def use(prog: str, words: list[str], after: list[str] | None) -> int:
    """`pyro context use NAME`; `local` is this computer."""
    found = _taken(prog, "Use a context for every command; `local` is this computer.", words, after, ("name",))
    here = Locations.of_this_user()
    known = place.contexts(here)[1]
    if found.name != place.LOCAL:
        _known(found.name, known)
    place.keep_contexts(here, found.name, known)
    return _show(found.json, found.name, known)


def remove(prog: str, words: list[str], after: list[str] | None) -> int:
    """`pyro context rm NAME`: forget it; what is on that computer stays."""
    found = _taken(prog, "Forget a context. Its workspaces stay on that computer.", words, after, ("name",))
    here = Locations.of_this_user()
    current, known = place.contexts(here)
    _known(found.name, known)
    _stop(found.name)
    known = {name: address for name, address in known.items() if name != found.name}
    place.keep_contexts(here, current if current in known else place.LOCAL, known)
    return _show(found.json, current if current in known else place.LOCAL, known)


def show(prog: str, words: list[str], after: list[str] | None) -> int:
    """`pyro context list`."""
    found = _taken(prog, "List the computers that workspaces may be on.", words, after, ())
    here = Locations.of_this_user()
    return _show(found.json, *place.contexts(here))


def _known(name: str, known: dict[str, str]) -> None:
    if name not in known:
        raise NotFound(f"There is no context {name!r}.", hint="`pyro context list` shows all.", code="unknown_context")


def _stop(name: str) -> None:
    """Its relay leaves, and the connection with it."""
    from pyro_mcp.client.sync import Transport

    transport = Transport(place.locations(name), start=None, any_version=True)
    try:
        list(transport.request("POST", "/v1/stop", {}))
    except PyroError:
        pass  # none runs
    finally:
        transport.close()


def _show(as_json: bool, current: str, known: dict[str, str]) -> int:
    meant = os.environ.get(ON) or current
    listed = {place.LOCAL: "this computer", **known}
    if as_json:
        print(json.dumps({"current": meant, "contexts": known}))
        return 0
    width = max(map(len, listed))
    for name, address in listed.items():
        print(f"{'*' if name == meant else ' '} {name:{width}}  {address}")
    if meant not in listed:
        print(f"* {meant} (from {ON})")
    return 0
