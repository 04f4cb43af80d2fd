"""Operations that name files of the user's computer, while the machine is on another one.

What goes in is read here and sent as a tree (`remote.trees`); what comes out is made over there, fetched, and put in
place here by the rules of any export. A landing is made here, in the user's repository, of what changed over there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyro_mcp import models, trees
from pyro_mcp.client.wire import Record
from pyro_mcp.devcontainers.suggest import suggest
from pyro_mcp.errors import Conflict, EngineError, InvalidInput, PyroError
from pyro_mcp.exports.backups import Backups
from pyro_mcp.landing.land import land
from pyro_mcp.operations.relayed import Changes
from pyro_mcp.patches.diff import DiffEntry, FileVersion
from pyro_mcp.paths import IMAGE_FILES, show, workspace_path
from pyro_mcp.remote.trees import Rooms, Sender, Tree
from pyro_mcp.seeds import sources
from pyro_mcp.seeds.sources import Source
from pyro_mcp.workspaces import exporting
from pyro_mcp.workspaces.secrets import collect

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Carries out an operation over there, its events passed on; gives the plain result."""
Lines = Callable[[str, dict[str, Any]], AsyncIterator[Record]]
Say = Callable[[str, float | None], Coroutine[Any, Any, None]]
MOST_BYTES = 4 * 1024**3
MOST_ENTRIES = 1_000_000
"""Of a landing: what that computer may have this one hold in memory."""
_WORKSPACE = re.compile(r"ws-[0-9a-f]{8}\Z")
_BACKED_UP = re.compile(r"Replaced files are kept in \S+\. ?")


