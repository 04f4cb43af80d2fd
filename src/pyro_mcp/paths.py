"""The one rule for names inside a workspace: below /workspace, no `..`, nothing the kernel would refuse.

The check is textual. Whoever opens the path must also refuse to walk through symbolic links; the guest
agent and `seeds.store` do that with directory descriptors, `patches.plan` by looking at the parents.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

from pyro_mcp.errors import InvalidInput

WORKSPACE = "/workspace"
MAX_PATH_BYTES = 4096
"""PATH_MAX of Linux (include/uapi/linux/limits.h)."""
MAX_NAME_BYTES = 255
"""NAME_MAX of Linux (include/uapi/linux/limits.h)."""

IMAGE_FILES = ("oci", "oci-archive", "docker-archive")
"""References to images that name a file or directory of this computer: KIND:PATH[:TAG]."""

_DOT_GIT = re.compile(r"(\.git|git~1)[. ]*(:|$)", re.IGNORECASE | re.ASCII)
"""What git refuses as `.git` on NTFS (is_ntfs_dotgit in path.c)."""
_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""What HFS+ ignores in names (next_hfs_char in utf8.c)."""

_HINT = "Give a path relative to /workspace, such as `src/app.py`, or one that begins with /workspace/."


def workspace_path(text: str) -> PurePosixPath:
    """The path relative to /workspace that `text` names; `.` is /workspace itself.

    `text` is relative or begins with /workspace; `.` parts and doubled slashes are dropped. Bytes that are
    not UTF-8 are carried as surrogate escapes, as `os.fsdecode` makes them.

    Raises:
        InvalidInput: empty, absolute elsewhere, with `..` or NUL, over 4096 bytes, or a part over 255 bytes.
    """
    shown = show(text)
    if not text:
        raise InvalidInput("The path is empty; it must name something under /workspace.", hint=_HINT, code="bad_path")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/"):
        if parts[:1] != ["workspace"]:
            raise InvalidInput(
                f"The path {shown} is outside the workspace; only /workspace can be reached.",
                hint=_HINT,
                code="path_outside_workspace",
            )
        parts = parts[1:]
    if ".." in parts:
        raise InvalidInput(
            f"The path {shown} contains `..`; paths may only lead down from /workspace.",
            hint=_HINT,
            code="path_outside_workspace",
        )
    check_parts(parts, shown)
    return PurePosixPath(*parts) if parts else PurePosixPath(".")


def absolute_image(reference: str) -> str:
    """The same reference to an image with a path made absolute, for the side that knows the working directory."""
    kind, colon, rest = reference.partition(":")
    if not colon or kind not in IMAGE_FILES:
        return reference
    path, colon, tag = rest.partition(":")
    return f"{kind}:{os.path.abspath(os.path.expanduser(path))}{colon}{tag}"


def check_parts(parts: list[str], shown: str) -> None:
    """Refuse what no Linux file system can hold.

    Raises:
        InvalidInput: NUL, text that is not a file name, or too long.
    """
    total = 0
    for part in parts:
        try:
            size = len(os.fsencode(part))
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"The path {shown} contains characters that file names cannot have.", hint=_HINT, code="bad_path"
            ) from error
        if "\0" in part:
            raise InvalidInput(
                f"The path {shown} contains a NUL byte, which file names cannot have.", hint=_HINT, code="bad_path"
            )
        if size > MAX_NAME_BYTES:
            raise InvalidInput(
                f"A part of the path {shown} has {size} bytes; the limit is {MAX_NAME_BYTES}.",
                hint="Use a shorter name.",
                code="path_too_long",
            )
        total += size + 1
    if total > MAX_PATH_BYTES:
        raise InvalidInput(
            f"The path {shown} has {total} bytes; the limit is {MAX_PATH_BYTES}.",
            hint="Use a shorter path.",
            code="path_too_long",
        )


def show(text: str, limit: int = 120) -> str:
    """`text` in backquotes for an error message: printable, at most `limit` characters."""
    clean = "".join(c if c.isprintable() else c.encode("utf-8", "surrogatepass").hex(" ") for c in text[: limit + 1])
    if len(clean) > limit:
        clean = clean[:limit] + "…"
    return f"`{clean}`"


def is_dot_git(path: str) -> bool:
    """Whether a part of the path is `.git`, or what some file system takes for it."""
    parts = re.split(r"[/\\]", _HFS_IGNORED.sub("", path))
    return any(_DOT_GIT.match(part) for part in parts)
