"""List and write files below /workspace, through the agent."""

from __future__ import annotations

import base64
import codecs
import contextlib
from datetime import UTC, datetime

from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.said import Said
from pyro_mcp.models import FileEntry, FileList, FileWritten
from pyro_mcp.paths import WORKSPACE, show, workspace_path

ENCODINGS = frozenset(
    {
        *(
            "utf-8",
            "utf-8-sig",
            "utf-16",
            "utf-16-le",
            "utf-16-be",
            "utf-32",
            "utf-32-le",
            "utf-32-be",
            "ascii",
            "gbk",
            "gb18030",
            "big5",
        ),
        *("koi8-r", "shift_jis", "euc_jp", "euc_kr", "mac-roman", *(f"cp125{n}" for n in range(9)), "cp437", "cp850"),
        *(f"iso8859-{n}" for n in (*range(1, 12), *range(13, 17))),
    }
)
"""By the names that Python gives them: encodings of text that files are found in, and no other codec."""


def encoding_named(name: str) -> str:
    """Python's name of an encoding of text.

    Raises:
        InvalidInput: there is none of this name.
    """
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    if found not in ENCODINGS:
        raise InvalidInput(
            f"{show(name)} is not an encoding of text.",
            hint="For example windows-1252, iso-8859-1, utf-16, shift_jis or gb18030.",
            code="bad_encoding",
        )
    return found


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
        hint=f"There are more than {limit} entries; list a subdirectory, or raise `limit`." if truncated else "",
    )


async def read_bytes(guest: Guest, relative: str, offset: int, limit: int) -> tuple[bytes, int, int]:
    """Bytes of a file, its size and its mode."""
    answer = await guest.call(
        "GET", "/v1/files/read", query={"path": relative, "offset": offset, "limit": limit}, bound=limit + 65536
    )
    return answer.body, answer.whole("pyro-size"), answer.whole("pyro-mode")


def _encoded(text: str, encoding: str | None) -> bytes:
    if encoding is None:
        return text.encode("utf-8", "surrogateescape")
    name = encoding_named(encoding)
    try:
        return text.encode(name)
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} cannot encode {text[error.start]!a} (character {error.start}); nothing was written.",
            hint="Remove it, or write with another encoding.",
            code="bad_encoding",
        ) from None


async def write_file(
    guest: Guest, workspace_id: str, path: str, text: str, executable: bool | None, encoding: str | None = None
) -> FileWritten:
    relative = str(workspace_path(path))
    content = _encoded(text, encoding)
    try:
        before = (await guest.call("GET", "/v1/files/stat", query={"path": relative})).record()
    except NotFound:
        before = None
    mode = None
    if executable is not None:
        kind = before.text("kind") if before is not None else ""
        mode = 0o644
        if before is not None and kind == "file":
            mode = before.whole("mode") & 0o7777
        elif kind == "symlink":
            with contextlib.suppress(NotFound):  # a link to a file that this write makes
                mode = (await read_bytes(guest, relative, 0, 0))[2] & 0o7777
        mode = mode | 0o111 if executable else mode & ~0o111
    change = {
        "op": "write",
        "path": relative,
        "content": base64.b64encode(content).decode(),
        "mode": mode,
        "make_parents": True,
    }
    await guest.call("POST", "/v1/files/apply", json_body={"changes": [change]})
    written = (await read_bytes(guest, relative, 0, 0))[2]  # of the file that a link names, not of the link
    return FileWritten(
        workspace=workspace_id,
        path=absolute(relative),
        action="created" if before is None else "replaced",
        size=len(content),
        mode=f"{written & 0o7777:04o}",
    )
