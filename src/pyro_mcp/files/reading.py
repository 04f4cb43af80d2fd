"""Reads files for a model or a person: by lines or bytes, several at once, pictures and directories as what they are.

What comes back fits a bound that counts text as JSON has it, for that is what a chat host measures. Secrets are masked
before lines are numbered or cut, so that no value is torn apart unrecognised.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyro_mcp import pictures
from pyro_mcp.errors import InvalidInput, PyroError
from pyro_mcp.files.listing import absolute, encoding_named, list_files, read_bytes
from pyro_mcp.guest.client import Guest
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.models import FileContent, FileRead
from pyro_mcp.paths import show, workspace_path
from pyro_mcp.pattern import Pattern

SCAN_CAP = 16 * 1024 * 1024
"""The largest file that is read whole to find lines in it; larger ones are read from their start, or by bytes."""
FIRST_BYTES = 256 * 1024
"""What is asked for first: most files are smaller."""
BEYOND = 512 * 1024
"""Bytes read beyond what is shown of a larger file, so that a secret at the edge is known whole."""
SNIFF_BYTES = 8000
"""As git does: a NUL among the first 8000 bytes makes a file binary (xdiff-interface.c)."""
MAX_PATHS = 20
MAX_PICTURES = 4
"""In one answer."""
LISTED = 500
"""Names of a directory."""
NUMBER_WIDTH = 6
"""As `cat -n` has it."""


@dataclass(frozen=True)
class Wanted:
    """What is to be read of a file."""

    offset: int | None = None
    """First line, from 1 on; negative from the end."""
    limit: int | None = None
    byte_offset: int | None = None
    grep: str | None = None
    number_lines: bool = False
    encoding: str | None = None
    max_bytes: int = 64 * 1024

    def checked(self) -> Wanted:
        """Itself, with the encoding's proper name.

        Raises:
            InvalidInput: parts of it contradict each other, or there is no such encoding.
        """
        by_lines = self.offset is not None or self.limit is not None or self.number_lines
        if self.byte_offset is not None and (by_lines or self.grep is not None or self.encoding is not None):
            raise InvalidInput(
                "byte_offset cannot be combined with offset, limit, number_lines, grep or encoding.",
                hint="Give offset and limit to read by lines, or byte_offset and max_bytes to read by bytes.",
                code="bad_range",
            )
        if self.encoding is None:
            return self
        return replace(self, encoding=encoding_named(self.encoding))


async def read(
    guest: Guest, workspace_id: str, redactor: Redactor, path: str | None, paths: Sequence[str] | None, wanted: Wanted
) -> FileContent:
    """One file, or several within one bound; of several, one that cannot be read says why and the others are read.

    Raises:
        InvalidInput: no path or too many, a range that contradicts itself, a file that cannot be shown as text.
        NotFound: the one path does not exist.
    """
    wanted = wanted.checked()
    asked = [*([path] if path is not None else []), *(paths or [])]
    if not asked:
        raise InvalidInput("path is missing.", hint="Give path, or a list of paths.", code="invalid_arguments")
    if len(asked) > MAX_PATHS:
        raise InvalidInput(
            f"{len(asked)} paths are too many; the limit is {MAX_PATHS} per call.",
            hint="Read the others in a second call.",
            code="invalid_arguments",
        )
    if len(asked) == 1:
        one = await _read(guest, workspace_id, redactor, asked[0], wanted, wanted.max_bytes)
        return FileContent(workspace=workspace_id, **dict(one))
    files: list[FileRead] = []
    left, shown = wanted.max_bytes, 0
    for each in asked:
        try:
            if left <= 0:
                files.append(
                    FileRead(path=each, truncated=True, hint="There was no room for it; read it in another call.")
                )
                continue
            one = await _read(guest, workspace_id, redactor, each, wanted, left)
            shown += bool(one.data)
            if one.data and shown > MAX_PICTURES:
                one = one.model_copy(
                    update={"data": "", "hint": f"At most {MAX_PICTURES} pictures are shown per call."}
                )
            left -= cost(one.content)
            files.append(one)
        except PyroError as error:
            files.append(FileRead(path=each, error=str(error)))
    return FileContent(
        workspace=workspace_id,
        files=files,
        truncated=any(file.truncated for file in files),
    )


def cost(text: str) -> int:
    """Bytes of a text as JSON has it, in UTF-8."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")) - 2


