"""List, read and write files below /workspace, through the agent."""

from __future__ import annotations

import asyncio
import base64
import codecs
from datetime import UTC, datetime

from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.said import Said
from pyro_mcp.models import FileContent, FileEntry, FileList, FileWritten
from pyro_mcp.paths import WORKSPACE, show, workspace_path
from pyro_mcp.pattern import Pattern

SCAN_CAP = 16 * 1024 * 1024
"""The largest file that is read whole to find lines in it; larger ones are read by offset."""
SNIFF_BYTES = 8000
"""As git does: a NUL among the first 8000 bytes makes a file binary (xdiff-interface.c)."""


def absolute(relative: str) -> str:
    """A path as it is shown: below /workspace."""
    return WORKSPACE if relative in ("", ".") else f"{WORKSPACE}/{relative}"


def _when(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _entry(record: Said) -> FileEntry:
    return FileEntry(
        path=record.text("path"),
        kind=record.word("kind", ("file", "dir", "symlink", "other")),
        size=record.whole("size"),
        mode=f"{record.whole('mode') & 0o7777:04o}",
        modified_at=_when(record.whole("mtime_ns", -(2**63))),
        link=(record.text("link") or None) if record.has("link") else None,
    )


async def list_files(guest: Guest, workspace_id: str, path: str, recursive: bool, limit: int) -> FileList:
    relative = str(workspace_path(path))
    answer = await guest.call(
        "GET", "/v1/files/list", query={"path": relative, "recursive": int(recursive), "limit": limit}
    )
    record = answer.record()
    truncated = record.flag("truncated")
    return FileList(
        workspace=workspace_id,
        path=absolute(relative),
        entries=[_entry(entry) for entry in record.records("entries")],
        truncated=truncated,
        hint=f"There are more than {limit} entries; list a directory below, or raise `limit`." if truncated else "",
    )


async def read_bytes(guest: Guest, relative: str, offset: int, limit: int) -> tuple[bytes, int, int]:
    """Bytes of a file, its size and its mode."""
    answer = await guest.call(
        "GET", "/v1/files/read", query={"path": relative, "offset": offset, "limit": limit}, bound=limit + 65536
    )
    return answer.body, answer.whole("pyro-size"), answer.whole("pyro-mode")


def _refuse_binary(data: bytes, relative: str, size: int) -> None:
    if b"\0" in data[:SNIFF_BYTES]:
        raise InvalidInput(
            f"{show(absolute(relative))} is a binary file of {size} bytes; only text can be read.",
            hint="Look at it with workspace_exec (file, xxd, strings), or export it.",
            code="binary_file",
        )


def as_text(data: bytes, relative: str, *, begins: bool = True, ends: bool = True) -> str:
    """The text of a file, or of a part that may begin or end within a character.

    Raises:
        InvalidInput: it is no UTF-8. What is put in the place of a byte could not be told from it, and writing the
            text back would destroy the file.
    """
    if not begins:
        # Of a character cut in two at the front, the rest: three bytes at most (RFC 3629).
        for _ in range(3):
            if not data or data[0] & 0xC0 != 0x80:
                break
            data = data[1:]
    try:
        decoder = codecs.getincrementaldecoder("utf-8")()
        return decoder.decode(data, final=ends)
    except UnicodeDecodeError as error:
        sixteen = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        kind = "UTF-16" if sixteen else "probably ISO-8859-1 or WINDOWS-1252"
        raise InvalidInput(
            f"{show(absolute(relative))} is not UTF-8 but {kind} (byte {error.start}); as text it could not be "
            "written back.",
            hint="Read it with workspace_exec, such as `iconv -f WINDOWS-1252 -t UTF-8 FILE`, and change it there "
            "(sed, python), so that its other bytes stay.",
            code="not_utf8",
        ) from None


async def read_file(
    guest: Guest,
    workspace_id: str,
    path: str,
    *,
    first_line: int | None,
    last_line: int | None,
    offset: int | None,
    grep: str | None,
    max_bytes: int,
) -> FileContent:
    """A part of a text file: by bytes from `offset` on, by lines, or the lines that match `grep`."""
    relative = str(workspace_path(path))
    by_lines = first_line is not None or last_line is not None
    if offset is not None and (by_lines or grep is not None):
        raise InvalidInput(
            "`offset` counts bytes and does not go with lines or `grep`.", hint="Give one of them.", code="bad_range"
        )
    if first_line is not None and last_line is not None and last_line < first_line:
        raise InvalidInput(
            f"Line {last_line} comes before line {first_line}.", hint="Swap first_line and last_line.", code="bad_range"
        )
    if grep is not None or by_lines:
        data, size, mode = await read_bytes(guest, relative, 0, SCAN_CAP)
        if size > SCAN_CAP:
            raise InvalidInput(
                f"{show(absolute(relative))} has {size} bytes; lines are found in files of up to {SCAN_CAP}.",
                hint="Read it by `offset`, or use workspace_exec with sed or grep.",
                code="file_too_large",
            )
        _refuse_binary(data, relative, size)
        return await asyncio.to_thread(
            _lines, data, workspace_id, relative, mode, first_line, last_line, grep, max_bytes
        )
    start = offset or 0
    data, size, mode = await read_bytes(guest, relative, start, max_bytes)
    _refuse_binary(data, relative, size)
    end = start + len(data)
    truncated = end < size
    total_lines = None if truncated or start else data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    return FileContent(
        workspace=workspace_id,
        path=absolute(relative),
        content=as_text(data, relative, begins=not start, ends=not truncated),
        size=size,
        mode=f"{mode & 0o7777:04o}",
        total_lines=total_lines,
        offset=start if offset is not None or truncated else None,
        truncated=truncated,
        hint=f"{size - end} bytes follow; go on with offset={end}." if truncated else "",
    )


def _lines(
    data: bytes,
    workspace_id: str,
    relative: str,
    mode: int,
    first_line: int | None,
    last_line: int | None,
    grep: str | None,
    max_bytes: int,
) -> FileContent:
    lines = as_text(data, relative).splitlines(keepends=True)
    first, last = first_line or 1, min(last_line or len(lines), len(lines))
    chosen = list(enumerate(lines[first - 1 : last], first))
    if grep is not None:
        pattern = Pattern(grep)
        flags = pattern.matches([line for _, line in chosen])
        chosen = [one for one, found in zip(chosen, flags, strict=True) if found]
    content: list[str] = []
    used = 0
    shown_last = first - 1
    for number, line in chosen:
        text = f"{number}:{line}" if grep is not None else line
        used += len(text.encode())
        if used > max_bytes:
            break
        content.append(text)
        shown_last = number
    truncated = len(content) < len(chosen)
    return FileContent(
        workspace=workspace_id,
        path=absolute(relative),
        content="".join(content),
        size=len(data),
        mode=f"{mode & 0o7777:04o}",
        first_line=first,
        last_line=shown_last if truncated or grep is None else last,
        total_lines=len(lines),
        truncated=truncated,
        hint=f"Go on with first_line={shown_last + 1}." if truncated else "",
    )


async def write_file(guest: Guest, workspace_id: str, path: str, text: str, executable: bool | None) -> FileWritten:
    relative = str(workspace_path(path))
    content = text.encode("utf-8", "surrogateescape")
    try:
        before = (await guest.call("GET", "/v1/files/stat", query={"path": relative})).record()
    except NotFound:
        before = None
    mode = None
    if executable is not None:
        mode = (before.whole("mode") & 0o7777) if before is not None and before.text("kind") == "file" else 0o644
        mode = mode | 0o111 if executable else mode & ~0o111
    change = {
        "op": "write",
        "path": relative,
        "content": base64.b64encode(content).decode(),
        "mode": mode,
        "make_parents": True,
    }
    await guest.call("POST", "/v1/files/apply", json_body={"changes": [change]})
    after = (await guest.call("GET", "/v1/files/stat", query={"path": relative})).record()
    return FileWritten(
        workspace=workspace_id,
        path=absolute(relative),
        action="created" if before is None else "replaced",
        size=len(content),
        mode=f"{after.whole('mode') & 0o7777:04o}",
    )
