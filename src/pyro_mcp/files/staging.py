"""Contents that are too much for one request to the agent: put by in its stage first, so that a change of any size is
one request in the end, and all or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

from pyro_mcp.errors import PyroError
from pyro_mcp.guest.client import WORK_SECONDS, Guest

AT_ONCE = 8 * 1024 * 1024
"""Bytes of base64 in a request; the agent takes 16 MiB of content."""


@contextlib.asynccontextmanager
async def staged(guest: Guest, records: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """The request that makes the changes: with the contents, or with the name of the stage that holds them.

    A machine has one stage at a time: with a new one, its agent removes those that a killed daemon left.
    """
    if sum(len(record.get("content", "")) for record in records) <= AT_ONCE:
        yield {"changes": records}
        return
    async with guest.staging:
        stage = secrets.token_hex(8)
        try:
            yield {"changes": await _put_by(guest, stage, records), "stage": stage}
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(_unstaged(guest, stage)))
            raise


async def _put_by(guest: Guest, stage: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send the contents, and give the changes without them."""
    made: list[dict[str, Any]] = []
    waiting: list[dict[str, str]] = []
    size = 0
    for number, record in enumerate(records):
        content = record.get("content")
        if content is None:
            made.append(record)
            continue
        if waiting and size + len(content) > AT_ONCE:
            await _send(guest, stage, waiting)
            waiting, size = [], 0
        waiting.append({"name": str(number), "content": content})
        size += len(content)
        made.append({**{key: value for key, value in record.items() if key != "content"}, "staged": str(number)})
    await _send(guest, stage, waiting)
    return made


async def _send(guest: Guest, stage: str, files: list[dict[str, str]]) -> None:
    body = {"stage": stage, "files": files}
    await guest.call("POST", "/v1/files/stage", json_body=body, seconds=WORK_SECONDS)


async def _unstaged(guest: Guest, stage: str) -> None:
    """Remove it. Where the agent does not answer, the next stage does."""
    with contextlib.suppress(PyroError):
        await guest.call("POST", "/v1/files/stage", json_body={"stage": stage, "drop": True})