async def _read(guest: Guest, workspace_id: str, redactor: Redactor, path: str, wanted: Wanted, bound: int) -> FileRead:
    relative = str(workspace_path(path))
    begin = wanted.byte_offset or 0
    first = FIRST_BYTES if wanted.byte_offset is None else bound + 4  # at least one whole character
    try:
        data, size, mode = await read_bytes(guest, relative, begin, first)
    except PyroError as error:
        if error.code != "is_directory":
            raise
        return await _directory(guest, workspace_id, redactor, relative, bound)
    facts: dict[str, Any] = {"path": absolute(relative), "size": size, "mode": f"{mode & 0o7777:04o}"}
    if wanted.byte_offset is None and (picture := pictures.recognised(data)) is not None:
        return await _picture(guest, redactor, relative, picture, data, facts)
    if wanted.encoding is None:
        refuse_binary(data, relative, size)
    if wanted.byte_offset is not None:
        return await asyncio.to_thread(_bytes, data, begin, size, relative, redactor, bound, facts)
    whole = size <= len(data)
    if not whole:
        from_start = wanted.grep is None and wanted.offset in (None, 0, 1) and wanted.limit is None
        if size > SCAN_CAP and not from_start:
            raise InvalidInput(
                f"{show(absolute(relative))} has {size} bytes; reading by line works for files of up to {SCAN_CAP}.",
                hint="Read it with byte_offset, or use workspace_search or workspace_exec with sed.",
                code="file_too_large",
            )
        much = SCAN_CAP if size <= SCAN_CAP else bound + BEYOND
        data, size, mode = await read_bytes(guest, relative, 0, much)
        whole = size <= len(data)
        facts["size"] = size
    return await asyncio.to_thread(_lines, data, whole, relative, redactor, wanted, bound, facts)


def refuse_binary(data: bytes, relative: str, size: int) -> None:
    if b"\0" not in data[:SNIFF_BYTES] or marked(data) is not None:
        return  # text with a mark in front has its own words
    text = ' If it is text, read it with encoding="utf-16-le".' if _alternate(data[:SNIFF_BYTES]) else ""
    raise InvalidInput(
        f"{show(absolute(relative))} is a binary file of {size} bytes; only text can be read.",
        hint=f"Look at it with workspace_exec (file, xxd, strings), or export it.{text}",
        code="binary_file",
    )


def _alternate(data: bytes) -> bool:
    """Whether most bytes in odd places are NUL and hardly one in an even place is: Latin text in UTF-16."""
    return data[1::2].count(0) * 2 > len(data[1::2]) and data[::2].count(0) * 20 < len(data)


_MARKED = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""By what a text begins with, the encoding of which it comes back byte for byte: Python writes these in little endian,
with the mark; in the others the mark is a character of the text."""
_EASTERN = ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr")


def marked(data: bytes) -> str | None:
    """The encoding that the first bytes name."""
    return next((name for mark, name in _MARKED if data.startswith(mark)), None)


def _guessed(data: bytes) -> tuple[str, str]:
    """What a text that is not UTF-8 may be, in words, and the encoding to read it in."""
    if (name := marked(data)) is not None:
        return name.upper(), name
    latin = ("probably ISO-8859-1 or WINDOWS-1252", "windows-1252")
    # In the languages of Western Europe, letters beyond ASCII stand alone; elsewhere they come in a row.
    high = [at for at, byte in enumerate(data[:SNIFF_BYTES]) if byte >= 0x80]
    if sum(b - a == 1 for a, b in itertools.pairwise(high)) * 2 < len(high):
        return latin
    fitting = []
    for name in _EASTERN:
        with contextlib.suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder(name)().decode(data)
            fitting.append(name)
    return (f"of another encoding ({', '.join(fitting)} would fit)", fitting[0]) if fitting else latin


def as_text(data: bytes, relative: str, *, begins: bool = True, ends: bool = True) -> str:
    """The text of a file, or of a part that may begin or end within a character.

    Raises:
        InvalidInput: it is not UTF-8. What is put in the place of a byte could not be told from it, and writing the
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
        kind, name = _guessed(data)
        raise InvalidInput(
            f"{show(absolute(relative))} is not UTF-8 but {kind} (byte {error.start}); read as text, it could not be "
            "written back.",
            hint=f'Read it with encoding="{name}" and write it with the same, or change it with workspace_exec (sed), '
            "which leaves its other bytes alone.",
            code="not_utf8",
        ) from None


