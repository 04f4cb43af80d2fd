"""Exact-string edits of a file in a workspace, through the agent."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

from pyro_mcp import models
from pyro_mcp.errors import InvalidInput, NotFound, PatchMismatch
from pyro_mcp.files.changes import carry_out, read_states, until_nobody_was_faster
from pyro_mcp.files.listing import absolute
from pyro_mcp.guest.client import Guest
from pyro_mcp.patches.diff import DiffEntry, FileVersion, render
from pyro_mcp.patches.edit import Edit, apply_edits
from pyro_mcp.patches.plan import Change, FileState
from pyro_mcp.paths import show, workspace_path

MAX_LINKS = 40
"""As many as the kernel follows (MAXSYMLINKS in include/linux/namei.h)."""
_FIELDS = {"old_string": str, "new_string": str, "replace_all": bool}


def wanted(
    old_string: str | None, new_string: str | None, replace_all: bool, edits: list[dict[str, Any]] | None
) -> list[Edit]:
    """The edits that a call asks for.

    Raises:
        InvalidInput: none, both forms at once, or a member of `edits` that is none.
    """
    if edits is None:
        if old_string is None or new_string is None:
            raise InvalidInput(
                "old_string and new_string are missing."
                if old_string is new_string
                else f'{"old_string" if old_string is None else "new_string"} is missing; an empty text is "".',
                hint="Give both, or a list in `edits`.",
                code="invalid_arguments",
            )
        return [Edit(old_string, new_string, replace_all)]
    if old_string is not None or new_string is not None:
        raise InvalidInput(
            "old_string and new_string cannot be combined with edits.",
            hint="Put them in the list.",
            code="invalid_arguments",
        )
    found: list[Edit] = []
    for number, record in enumerate(edits, 1):
        for name, value in record.items():
            if name not in _FIELDS or not isinstance(value, _FIELDS[name]):
                raise InvalidInput(
                    f"Edit {number}: {name} = {value!r:.60} is not valid in an edit.",
                    hint="Each edit is {old_string: text, new_string: text, replace_all: true or false}.",
                    code="invalid_arguments",
                )
        if not {"old_string", "new_string"} <= record.keys():
            raise InvalidInput(
                f"Edit {number} lacks old_string or new_string.", hint="Give both.", code="invalid_arguments"
            )
        found.append(Edit(record["old_string"], record["new_string"], record.get("replace_all", replace_all)))
    if not found:
        raise InvalidInput("edits is empty.", hint="Give at least one edit.", code="invalid_arguments")
    return found


async def edit_file(guest: Guest, workspace_id: str, path: str, edits: list[Edit]) -> models.FileEdited:
    """Make all of these edits, or none; what somebody else changes meanwhile is looked at again."""
    relative = str(workspace_path(path))
    async for attempt in until_nobody_was_faster():
        with attempt:
            relative, state = await _behind_links(guest, relative)
            before = state.content if state.kind == "file" else None
            after, count = apply_edits(before, edits, absolute(relative))
            expect = "absent" if before is None else hashlib.sha256(before).hexdigest()
            mode = state.mode if before is not None else 0o644
            await carry_out(guest, [Change("write", relative, mode=mode, content=after, expect=expect)])
    old = None if before is None else FileVersion("file", before, mode)
    result = render([DiffEntry(relative, old, FileVersion("file", after, mode))])
    return models.FileEdited(
        workspace=workspace_id,
        path=absolute(relative),
        replacements=count,
        insertions=result.insertions,
        deletions=result.deletions,
        created=before is None,
    )


async def _behind_links(guest: Guest, relative: str) -> tuple[str, FileState]:
    """What stands at a path, behind the symbolic links that it ends in."""
    for _ in range(MAX_LINKS):
        state = (await read_states(guest, [relative])).get(relative, FileState("absent"))
        if state.kind in ("dir", "other"):
            raise PatchMismatch(
                f"{show(absolute(relative))} is {'a directory' if state.kind == 'dir' else 'no regular file'}.",
                hint="Name a text file.",
                code="not_a_file",
            )
        if state.kind == "file" and state.content is None:
            raise InvalidInput(
                f"{show(absolute(relative))} is too large to be edited.",
                hint="Change it with a command such as sed.",
                code="file_too_large",
            )
        if state.kind != "symlink":
            return relative, state
        target = state.link or ""
        if not target.startswith("/"):
            target = str(PurePosixPath(relative).parent / target)
        relative = _inside(target, relative)
    raise InvalidInput(f"{show(absolute(relative))} is a loop of symbolic links.", code="bad_path")


def _inside(target: str, link: str) -> str:
    """A link's target as a path of the workspace, with its `..` taken away."""
    parts: list[str] = []
    absolute_target = target.startswith("/")
    for part in target.split("/"):
        if part == "..":
            if not parts:
                break
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    else:
        if not absolute_target:
            return "/".join(parts) or "."
        if parts[:1] == ["workspace"]:
            return "/".join(parts[1:]) or "."
    raise NotFound(
        f"{show(absolute(link))} leads outside the workspace through a symbolic link.", code="outside_workspace"
    )
