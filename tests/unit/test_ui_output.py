"""What a command prints, on its way to the page."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from pyro_mcp.client.answers import Output
from pyro_mcp.ui.feed import BEHIND
from pyro_mcp.ui.following import output

PRINTED = [f"line {number}\n".encode() for number in range(20 * BEHIND)]


class _Printing:
    """A daemon that has all of a command's output ready, and gives it faster than anybody reads."""

    def __init__(self) -> None:
        self.most = 0

    async def call(self, operation: Any, arguments: dict[str, Any], *, on_event: Any) -> dict[str, Any]:
        begin, given = 0, 0
        for line in PRINTED:
            if begin >= arguments["offset"]:
                on_event(Output("stdout", line))
                given += 1
                self.most = max(self.most, given)
            begin += len(line)
        return {"status": "exited", "exit_code": 0, "cause": None, "total_bytes": begin}


def test_a_page_that_reads_slowly_gets_everything_and_little_waits_for_it() -> None:
    pyro: Any = _Printing()

    async def story() -> list[dict[str, Any]]:
        async with aclosing(output(pyro, {"offset": "0"})) as messages:
            return [message async for message in messages]

    *printed, end = asyncio.run(story())
    assert "".join(message["text"] for message in printed).encode() == b"".join(PRINTED)
    assert end["kind"] == "ended" and end["exit_code"] == 0
    assert pyro.most <= BEHIND
