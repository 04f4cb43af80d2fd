"""Looks through the files of a workspace, in the agent; the answer reads as that of `grep -n` or ripgrep does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyro_mcp.errors import GuestError, InvalidInput
from pyro_mcp.guest.client import Guest
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.models import SearchResult
from pyro_mcp.paths import workspace_path
from pyro_mcp.pattern import Pattern

SEPARATOR = "--"
"""Between groups of lines that do not follow one another, as grep prints it."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for: the parameters of `operations.files.search_workspace`, which says what they mean."""

    pattern: str | None
    path: str
    glob: list[str] | None
    literal: bool
    ignore_case: bool
    context: int
    files_only: bool
    include_ignored: bool
    limit: int
    max_bytes: int


async def search(
    guest: Guest,
    workspace_id: str,
    redactor: Redactor,
    wanted: Wanted,
) -> SearchResult:
    """Lines that match, or files by name."""
    pattern, glob, literal, ignore_case = wanted.pattern, wanted.glob, wanted.literal, wanted.ignore_case
    context, files_only, limit, max_bytes = wanted.context, wanted.files_only, wanted.limit, wanted.max_bytes
    if not pattern and not glob:
        raise InvalidInput(
            "Give a pattern or a glob to search for.",
            hint="Use pattern for lines, glob for file names, or both.",
            code="invalid_arguments",
        )
    answer = await guest.call(
        "POST",
        "/v1/files/search",
        json_body={
            "path": str(workspace_path(wanted.path)),
            "pattern": pattern or "",
            "literal": literal,
            "ignore_case": ignore_case,
            "globs": glob or [],
            "context": context,
            "limit": limit,
            "include_ignored": wanted.include_ignored,
            "lines": bool(pattern) and not files_only,
        },
    )
    try:
        found = answer.json()
        files = [_without_secrets(file, redactor, pattern, literal, ignore_case) for file in found["files"]]
        files = [file for file in files if not pattern or file["matches"]]
        matches = sum(int(file["matches"]) for file in files)
        content, shown = _text(files, bool(pattern) and not files_only, bool(pattern), limit, max_bytes)
        searched, ignored, late = int(found["searched"]), int(found["ignored"]), bool(found["late"])
        skipped = {name: int(found[name]) for name in ("binary", "large")}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GuestError("The agent's answer to a search is damaged.") from error
    total = matches if pattern and not files_only else len(files)
    hints = []
    if shown < total:
        hints.append(
            f"{total - shown} more are left out: narrow the search with path or glob, or raise limit or max_bytes."
        )
    if late:
        hints.append("The search was stopped after 30 s; narrow it with path or glob.")
    if not total and ignored and not wanted.include_ignored:
        hints.append(f"{ignored} ignored files or directories were skipped; include_ignored searches them too.")
    return SearchResult(
        workspace=workspace_id,
        content=content,
        matches=matches,
        files=len(files),
        shown=shown,
        searched_files=searched,
        skipped_binary=skipped["binary"],
        skipped_large=skipped["large"],
        skipped_ignored=ignored,
        truncated=shown < total or late,
        hint=" ".join(hints),
    )


def _without_secrets(
    file: dict[str, Any], redactor: Redactor, pattern: str | None, literal: bool, ignore_case: bool
) -> dict[str, Any]:
    """A file's lines with secrets masked; a line that matches only by its secret counts no more: it would tell it."""
    if not redactor or not file.get("lines"):
        return file
    lines = []
    lost = 0
    for line in file["lines"]:
        text = redactor.text(line["text"])
        match = bool(line.get("match"))
        if match and text != line["text"] and not _matches(text, pattern or "", literal, ignore_case):
            match = False
            lost += 1
        lines.append({**line, "text": text, "match": match})
    kept = lines if any(line["match"] for line in lines) else []
    return {**file, "lines": kept, "matches": int(file["matches"]) - lost}


def _matches(text: str, pattern: str, literal: bool, ignore_case: bool) -> bool:
    if literal:
        return pattern.lower() in text.lower() if ignore_case else pattern in text
    return Pattern(f"(?i){pattern}" if ignore_case else pattern).found_in(text)


def _text(files: list[dict[str, Any]], lines: bool, counted: bool, limit: int, max_bytes: int) -> tuple[str, int]:
    """What is shown, and how many matches or files that are."""
    rows: list[str] = []
    used = shown = 0

    def add(row: str) -> bool:
        nonlocal used
        used += len(row.encode("utf-8", "replace")) + 1
        if used > max_bytes:
            return False
        rows.append(row)
        return True

    for file in files:
        if not lines:
            if shown == limit or not add(f"{file['path']}:{file['matches']}" if counted else str(file["path"])):
                return "\n".join(rows), shown
            shown += 1
            continue
        last = 0
        for line in file.get("lines") or []:
            number, match = int(line["number"]), bool(line.get("match"))
            if match and shown == limit:
                return "\n".join(rows), shown
            gap = rows and last != number - 1 and _has_context(file)
            if gap and not add(SEPARATOR):
                return "\n".join(rows), shown
            sign = ":" if match else "-"
            if not add(f"{file['path']}{sign}{number}{sign}{line['text']}"):
                return "\n".join(rows), shown
            shown += match
            last = number
    return "\n".join(rows), shown


def _has_context(file: dict[str, Any]) -> bool:
    return any(not line.get("match") for line in file["lines"])
