"""Operations that name files of the user's computer, while the machine is on another one.

What goes in is read here and sent as a tree (`remote.trees`); what comes out is made over there, fetched, and put in
place here by the rules of any export. A landing is made here, in the user's repository, of what changed over there.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyro_mcp import models
from pyro_mcp.client.wire import Record
from pyro_mcp.devcontainers.suggest import suggest
from pyro_mcp.errors import Conflict, EngineError, InvalidInput
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
        async with self._sender.turn(str(source.path)):
            tree = await asyncio.to_thread(self._sender.copied, source, origin)
            yield await self._sent(tree, say)

    @asynccontextmanager
    async def _file(self, path: Path, say: Say) -> AsyncIterator[str]:
        """One file over there, under its own name."""
        async with self._sender.turn(str(path)), self._alone(path) as tree:
            yield f"{await self._sent(tree, say)}/{path.name}"

    @asynccontextmanager
    async def _alone(self, path: Path) -> AsyncIterator[Tree]:
        place = self._backups.directory / f".file-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"

        def copy() -> str:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700, parents=True)
            shutil.copy2(path, place / path.name)
            info = (place / path.name).stat()
            return f"{info.st_size} {info.st_mtime_ns} {os.urandom(8).hex()}"

        try:
            digest = hashlib.sha256((await asyncio.to_thread(copy)).encode()).hexdigest()
            yield Tree(f"file {path}", digest, place, {})
        except OSError as error:
            raise InvalidInput(f"{show(str(path))} cannot be read: {error.strerror}.", code="unreadable") from None
        finally:
            await asyncio.to_thread(shutil.rmtree, place, True)

    async def _sent(self, tree: Tree, say: Say) -> str:
        loop, told = asyncio.get_running_loop(), [0.0]

        def tell(done: int, whole: int) -> None:
            if whole and (done == whole or done / whole - told[0] > 0.02):
                told[0] = done / whole
                text = f"sent {done >> 20} of {whole >> 20} MiB"
                asyncio.run_coroutine_threadsafe(say(text, done / whole), loop)

        return await asyncio.to_thread(self._sender.send, tree, tell)

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
            if to.folder and result["kind"] != "directory" and not to.output.is_dir():
                raise InvalidInput(
                    f"The directory {show(output)} does not exist.", hint="Create it first.", code="no_directory"
                )
            async with self._rooms.brought(room) as tree:
                staged = tree / name
                if not os.path.lexists(staged):
                    raise EngineError("The export did not arrive; nothing was written.", code="remote")
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
                await asyncio.to_thread(exporting.put, tree / "image", Path(output).name, to)
        return {**result, "output": output, "image": f"oci:{output}:latest"}

    async def land_workspace(self, ask: Ask, say: Say, arguments: dict[str, Any], lines: Lines) -> dict[str, Any]:
        branch, repo = str(arguments["branch"]), arguments.get("repo")
        asked = {"workspace": arguments["workspace"], "named": repo is not None}
        asked["include_ignored"] = bool(arguments.get("include_ignored"))
        entries: list[DiffEntry] = []
        told: Changes | None = None
        async for line in lines("tell_changes", asked):
            event = line.get("event")
            if isinstance(event, dict) and event.get("type") == "entry":
                entries.append(_entry(event))
            elif "result" in line:
                told = Changes.model_validate(line["result"], extra="ignore")
        if told is None:
            raise EngineError("What changed was not told to its end; nothing was landed.", code="remote")
        place = Path(repo or told.seed["source"])
        before = [commit for name, _, commit in (each.rpartition(" ") for each in told.landed) if name == branch]
        landed = await asyncio.to_thread(
            functools.partial(
                land,
                place,
                str(told.seed.get("prefix", "")) if repo is None else "",
                entries,
                base_commit=told.seed.get("commit"),
                branch=branch,
                message=arguments.get("message") or f"Changes from pyro workspace {told.name or told.workspace}",
                previous=before,
            )
        )
        commit = landed.commit if landed.plain else ""
        await ask("record_landing", {"workspace": told.workspace, "branch": branch, "commit": commit})
        record = models.Landed(
            workspace=told.workspace,
            repository=str(place),
            left_out=told.left_out,
            left_out_files=told.left_out_files,
            **{name: value for name, value in asdict(landed).items() if name != "plain"},
        )
        return json.loads(record.model_dump_json())  # type: ignore[no-any-return]


def _entry(event: dict[str, Any]) -> DiffEntry:
    def side(record: Any) -> FileVersion | None:
        if record is None:
            return None
        content = base64.b64decode(record["content"], validate=True)
        return FileVersion(record["kind"], content, int(record["mode"]), str(record["withheld"]))

    try:
        return DiffEntry(str(event["path"]), side(event["old"]), side(event["new"]))
    except (KeyError, TypeError, ValueError):
        raise EngineError("A change is not told as it should be; nothing was landed.", code="remote") from None