class Carried:
    """One of these for a relay; each method is an operation, by its name."""

    def __init__(self, sender: Sender, rooms: Rooms, backups: Backups) -> None:
        self._sender, self._rooms, self._backups = sender, rooms, backups

    # -- in

    async def create_workspace(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        files = arguments.pop("secret_files", None)
        if files:
            found = await asyncio.to_thread(collect, arguments.get("secrets"), files, None)
            arguments["secrets"] = {name: secret.value for name, secret in found.items()}
        async with self._image(arguments.get("environment"), say) as environment:
            arguments["environment"] = environment
            path = arguments.get("seed_path")
            if path is None:
                return await ask("create_workspace", arguments)
            source = await asyncio.to_thread(sources.scan_source, path, bool(arguments.get("include_ignored")))
            plan = source.plan
            assert plan is not None
            seed: dict[str, Any] = {
                "source": str(source.path),
                "kind": plan.kind,
                "commit": plan.commit,
                "prefix": plan.prefix,
            }
            seed |= {"skipped": plan.skipped[:100], "notes": plan.notes}
            project = os.path.realpath(path) if os.path.isdir(path) else None
            async with self._there(source, {"seed": seed, "project": project}, say) as place:
                # What is ignored was left out here; over there all of it counts.
                return await ask("create_workspace", {**arguments, "seed_path": place, "include_ignored": True})

    async def push_workspace_sync(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        path = str(arguments["path"])
        source = await asyncio.to_thread(sources.scan_push, path, bool(arguments.get("include_ignored")))
        plan = source.plan
        if plan is None:
            async with self._file(source.path, say) as place:
                result = await ask("push_workspace_sync", {**arguments, "path": place})
        else:
            async with self._there(source, {}, say) as place:
                result = await ask("push_workspace_sync", {**arguments, "path": place, "include_ignored": True})
        return {**result, "source": str(source.path), "skipped": plan.skipped[:100] if plan else []}

    async def build_environment(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        context = os.path.realpath(arguments["context"])
        source = await asyncio.to_thread(sources.scan_source, context, True)
        if source.plan is not None and source.plan.kind == "archive":
            raise InvalidInput(f"{show(context)} is not a directory.", hint="Give the context.", code="bad_path")
        file = arguments.get("file")
        async with self._there(source, {}, say) as place:
            if file is None:
                return await ask("build_environment", {**arguments, "context": place})
            inside = os.path.relpath(os.path.realpath(file), context)
            if not inside.startswith(".."):
                return await ask("build_environment", {**arguments, "context": place, "file": f"{place}/{inside}"})
            async with self._file(Path(file), say) as there:
                return await ask("build_environment", {**arguments, "context": place, "file": there})

    async def pull_environment(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        async with self._image(arguments.get("environment"), say) as environment:
            return await ask("pull_environment", {**arguments, "environment": environment})

    async def run_in_vm(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        async with self._image(arguments.get("environment"), say) as environment:
            return await ask("run_in_vm", {**arguments, "environment": environment})

    async def suggest_environment(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        path = str(arguments["path"])
        if not await asyncio.to_thread(os.path.isdir, path):
            raise InvalidInput(f"{show(path)} is not a directory.", hint="Give the project directory.", code="bad_path")
        found = await asyncio.to_thread(suggest, Path(os.path.realpath(path)))
        return {"path": path, "content": found.content, "found": list(found.found)}

    @asynccontextmanager
    async def _there(self, source: Source, origin: dict[str, Any], say: Say) -> AsyncIterator[str]:
        """The source as a tree over there, which stays as it is meanwhile."""
        async with self._sender.copied(source, origin) as tree:
            turn, what = self._sender.turn(tree.name), tree.digest + json.dumps(origin)
            if turn.must_wait(what):
                await say("waiting for another workspace of this folder", None)
            async with turn.held(what):
                yield await self._sent(tree, say)

    @asynccontextmanager
    async def _file(self, path: Path, say: Say) -> AsyncIterator[str]:
        """One file over there, under its own name."""
        async with self._alone(path) as tree, self._sender.turn(tree.name).held(tree.digest):
            yield f"{await self._sent(tree, say)}/{path.name}"

    @asynccontextmanager
    async def _alone(self, path: Path) -> AsyncIterator[Tree]:
        place = self._backups.directory / f".file-{os.urandom(8).hex()}"

        def copy() -> str:
            place.mkdir(mode=0o700, parents=True)
            with trees.opened(Path(os.path.realpath(path))) as source, (place / path.name).open("xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                info = os.fstat(source.fileno())
            os.utime(place / path.name, ns=(info.st_atime_ns, info.st_mtime_ns))
            (place / path.name).chmod(info.st_mode & 0o777)
            return hashlib.sha256(os.urandom(16)).hexdigest()

        try:
            try:
                digest = await asyncio.to_thread(copy)
            except OSError as error:
                raise InvalidInput(f"{show(str(path))} cannot be read: {error.strerror}.", code="unreadable") from None
            yield Tree(f"file {path}", digest, place, {})
        finally:
            await asyncio.to_thread(shutil.rmtree, place, True)

    async def _sent(self, tree: Tree, say: Say) -> str:
        loop, told = asyncio.get_running_loop(), [0.0]

        def tell(done: int, whole: int) -> None:
            if whole and (done == whole or done / whole - told[0] > 0.02):
                told[0] = done / whole
                text = f"sent {done >> 20} of {whole >> 20} MiB"
                asyncio.run_coroutine_threadsafe(say(text, done / whole), loop)

        return await self._sender.bring(tree, tell)

    @asynccontextmanager
    async def _image(self, reference: Any, say: Say) -> AsyncIterator[Any]:
        """A reference to an image; one to a file or directory of this computer leads to it over there."""
        kind, colon, rest = str(reference or "").partition(":")
        if kind not in IMAGE_FILES or not colon:
            yield reference
            return
        path, colon, tag = rest.partition(":")
        if os.path.isdir(path):
            source = await asyncio.to_thread(sources.scan_source, path, True)
            async with self._there(source, {}, say) as place:
                yield f"{kind}:{place}{colon}{tag}"
        elif os.path.isfile(path):
            async with self._file(Path(path), say) as place:
                yield f"{kind}:{place}{colon}{tag}"
        else:
            raise InvalidInput(f"There is no image at {show(path)}.", code="image_not_found")

    # -- out

    async def export_workspace(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._export("export_workspace", ask, arguments)

    async def export_workspace_disk(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._export("export_workspace_disk", ask, arguments)

    async def _export(self, operation: str, ask: Ask, arguments: dict[str, Any]) -> dict[str, Any]:
        output, path = str(arguments["output"]), arguments.get("path")
        status = await ask("status_workspace", {"workspace": arguments["workspace"]})
        relative = "" if path is None else str(workspace_path(str(path)))
        if not _WORKSPACE.match(str(status.get("id"))):
            raise EngineError("The workspace is not described as it should be; nothing was exported.", code="remote")
        name = f"{status['id']}.patch" if path is None else Path(relative).name
        name = exporting.WHOLE if relative == "." else name
        to = exporting.Destination(
            Path(output),
            bool(arguments.get("overwrite")),
            self._backups,
            str((status.get("seed") or {}).get("source", "")),
            folder=output.endswith("/"),
        )
        await asyncio.to_thread(exporting.check_whole, relative, to)
        await asyncio.to_thread(exporting.check_place, name, to)
        async with self._rooms.room() as room:
            result = await ask(operation, {**arguments, "output": f"{room}/{name}", "overwrite": False})
            if to.folder and result.get("kind") != "directory" and not to.output.is_dir():
                raise InvalidInput(
                    f"The directory {show(output)} does not exist.", hint="Create it first.", code="no_directory"
                )
            async with self._rooms.brought(room) as tree:
                staged = tree / name
                await asyncio.to_thread(_check_brought, staged, path is None)
                if path is not None and staged.is_dir() and not staged.is_symlink():
                    # As over there: that computer may be in other hands.
                    with_git = bool(arguments.get("include_git"))
                    await asyncio.to_thread(exporting.without_git, staged, relative, with_git)
                outcome = await asyncio.to_thread(exporting.put, staged, name, to)
        kept = f"Replaced files are kept in {outcome.backup}." if outcome.backup else ""
        return {
            **result,
            "output": exporting.told_names([str(outcome.path)])[0],
            "replaced": exporting.told_names(outcome.replaced),
            "backup": str(outcome.backup) if outcome.backup else None,
            "hint": " ".join(filter(None, (_BACKED_UP.sub("", result.get("hint", "")).strip(), kept))),
        }

    async def export_environment(self, ask: Ask, say: Say, arguments: dict[str, Any]) -> dict[str, Any]:
        output = str(arguments["output"]).removeprefix("oci:")
        if os.path.lexists(output):
            raise Conflict(
                f"{show(output)} already exists; nothing was changed.",
                hint="Choose another place.",
                code="output_exists",
            )
        to = exporting.Destination(Path(output), False, self._backups)
        await asyncio.to_thread(exporting.check_place, "image", to)
        async with self._rooms.room() as room:
            result = await ask("export_environment", {**arguments, "output": f"oci:{room}/image"})
            async with self._rooms.brought(room) as tree:
                await asyncio.to_thread(_check_brought, tree / "image", False)
                await asyncio.to_thread(exporting.put, tree / "image", Path(output).name, to)
        return {**result, "output": output, "image": f"oci:{output}:latest"}

    async def land_workspace(self, ask: Ask, say: Say, arguments: dict[str, Any], lines: Lines) -> dict[str, Any]:
        branch, repo = str(arguments["branch"]), arguments.get("repo")
        asked = {"workspace": arguments["workspace"], "named": repo is not None}
        asked["include_ignored"] = bool(arguments.get("include_ignored"))
        entries: list[DiffEntry] = []
        size = 0
        told: Changes | None = None
        async for line in lines("tell_changes", asked):
            event = line.get("event")
            if isinstance(event, dict) and event.get("type") == "entry":
                entries.append(_entry(event))
                size += sum(len(side.content) for side in (entries[-1].old, entries[-1].new) if side is not None)
                if size > MOST_BYTES or len(entries) > MOST_ENTRIES:
                    raise InvalidInput(
                        f"More than {MOST_BYTES >> 30} GiB or {MOST_ENTRIES:,} files changed; nothing was landed.",
                        hint="Export the changes instead.",
                        code="too_much_to_land",
                    )
            elif "result" in line:
                told = _changes(line["result"])
        if told is None:
            raise EngineError("What changed was not told to its end; nothing was landed.", code="remote")
        source = str(told.seed.get("source"))
        prefix = "" if repo is not None else self._sender.sent.prefix(source)
        if prefix is None:
            raise InvalidInput(
                f"The workspace comes from {show(source)}, which was not sent there from this computer.",
                hint="Name the repository of this computer with --repo.",
                code="no_repository",
            )
        place = Path(repo or source)
        before = [commit for name, _, commit in (each.rpartition(" ") for each in told.landed) if name == branch]
        landed = await asyncio.to_thread(
            functools.partial(
                land,
                place,
                prefix,
                entries,
                base_commit=str(told.seed.get("commit") or ""),
                branch=branch,
                message=arguments.get("message") or f"Changes from pyro workspace {told.name or told.workspace}",
                previous=before,
            )
        )
        commit = landed.commit if landed.plain else ""
        with contextlib.suppress(PyroError):  # it was landed, whether or not that is known over there
            await ask("record_landing", {"workspace": told.workspace, "branch": branch, "commit": commit})
        record = models.Landed(
            workspace=told.workspace,
            repository=str(place),
            left_out=told.left_out,
            left_out_files=told.left_out_files,
            **{name: value for name, value in asdict(landed).items() if name != "plain"},
        )
        return json.loads(record.model_dump_json())  # type: ignore[no-any-return]


def _changes(record: Any) -> Changes:
    try:
        return Changes.model_validate(record, extra="ignore")
    except ValueError:
        raise EngineError("The changes are not told as they should be; nothing was landed.", code="remote") from None


def _check_brought(staged: Path, patch: bool) -> None:
    """That what was asked for is there; a patch is a file.

    Raises:
        EngineError: it is not.
    """
    if not os.path.lexists(staged) or (patch and not stat.S_ISREG(staged.lstat().st_mode)):
        raise EngineError("The export did not arrive; nothing was written.", code="remote")


def _entry(event: dict[str, Any]) -> DiffEntry:
    def side(record: Any) -> FileVersion | None:
        if record is None:
            return None
        kind, mode, content = record["kind"], record["mode"], base64.b64decode(record["content"], validate=True)
        if kind not in ("file", "symlink", "dir") or type(mode) is not int:
            raise ValueError(kind)
        return FileVersion(kind, content, mode & 0o777, str(record["withheld"]))

    try:
        return DiffEntry(str(event["path"]), side(event["old"]), side(event["new"]))
    except (KeyError, TypeError, ValueError):
        raise EngineError("A change is not told as it should be; nothing was landed.", code="remote") from None