def _decoded(data: bytes, whole: bool, relative: str, encoding: str) -> str:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data, final=whole)
        if whole and text.encode(encoding) != data:
            better = marked(data) or (f"{encoding}-le" if encoding in ("utf-16", "utf-32") else "")
            other = f'Read it with encoding="{better}"' if better not in ("", encoding) else "Name another encoding"
            raise InvalidInput(
                f"{show(absolute(relative))} read as {encoding} could not be written back byte for byte.",
                hint=f"{other}, or change it with workspace_exec (sed).",
                code="bad_encoding",
            )
        return text
    except UnicodeError as error:
        place = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise InvalidInput(
            f"{show(absolute(relative))} is not {encoding}{place}.",
            hint="Omit encoding, or name another.",
            code="bad_encoding",
        ) from None


def lines_of(text: str) -> list[str]:
    """Lines with their ends, as editors and grep count them: a line ends with a line feed, and with nothing else."""
    lines = text.split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def clipped(text: str, bound: int) -> str:
    """As much of a text's beginning as costs at most `bound`."""
    if cost(text) <= bound:
        return text
    low, high = 0, min(len(text), bound)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(text[:middle]) <= bound else (low, middle - 1)
    return text[:low]


def _bytes(
    data: bytes, begin: int, size: int, relative: str, redactor: Redactor, bound: int, facts: dict[str, Any]
) -> FileRead:
    ends = begin + len(data) >= size
    text = as_text(data, relative, begins=not begin, ends=ends)
    # A cut in front of a whole character: the bytes that it takes are counted, not the ones that were asked for.
    lead = 0
    while begin and lead < min(3, len(data)) and data[lead] & 0xC0 == 0x80:
        lead += 1
    kept = clipped(text, bound)
    if not kept and text:
        kept = text[:1]  # or nobody would ever get beyond it
    end = begin + lead + len(kept.encode())
    if ends and kept == text:
        end = size if size > begin else begin
    cut = end < size
    return FileRead(
        content=redactor.text(kept),
        byte_offset=begin,
        encoding="utf-8",
        truncated=cut,
        hint=f"{size - end} bytes follow; continue with byte_offset={end}." if cut else "",
        **facts,
    )


