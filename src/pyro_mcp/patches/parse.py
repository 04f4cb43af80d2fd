"""Reads a patch in any form that models and programs write: unified diffs, git's, and Codex's `*** Begin Patch`."""

from __future__ import annotations

from pyro_mcp.errors import InvalidInput
from pyro_mcp.patches.codex import CodexParser, is_codex, without_envelope
from pyro_mcp.patches.model import FilePatch
from pyro_mcp.patches.unified import UnifiedParser
from pyro_mcp.patches.wrapping import unwrapped

MAX_PATCH_BYTES = 1024 * 1024
"""CONTRACT: patch text is at most 1 MiB."""


def parse_patch(text: str | bytes) -> list[FilePatch]:
    """The files that a patch changes, in its order.

    Text before, between and after the files' parts is skipped, as `git apply` does.

    Raises:
        InvalidInput: over 1 MiB, not a patch, or broken; the message names the line.
    """
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if len(raw) > MAX_PATCH_BYTES:
        raise InvalidInput(
            f"The patch has {len(raw)} bytes; the limit is {MAX_PATCH_BYTES}.",
            hint="Split it into several patches, or write the files with file write.",
            code="patch_too_large",
        )
    raw = unwrapped(raw)
    if is_codex(raw):
        return CodexParser(raw).parse()
    return UnifiedParser(without_envelope(raw)).parse()