def _lines(
    data: bytes, whole: bool, relative: str, redactor: Redactor, wanted: Wanted, bound: int, facts: dict[str, Any]
) -> FileRead:
    encoding = wanted.encoding or "utf-8"
    text = _decoded(data, whole, relative, encoding) if wanted.encoding else as_text(data, relative, ends=whole)
    lines = lines_of(redactor.text(text))
    first = _first(wanted.offset, len(lines), relative)
    last = len(lines) if wanted.limit is None else min(first - 1 + wanted.limit, len(lines))
    chosen = list(enumerate(lines[first - 1 : last], first))
    if wanted.grep is not None:
        flags = Pattern(wanted.grep).matches([line for _, line in chosen])
        chosen = [one for one, found in zip(chosen, flags, strict=True) if found]
    content: list[str] = []
    used, reached, hint = 0, first - 1, ""
    for number, line in chosen:
        row = f"{number}:{line}" if wanted.grep is not None else line
        if wanted.number_lines and wanted.grep is None:
            row = f"{number:>{NUMBER_WIDTH}}\t{line}"
        used += cost(row)
        if used > bound:
            if not content:
                content.append(clipped(row, bound))
                hint = _within(lines, number, content[0], row, wanted.grep is not None or encoding != "utf-8")
                reached = number
            break
        content.append(row)
        reached = number
    truncated = len(content) < len(chosen) or bool(hint) or not whole
    if truncated and not hint:
        if whole:
            hint = f"Lines {first} to {reached} of {len(lines)}; continue with offset={reached + 1}."
        else:
            further = len("".join(lines[:reached]).encode())
            hint = f"It is too large to read by line; continue with byte_offset={further}."
    return FileRead(
        content="".join(content),
        encoding=encoding,
        first_line=first if chosen else None,
        last_line=(reached if truncated or wanted.grep is None else last) if chosen else None,
        total_lines=len(lines) if whole else None,
        truncated=truncated,
        hint=hint or _beyond(wanted.offset, lines),
        **facts,
    )


def _first(offset: int | None, count: int, relative: str) -> int:
    """The first line that is meant, from 1 on; 0 means it as well, and a negative one counts from the end."""
    return max(1, count + 1 + offset) if offset is not None and offset < 0 else max(1, offset or 1)


def _beyond(offset: int | None, lines: list[str]) -> str:
    return (
        f"The file ends before that: it has {len(lines)} lines." if offset is not None and offset > len(lines) else ""
    )


def _within(lines: list[str], number: int, shown: str, row: str, whole_line: bool) -> str:
    """What to say of a line that alone is too long."""
    if whole_line:
        return f"Line {number} has {len(lines[number - 1])} characters and was cut; raise max_bytes."
    prefix = len(row) - len(lines[number - 1])
    at = len("".join(lines[: number - 1]).encode()) + len(shown[prefix:].encode())
    return f"Line {number} has {len(lines[number - 1])} characters and was cut; continue with byte_offset={at}."


async def _picture(
    guest: Guest, redactor: Redactor, relative: str, picture: pictures.Picture, data: bytes, facts: dict[str, Any]
) -> FileRead:
    """A picture as it is, or why it cannot be shown."""
    size = facts["size"]
    trouble = f"it has {size} bytes, and {pictures.MAX_BYTES} is the most" if size > pictures.MAX_BYTES else ""
    if not trouble:
        if size > len(data):
            data, _, _ = await read_bytes(guest, relative, 0, pictures.MAX_BYTES)
        picture = pictures.recognised(data) or picture
        trouble = picture.trouble
    if trouble:
        raise InvalidInput(
            f"{show(absolute(relative))} is a picture ({picture.media_type}) that cannot be shown: {trouble}.",
            hint="Make a smaller copy with workspace_exec, or export it.",
            code="binary_file",
        )
    return FileRead(
        kind="image",
        media_type=picture.media_type,
        width=picture.width,
        height=picture.height,
        data=base64.b64encode(redactor.data(data)).decode(),
        **facts,
    )


async def _directory(guest: Guest, workspace_id: str, redactor: Redactor, relative: str, bound: int) -> FileRead:
    """What is in a directory, a name a line, directories with a slash."""
    listed = await list_files(guest, workspace_id, relative, False, LISTED)
    rows: list[str] = []
    used = 0
    for entry in listed.entries:
        name = redactor.text(entry.path.rsplit("/", 1)[-1])
        row = name + {"dir": "/", "symlink": f" -> {redactor.text(entry.link or '')}"}.get(entry.kind, "") + "\n"
        used += cost(row)
        if used > bound:
            break
        rows.append(row)
    cut = listed.truncated or len(rows) < len(listed.entries)
    return FileRead(
        path=absolute(relative),
        kind="directory",
        content="".join(rows),
        truncated=cut,
        hint="More in workspace_file_list." if cut else "",
    )
